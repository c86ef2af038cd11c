"""`edge-kit compress`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_kit.cli.options import (
    JsonOption,
    MaxBadOption,
    SubjectArgument,
    WorkspaceOption,
    make_runner,
    print_json,
)
from edge_kit.core.errors import CheckError


def compress(
    model: SubjectArgument,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            help="Data set in the model's published format; for a model of yours, samples: FILE.npz or images.",
            show_default="mini",
        ),
    ] = None,
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
    algorithm: Annotated[
        str, typer.Option(help="What chooses the range of an activation: abs_max, avg, hist, KL, mse or emd.")
    ] = "hist",
    calibration: Annotated[int, typer.Option(help="Training samples to find ranges on.")] = 200,
    shape: Annotated[list[str] | None, typer.Option(help="Fix an input of your model: NAME=1,3,224,224.")] = None,
    resize: Annotated[int | None, typer.Option(help="Shorter side of your images before the centre is cut.")] = None,
    mean: Annotated[str | None, typer.Option(help="Of your images: R,G,B in 0..1.", show_default="ImageNet's")] = None,
    std: Annotated[str | None, typer.Option(help="Likewise.", show_default="ImageNet's")] = None,
    max_bad: MaxBadOption = 0,
    max_drop: Annotated[
        float | None, typer.Option(help="Points of the metric that may be lost.", show_default="0.5, 2 when pruned")
    ] = None,
    min_agreement: Annotated[
        float | None, typer.Option(help="Of INT8 with FP32, without a metric.", show_default="95 %, or 20 dB")
    ] = None,
    max_size_ratio: Annotated[float, typer.Option(help="INT8 bytes over FP32 bytes.")] = 0.30,
    max_latency_ratio: Annotated[float, typer.Option(help="INT8 p50 over FP32 p50.")] = 1.0,
    threads: Annotated[int, typer.Option(help="Threads that latency is measured with.")] = 1,
    workspace: WorkspaceOption = None,
    json: JsonOption = False,
) -> None:
    """Train or load a model, quantize it, lower it for this machine, and check what was kept."""
    from edge_kit.pipeline.bench import parse_shapes
    from edge_kit.pipeline.checks import Limits
    from edge_kit.pipeline.compress import CompressRequest
    from edge_kit.pipeline.compress import compress as run_compress
    from edge_kit.pipeline.own import OwnOptions, parse_channels
    from edge_kit.report.progress import ConsoleReporter
    from edge_kit.report.tables import print_report

    limits = Limits(max_drop, max_size_ratio, max_latency_ratio, min_agreement=min_agreement)
    own = OwnOptions(parse_shapes(shape or []), resize, parse_channels("--mean", mean), parse_channels("--std", std))
    request = CompressRequest(
        model, data, weights, prune, criterion, target, algorithm, calibration, max_bad, threads, limits, own, input,
    )  # fmt: skip
    with ConsoleReporter() as reporter:
        report = run_compress(request, make_runner(workspace, "compress", reporter))
    print_json(report.as_dict()) if json else print_report(report)
    if not report.ok:
        short = ", ".join(f"{c.name} {c.value:.4g} against {c.limit:.4g}" for c in report.checks if c.ok is False)
        raise CheckError(f"a check fell short: {short}")
