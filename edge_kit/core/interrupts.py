"""Ctrl-C that no package can swallow.

A package that is interrupted while it is imported may take `KeyboardInterrupt` for a reason to do without something,
and go on. So the first one is remembered, and raised again before the next piece of work begins.
"""

from __future__ import annotations

import signal
from types import FrameType

_received: list[int] = []


def raise_on_interrupt() -> None:
    """From now on Ctrl-C raises `KeyboardInterrupt` and is remembered."""
    signal.signal(signal.SIGINT, _receive)


def was_interrupted() -> bool:
    """Whether Ctrl-C came since."""
    return bool(_received)


def raise_if_interrupted() -> None:
    """Raise what was swallowed.

    Raises:
        KeyboardInterrupt: Ctrl-C came before.
    """
    if _received:
        raise KeyboardInterrupt


def _receive(number: int, frame: FrameType | None) -> None:
    _received.append(number)
    raise KeyboardInterrupt
