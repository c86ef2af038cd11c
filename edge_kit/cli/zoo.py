"""`edge-kit zoo` and `edge-kit zoo show ID`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from edge_kit.cli.options import JsonOption, print_json
from edge_kit.core.errors import UsageError


def zoo(
    action: Annotated[str, typer.Argument(help="`show` for one model.", show_default="list")] = "list",
    model: Annotated[str | None, typer.Argument(help="Id of the model to show.")] = None,
    task: Annotated[str | None, typer.Option(help="Only models of this task.")] = None,
    json: JsonOption = False,
) -> None:
    """List the models, or show one."""
    from edge_kit.report.zoo import describe, print_list, print_one
    from edge_kit.tasks import TASKS
    from edge_kit.zoo import MODELS, load_all

    load_all()
    if action == "show":
        if model is None:
            raise UsageError("zoo show needs the id of a model: edge-kit zoo show mobilenetv2")
        entry = describe(MODELS.get(model))
        print_json(entry) if json else print_one(entry)
        return
    if action != "list" or model is not None:
        raise UsageError(f"unknown zoo action {action!r}; did you mean 'zoo show {action}'?")
    if task is not None:
        TASKS.get(task)
    rows: list[dict[str, Any]] = [describe(entry) for entry in MODELS if task in (None, entry.task)]
    print_json(rows) if json else print_list(rows)
