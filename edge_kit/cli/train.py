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
    weights: Annotated[
        str | None,
        typer.Option(help="File of weights to train on from, or `pretrained`; on the mini set, by the long schedule."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Also copy the weights to this .safetensors file.")] = None,
    half: Annotated[bool, typer.Option(help="Store the copy in half precision, as packaged weights are.")] = False,
    devices: Annotated[
        str | None,
        typer.Option(
            help="GPUs to train on (0,1,2,3), cpu, or processes on the CPU (cpu:2).", show_default="what Paddle takes"
        ),
    ] = None,
    hosts: Annotated[
        str | None,
        typer.Option(help="Addresses of several machines (10.0.0.1,10.0.0.2); run the same command on each."),
    ] = None,
    host: Annotated[int | None, typer.Option(help="Place of this machine among --hosts, 0 the first.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Instead of the recipe's.")] = None,
    batch: Annotated[int | None, typer.Option(help="Samples a step over all devices.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="At the top of the schedule.")] = None,
    seed: Annotated[
        int | None,
        typer.Option(help="Of random weights, order and augmentation: what another gives is luck.", min=0),
    ] = None,
    accumulate: Annotated[
        int, typer.Option(help="Pieces to compute a batch in, one after another: less memory, the same result.")
    ] = 1,
    amp: Annotated[bool, typer.Option("--amp", help="Mixed precision, on a GPU.")] = False,
    preview: Annotated[
        int,
        typer.Option(
            help="Score and write out the weights after every so many steps; `compress --weights` takes them."
        ),
    ] = 0,
    logs: Annotated[Path | None, typer.Option(help="Folder for curves that TensorBoard and VisualDL show.")] = None,
    max_bad: MaxBadOption = 0,
    workspace: WorkspaceOption = None,
    json: JsonOption = False,
) -> None:
    """Train a zoo model in full precision."""
    from edge_kit.pipeline.train import TrainRequest, train_model
    from edge_kit.report.progress import ConsoleReporter
    from edge_kit.train.compute import Compute, Devices

    request = TrainRequest(
        model,
        data,
        from_scratch,
        weights,
        max_bad,
        epochs,
        batch,
        learning_rate,
        seed,
        Compute(accumulate, amp),
        Devices.parse(devices, hosts, host),
        preview,
        logs,
    )
    with ConsoleReporter() as reporter:
        report = train_model(request, make_runner(workspace, "train", reporter), out, half=half)
    if json:
        print_json(report)
        return
    metrics = ", ".join(f"{m['name']} {m['value']:.2f} {m['unit']}" for m in report["metrics"])
    typer.echo(f"loss {report['first_loss']:.3f} to {report['last_loss']:.3f} over {report['samples']:,} samples")
    typer.echo(f"{metrics or 'no metric'}; weights {report['weights']}")
