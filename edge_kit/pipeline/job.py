"""What the parent asks of a stage's process, and what it hears back: one JSON document a line."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
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
        aside: JSON; what is wanted besides the result and does not change it, such as a folder for curves.
    """

    stage: str
    settings: Mapping[str, Any]
    inputs: Mapping[str, Path]
    out: Path
    scratch: Path
    aside: Mapping[str, Any] = field(default_factory=dict)

    def to_line(self) -> bytes:
        """For the child's standard input."""
        document = {
            "stage": self.stage,
            "settings": dict(self.settings),
            "inputs": {name: str(path) for name, path in self.inputs.items()},
            "out": str(self.out),
            "scratch": str(self.scratch),
            "aside": dict(self.aside),
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
            document["aside"],
        )


def _nobody(text: str) -> None:
    """Where nobody listens."""


@dataclass(frozen=True, slots=True)
class Context:
    """A job as its stage sees it.

    Attributes:
        tell: Shows people a line that stays.
    """

    settings: Mapping[str, Any]
    inputs: Mapping[str, Path]
    out: Path
    scratch: Path
    progress: Progress
    aside: Mapping[str, Any] = field(default_factory=dict)
    tell: Callable[[str], None] = _nobody
