"""What `bench` measured, as tables."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from edge_kit.report.console import open_console
from runtimes.bench import BenchReport, BenchRow, Placed
from runtimes.endurance import Camera, Curve
from runtimes.protocol import OperatorTime

SHOWN_OPERATORS = 15
BAR = 30
PROVIDER = "ExecutionProvider"
LEVELS = "▁▂▃▄▅▆▇█"


@contextmanager
def bench_progress() -> Iterator[Callable[[str, int, int], None]]:
    """A bar on stderr; the context gives what a bench tells its progress to."""
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bars:
        bar = bars.add_task("bench", total=None)

        def report(what: str, done: int, total: int) -> None:
            bars.update(bar, description=what, completed=done, total=total)

        yield report


def print_bench(report: BenchReport, curves: Sequence[Curve] = (), cameras: Sequence[Camera] = ()) -> None:
    """A row a graph, the conditions, then the verdicts; then what was asked for besides."""
    console = open_console()
    _print_rows(console, report.rows)
    _print_conditions(console, report)
    if any(row.preprocess_ms is not None for row in report.rows):
        text = "picture ms: making a 640 x 480 picture the input in Python, which comes on top of p50"
        console.print(text, style="dim", highlight=False)
    if any(row.postprocess_ms is not None for row in report.rows):
        text = "answer ms: reading the answer to a sample of the bundle from the outputs, likewise"
        console.print(text, style="dim", highlight=False)
    for skipped in report.skipped:
        console.print(
            f"not run: {skipped.model} on {skipped.runtime}: {skipped.reason}", style="yellow", highlight=False
        )
    for line in report.noise:
        console.print(f"noisy: {line}", style="yellow", highlight=False)
    for verdict in report.verdicts:
        console.print(verdict.verdict, highlight=False, markup=False)
    for label, operators in report.operators.items():
        _print_operators(console, label, operators)
    for curve in curves:
        _print_curve(console, curve)
    if cameras:
        _print_cameras(console, cameras)


def _print_rows(console: Console, rows: Sequence[BenchRow]) -> None:
    """A column of threads, of pictures or of answers only where there is something to tell."""
    swept = len({row.latency.threads for row in rows}) > 1
    pictures = any(row.preprocess_ms is not None for row in rows)
    answers = any(row.postprocess_ms is not None for row in rows)
    columns = ["model", "runtime"] + ["threads"] * swept + ["picture ms"] * pictures + ["answer ms"] * answers
    columns += ["p50 ms", "p90 ms", "p99 ms", "/s", "size", "load ms", "first ms", "memory", "ran as"]
    table = Table()
    for column in columns:
        table.add_column(column, justify="left" if column in ("model", "runtime", "ran as") else "right")
    for row in rows:
        latency = row.latency
        cells = [row.model, row.runtime] + [str(latency.threads)] * swept
        cells += [_milliseconds(row.preprocess_ms)] * pictures + [_milliseconds(row.postprocess_ms)] * answers
        cells += [f"{value:.3f}" for value in (latency.p50_ms, latency.p90_ms, latency.p99_ms)]
        cells += [f"{row.throughput:,.0f}", f"{row.size_bytes / 1e6:.2f} MB", f"{row.load_ms:.1f}"]
        cells += [f"{row.first_ms:.1f}", f"{row.peak_rss_bytes / 1e6:.0f} MB", _ran_as(row.placement)]
        table.add_row(*cells)
    console.print(table)


def _milliseconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _ran_as(placement: Sequence[Placed] | None) -> str:
    """Operators by precision; by execution provider too where there are several, as on a GPU that leaves some out."""
    if placement is None:
        return "not told"
    providers = {one.place for one in placement if one.place.endswith(PROVIDER)}
    counted: Counter[str] = Counter()
    for one in placement:
        where = f" on {one.place.removesuffix(PROVIDER)}" if len(providers) > 1 else ""
        counted[f"{one.precision or 'operators'}{where}"] += one.operators
    return ", ".join(f"{count} {what}" for what, count in counted.most_common())


def _print_conditions(console: Console, report: BenchReport) -> None:
    machine = report.machine
    where = f"{machine['host'] or 'this machine'}: {machine['cpu']}, {machine['cores']} core(s)" if machine else ""
    if machine.get("gpu"):
        where += f"; {machine['gpu']}"
    console.print(where, style="dim", highlight=False)
    seen: dict[str, list[str]] = {}
    for row in report.rows:
        one = row.latency
        shape = ", ".join(f"{name} {'x'.join(map(str, axes))}" for name, axes in one.input_shape.items())
        pinned = f", on processors {', '.join(map(str, one.cpus))}" if one.cpus else ""
        plan = f"{one.device}, {shape}, {one.warmup} warm-up and {one.repeats} timed calls{pinned}"
        engine = f"{one.runtime} {one.runtime_version} on {one.threads} thread(s)"
        seen.setdefault(plan, []).append(engine)
    for plan, engines in seen.items():
        engine = ", ".join(dict.fromkeys(engines))
        console.print(f"{engine}: {plan}; in turn, random inputs", style="dim", highlight=False)


def _print_operators(console: Console, label: str, operators: Sequence[OperatorTime]) -> None:
    """The slowest operators as bars; what is left over in one row."""
    total = sum(one.ms for one in operators) or 1.0
    slowest = sorted(operators, key=lambda one: -one.ms)[:SHOWN_OPERATORS]
    table = Table(title=f"{label}: {len(operators)} operators, {total:.3f} ms with the profiler on")
    for column in ("operator", "kind", "as", "ms", ""):
        table.add_column(column, justify="right" if column == "ms" else "left", overflow="fold")
    for one in slowest:
        bar = "█" * round(BAR * one.ms / max(slowest[0].ms, 1e-9))
        table.add_row(one.name, one.kind, one.precision, f"{one.ms:.3f}", bar)
    rest = total - sum(one.ms for one in slowest)
    if len(operators) > len(slowest):
        table.add_row(f"{len(operators) - len(slowest)} others", "", "", f"{rest:.3f}", "")
    console.print(table)


def _print_curve(console: Console, curve: Curve) -> None:
    """Median latency over time as one line of bars, with its ends."""
    times = [point.p50_ms for point in curve.points]
    low, high = min(times), max(times)
    step = (high - low) / (len(LEVELS) - 1) or 1.0
    bars = "".join(LEVELS[round((value - low) / step)] for value in times)
    console.print(f"{curve.verdict}\n  {low:.3f} ms {bars} {high:.3f} ms", highlight=False, markup=False)


def _print_cameras(console: Console, cameras: Sequence[Camera]) -> None:
    table = Table(title=f"a camera of {cameras[0].report.fps:g} frames a second, {cameras[0].report.seconds:g} s")
    for column in ("model", "runtime", "served", "dropped", "p50 ms", "p99 ms", "busy"):
        table.add_column(column, justify="left" if column in ("model", "runtime") else "right")
    for one in cameras:
        report = one.report
        delays = (f"{report.p50_ms:.2f}", f"{report.p99_ms:.2f}")
        table.add_row(
            one.model, one.runtime, f"{report.served}", f"{report.dropped}", *delays, f"{100 * report.busy:.0f} %"
        )
    console.print(table)
    console.print("from a frame's arrival to its answer; the newest frame is taken", style="dim", highlight=False)
