"""What the parent asks of a stage's process, and what it hears back: one JSON document a line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_kit.core.progress import Progress


@dataclass(frozen=True, slots=True)
class Job:
    """One stage to run.

    Attributes:
        stage: Its name in the registry of stages.
        settings: JSON; all that decides the result besides the inputs.
        inputs: Files and folders made before, by name.
        out: Empty folder for the result.
        scratch: Folder that survives a kill.
    """

    stage: str
    settings: Mapping[str, Any]
    inputs: Mapping[str, Path]
    out: Path
    scratch: Path

    def to_line(self) -> bytes:
        """For the child's standard input."""
        document = {
            "stage": self.stage,
            "settings": dict(self.settings),
            "inputs": {name: str(path) for name, path in self.inputs.items()},
            "out": str(self.out),
            "scratch": str(self.scratch),
        }
        return json.dumps(document).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Job:
        """Read back what `to_line` wrote."""
        document = json.loads(line)
        inputs = {name: Path(path) for name, path in document["inputs"].items()}
        return cls(
            document["stage"],
            document["settings"],
            inputs,
            Path(document["out"]),
            Path(document["scratch"]),
        )


@dataclass(frozen=True, slots=True)
class Context:
    """A job as its stage sees it."""

    settings: Mapping[str, Any]
    inputs: Mapping[str, Path]
    out: Path
    scratch: Path
    progress: Progress
