"""`edge-kit compress`."""

from __future__ import annotations

from typing import Annotated

import typer

from edge_kit.cli.options import (
    AlgorithmOption,
    CalibrationOption,
    JsonOption,
    MaxBadOption,
    MeanOption,
    PruneOption,
    ResizeOption,
    SamplesOption,
    ShapeOption,
    StdOption,
    SubjectArgument,
    TargetOption,
    WeightsOption,
    WorkspaceOption,
    make_runner,
    own_options,
    print_json,
)
from edge_kit.core.errors import CheckError, UsageError


def compress(
    model: SubjectArgument = "",
    data: SamplesOption = None,
    weights: WeightsOption = None,
    prune: PruneOption = 0.0,
    criterion: Annotated[str, typer.Option(help="What prunes a filter: l1 or fpgm.")] = "l1",
    target: TargetOption = "auto",
    input: Annotated[
        str,
        typer.Option(help="What the graphs take: float, or uint8-nhwc for a picture's pixels as OpenCV reads them."),
    ] = "float",
    quantize: Annotated[
        str,
        typer.Option(help="ptq: ranges from samples; qat: trained on with the rounding in it, by PaddleSlim."),
    ] = "ptq",
    algorithm: AlgorithmOption = "hist",
    calibration: CalibrationOption = 200,
    shape: ShapeOption = None,
    resize: ResizeOption = None,
    mean: MeanOption = None,
    std: StdOption = None,
    max_bad: MaxBadOption = 0,
    max_drop: Annotated[
        float | None,
        typer.Option(
            help="Points of the metric that may be lost; if given, the worst layers stay float until it holds.",
            show_default="0.5, 2 when pruned",
        ),
    ] = None,
    min_agreement: Annotated[
        float | None,
        typer.Option(help="Of INT8 with FP32, without a metric; if given, likewise.", show_default="95 %, or 20 dB"),
    ] = None,
    max_size_ratio: Annotated[float, typer.Option(help="INT8 bytes over FP32 bytes.")] = 0.30,
    max_latency_ratio: Annotated[float, typer.Option(help="INT8 p50 over FP32 p50.")] = 1.0,
    threads: Annotated[int, typer.Option(help="Threads that latency is measured with.")] = 1,
    explain_passes: Annotated[
        bool, typer.Option("--explain-passes", help="Print what lowering does, pass by pass, and stop.")
    ] = False,
    workspace: WorkspaceOption = None,
    json: JsonOption = False,
) -> None:
    """Make a checked INT8 bundle of a model.

    Train or load it, quantize it, lower it for this machine, and check what was kept.
    """
    from edge_kit.pipeline.checks import Limits
    from edge_kit.pipeline.compress import CompressRequest
    from edge_kit.pipeline.compress import compress as run_compress
    from edge_kit.report.passes import describe_passes, print_passes
    from edge_kit.report.progress import ConsoleReporter
    from edge_kit.report.tables import print_report

    if explain_passes:
        passes = describe_passes(input)
        print_json(passes) if json else print_passes(passes)
        return
    if not model:
        raise UsageError("which model? give an id, `edge-kit zoo` lists them, or a file: MODEL.onnx or MODEL.pdmodel")
    limits = Limits(max_drop, max_size_ratio, max_latency_ratio, min_agreement=min_agreement)
    own = own_options(shape, resize, mean, std)
    request = CompressRequest(
        model, data, weights, prune, criterion, target, algorithm, calibration, max_bad, threads, limits, own, input,
        quantize,
    )  # fmt: skip
    with ConsoleReporter() as reporter:
        report = run_compress(request, make_runner(workspace, "compress", reporter))
    print_json(report.as_dict()) if json else print_report(report)
    if not report.ok:
        short = ", ".join(f"{c.name} {c.value:.4g} against {c.limit:.4g}" for c in report.checks if c.ok is False)
        raise CheckError(f"a check fell short: {short}")
