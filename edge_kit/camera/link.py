"""What lies between two stages: a queue that cannot grow."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Drained(Exception):
    """Nothing more comes out of a link."""


class Link(Generic[T]):
    """A bounded queue with one giver and one taker, either of which may end it.

    Args:
        room: Items that it holds at most.
        drop_oldest: A full link makes room by losing its oldest item; otherwise the giver waits.

    Attributes:
        dropped: Items lost that way.
    """

    def __init__(self, room: int, *, drop_oldest: bool = False) -> None:
        if room < 1:
            raise ValueError(f"room must be at least 1, got {room}")
        self.dropped = 0
        self._room, self._drop_oldest = room, drop_oldest
        self._items: deque[T] = deque()
        self._closed = self._abandoned = False
        self._changed = threading.Condition()

    def put(self, item: T) -> bool:
        """Add an item; False where the taker has left."""
        with self._changed:
            while len(self._items) >= self._room and not self._abandoned:
                if self._drop_oldest:
                    self._items.popleft()
                    self.dropped += 1
                else:
                    self._changed.wait()
            if self._abandoned:
                return False
            self._items.append(item)
            self._changed.notify_all()
            return True

    def take(self, wait_s: float | None = None) -> T | None:
        """The oldest item; None where none came in `wait_s` seconds.

        Raises:
            Drained: The giver has closed it and everything was taken, or it was abandoned.
        """
        with self._changed:
            ready = self._changed.wait_for(lambda: self._items or self._closed or self._abandoned, wait_s)
            if not ready:
                return None
            if self._abandoned or not self._items:
                raise Drained
            item = self._items.popleft()
            self._changed.notify_all()
            return item

    def close(self) -> None:
        """By the giver: no more comes; what is in it is still given out."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def abandon(self) -> None:
        """By the taker: nothing more is taken; what is in it is let go of."""
        with self._changed:
            self._abandoned = True
            self._items.clear()
            self._changed.notify_all()
