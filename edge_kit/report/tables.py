"""Tables for people; every number with its conditions."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.table import Table

from edge_kit.core.records import Check, CompressReport
from edge_kit.report.console import open_console

MARK = {True: "[green]ok[/green]", False: "[red]short[/red]", None: "[dim]-[/dim]"}


def print_report(report: CompressReport) -> None:
    """What `compress` measured: a row a model, then the checks, then where the bundle is."""
    console = open_console()
    first = next(iter(report.models.values()))
    metric, plan = first.metric, first.latency
    table = Table(title=f"{report.id}")
    for column in ("", metric.name if metric else "metric", "size", "p50 ms", "p90 ms", "p99 ms"):
        table.add_column(column, justify="left" if not column else "right")
    for name, model in report.models.items():
        value = f"{model.metric.value:.2f} {model.metric.unit}" if model.metric else "-"
        times = (f"{t:.3f}" for t in (model.latency.p50_ms, model.latency.p90_ms, model.latency.p99_ms))
        table.add_row(name, value, f"{model.size_bytes / 1e6:.2f} MB", *times)
    console.print(table)
    if metric:
        console.print(
            f"{metric.name} on {metric.samples:,} samples of {metric.dataset}",
            style="dim",
            highlight=False,
        )
    shape = ", ".join(f"{name} {'x'.join(map(str, axes))}" for name, axes in plan.input_shape.items())
    console.print(
        f"latency: {plan.runtime} {plan.runtime_version}, {plan.device}, {plan.threads} thread(s), {shape}, "
        f"{plan.warmup} warm-up and {plan.repeats} timed calls, models in turn",
        style="dim",
        highlight=False,
    )
    print_checks(console, report.checks)
    for note in report.facts["notes"]:
        console.print(f"note: {note}", style="yellow", highlight=False, markup=False)
    if "mixed" in report.facts:
        console.print(f"left in float: {report.facts['mixed']['reason']}", highlight=False, markup=False)
    for verdict in report.facts["verdicts"]:
        console.print(verdict["verdict"], highlight=False, markup=False)
    console.print(f"bundle {report.bundle}\ndigest {report.digest}", highlight=False, soft_wrap=True)


def print_checks(console: Console, checks: Iterable[Check]) -> None:
    """A row a check."""
    table = Table(title="checks")
    for column in ("", "check", "value", "limit", "conditions"):
        table.add_column(column, justify="right" if column in ("value", "limit") else "left")
    for check in checks:
        sign = "<=" if check.sense == "max" else ">="
        value = "-" if check.value is None else f"{check.value:.3g} {check.unit}".strip()
        limit = "" if check.limit is None else f"{sign} {check.limit:.3g}"
        if check.ok is None and check.limit is not None:
            limit = f"({check.limit:.4g})"  # shown, not held to
        table.add_row(MARK[check.ok], check.name, value, limit, check.note)
    console.print(table)
