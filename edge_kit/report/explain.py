"""What `explain` found: reasons with their prices, then where the time goes, as bars."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from edge_kit.report.console import open_console

BAR = 30  # characters that the longest time takes
KINDS = 10


def print_explained(report: dict[str, Any]) -> None:
    """Two tables a graph, and the conditions."""
    console = open_console()
    for graph in report["graphs"]:
        _print_findings(console, graph, report)
        if graph["operators"]:
            _print_times(console, graph)
    if any(graph["operators"] for graph in report["graphs"]):
        console.print(
            f"{report['runtime']} {report['runtime_version']}, {report['device']}, {report['threads']} thread(s), "
            f"median of {report['calls']} profiled calls, random inputs; a profiler slows what it times: "
            "`edge-kit bench` gives latencies",
            style="dim",
            highlight=False,
        )


def _print_findings(console: Console, graph: dict[str, Any], report: dict[str, Any]) -> None:
    kind = "INT8" if graph["quantized"] else "float"
    size = f"{kind}, {graph['size_bytes'] / 1e6:.2f} MB"
    console.print(f"{graph['name']}: {size}; this machine is {report['target']}", highlight=False, markup=False)
    if not graph["findings"]:
        console.print("nothing found that makes it slow", highlight=False)
    else:
        table = Table(show_lines=True)
        table.add_column("finding", ratio=5)
        table.add_column("how many", justify="right", no_wrap=True)
        table.add_column("price, at most", justify="right", no_wrap=True)
        table.add_column("fix", ratio=4)
        for finding in graph["findings"]:
            what = f"{escape(finding['title'])}\n[dim]{escape(finding['note'])}[/dim]"
            table.add_row(what, str(finding["count"]), _price(finding), escape(finding["fix"]))
        console.print(table)
        if not graph["remedy"]:
            console.print(
                f"what to mend in a plain file; `edge-kit compress MODEL --target {report['target']}` lowers a float "
                "model so, of the zoo or of yours",
                style="dim",
                highlight=False,
            )
    if graph["untimed"]:
        console.print(f"not timed: {graph['untimed']}", style="yellow", highlight=False, markup=False)


def _price(finding: dict[str, Any]) -> str:
    if finding["cost_ms"] is None:
        return "not known"
    return f"{finding['cost_ms']:.3f} ms\n{finding['share']:.0%}"


def _print_times(console: Console, graph: dict[str, Any]) -> None:
    total = graph["total_ms"]
    kinds = Table(title=f"{graph['operator_count']} operators, {total:.3f} ms, {graph['int8_ms']:.3f} ms of it in INT8")
    kinds.add_column("kind")
    kinds.add_column("how many", justify="right")
    _add_bars(kinds, [([one["kind"], str(one["count"])], one["ms"]) for one in graph["kinds"][:KINDS]], total)
    console.print(kinds)
    slowest = Table(title=f"the {len(graph['operators'])} slowest operators")
    slowest.add_column("operator", overflow="fold")
    slowest.add_column("kind")
    _add_bars(slowest, [([one["name"], one["kind"]], one["ms"]) for one in graph["operators"]], total)
    console.print(slowest)


def _add_bars(table: Table, rows: list[tuple[list[str], float]], total: float) -> None:
    """Add a row each: its cells, the time, the share and a bar; the longest first."""
    table.add_column("ms", justify="right")
    table.add_column("share", justify="right")
    table.add_column("", no_wrap=True)
    longest = rows[0][1]
    for cells, ms in rows:
        bar = "█" * max(round(BAR * ms / longest), 1) if longest else ""
        share = f"{ms / total:.0%}" if total else "-"
        table.add_row(*map(escape, cells), f"{ms:.3f}", share, bar)
