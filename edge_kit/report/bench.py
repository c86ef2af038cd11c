"""What `bench` measured, as a table."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from edge_kit.core.records import Latency
from runtimes.bench import BenchReport


@contextmanager
def bench_progress() -> Iterator[Callable[[str, int, int], None]]:
    """A bar on stderr; the context gives what `bench_graphs` tells its progress to."""
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bars:
        bar = bars.add_task("bench", total=None)

        def report(what: str, done: int, total: int) -> None:
            bars.update(bar, description=what, completed=done, total=total)

        yield report


def print_bench(report: BenchReport) -> None:
    """A row a graph, the conditions, then the verdicts."""
    console = Console()
    table = Table()
    for column in ("model", "p50 ms", "p90 ms", "p99 ms", "size", "cold start ms", "peak memory"):
        table.add_column(column, justify="left" if column == "model" else "right")
    for row in report.rows:
        times = (f"{value:.3f}" for value in (row.latency.p50_ms, row.latency.p90_ms, row.latency.p99_ms))
        memory = f"{row.peak_rss_bytes / 1e6:.0f} MB"
        table.add_row(row.model, *times, f"{row.size_bytes / 1e6:.2f} MB", f"{row.cold_start_ms:.1f}", memory)
    console.print(table)
    plans = {
        (one.runtime, one.runtime_version, one.device, one.threads, one.warmup, one.repeats)
        for one in _latencies(report)
    }
    for runtime, version, device, threads, warmup, repeats in sorted(plans):
        console.print(
            f"{runtime} {version}, {device}, {threads} thread(s), {warmup} warm-up and {repeats} timed calls, "
            "models of a bundle in turn, random inputs",
            style="dim",
            highlight=False,
        )
    for row in report.rows:
        shape = ", ".join(f"{name} {'x'.join(map(str, axes))}" for name, axes in row.latency.input_shape.items())
        console.print(f"{row.model}: {shape}", style="dim", highlight=False)
    for verdict in report.verdicts:
        console.print(verdict.verdict, highlight=False, markup=False)


def _latencies(report: BenchReport) -> list[Latency]:
    return [row.latency for row in report.rows]
