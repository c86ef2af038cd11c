"""How a demo went, in a few lines."""

from __future__ import annotations

from edge_kit.camera.meter import Summary
from edge_kit.report.console import open_console


def print_summary(summary: Summary) -> None:
    """Frames or lines and speed, the stages, and what went wrong and was survived."""
    console = open_console()

    def line(text: str) -> None:
        console.print(text, highlight=False, soft_wrap=True, markup=False)

    lost = f", {summary.dropped:,} dropped, {summary.unread:,} unread" if summary.dropped or summary.unread else ""
    count = f"{summary.frames:,} {summary.unit}{lost}"
    line(f"{count} in {summary.seconds:.1f} s: {summary.fps:.1f} a second; {summary.ended}")
    line("stages, p50 ms: " + ", ".join(f"{name} {ms:.2f}" for name, ms in summary.ms.items()))
    line(f"captured to done, ms: p50 {summary.latency_ms['p50']:.1f}, p99 {summary.latency_ms['p99']:.1f}")
    for note in summary.notes:
        line(f"note: {note}")
