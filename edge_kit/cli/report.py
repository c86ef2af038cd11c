"""`edge-kit report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_kit.cli.options import DataOption, JsonOption, WorkspaceOption, make_runner, print_json


def report(
    bundles: Annotated[list[str] | None, typer.Argument(help="Names or folders.", show_default="every bundle")] = None,
    runtime: Annotated[
        str | None,
        typer.Option(
            help="Measure on these engines, too: a name, several with commas, or all.",
            show_default="those of the receipts",
        ),
    ] = None,
    data: DataOption = None,
    threads: Annotated[int, typer.Option(help="Threads that an engine may use where it is measured.")] = 1,
    out: Annotated[Path, typer.Option(help="Write the page to this file.")] = Path("report.html"),
    markdown: Annotated[Path | None, typer.Option(help="Write the table as Markdown, too.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Write the rows as CSV, too.")] = None,
    workspace: WorkspaceOption = None,
    json: JsonOption = False,
) -> None:
    """Write a page that compares bundles.

    Metric against latency against size, and of each where its time and its errors lie.
    """
    from edge_kit.report.written import check_places, write_all

    places = [place for place in (out, markdown, csv) if place is not None]
    check_places(places)
    from edge_kit.core.workspace import Workspace
    from edge_kit.pipeline.bench import runtimes_of
    from edge_kit.pipeline.bundles import find_bundles
    from edge_kit.pipeline.report import ReportRequest, make_report
    from edge_kit.report.html import as_html, check_page
    from edge_kit.report.progress import ConsoleReporter
    from edge_kit.report.rows import as_csv, as_markdown

    check_page()
    request = ReportRequest(runtimes_of(runtime) if runtime else (), data, threads)
    with ConsoleReporter() as reporter:
        found = find_bundles(Workspace.open(workspace), bundles or [])
        document = make_report(found, request, make_runner(workspace, "report", reporter), reporter)
    write_all({out: as_html, markdown: as_markdown, csv: as_csv}, document)
    if json:
        print_json(document)
    else:
        typer.echo(f"{len(document['rows'])} rows of {len(found)} bundles: {', '.join(map(str, places))}")
