"""The parent's side of a stage's process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge_kit.core import errors
from edge_kit.core.progress import Progress
from edge_kit.pipeline.job import Job

TERMINATE_SECONDS = 5


def run_in_child(job: Job, log: Path, progress: Progress, tell: Callable[[str], None]) -> None:
    """Run one stage in a process of its own; all it prints goes to `log`.

    Args:
        tell: Hears the lines that the stage has for people.

    Raises:
        EdgeKitError: What the stage itself raised, of the same class.
        StageFailed: It failed in a way it could not foresee, or its process died.
    """
    read_end, write_end = os.pipe()
    with log.open("ab") as sink:
        sink.write(f"\n=== stage {job.stage}: {json.dumps(dict(job.settings), sort_keys=True)}\n".encode())
        sink.flush()
        child = subprocess.Popen(
            [sys.executable, "-m", "edge_kit.pipeline.worker", str(write_end)],
            stdin=subprocess.PIPE,
            stdout=sink,
            stderr=sink,
            pass_fds=(write_end,),
            start_new_session=True,  # Ctrl-C reaches the parent alone, which then ends the child
        )
    os.close(write_end)
    try:
        with os.fdopen(read_end, encoding="utf-8") as events:
            assert child.stdin is not None  # it is a pipe
            _send(child.stdin, job)
            outcome = _relay(events, progress, tell)
        code = child.wait()
    except BaseException:
        _end(child)
        raise
    finally:
        if child.stdin:
            child.stdin.close()
    _raise_outcome(job.stage, outcome, code, log)


def _send(stdin: Any, job: Job) -> None:
    try:
        stdin.write(job.to_line())
        stdin.flush()
    except BrokenPipeError:
        pass  # it died at once; its exit code and log tell why


def _relay(events: Any, progress: Progress, tell: Callable[[str], None]) -> dict[str, Any]:
    """Pass progress and lines on until the child closes its end; the last other event is the outcome."""
    outcome: dict[str, Any] = {}
    for line in events:
        event = json.loads(line)
        if event["event"] == "progress":
            progress(event["done"], event["total"], event["note"])
        elif event["event"] == "line":
            tell(event["text"])
        else:
            outcome = event
    return outcome


def _end(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(TERMINATE_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _raise_outcome(stage: str, outcome: dict[str, Any], code: int, log: Path) -> None:
    if outcome.get("event") == "done":
        return
    if outcome.get("event") == "error":
        kind = getattr(errors, outcome["type"], errors.EdgeKitError)
        # A class with its own constructor cannot be rebuilt from its message.
        rebuilt = kind if kind.__init__ is errors.EdgeKitError.__init__ else errors.EdgeKitError
        raise rebuilt(outcome["message"])
    how = f"crashed with {signal.Signals(-code).name}" if code < 0 else f"failed with exit code {code}"
    raise errors.StageFailed(f"stage {stage!r} {how}; its log: {log}")
