"""Files that are either whole or not there, and their digests."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

CHUNK = 1 << 20


def sha256_file(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(CHUNK):
            digest.update(block)
    return digest.hexdigest()


def sha256_tree(path: Path) -> str:
    """SHA-256 of a file, or of the names and contents of a folder's files."""
    if path.is_file():
        return sha256_file(path)
    files = sorted(one for one in path.rglob("*") if one.is_file())
    return sha256_json([[one.relative_to(path).as_posix(), sha256_file(one)] for one in files])


def installed_folder(package: str) -> Path | None:
    """Where the files of an installed package lie, which is not imported for that; None where it is not installed."""
    found = find_spec(package)
    return Path(found.submodule_search_locations[0]) if found and found.submodule_search_locations else None


def sha256_json(document: Any) -> str:
    """SHA-256 of a JSON document, independent of the order of its keys."""
    return hashlib.sha256(json.dumps(document, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees all of it or the old one, also after a kill or on a full disk."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), 0o666 & ~_umask())  # mkstemp's 0600 would lock a board's other users out
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _umask() -> int:
    """The process's file mode mask; it can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_json(path: Path, document: Any) -> None:
    """Write a JSON document, atomically, its keys in the order they have."""
    write_atomic(path, as_json(document))


def as_json(document: Any) -> bytes:
    """A JSON document as `write_json` writes it."""
    return (json.dumps(document, indent=2) + "\n").encode()


def read_json(path: Path) -> Any:
    """Read a JSON document."""
    return json.loads(path.read_text())
