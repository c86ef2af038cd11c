"""`edge-kit eval`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_kit.cli.options import (
    JsonOption,
    MaxBadOption,
    WorkspaceOption,
    make_runner,
    print_json,
)
from edge_kit.core.errors import CheckError


def evaluate(
    model: Annotated[str, typer.Argument(help="A bundle, a zoo id with --weights, or a graph's file with --like.")],
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            help="Data set in the model's published format; ImageNet's lists, or a folder a class.",
            show_default="mini",
        ),
    ] = None,
    weights: Annotated[str | None, typer.Option(help="Of a zoo model: a file, or `pretrained`.")] = None,
    runtime: Annotated[str, typer.Option(help="Engines: a name, several with commas, or all.")] = "onnx",
    precision: Annotated[str | None, typer.Option(help="fp32 or int8.", show_default="all there are")] = None,
    like: Annotated[str | None, typer.Option(help="Zoo model that a file is fed and scored like.")] = None,
    threads: Annotated[int, typer.Option(help="Threads that an engine may use.")] = 1,
    max_bad: MaxBadOption = 0,
    workspace: WorkspaceOption = None,
    json: JsonOption = False,
) -> None:
    """Score a model by its task's metric.

    With its interval, every class, and the published row it is compared with.
    """
    from edge_kit.pipeline.bench import runtimes_of
    from edge_kit.pipeline.evaluate import EvalRequest, evaluate_model, short_checks
    from edge_kit.report.evaluate import print_evaluated
    from edge_kit.report.progress import ConsoleReporter

    request = EvalRequest(model, runtimes_of(runtime), precision, data, weights, like, threads, max_bad)
    with ConsoleReporter() as reporter:
        report = evaluate_model(request, make_runner(workspace, "eval", reporter), reporter)
    print_json(report) if json else print_evaluated(report)
    short = [f"{check.name} {check.value:.4g} against {check.limit:.4g}" for check in short_checks(report)]
    if short:
        raise CheckError(f"below the published row: {', '.join(short)}")
