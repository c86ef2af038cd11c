"""What `verify` found, as tables."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from edge_kit.core.records import Check
from edge_kit.report.console import open_console
from edge_kit.report.tables import print_checks


def print_verified(reports: list[dict[str, Any]]) -> None:
    """A table of checks a bundle, after that of its runtimes where they were asked for."""
    console = open_console()
    for report in reports:
        console.print(f"{report['bundle']}  {report['digest']}", highlight=False, soft_wrap=True)
        if "parity" in report:
            _print_parity(console, report["parity"])
        print_checks(console, [Check(**check) for check in report["checks"]])


def _print_parity(console: Console, rows: list[dict[str, Any]]) -> None:
    """The same model on every runtime; the last columns are against full precision on ONNX Runtime."""
    metric = next((row["metric"] for row in rows if row["metric"]), None)
    table = Table(title="the same model, scored by the same code")
    headings = ("precision", "runtime", metric["name"] if metric else "metric", "same answers", "max error", "relative")
    for column in (*headings, "what is wrong"):
        table.add_column(column, justify="right" if column in headings[2:] else "left")
    for row in rows:
        table.add_row(row["precision"], row["runtime"], *_figures(row), row["reason"] or row["diverges"])
    console.print(table)
    if metric:
        console.print(
            f"{metric['name']} on {metric['samples']:,} samples of {metric['dataset']}; the three columns after it are "
            "against full precision on ONNX Runtime",
            style="dim",
            highlight=False,
        )


def _figures(row: dict[str, Any]) -> list[str]:
    if row["max_rel"] is None:
        return ["-"] * 4
    metric, agreement = (row[name] for name in ("metric", "agreement"))
    score = f"{metric['value']:.2f} {metric['unit']}" if metric else "-"
    return [score, f"{agreement['value']:.2f} {agreement['unit']}", f"{row['max_abs']:.2g}", f"{row['max_rel']:.1g}"]
