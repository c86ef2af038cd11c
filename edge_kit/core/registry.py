"""One registry class for every kind of named thing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

from edge_kit.core.errors import unknown_name

T = TypeVar("T")


class Registry(Generic[T]):
    """Entries by name; a name registers once, and a miss suggests the nearest.

    Attributes:
        kind: What the entries are, for messages: `model`, `runtime`.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, T] = {}

    def add(self, name: str, entry: T) -> T:
        """Register one entry and return it."""
        if name in self._entries:
            raise ValueError(f"{self.kind} {name!r} is already registered by {self._entries[name]!r}")
        self._entries[name] = entry
        return entry

    def get(self, name: str) -> T:
        """The entry of that name.

        Raises:
            UsageError: No entry has it.
        """
        try:
            return self._entries[name]
        except KeyError:
            raise unknown_name(self.kind, name, self._entries) from None

    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted(self._entries)

    def __iter__(self) -> Iterator[T]:
        return (self._entries[name] for name in self.names())

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def __len__(self) -> int:
        return len(self._entries)
