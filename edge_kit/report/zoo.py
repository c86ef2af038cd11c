"""The zoo as tables and as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich.table import Table

from edge_kit.report.console import open_console
from edge_kit.zoo import ZooEntry


def describe(entry: ZooEntry) -> dict[str, Any]:
    """One model as `--json` prints it."""
    published, mini = entry.published, entry.mini
    return {
        "id": entry.id,
        "title": entry.title,
        "family": entry.family,
        "task": entry.task,
        "parameters": entry.parameters,
        "macs": entry.macs,
        "inputs": [
            {"graph": graph, **asdict(tensor)}
            for graph, spec in entry.graphs(published.preprocess).items()
            for tensor in spec.inputs
        ],
        "preprocess": published.preprocess.as_dict(),
        "reference": [asdict(row) for row in entry.references],
        "paper": entry.paper,
        "licence": entry.licence,
        "source": entry.source,
        "data": entry.data,
        "recipe": asdict(published.recipe),
        "pretrained": published.weights,
        "mini": {
            "preprocess": mini.preprocess.as_dict(),
            "recipe": asdict(mini.recipe),
            "weights": mini.weights,
        },
    }


def print_list(rows: list[dict[str, Any]]) -> None:
    """A row a model."""
    table = Table()
    for column in ("id", "task", "parameters", "MACs", "published"):
        numeric = column in ("parameters", "MACs")
        table.add_column(column, justify="right" if numeric else "left", no_wrap=numeric or column == "id")
    for row in rows:
        published = ", ".join(f"{r['metric']} {r['value']:g} {r['unit']}" for r in row["reference"])
        table.add_row(row["id"], row["task"], f"{row['parameters']:,}", f"{row['macs']:,}", published)
    open_console().print(table)


def print_one(row: dict[str, Any]) -> None:
    """Everything known of one model."""
    table = Table(show_header=False)
    for key, value in row.items():
        if key == "reference":
            value = "\n".join(
                f"{r['metric']} {r['value']:g} {r['unit']} on {r['dataset']} ({r['source']})" for r in value
            )
        elif key == "inputs":
            value = "\n".join(f"{i['graph']}: {i['name']} {i['shape']} {i['dtype']} {i['layout']}" for i in value)
        elif isinstance(value, dict):
            value = "\n".join(f"{name}: {inner}" for name, inner in value.items())
        elif isinstance(value, int):
            value = f"{value:,}"
        table.add_row(key, str(value))
    open_console().print(table)
