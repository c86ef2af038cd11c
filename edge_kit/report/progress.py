"""Progress of a pipeline on stderr: a bar for the stage that runs, a line for each that is done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from edge_kit.core.interrupts import raise_if_interrupted
from edge_kit.core.records import StageRecord


@contextmanager
def working(what: str) -> Iterator[None]:
    """A spinner on stderr, for work that cannot say how much there is of it."""
    console = Console(stderr=True)
    with console.status(what) if console.is_terminal else nullcontext():
        yield


class ConsoleReporter:
    """Hears a runner and draws; use as a context."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description:<10}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,  # a log wants the lines, not the bars
        )
        self._bar: TaskID | None = None

    def __enter__(self) -> ConsoleReporter:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def started(self, stage: str) -> None:
        raise_if_interrupted()
        self._clear()
        self._bar = self._bars.add_task(stage, total=None, note="")

    def progress(self, done: int, total: int, note: str = "") -> None:
        if self._bar is not None:
            self._bars.update(self._bar, completed=done, total=total, note=note)

    def waiting(self, stage: str) -> None:
        self._console.print(
            f"  {stage:<10} [dim]another run is at it; waiting for its result[/dim]",
            highlight=False,
        )

    def tell(self, text: str) -> None:
        self._console.print(f"  {text}", highlight=False, markup=False, soft_wrap=True)

    def finished(self, record: StageRecord) -> None:
        raise_if_interrupted()
        self._clear()
        how = "[dim]was done before[/dim]" if record.cached else f"{record.seconds:.1f} s"
        self._console.print(f"  {record.name:<10} {how}", highlight=False)

    def _clear(self) -> None:
        if self._bar is not None:
            self._bars.remove_task(self._bar)
            self._bar = None
