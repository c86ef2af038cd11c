"""Runs stages through the workspace: what is there is reused, what is not is made in a child process."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from edge_kit.core.records import StageRecord
from edge_kit.core.workspace import StageResult, Workspace, stage_key
from edge_kit.pipeline.job import Job
from edge_kit.pipeline.process import run_in_child

# What each stage's result depends on besides its settings and inputs: packages by version, our own rooms by content.
PADDLE = ("paddlepaddle", "paddlepaddle-gpu", "numpy")
IMAGES = ("opencv-python", "scikit-learn")
ENGINES = ("onnxruntime", "openvino", "ncnn", "MNN")  # that a target may be measured on
DEPENDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "data": ((*IMAGES, "numpy"), ("edge_kit.data",)),
    "download": ((), ()),
    "train": (
        (*PADDLE, *IMAGES),
        ("edge_kit.zoo", "edge_kit.tasks", "edge_kit.train", "edge_kit.data"),
    ),
    "score": ((*PADDLE, *IMAGES), ("edge_kit.zoo", "edge_kit.tasks", "edge_kit.data")),
    "weights": (PADDLE, ("edge_kit.zoo",)),
    "prune": (
        (*PADDLE, "paddleslim", *IMAGES),
        ("compress.prune", "edge_kit.zoo", "edge_kit.train", "edge_kit.tasks"),
    ),
    "export": (
        (*PADDLE, "paddle2onnx", "onnx", "onnxruntime"),
        ("convert", "edge_kit.zoo", "edge_kit.tasks"),
    ),
    "camera": (("onnx", "onnxruntime", "numpy"), ("convert", "edge_kit.core", "edge_kit.tasks", "edge_kit.data")),
    "untrained": ((*PADDLE, "paddle2onnx", "onnx"), ("convert", "edge_kit.zoo")),
    "settled": (
        (*PADDLE, "paddle2onnx", "onnx", "onnxruntime"),
        ("convert", "edge_kit.zoo", "edge_kit.tasks", "edge_kit.train"),
    ),
    "parity": (("onnxruntime", "numpy"), ("runtimes", "convert", "edge_kit.tasks")),
    "pieces": (("onnx", "onnxruntime", "numpy"), ("convert",)),
    "receive": (
        ("paddlepaddle", "paddlepaddle-gpu", "onnx", "onnxruntime", "numpy"),
        ("convert", "edge_kit.tasks", "edge_kit.data"),
    ),
    "adopt": (("paddle2onnx", "onnx"), ("convert",)),
    "quantize": ((*PADDLE, "paddleslim", "paddle2onnx"), ("compress.quantize", "convert")),
    "qat": (
        (*PADDLE, "paddleslim", "paddle2onnx", "onnx", *IMAGES),
        ("compress", "convert", "edge_kit.zoo", "edge_kit.tasks", "edge_kit.train", "edge_kit.data"),
    ),
    "lower": (("onnx", "onnxruntime", "numpy"), ("convert", "runtimes")),
    "judge": (("onnxruntime", "numpy", *IMAGES), ("runtimes", "edge_kit.tasks", "edge_kit.data", "edge_kit.pipeline")),
    "sensitivity": (("onnx", "onnxruntime", "numpy"), ("convert", "runtimes")),
    "mix": (
        ("onnx", "onnxruntime", "numpy", *IMAGES),
        ("convert", "runtimes", "edge_kit.tasks", "edge_kit.data", "edge_kit.pipeline"),
    ),
    "measure": ((*ENGINES, "numpy"), ("runtimes", "edge_kit.tasks")),
    "chance": (
        ("onnxruntime", "numpy", *IMAGES),
        ("runtimes", "edge_kit.tasks", "edge_kit.data"),
    ),
    "bundle": (("onnxruntime", "numpy"), ("edge_kit.core", "edge_kit.tasks")),
    "observe": (
        (*ENGINES, *IMAGES, "numpy"),
        ("runtimes", "edge_kit.tasks", "edge_kit.data", "edge_kit.pipeline"),
    ),
    "show": (
        ("onnx", *ENGINES, *IMAGES, "numpy"),
        ("runtimes", "convert", "edge_kit.tasks", "edge_kit.data", "edge_kit.pipeline"),
    ),
}


@dataclass(frozen=True, slots=True)
class Input:
    """Something a stage reads: where it is, and what it is."""

    path: Path
    digest: str


class Reporter(Protocol):
    """Hears how a run goes."""

    def started(self, stage: str) -> None:
        """A stage that is not cached begins."""
        ...

    def progress(self, done: int, total: int, note: str = "") -> None:
        """The stage that runs has come this far."""
        ...

    def waiting(self, stage: str) -> None:
        """Another run is making the same stage; its result will be used."""
        ...

    def tell(self, text: str) -> None:
        """The stage that runs has a line for people."""
        ...

    def finished(self, record: StageRecord) -> None:
        """A stage is done, or was done before."""
        ...


class Of:
    """A reporter that says which model a stage is of.

    Attributes:
        id: Of the model.
        reporter: Who hears it.
    """

    def __init__(self, id: str, reporter: Reporter) -> None:
        self._id, self._reporter = id, reporter

    def started(self, stage: str) -> None:
        self._reporter.started(f"{self._id} {stage}")

    def progress(self, done: int, total: int, note: str = "") -> None:
        self._reporter.progress(done, total, note)

    def waiting(self, stage: str) -> None:
        self._reporter.waiting(f"{self._id} {stage}")

    def tell(self, text: str) -> None:
        self._reporter.tell(f"{self._id} {text}")

    def finished(self, record: StageRecord) -> None:
        self._reporter.finished(replace(record, name=f"{self._id} {record.name}"))


@dataclass
class Runner:
    """Runs the stages of one command.

    Attributes:
        log: Where the processes of all stages print to.
        records: What was run so far, in order.
    """

    workspace: Workspace
    reporter: Reporter
    log: Path
    records: list[StageRecord] = field(default_factory=list)

    def run(
        self,
        stage: str,
        settings: Mapping[str, Any],
        inputs: Mapping[str, Input],
        *,
        conditions: Mapping[str, str] | None = None,
        aside: Mapping[str, Any] | None = None,
    ) -> Input:
        """The result of a stage, made now or before.

        Args:
            conditions: What else the result depends on, such as the processor of a measurement.
            aside: What is wanted besides the result; there is none of it where the result was made before.
        """
        packages, rooms = DEPENDS[stage]
        versions = {
            **installed_versions(packages),
            **{room: _code_digest(room) for room in rooms},
            **(conditions or {}),
        }
        key = stage_key(stage, settings, {name: given.digest for name, given in inputs.items()}, versions)
        result = self.workspace.find(stage, key)
        cached = result is not None
        if result is None:
            result = self._make(stage, key, settings, inputs, aside or {})
        record = StageRecord(stage, result.seconds, cached)
        self.records.append(record)
        self.reporter.finished(record)
        return Input(result.path, result.digest)

    def _make(
        self,
        stage: str,
        key: str,
        settings: Mapping[str, Any],
        inputs: Mapping[str, Input],
        aside: Mapping[str, Any],
    ) -> StageResult:
        def make(out: Path, scratch: Path) -> None:
            self.reporter.started(stage)
            job = Job(stage, settings, {name: given.path for name, given in inputs.items()}, out, scratch, aside)
            run_in_child(job, self.log, self.reporter.progress, self.reporter.tell)

        return self.workspace.produce(stage, key, make, on_wait=lambda: self.reporter.waiting(stage))


@dataclass
class Line:
    """The stages of one model on one data set.

    Attributes:
        base: Settings of every stage: which model, fed how.
    """

    base: Mapping[str, Any]
    data: Input
    runner: Runner

    def run(
        self,
        stage: str,
        extra: Mapping[str, Any],
        inputs: Mapping[str, Input],
        conditions: Mapping[str, str] | None = None,
    ) -> Input:
        """Run a stage of this model on this data."""
        settings, given = {**self.base, **extra}, {"data": self.data, **inputs}
        return self.runner.run(stage, settings, given, conditions=conditions)


def installed_version(package: str) -> str | None:
    """Version of an installed distribution; None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def installed_versions(packages: tuple[str, ...]) -> dict[str, str]:
    """Versions of those distributions that are installed."""
    found = {package: installed_version(package) for package in packages}
    return {package: number for package, number in found.items() if number is not None}


@cache
def _code_digest(room: str) -> str:
    """Of all source files of one of our packages: a mended bug makes old results stale."""
    spec = find_spec(room)
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(f"{room!r} is not one of our packages")
    digest = hashlib.sha256()
    for root in spec.submodule_search_locations:
        for path in sorted(Path(root).rglob("*.py")):
            digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
