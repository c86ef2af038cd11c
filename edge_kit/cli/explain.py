"""`edge-kit explain`."""

from __future__ import annotations

from typing import Annotated

import typer

from edge_kit.cli.options import JsonOption, WorkspaceOption, print_json


def explain(
    model: Annotated[str, typer.Argument(help="A bundle or an .onnx file.")],
    runtime: Annotated[str, typer.Option(help="Engine to time the operators on.")] = "onnx",
    device: Annotated[str, typer.Option(help="cpu or gpu.")] = "cpu",
    threads: Annotated[int, typer.Option(help="Threads that may work on one call.")] = 1,
    shape: Annotated[list[str] | None, typer.Option(help="Fix an input: NAME=1,3,224,224.")] = None,
    workspace: WorkspaceOption = None,
    json: JsonOption = False,
) -> None:
    """Say why a graph is slow.

    Each reason, what it costs on this machine, and what mends it.
    """
    from edge_kit.core.workspace import Workspace
    from edge_kit.pipeline.bench import parse_shapes
    from edge_kit.pipeline.explain import Conditions
    from edge_kit.pipeline.explain import explain as explain_model
    from edge_kit.report.explain import print_explained
    from edge_kit.report.progress import working

    conditions = Conditions(runtime, threads, device)
    with working(f"timing the operators of {model}"):
        report = explain_model(Workspace.open(workspace), model, conditions, parse_shapes(shape or []))
    print_json(report) if json else print_explained(report)
