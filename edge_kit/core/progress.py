"""How long work tells what it is doing, whoever listens."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Told how far a stage has come."""

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """`done` of `total`; `note` is a few words for people."""
        ...


def silent(done: int, total: int, note: str = "") -> None:
    """Tell nobody: who calls it has a progress of its own."""
