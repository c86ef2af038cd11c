"""`edge-kit matrix`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_kit.cli.options import JsonOption, MaxBadOption, WorkspaceOption, make_runner, print_json
from edge_kit.core.errors import CheckError


def matrix(
    ids: Annotated[list[str] | None, typer.Argument(help="Ids of zoo models.", show_default="all")] = None,
    runtime: Annotated[str, typer.Option(help="Engines to compare answers on: names with commas, or all.")] = "all",
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Published data set, to score released weights.", show_default="random weights"),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write the table to this Markdown file.")] = None,
    threads: Annotated[int, typer.Option(help="Threads that latency is measured with.")] = 1,
    repeats: Annotated[int, typer.Option(help="Calls timed of each model.")] = 200,
    samples: Annotated[int, typer.Option(help="Mini samples at published size, where weights are random.")] = 50,
    train: Annotated[
        bool,
        typer.Option("--train", help="Train models without finished weights on their mini sets, minutes each."),
    ] = False,
    max_bad: MaxBadOption = 0,
    workspace: WorkspaceOption = None,
    json: JsonOption = False,
) -> None:
    """Take models of the zoo through all stages on all engines.

    A row each; interrupted, it goes on from there.
    """
    from edge_kit.core.files import write_atomic
    from edge_kit.pipeline.bench import runtimes_of
    from edge_kit.pipeline.matrix import MatrixRequest, faults, run_matrix
    from edge_kit.report.matrix import as_markdown, print_matrix
    from edge_kit.report.progress import ConsoleReporter

    request = MatrixRequest(tuple(ids or ()), runtimes_of(runtime), data, threads, repeats, samples, max_bad, train)
    with ConsoleReporter() as reporter:
        report = run_matrix(request, make_runner(workspace, "matrix", reporter), reporter)
    if out is not None:
        write_atomic(out, as_markdown(report).encode())
    print_json(report) if json else print_matrix(report)
    found = faults(report)
    if found:
        raise CheckError(f"{len(found)} thing(s) fell short: {'; '.join(found)}")
