"""`edge-kit compress`."""

from __future__ import annotations

from typing import Annotated

import typer

from edge_kit.cli.options import (
    DataOption,
    JsonOption,
    MaxBadOption,
    ModelArgument,
    WorkspaceOption,
    make_runner,
    print_json,
)
from edge_kit.core.errors import CheckError


def compress(
    model: ModelArgument,
    data: DataOption = None,
    weights: Annotated[
        str | None,
        typer.Option(help="File of weights to take instead of training, or `pretrained`."),
    ] = None,
    prune: Annotated[float, typer.Option(help="Share of the FLOPs to remove.")] = 0.0,
    criterion: Annotated[str, typer.Option(help="What prunes a filter: l1 or fpgm.")] = "l1",
    target: Annotated[str, typer.Option(help="What the INT8 graph is lowered for.")] = "auto",
    input: Annotated[
        str,
        typer.Option(help="What the graphs take: float, or uint8-nhwc for a picture's pixels as OpenCV reads them."),
    ] = "float",
    calibration: Annotated[int, typer.Option(help="Training samples to find ranges on.")] = 200,
    max_bad: MaxBadOption = 0,
    max_drop: Annotated[
        float | None, typer.Option(help="Points of the metric that may be lost.", show_default="0.5, 2 when pruned")
    ] = None,
    max_size_ratio: Annotated[float, typer.Option(help="INT8 bytes over FP32 bytes.")] = 0.30,
    max_latency_ratio: Annotated[float, typer.Option(help="INT8 p50 over FP32 p50.")] = 1.0,
    threads: Annotated[int, typer.Option(help="Threads that latency is measured with.")] = 1,
    workspace: WorkspaceOption = None,
    json: JsonOption = False,
) -> None:
    """Train or load a model, quantize it, lower it for this machine, and check what was kept."""
    from edge_kit.pipeline.checks import Limits
    from edge_kit.pipeline.compress import CompressRequest
    from edge_kit.pipeline.compress import compress as run_compress
    from edge_kit.report.progress import ConsoleReporter
    from edge_kit.report.tables import print_report

    limits = Limits(max_drop, max_size_ratio, max_latency_ratio)
    request = CompressRequest(
        model, data, weights, prune, criterion, target,
        calibration=calibration, max_bad=max_bad, threads=threads, limits=limits, input=input,
    )  # fmt: skip
    with ConsoleReporter() as reporter:
        report = run_compress(request, make_runner(workspace, "compress", reporter))
    print_json(report.as_dict()) if json else print_report(report)
    if not report.ok:
        short = ", ".join(f"{c.name} {c.value:.4g} against {c.limit:.4g}" for c in report.checks if c.ok is False)
        raise CheckError(f"a check fell short: {short}")
