"""Options that several commands share, and the workspace and reporter they lead to."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from edge_kit.pipeline.own import OwnOptions
    from edge_kit.pipeline.runner import Runner

INTERRUPTED = 130  # an exit code: 128 + SIGINT, as shells have it

ModelArgument = Annotated[str, typer.Argument(help="Id of a zoo model; `edge-kit zoo` lists them.")]
SubjectArgument = Annotated[
    str, typer.Argument(help="Id of a zoo model, or a model of yours: MODEL.onnx or MODEL.pdmodel.")
]
DataOption = Annotated[
    Path | None,
    typer.Option("--data", help="Data set in the model's published format.", show_default="mini"),
]
WeightsOption = Annotated[
    str | None, typer.Option(help="File of weights to take instead of training, or `pretrained`.")
]
PruneOption = Annotated[float, typer.Option(help="Share of the FLOPs to remove.")]
TargetOption = Annotated[str, typer.Option(help="What the INT8 graph is lowered for.")]
AlgorithmOption = Annotated[
    str, typer.Option(help="What chooses the range of an activation: abs_max, avg, hist, KL, mse or emd.")
]
CalibrationOption = Annotated[int, typer.Option(help="Training samples to find ranges on.")]
SamplesOption = Annotated[
    Path | None,
    typer.Option(
        "--data",
        help="Data set in the model's published format; for a model of yours, samples: FILE.npz or images.",
        show_default="mini",
    ),
]
ShapeOption = Annotated[list[str] | None, typer.Option(help="Fix an input of your model: NAME=1,3,224,224.")]
ResizeOption = Annotated[int | None, typer.Option(help="Shorter side of your images before the centre is cut.")]
MeanOption = Annotated[str | None, typer.Option(help="Of your images: R,G,B in 0..1.", show_default="ImageNet's")]
StdOption = Annotated[str | None, typer.Option(help="Likewise.", show_default="ImageNet's")]
MaxBadOption = Annotated[int, typer.Option("--max-bad", help="Missing or broken samples to leave out.")]
WorkspaceOption = Annotated[
    Path | None,
    typer.Option(
        "--workspace",
        help="Where results are kept.",
        envvar="EDGE_KIT_HOME",
        show_default="user cache",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else.")]


def print_json(document: Any) -> None:
    """One JSON document on stdout."""
    sys.stdout.write(json.dumps(document, indent=2) + "\n")


def own_options(shape: list[str] | None, resize: int | None, mean: str | None, std: str | None) -> OwnOptions:
    """What is told of a model of the user's own."""
    from edge_kit.pipeline.bench import parse_shapes
    from edge_kit.pipeline.own import OwnOptions, parse_channels

    return OwnOptions(parse_shapes(shape or []), resize, parse_channels("--mean", mean), parse_channels("--std", std))


def make_runner(workspace: Path | None, command: str, reporter: Any) -> Runner:
    """A runner over the chosen workspace, with a log of its own."""
    from edge_kit.core.workspace import Workspace
    from edge_kit.pipeline.runner import Runner

    opened = Workspace.open(workspace)
    log = opened.logs_dir / f"{time.strftime('%Y%m%d-%H%M%S')}-{command}.log"
    return Runner(opened, reporter, log)
