"""What `eval` found, as tables."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from edge_kit.core.records import Check
from edge_kit.report.console import open_console
from edge_kit.report.tables import print_checks

SHOWN_CLASSES = 20


def print_evaluated(report: dict[str, Any]) -> None:
    """A row each precision and runtime, the conditions, the classes, then the published rows."""
    console = open_console()
    scored = [row for row in report["rows"] if row["metrics"]]
    names = [metric["name"] for metric in scored[0]["metrics"]]
    table = Table(title=report["model"])
    for column in ("precision", "runtime", *names, "what is wrong"):
        table.add_column(column, justify="right" if column in names else "left")
    for row in report["rows"]:
        engine = f"{row['runtime']} {row['version']}".strip()
        figures = [_figure(metric, row["intervals"]) for metric in row["metrics"]] or ["-"] * len(names)
        table.add_row(row["precision"], engine, *figures, row["reason"])
    console.print(table)
    _print_data(console, report["data"])
    if scored[0]["classes"]:
        _print_classes(console, scored, names[0])
    print_checks(console, [Check(**check) for check in report["checks"]])


def _figure(metric: dict[str, Any], intervals: dict[str, list[float]]) -> str:
    value = f"{metric['value']:.2f} {metric['unit']}"
    sure = intervals.get(metric["name"])
    return f"{value} [{sure[0]:.2f}, {sure[1]:.2f}]" if sure else value


def _print_data(console: Console, data: dict[str, Any]) -> None:
    order = f"; {data['order']}" if data["order"] else ""
    text = f"{data['samples']:,} samples of {data['name']} ({data['folder']}), {data['classes']:,} classes{order}"
    console.print(f"{text}; in brackets, the 95 % confidence interval", style="dim", highlight=False, markup=False)
    if data["left_out"]:
        left = f"{len(data['left_out'])} sample(s) left out, first: {data['left_out'][0]}"
        console.print(left, style="yellow", highlight=False, markup=False)


def _print_classes(console: Console, scored: list[dict[str, Any]], metric: str) -> None:
    """Every class, or the worst where there are many."""
    count = len(scored[0]["classes"])
    places = [i for i, one in enumerate(scored[0]["classes"]) if one["samples"]]
    title = f"{metric} by class"
    if count > SHOWN_CLASSES:
        places = sorted(places, key=lambda i: scored[0]["classes"][i]["values"][metric])[:SHOWN_CLASSES]
        title += f": the {len(places)} worst of {count:,}; --json has all"
    table = Table(title=title)
    table.add_column("class")
    table.add_column("samples", justify="right")
    for row in scored:
        table.add_column(f"{row['precision']} {row['runtime']}", justify="right")
    for i in places:
        one = scored[0]["classes"][i]
        figures = (f"{row['classes'][i]['values'][metric]:.2f}" for row in scored)
        table.add_row(f"{i} {one['label']}" if one["label"] != str(i) else one["label"], str(one["samples"]), *figures)
    console.print(table)
