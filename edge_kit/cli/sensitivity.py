"""`edge-kit sensitivity`."""

from __future__ import annotations

from pathlib import Path
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


def sensitivity(
    model: SubjectArgument,
    data: SamplesOption = None,
    weights: WeightsOption = None,
    prune: PruneOption = 0.0,
    target: TargetOption = "auto",
    algorithm: AlgorithmOption = "hist",
    calibration: CalibrationOption = 200,
    shape: ShapeOption = None,
    resize: ResizeOption = None,
    mean: MeanOption = None,
    std: StdOption = None,
    max_bad: MaxBadOption = 0,
    plot: Annotated[Path | None, typer.Option(help="Also draw it: FILE.svg or FILE.png.")] = None,
    workspace: WorkspaceOption = None,
    json: JsonOption = False,
) -> None:
    """Rank a model's layers by the harm that quantizing each does.

    Each alone, to the outputs of the model.
    """
    from edge_kit.pipeline.compress import CompressRequest
    from edge_kit.pipeline.compress import sensitivity as rank
    from edge_kit.report.plot import check_plot, plot_ranking
    from edge_kit.report.progress import ConsoleReporter
    from edge_kit.report.sensitivity import print_ranking

    if plot is not None:
        check_plot(plot)
    request = CompressRequest(
        model, data, weights, prune, target=target, algorithm=algorithm, calibration=calibration, max_bad=max_bad,
        own=own_options(shape, resize, mean, std),
    )  # fmt: skip
    with ConsoleReporter() as reporter:
        report = rank(request, make_runner(workspace, "sensitivity", reporter))
    if plot is not None:
        plot_ranking(report, plot)
    print_json(report) if json else print_ranking(report)
