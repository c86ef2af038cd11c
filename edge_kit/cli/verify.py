"""`edge-kit verify`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from edge_kit.cli.options import DataOption, JsonOption, WorkspaceOption, make_runner, print_json
from edge_kit.core.errors import CheckError


def _limit(text: str) -> Any:
    return typer.Option(help=text, rich_help_panel="Limits, over those of the file")


def verify(
    bundles: Annotated[list[str] | None, typer.Argument(help="Names or folders.", show_default="every bundle")] = None,
    runtime: Annotated[
        str | None,
        typer.Option(help="Score the bundles on these engines, too: a name, several with commas, or all."),
    ] = None,
    data: DataOption = None,
    limits: Annotated[
        Path | None,
        typer.Option(help="File of limits, which are then measured.", show_default="edge-kit.toml, if there"),
    ] = None,
    max_drop: Annotated[float | None, _limit("Points of the metric that may be lost.")] = None,
    max_latency_ratio: Annotated[float | None, _limit("INT8 p50 over FP32 p50.")] = None,
    max_p95_ms: Annotated[float | None, _limit("Of INT8, in milliseconds.")] = None,
    max_size_ratio: Annotated[float | None, _limit("INT8 bytes over FP32 bytes.")] = None,
    max_size_mb: Annotated[float | None, _limit("Of the INT8 graphs.")] = None,
    min_agreement: Annotated[float | None, _limit("Of INT8 with FP32, in % or dB.")] = None,
    max_flips: Annotated[float | None, _limit("Of the answers to the sentinel, in %.")] = None,
    max_cut_off: Annotated[float | None, _limit("Of activations beyond INT8's grids, in %.")] = None,
    baseline: Annotated[Path | None, typer.Option(help="Compare with this file, which you commit.")] = None,
    update_baseline: Annotated[
        bool, typer.Option("--update-baseline", help="Write the file instead, on purpose.")
    ] = False,
    junit: Annotated[Path | None, typer.Option(help="Write the checks as JUnit XML, too.")] = None,
    sentinel: Annotated[
        bool, typer.Option("--sentinel", help="By the samples in the bundle: no data set, a few seconds.")
    ] = False,
    on: Annotated[str | None, typer.Option(help="The sentinel on a board: ssh://user@host.", metavar="ADDRESS")] = None,
    python: Annotated[str, typer.Option(help="The Python of the board; it needs NumPy and the engine.")] = "python3",
    workspace: WorkspaceOption = None,
    json: JsonOption = False,
) -> None:
    """Check bundles, for a gate in CI too.

    No file changed, checks held, the same answers on every runtime; within limits, and no worse than a baseline.
    """
    from edge_kit.core.workspace import Workspace
    from edge_kit.pipeline.bundles import find_bundles
    from edge_kit.pipeline.limits import GateLimits
    from edge_kit.pipeline.verify import VerifyRequest, verify_all
    from edge_kit.report.junit import write_junit
    from edge_kit.report.progress import ConsoleReporter
    from edge_kit.report.verify import print_verified

    flags = GateLimits(
        max_drop, max_latency_ratio, max_p95_ms, max_size_ratio, max_size_mb, min_agreement, max_flips, max_cut_off
    )
    request = VerifyRequest(runtime, data, limits, flags, baseline, update_baseline, sentinel, on, python)
    began = time.monotonic()
    with ConsoleReporter() as reporter:
        found = find_bundles(Workspace.open(workspace), bundles or [])
        reports = verify_all(found, request, make_runner(workspace, "verify", reporter), reporter)
    if junit:
        write_junit(junit, reports, time.monotonic() - began)
    print_json(reports) if json else print_verified(reports)
    short = [f"{r['bundle']}: {c['name']} ({c['note']})" for r in reports for c in r["checks"] if c["ok"] is False]
    if short:
        raise CheckError(f"{len(short)} check(s) fell short: {'; '.join(short)}")
