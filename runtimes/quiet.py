"""Native code prints where Python cannot see it; this keeps what it says."""

from __future__ import annotations

import ctypes
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def native_output() -> Iterator[Callable[[], str]]:
    """Keep what native code prints on stdout and stderr of this process; gives a function that tells it so far.

    It holds for all threads: enter it around calls that are not timed.
    """
    with tempfile.TemporaryFile() as sink:

        def said() -> str:
            _flush()
            end = sink.tell()
            sink.seek(0)
            text = sink.read().decode(errors="replace")
            sink.seek(end)
            return text

        _flush()
        kept = [os.dup(number) for number in (1, 2)]
        try:
            for number in (1, 2):
                os.dup2(sink.fileno(), number)
            yield said
        finally:
            _flush()
            for number, original in zip((1, 2), kept, strict=True):
                os.dup2(original, number)
                os.close(original)


def _flush() -> None:
    """Write out what Python and C still hold back; C holds back all it can when stdout is no terminal."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    ctypes.CDLL(None).fflush(None)
