"""Documents on their way to files that the user named."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from edge_kit.core.errors import EdgeKitError, UsageError
from edge_kit.core.files import write_atomic


def check_places(places: Sequence[Path]) -> None:
    """Make sure that files can be written there, before the work that they are of.

    Raises:
        UsageError: Two are one, one is a folder, or its own folder does not exist.
    """
    for place in places:
        if not place.parent.is_dir():
            raise UsageError(f"{str(place)!r}: folder {str(place.parent)!r} does not exist; make it, or name another")
        if place.is_dir():
            raise UsageError(f"{str(place)!r} is a folder; name a file in it")
    if len({place.resolve() for place in places}) < len(places):
        raise UsageError(f"{' and '.join(repr(str(place)) for place in places)} are to be files of their own")


def write_all(texts: Mapping[Path | None, Callable[[Any], str]], document: Any) -> None:
    """Write a document to each place in its form; `None` is no place.

    Raises:
        EdgeKitError: One cannot be written.
    """
    for place, form in texts.items():
        if place is None:
            continue
        try:
            write_atomic(place, form(document).encode())
        except OSError as error:
            raise EdgeKitError(f"cannot write {str(place)!r} ({error.strerror}); name another file") from None
