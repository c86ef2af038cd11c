"""Layers by the harm that their quantization alone does, with bars."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from edge_kit.report.console import open_console

BAR = 30  # characters that the largest noise takes


def print_ranking(report: dict[str, Any]) -> None:
    """A row a layer, the most harmful first, and the conditions."""
    console = open_console()
    layers = report["layers"]
    table = Table(title=f"{report['id']}: one layer at a time in INT8")
    table.add_column("layer", overflow="fold")
    table.add_column("operator")
    for column in ("noise / signal", "KL, nats", "same answers", "weights"):
        table.add_column(column, justify="right")
    table.add_column("", no_wrap=True)
    top = layers[0]["noise"] if layers else 0.0
    for one in layers:
        bar = "█" * max(round(BAR * one["noise"] / top), 1) if top else ""
        divergence = "-" if one["divergence"] is None else f"{one['divergence']:.2e}"
        same = "-" if one["same"] is None else f"{one['same']:.1%}"
        table.add_row(one["node"], one["operator"], f"{one['noise']:.2e}", divergence, same, f"{one['weights']:,}", bar)
    console.print(table)
    console.print(
        f"against full precision on {report['samples']} calibration samples, without labels; lowered for "
        f"{report['target']}, ranges by {report['algorithm']}",
        style="dim",
        highlight=False,
    )
