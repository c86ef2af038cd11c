"""Options that several commands share, and the workspace and reporter they lead to."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
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


def make_runner(workspace: Path | None, command: str, reporter: Any) -> Runner:
    """A runner over the chosen workspace, with a log of its own."""
    from edge_kit.core.workspace import Workspace
    from edge_kit.pipeline.runner import Runner

    opened = Workspace.open(workspace)
    log = opened.logs_dir / f"{time.strftime('%Y%m%d-%H%M%S')}-{command}.log"
    return Runner(opened, reporter, log)
