"""Capture, stages and sinks at once: each on a thread of its own, with little between them.

The policy: of a live source the newest frame counts. A frame is dropped only in front of the first stage, before any
work was done on it; the links behind it hold one frame, so that nothing grows old in them. Of a file every frame
counts, and whoever is ahead waits. Every stage is one thread, so frames stay in order.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from edge_kit.camera.frame import Frame, Stage, is_picture
from edge_kit.camera.link import Drained, Link
from edge_kit.camera.meter import Meter, Summary
from edge_kit.camera.sinks import Sink
from edge_kit.camera.sources import Source
from edge_kit.core.errors import BadData, EdgeKitError
from runtimes.faults import one_line

ROOM = 4  # frames between two stages of a file: evens out stages that are not always equally fast
POLL_S = 0.05  # how soon a signal is noticed
GRACE_S = 20.0  # for a thread to end; a camera's driver may sit in a read for ten seconds
MOST_EMPTY = 300  # in a row, from a source that gives nothing else


class Pipeline:
    """One run from a source through stages to sinks.

    Args:
        source: It is closed when the run ends.
        stages: In order; each gets a thread.
        sinks: Called in order by the thread that calls `run`, since windows belong to the main thread; closed likewise.
        limit: Frames to capture; 0 for all.
        paced: Take a file at the speed that it was filmed at, for somebody to look at.
        meter: Told of every frame that is done.
    """

    def __init__(
        self,
        source: Source,
        stages: Sequence[Stage],
        sinks: Sequence[Sink],
        *,
        limit: int = 0,
        paced: bool = False,
        meter: Meter | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.meter = meter or Meter()
        self._source, self._stages, self._sinks, self._clock = source, stages, sinks, clock
        self._limit, self._paced = limit, paced and not source.live
        room = 1 if source.live else ROOM
        first: Link[Frame] = Link(room, drop_oldest=source.live)
        self._links = [first, *(Link[Frame](room) for _ in stages)]
        self._empty = 0
        self._began: float | None = None
        self._ended = "source ended"
        self._stop = False
        self._faults: list[EdgeKitError] = []

    def stop(self) -> None:
        """End the run soon; from any thread, or a signal's handler."""
        self._stop = True

    def run(self) -> Summary:
        """Work until the source ends, a sink says enough, or someone calls `stop` or presses Ctrl-C.

        Whatever happens, no thread of ours is left and every sink is closed.

        Raises:
            EdgeKitError: A stage or a sink failed, the source died, or it gave no frame at all.
        """
        threads = self._start()
        with _stopping_on_signals(self):
            try:
                self._sink_all()
            finally:
                self._shut_down(threads)
        if self._faults:
            raise self._faults[0]
        if not self.meter.frames and self._ended == "source ended":
            raise BadData(f"{self._source.name} gave no frame that could be read{self._first_note()}")
        return self.meter.summary(
            self._source.name,
            self._links[0].dropped,
            self._source.unread + self._empty,
            self._ended,
            tuple(self._source.notes),
        )

    def _start(self) -> list[threading.Thread]:
        threads = [threading.Thread(target=self._capture, name="capture", daemon=True)]
        for stage, taken, given in zip(self._stages, self._links, self._links[1:], strict=False):
            threads.append(
                threading.Thread(target=self._work, args=(stage, taken, given), name=stage.name, daemon=True)
            )
        for thread in threads:
            thread.start()
        return threads

    def _capture(self) -> None:
        link, index, empty = self._links[0], 0, 0
        try:
            while not self._stop and empty < MOST_EMPTY:
                began = self._clock()
                shot = self._source.read()
                if shot is None:
                    break
                if not is_picture(shot.image):
                    self._empty, empty = self._empty + 1, empty + 1
                    continue
                empty = 0
                now = self._wait_for(shot.seconds)
                if not link.put(Frame(index, shot, now, {"capture": 1000 * (now - began)})):
                    break
                index += 1
                if index == self._limit:
                    self._ended = "enough frames"
                    break
            if empty == MOST_EMPTY:
                raise BadData(f"{self._source.name} gave {empty} empty frames in a row")
        except Exception as fault:
            self._fail("capture", index, fault)
        link.close()

    def _wait_for(self, seconds: float) -> float:
        """Until a frame of that time in its file is due; gives the clock's time."""
        now = self._clock()
        self._began = now - seconds if self._began is None else self._began
        while self._paced and not self._stop and (early := self._began + seconds - now) > 0:
            time.sleep(min(early, POLL_S))
            now = self._clock()
        return now

    def _work(self, stage: Stage, taken: Link[Frame], given: Link[Frame]) -> None:
        """What comes in before it fails still goes out behind it; who is before it is told to stop."""
        place = 0
        try:
            while True:
                frame = taken.take()
                assert frame is not None  # it waits without a limit
                place, began = frame.index, self._clock()
                stage.work(frame)
                frame.ms[stage.name] = 1000 * (self._clock() - began)
                if not given.put(frame):
                    break
        except Drained:
            pass
        except Exception as fault:
            self._fail(stage.name, place, fault)
        taken.abandon()
        given.close()

    def _sink_all(self) -> None:
        link, drained = self._links[-1], False
        while True:
            try:
                frame = link.take(POLL_S)
            except Drained:
                frame = None
                drained = True
            if self._stop:
                self._ended = "interrupted"
                return
            if drained:
                return
            if frame is None:
                continue
            began = self._clock()
            wanted = [self._write(sink, frame) for sink in self._sinks]
            now = self._clock()
            frame.ms["sink"] = 1000 * (now - began)
            self.meter.seen(frame, now)
            if not all(wanted):
                self._ended = "window closed"  # or a sink failed, which is raised
                return

    def _write(self, sink: Sink, frame: Frame) -> bool:
        try:
            return sink.write(frame)
        except Exception as fault:
            self._fail(sink.name, frame.index, fault)
            return False

    def _fail(self, where: str, index: int, fault: Exception) -> None:
        if not isinstance(fault, EdgeKitError):
            fault = EdgeKitError(f"{where} failed on frame {index}: {one_line(fault)}")
        self._faults.append(fault)

    def _shut_down(self, threads: list[threading.Thread]) -> None:
        self._stop = True
        self._source.stop()
        self._links[-1].abandon()  # each thread that can give no more lets go of the one before it
        deadline = time.monotonic() + GRACE_S
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        hung = [thread.name for thread in threads if thread.is_alive()]
        if hung:
            self._faults.append(EdgeKitError(f"{', '.join(hung)} did not stop in {GRACE_S:g} s"))
        if not threads[0].is_alive():
            self._source.close()
        for sink in self._sinks:
            try:
                sink.close()
            except Exception as fault:
                self._fail(sink.name, self.meter.frames, fault)

    def _first_note(self) -> str:
        return f"; {self._source.notes[0]}" if self._source.notes else ""


@contextmanager
def _stopping_on_signals(pipeline: Pipeline) -> Iterator[None]:
    """Ctrl-C and SIGTERM end the run between two frames, never in the middle of a line; the second one at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in kept.items():
            signal.signal(number, handler)

    def ask(number: int, frame: FrameType | None) -> None:
        pipeline.stop()
        restore()

    for number in kept:
        signal.signal(number, ask)
    try:
        yield
    finally:
        restore()
