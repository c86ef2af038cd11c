"""What lowering does, pass by pass, before anything is lowered."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from convert.lower import CAMERA_PASSES, PASSES
from edge_kit.core.images import PIXELS
from edge_kit.pipeline.pixels import check_input
from edge_kit.report.console import open_console


def describe_passes(form: str) -> list[dict[str, Any]]:
    """Every pass in order, as JSON.

    Args:
        form: Of the input, as `compress --input` takes it.

    Raises:
        UsageError: There is no such form.
    """
    check_input(form)
    steps = CAMERA_PASSES if form == PIXELS else PASSES
    return [{"name": step.name, "does": step.does, "keeps_answers": step.keeps_answers} for step in steps]


def print_passes(passes: list[dict[str, Any]]) -> None:
    """A row a pass."""
    console = open_console()
    table = Table(title="lowering, in order")
    table.add_column("", justify="right")
    table.add_column("pass", no_wrap=True)
    table.add_column("what it does")
    table.add_column("answers", no_wrap=True)
    for place, one in enumerate(passes, 1):
        table.add_row(str(place), one["name"], one["does"], "kept, checked" if one["keeps_answers"] else "-")
    console.print(table)
    console.print(
        "kept, checked: the float answers before and after are compared on calibration samples, and a pass that "
        "changes them ends the run; a receipt tells how often each pass rewrote something",
        style="dim",
        highlight=False,
    )
