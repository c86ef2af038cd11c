"""Stage results on disk, found again by what made them.

    <root>/stages/<name>-<key16>/     one result with its stage.json; whole, or not there
    <root>/stages/.<name>-<key16>/    one in the making
    <root>/scratch/<name>-<key16>/    what a stage keeps for its next attempt: checkpoints
    <root>/locks/<name>-<key16>.lock  held by the run that makes it
    <root>/bundles/ <root>/logs/

A result appears by one rename, after its content is on the disk. A lock ends with its process, so
whatever is in the making while the lock is free was left by a run that died.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_kit.core.errors import BadData, EdgeKitError
from edge_kit.core.files import read_json, sha256_file, sha256_json, write_json

HOME_VARIABLE = "EDGE_KIT_HOME"
RECORD = "stage.json"
Make = Callable[[Path, Path], None]
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT}
_NO_ACCESS = {errno.EACCES, errno.EPERM, errno.EROFS}
_ELSEWHERE = "choose another workspace with --workspace DIR"


def stage_key(name: str, settings: Mapping[str, Any], inputs: Mapping[str, str], versions: Mapping[str, str]) -> str:
    """Name a stage's result by all that decides it: SHA-256 of settings, inputs, versions."""
    decides = {"settings": settings, "inputs": inputs, "versions": versions}
    return sha256_json({"name": name} | {part: dict(value) for part, value in decides.items()})


@dataclass(frozen=True, slots=True)
class StageResult:
    """One finished stage.

    Attributes:
        seconds: Wall time of the run that made it.
        digest: Of names and contents of its files; the time and order of their making do not count.
    """

    path: Path
    name: str
    key: str
    seconds: float
    digest: str

    def verify(self) -> None:
        """Hash every file again.

        Raises:
            BadData: A file has changed, is missing or is extra.
        """
        record = _read_record(self.path)
        if record is None or sha256_json(record["files"]) != self.digest:
            raise self._damaged(f"{RECORD!r} has changed or is missing")
        recorded, present = record["files"], dict(_files(self.path))
        for name in sorted(recorded.keys() | present.keys() - {RECORD}):
            if name not in present:
                raise self._damaged(f"{name!r} is missing")
            if name not in recorded:
                raise self._damaged(f"{name!r} is extra")
            if not present[name].is_file() or sha256_file(present[name]) != recorded[name]:
                raise self._damaged(f"{name!r} has changed")

    def _damaged(self, what: str) -> BadData:
        return BadData(f"stage result {str(self.path)!r}: {what}; delete that folder and run the command again")


