"""`edge-kit verify`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_kit.cli.options import DataOption, JsonOption, WorkspaceOption, make_runner, print_json
from edge_kit.core.errors import CheckError

if TYPE_CHECKING:
    from edge_kit.core.bundle import Bundle


def verify(
    bundles: Annotated[list[str] | None, typer.Argument(help="Names or folders.", show_default="every bundle")] = None,
    runtime: Annotated[
        str | None,
        typer.Option(help="Score the bundles on these engines, too: a name, several with commas, or all."),
    ] = None,
    data: DataOption = None,
    workspace: WorkspaceOption = None,
    json: JsonOption = False,
) -> None:
    """Check bundles: no file changed, every recorded check held, graphs load and answer; alike on every runtime."""
    from edge_kit.core.workspace import Workspace
    from edge_kit.pipeline.bundles import find_bundles
    from edge_kit.pipeline.verify import verify_bundle
    from edge_kit.report.verify import print_verified

    found = find_bundles(Workspace.open(workspace), bundles or [])
    reports = [verify_bundle(bundle) for bundle in found]
    if runtime:
        for bundle, report in zip(found, reports, strict=True):
            _add_parity(report, bundle, runtime, data, workspace)
    print_json(reports) if json else print_verified(reports)
    short = [f"{r['bundle']}: {c['name']} ({c['note']})" for r in reports for c in r["checks"] if c["ok"] is False]
    if short:
        raise CheckError(f"{len(short)} check(s) fell short: {'; '.join(short)}")


def _add_parity(
    report: dict[str, object], bundle: Bundle, runtimes: str, data: Path | None, workspace: Path | None
) -> None:
    from edge_kit.pipeline.bench import runtimes_of
    from edge_kit.pipeline.parity import check_row, parity_matrix
    from edge_kit.report.progress import ConsoleReporter

    with ConsoleReporter() as reporter:
        runner = make_runner(workspace, "verify", reporter)
        rows = parity_matrix(bundle, runtimes_of(runtimes), data, runner, reporter)
    report["parity"] = [asdict(row) for row in rows]
    checks = report["checks"]
    assert isinstance(checks, list)
    checks += [asdict(check_row(row, rows)) for row in rows]
