"""A demo of texts: every line of a file, or what is typed, is answered before the next one is read."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from edge_kit.camera.demo import TextDemo
from edge_kit.camera.frame import EMPTY, Frame, Shot
from edge_kit.camera.lineup import Lineup
from edge_kit.camera.meter import Meter, Summary
from edge_kit.camera.sinks import Sink
from edge_kit.core.errors import BadData

STDIN = Path("-")
MOST_NOTES = 20


def run_lines(
    path: Path, lineup: Lineup[TextDemo], sinks: Sequence[Sink], tell: Callable[[str], None], limit: int = 0
) -> Summary:
    """Answer to each line until the last one or Ctrl-C; the sinks are closed then.

    Args:
        path: A file in UTF-8, or `STDIN`.
        tell: Told every answer, for people.
        limit: Lines to answer; 0 for all.

    Raises:
        BadData: There is no such file, or it holds no line that the network takes.
    """
    meter, notes, unread, ended = Meter(), list[str](), 0, "source ended"
    name = "what is typed" if path == STDIN else path.name
    try:
        for number, line in enumerate(_lines(path), 1):
            if not line.strip():
                continue
            try:
                frame = _answered(meter.frames, line, lineup)
            except (BadData, UnicodeDecodeError) as fault:
                unread += 1
                if len(notes) < MOST_NOTES:
                    notes.append(f"line {number} of {name}: {fault}")
                continue
            tell(frame.cast.demo.write(frame.shot.text, frame.runs[0].answer))
            for sink in sinks:
                sink.write(frame)
            meter.seen(frame, time.perf_counter())
            if meter.frames == limit:
                ended = "enough lines"
                break
    except KeyboardInterrupt:
        ended = "interrupted"
    finally:
        for sink in sinks:
            sink.close()
    if not meter.frames and ended == "source ended":
        raise BadData(f"{name} holds no line to answer{f'; {notes[0]}' if notes else ''}")
    return meter.summary(name, 0, unread, ended, tuple(notes), unit="lines")


def _answered(index: int, line: bytes, lineup: Lineup[TextDemo]) -> Frame:
    began = time.perf_counter()
    frame = Frame(index, Shot(EMPTY, 0.0, text=" ".join(line.decode().split())), began)
    frame.cast = lineup.now()
    demo = frame.cast.demo
    frame.inputs = demo.parse(frame.shot.text)
    parsed = time.perf_counter()
    frame.runs = frame.cast.run(frame.inputs)
    inferred = time.perf_counter()
    for run in frame.runs:
        run.answer = demo.read(run.outputs)
    lineup.count(frame.cast, frame.runs)
    marks = (began, parsed, inferred, time.perf_counter())
    stages = ("preprocess", "inference", "postprocess")
    frame.ms = {name: 1000 * (end - start) for name, start, end in zip(stages, marks, marks[1:], strict=False)}
    return frame


def _lines(path: Path) -> Iterator[bytes]:
    if path == STDIN:
        if sys.stdin.isatty():
            print("type a line and press Enter; Ctrl-D ends", file=sys.stderr)
        yield from iter(sys.stdin.buffer.readline, b"")
        return
    try:
        with path.open("rb") as file:
            yield from file
    except OSError as fault:
        raise BadData(f"{str(path)!r} cannot be read: {fault.strerror}") from None