@dataclass(frozen=True, slots=True)
class Workspace:
    """The store below one folder."""

    root: Path

    @classmethod
    def open(cls, explicit: Path | None = None) -> Workspace:
        """Open the workspace: `explicit`, else $EDGE_KIT_HOME, else the user's cache folder.

        Raises:
            EdgeKitError: It cannot be made or written to.
        """
        try:
            root = (explicit or _default_root()).expanduser().absolute()
        except RuntimeError as error:
            raise EdgeKitError(f"no home folder for the workspace; {_ELSEWHERE}") from error
        workspace = cls(root)
        try:
            with _explained(root), tempfile.TemporaryFile(dir=workspace._folder(".")) as probe:
                probe.write(b"\0")  # on a full disk the folder can still be made
        except OSError as error:
            what = f"cannot keep a workspace in {str(root)!r} ({error.strerror})"
            raise EdgeKitError(f"{what}; {_ELSEWHERE}") from error
        return workspace

    @property
    def bundles_dir(self) -> Path:
        """The folder of bundles; made when asked for."""
        return self._folder("bundles")

    @property
    def previews_dir(self) -> Path:
        """The folder of weights that are still being trained; made when asked for."""
        return self._folder("previews")

    @property
    def logs_dir(self) -> Path:
        """The folder of logs; made when asked for."""
        return self._folder("logs")

    def size_bytes(self) -> int:
        """Sum the sizes of all files, also of those that come and go meanwhile."""
        total = 0
        for folder, _, names in os.walk(self.root):
            for name in names:
                with suppress(OSError):
                    total += Path(folder, name).lstat().st_size
        return total

    def find(self, name: str, key: str) -> StageResult | None:
        """Find a result; one without a readable record or without all its files is none."""
        found = self._result(self.root / "stages" / _folder_name(name, key))
        return found if found is not None and (found.name, found.key) == (name, key) else None

    def results(self, name: str) -> Iterator[StageResult]:
        """All results of a stage, of whatever key."""
        for path in sorted((self.root / "stages").glob(f"{name}-*")):
            found = self._result(path)
            if found is not None and found.name == name:
                yield found

    def _result(self, path: Path) -> StageResult | None:
        record = _read_record(path)
        if record is None:
            return None
        try:
            whole = all((path / file).is_file() for file in record["files"])
        except OSError:  # a name in the record that no file can have
            whole = False
        if not whole:
            return None
        return StageResult(path, record["name"], record["key"], record["seconds"], sha256_json(record["files"]))

    def produce(
        self,
        name: str,
        key: str,
        make: Make,
        on_wait: Callable[[], None] | None = None,
    ) -> StageResult:
        """Find a result, or make it; of two runs at once the second waits for the first's.

        `make` is called with the folder that becomes the result, and with a scratch folder that a
        failed or killed attempt leaves to the next one; `on_wait` once, if another run is at it.

        Raises:
            EdgeKitError: The disk is full, or the workspace cannot be written to.
        """
        scratch = self.root / "scratch" / _folder_name(name, key)
        found = self.find(name, key)
        if found and not scratch.exists():
            return found
        with _explained(self.root), self._locked(_folder_name(name, key), on_wait):
            result = self.find(name, key) or self._make(name, key, make, scratch)
            _remove(scratch)  # also where a kill came between the rename and this
        return result

    def _folder(self, name: str) -> Path:
        folder = self.root / name
        with _explained(self.root):
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except (FileExistsError, NotADirectoryError) as error:
                raise EdgeKitError(f"{str(folder)!r} is not a folder; {_ELSEWHERE}") from error
        return folder

    @contextmanager
    def _locked(self, name: str, on_wait: Callable[[], None] | None) -> Iterator[None]:
        from filelock import FileLock, Timeout

        lock = FileLock(self._folder("locks") / f"{name}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if on_wait:
                on_wait()
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def _make(self, name: str, key: str, make: Make, scratch: Path) -> StageResult:
        result = self._folder("stages") / _folder_name(name, key)
        making = result.with_name(f".{result.name}")
        for leftover in (making, result):  # of a run that died; a result that `find` would not have
            _remove(leftover)
        scratch.mkdir(parents=True, exist_ok=True)
        making.mkdir()
        try:
            began = time.monotonic()
            make(making, scratch)
            seconds = time.monotonic() - began
            _seal(making, name, key, seconds)
            making.rename(result)
        except BaseException:
            shutil.rmtree(making, ignore_errors=True)
            raise
        _sync(result.parent)
        found = self.find(name, key)
        assert found is not None
        return found


def _default_root() -> Path:
    if home := os.environ.get(HOME_VARIABLE):
        return Path(home)
    cache = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (cache if cache.is_absolute() else Path("~/.cache")) / "edge-kit"


def _folder_name(name: str, key: str) -> str:
    folder = f"{name}-{key[:16]}"
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", folder):
        raise ValueError(f"a stage is named by letters, digits, '.', '_' and '-', got {folder!r}")
    return folder


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Walk all that is no folder, by names relative to `folder` with forward slashes."""
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not path.is_dir():
            yield path.relative_to(folder).as_posix(), path


def _seal(folder: Path, name: str, key: str, seconds: float) -> None:
    """Write the record of a finished folder, and see all of it onto the disk."""
    digests: dict[str, str] = {}
    for file, path in _files(folder):
        if path.is_symlink() or not path.is_file() or file == RECORD:
            raise ValueError(f"stage {name!r} left {file!r}; plain files only, and no {RECORD}")
        digests[file] = sha256_file(path)
        _sync(path)
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    record = {"name": name, "key": key, "seconds": seconds, "created": created, "files": digests}
    write_json(folder / RECORD, record)
    for path in folder.rglob("*"):
        if path.is_dir():
            _sync(path)
    _sync(folder)


def _read_record(folder: Path) -> dict[str, Any] | None:
    try:
        record = read_json(folder / RECORD)
    except (OSError, ValueError, RecursionError):
        return None
    match record:
        case {"name": str(), "key": str(), "seconds": float(), "files": dict(files)}:
            return record if all(isinstance(digest, str) for digest in files.values()) else None
        case _:
            return None


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def _explained(root: Path) -> Iterator[None]:
    """Turn what the user can mend into one line; any other error is a fault and stays."""
    try:
        yield
    except OSError as error:
        path = str(error.filename or root)
        hint = f", or {_ELSEWHERE}" if Path(path).is_relative_to(root) else ""
        if error.errno in _NO_SPACE:
            raise EdgeKitError(f"no space left for {path!r}; free some{hint}") from error
        if error.errno in _NO_ACCESS:
            raise EdgeKitError(f"no access to {path!r}; check its permissions{hint}") from error
        raise
