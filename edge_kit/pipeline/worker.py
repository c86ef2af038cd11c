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
from typing import Any

from edge_kit.core.errors import EdgeKitError
from edge_kit.pipeline.job import Context, Job

PROGRESS_SECONDS = 0.1  # between two reports; the screen shows no more


class _Events:
    """The channel to the parent."""

    def __init__(self, descriptor: int) -> None:
        self._file = os.fdopen(descriptor, "w", encoding="utf-8")
        self._last = 0.0

    def send(self, **event: Any) -> None:
        self._file.write(json.dumps(event) + "\n")
        self._file.flush()

    def progress(self, done: int, total: int, note: str = "") -> None:
        now = time.monotonic()
        if done >= total or now - self._last >= PROGRESS_SECONDS:
            self._last = now
            self.send(event="progress", done=done, total=total, note=note)


def _exit_with_parent() -> None:
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


def main() -> int:
    """Run the job and report; the exit code is for the log, the parent goes by the events."""
    faulthandler.enable()
    events = _Events(int(sys.argv[1]))
    job = Job.from_line(_read_line())
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    try:
        from edge_kit.pipeline.stages import STAGES

        STAGES.get(job.stage)(Context(job.settings, job.inputs, job.out, job.scratch, events.progress))
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


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Engines that were loaded together may crash while they are torn down; the work is done and reported.
    os._exit(code)
