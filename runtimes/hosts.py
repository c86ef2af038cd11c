"""Where a worker runs: this machine, or another (`runtimes.board`)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import IO, Protocol


class Host(Protocol):
    """A machine that can run `python -m runtimes.worker`."""

    @property
    def name(self) -> str:
        """For messages; empty for this machine."""
        ...

    def start(self, errors: IO[bytes]) -> subprocess.Popen[bytes]:
        """Start a worker; its standard input and output are pipes, what it prints goes to `errors`."""
        ...

    def place(self, file: Path) -> str:
        """Make a file of this machine readable there, and give its path there."""
        ...


class ThisMachine:
    """Workers as children of this process, with the Python and the code that run here."""

    name = ""

    def start(self, errors: IO[bytes]) -> subprocess.Popen[bytes]:
        # The child must find the code that runs here, wherever it was started and however it was found.
        paths = os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path)
        return subprocess.Popen(
            [sys.executable, "-m", "runtimes.worker"],
            cwd=Path(__file__).resolve().parents[1],
            env={**os.environ, "PYTHONPATH": paths},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
        )

    def place(self, file: Path) -> str:
        return str(file.absolute())
