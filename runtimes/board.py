"""A board that is reached over ssh: it needs Python, NumPy and the engine, and gets the rest from here.

What is copied lies in `~/.cache/edge-kit/board` there, by digest, and is not copied again.
"""

from __future__ import annotations

import hashlib
import io
import os
import shlex
import subprocess
import tarfile
from functools import cached_property
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from edge_kit.core.errors import EdgeKitError, UsageError
from runtimes.faults import one_line

SSH_VARIABLE = "EDGE_KIT_SSH"
"""An environment variable with the ssh command to use, options included; `ssh` where it is not set."""

STORE = ".cache/edge-kit/board"
OLDEST_PYTHON = (3, 10)
CODE = ("edge_kit/__init__.py", "edge_kit/core/*.py", "runtimes/*.py")
ROOT = Path(__file__).resolve().parents[1]
HELD = b"edge-kit-holds-it"
CHECK = "import sys, numpy; print('edge-kit', *sys.version_info[:2])"


class Board:
    """A machine behind `ssh://[user@]host[:port]`.

    Attributes:
        name: The address, as given.
        python: The interpreter there.
    """

    def __init__(self, address: str, python: str = "python3") -> None:
        self.name, self.python = address, python
        self._ssh = _command(address)
        self._there: set[str] = set()

    def start(self, errors: IO[bytes]) -> subprocess.Popen[bytes]:
        """Start a worker there; it ends when the connection does."""
        run = f"cd {STORE}/{self._code} && exec {shlex.quote(self.python)} -m runtimes.worker"
        return subprocess.Popen([*self._ssh, run], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)

    def place(self, file: Path) -> str:
        """Copy a file, and those beside it that belong to it: of the same name up to the first dot."""
        stem = file.name.split(".", 1)[0]
        if not file.is_file():
            return str(file)  # the worker has the message for what is missing
        parts = sorted(path for path in file.parent.glob(f"{stem}.*") if path.is_file())
        folder = self._copy({path.name: path.read_bytes() for path in parts})
        return f"../{folder}/{file.name}"

    @cached_property
    def _code(self) -> str:
        """The folder of our code there, relative to the store."""
        self._check()
        files = sorted(path for pattern in CODE for path in ROOT.glob(pattern))
        return self._copy({path.relative_to(ROOT).as_posix(): path.read_bytes() for path in files})

    def _check(self) -> None:
        told = self._run(f"{shlex.quote(self.python)} -c {shlex.quote(CHECK)}", "has no Python with NumPy")
        version = tuple(int(part) for part in told.rsplit(b"edge-kit", 1)[-1].split()[:2])
        if version < OLDEST_PYTHON:
            wanted = ".".join(map(str, OLDEST_PYTHON))
            got = ".".join(map(str, version))
            raise EdgeKitError(f"{self.name} has Python {got} as {self.python!r}; the runner needs {wanted} or later")

    def _copy(self, files: dict[str, bytes]) -> str:
        """Bring files into a folder named by their content, whole or not at all; the folder, relative to the store."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            for name, content in files.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
        folder = hashlib.sha256(packed.getvalue()).hexdigest()[:16]
        if folder in self._there:
            return folder
        place = f"{STORE}/{folder}"
        if HELD not in self._run(f"test -d {place} && echo {HELD.decode()} || true", "cannot be reached"):
            # The shell's number keeps two copies at once apart: the first to end stays, and both are equal.
            making = f"{place}.$$"
            unpack = f"mkdir -p {making} && tar -xf - -C {making}"
            settle = f"if test -d {place}; then rm -rf {making}; else mv {making} {place}; fi"
            give_up = f"{{ rm -rf {making}; exit 1; }}"
            self._run(f"{unpack} && {settle} || {give_up}", "cannot be copied to", packed.getvalue())
        self._there.add(folder)
        return folder

    def _run(self, command: str, fault: str, sent: bytes = b"") -> bytes:
        try:
            done = subprocess.run([*self._ssh, command], input=sent, capture_output=True, check=False)
        except OSError as error:
            raise EdgeKitError(f"cannot run {self._ssh[0]!r} ({error.strerror}); install an ssh client") from None
        if done.returncode:
            words = done.stderr.decode(errors="replace").strip().splitlines()
            said = one_line(words[-1]) if words else f"exit code {done.returncode}"
            what = "cannot be reached" if done.returncode == 255 else fault
            raise EdgeKitError(f"{self.name} {what}: {said}")
        return done.stdout


def _command(address: str) -> list[str]:
    """The ssh command to a board; it never asks for a password, as nobody may be there to answer."""
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme != "ssh" or not parts.hostname or parts.path not in ("", "/") or parts.hostname.startswith("-"):
        raise UsageError(f"--on takes ssh://user@host or ssh://user@host:port, got {address!r}")
    ssh = shlex.split(os.environ.get(SSH_VARIABLE, "ssh"))
    ssh += ["-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=15"]
    ssh += ["-p", str(port)] if port else []
    user = f"{parts.username}@" if parts.username else ""
    return [*ssh, f"{user}{parts.hostname}"]
