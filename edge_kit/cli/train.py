"""`edge-kit train`."""

from __future__ import annotations

from pathlib import Path
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


def train(
    model: ModelArgument,
    data: DataOption = None,
    from_scratch: Annotated[
        bool,
        typer.Option(help="Start from random weights and run the long schedule: how packaged weights are made."),
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Also copy the weights to this .safetensors file.")] = None,
    half: Annotated[bool, typer.Option(help="Store the copy in half precision, as packaged weights are.")] = False,
    max_bad: MaxBadOption = 0,
    workspace: WorkspaceOption = None,
    json: JsonOption = False,
) -> None:
    """Train a zoo model in full precision."""
    from edge_kit.pipeline.train import TrainRequest, train_model
    from edge_kit.report.progress import ConsoleReporter

    request = TrainRequest(model, data, from_scratch, max_bad)
    with ConsoleReporter() as reporter:
        report = train_model(request, make_runner(workspace, "train", reporter), out, half=half)
    if json:
        print_json(report)
        return
    metrics = ", ".join(f"{m['name']} {m['value']:.2f} {m['unit']}" for m in report["metrics"])
    typer.echo(f"loss {report['first_loss']:.3f} to {report['last_loss']:.3f} over {report['samples']:,} samples")
    typer.echo(f"{metrics or 'no metric'}; weights {report['weights']}")
