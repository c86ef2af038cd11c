"""Runs one stage in a process of its own: `python -m edge_kit.pipeline.worker EVENTS_FD`, the job on standard input.

A process for each stage, because Paddle and PaddleSlim print, keep global state, name variables by counters and can
crash: here noise goes to a log, every stage starts from the same state, and a crash is a report.
"""

from __future__ import annotations

import errno
import faulthandler
import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any, TextIO

from edge_kit.core.errors import EdgeKitError
from edge_kit.pipeline.job import Context, Job

PROGRESS_SECONDS = 0.1  # between two reports; the screen shows no more


class Events:
    """The channel to the parent: one JSON document a line."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._last = 0.0

    def send(self, **event: Any) -> None:
        self._file.write(json.dumps(event) + "\n")
        self._file.flush()

    def progress(self, done: int, total: int, note: str = "") -> None:
        now = time.monotonic()
        if done >= total or now - self._last >= PROGRESS_SECONDS:
            self._last = now
            self.send(event="progress", done=done, total=total, note=note)

    def tell(self, text: str) -> None:
        self.send(event="line", text=text)


def exit_with_parent() -> None:
    """End when the parent does, however it does: its end of our standard input closes."""
    while os.read(0, 1024):
        pass
    os._exit(1)


def _read_line() -> bytes:
    """One line of standard input, byte by byte: what follows belongs to the watching thread."""
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            os._exit(1)
        line += byte
    return line


def reported(events: Events, job: Job, work: Callable[[Context], None]) -> int:
    """Do a job's work and tell the parent what went wrong, if it can be told in a line; gives the exit code."""
    try:
        work(Context(job.settings, job.inputs, job.out, job.scratch, events.progress, job.aside, events.tell))
    except EdgeKitError as error:
        traceback.print_exc()
        events.send(event="error", type=type(error).__name__, message=str(error))
        return 1
    except OSError as error:
        traceback.print_exc()
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
            raise
        place = error.filename or job.out
        message = (
            f"cannot write {str(place)!r} ({os.strerror(error.errno).lower()}); free space or pass --workspace DIR"
        )
        events.send(event="error", type="EdgeKitError", message=message)
        return 1
    events.send(event="done")
    return 0


def _stage(context: Context, name: str) -> None:
    from edge_kit.pipeline.stages import STAGES

    STAGES.get(name)(context)


def main() -> int:
    """Run the job and report; the exit code is for the log, the parent goes by the events."""
    faulthandler.enable()
    events = Events(os.fdopen(int(sys.argv[1]), "w", encoding="utf-8"))
    job = Job.from_line(_read_line())
    threading.Thread(target=exit_with_parent, daemon=True).start()
    return reported(events, job, lambda context: _stage(context, job.stage))


def end(code: int) -> None:
    """Leave at once: engines that were loaded together may crash while they are torn down, and the work is done."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    end(main())
