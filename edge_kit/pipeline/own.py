"""A user's model on its way to `compress`: what it takes, on which samples, and what is said about both."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from convert.intake import external_files, read_own
from edge_kit.core.bundle import PADDLE_WEIGHTS, Bundle
from edge_kit.core.errors import BadData, UsageError, unknown_name
from edge_kit.core.files import sha256_file, sha256_json
from edge_kit.core.tensors import Array, TensorSpec
from edge_kit.data.arrays import read_arrays
from edge_kit.data.pictures import PictureSamples
from edge_kit.data.unlabelled import Unlabelled
from edge_kit.pipeline.runner import Input, Runner
from edge_kit.pipeline.sources import open_folder
from edge_kit.pipeline.subject import own_settings
from edge_kit.tasks.own import OWN
from runtimes.inputs import Shapes, settle
from runtimes.interface import Interface, read_interface

GRAPH, PROGRAM, NEW_PROGRAM = ".onnx", ".pdmodel", ".json"
SHOWN = 3  # names in a note


@dataclass(frozen=True, slots=True)
class OwnOptions:
    """What may be told of a user's model.

    Attributes:
        shapes: Full shapes by input name, where samples do not fix them.
        resize: Shorter side of a picture before its centre is cut.
        mean: Of the channels of a picture, red first, in 0..1; None for ImageNet's.
        std: Likewise.
    """

    shapes: Shapes = field(default_factory=dict)
    resize: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    def pictures(self) -> dict[str, Any]:
        """Of a picture, as JSON."""
        return {"resize": self.resize, "mean": self.mean, "std": self.std}


@dataclass(frozen=True, slots=True)
class OwnModel:
    """A model and samples that fit it.

    Attributes:
        settings: Of every stage.
        files: What stage `receive` reads.
        notes: What was taken for granted, for people.
    """

    settings: Mapping[str, Any]
    files: Mapping[str, Input]
    data: Input
    notes: tuple[str, ...]


def is_own(name: str) -> bool:
    """Whether a model is named by its file."""
    return Path(name).suffix in (GRAPH, PROGRAM, NEW_PROGRAM)


def own_id(name: str) -> str:
    """What a user's model is called: its file, without what shells and links trip over."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", Path(name).stem).strip(".-") or OWN


def take_own(name: str, data: Path | None, max_bad: int, options: OwnOptions, runner: Runner) -> OwnModel:
    """Look a model and its samples through.

    Raises:
        BadData: One of them is missing, broken, or does not fit the other.
        UsageError: No samples, or an option that does not fit.
    """
    if data is None:
        raise UsageError(f"ranges of {name!r} follow from samples; pass --data FILE.npz or a folder of images")
    files = _files(Path(name), runner)
    interface = read_interface(files["graph"].path)
    inputs = _settled(interface, data, options.shapes)
    pictures = options.pictures() if data.is_dir() else {}
    if not data.is_dir() and any(options.pictures().values()):
        raise UsageError("--resize, --mean and --std prepare pictures; arrays are fed as they are")
    told = own_settings(inputs, tuple(one.name for one in interface.outputs), _format(data), data.name, pictures)
    settings = {"id": own_id(name), OWN: told, "max_bad": max_bad}
    dataset = open_folder(settings, data)
    return OwnModel(settings, files, Input(data.resolve(), dataset.digest()), _notes(dataset, data))


def settings_of_bundle(bundle: Bundle, data: Path | None) -> dict[str, Any]:
    """Settings of the stages of a bundle of a user's model, on samples of his.

    Raises:
        UsageError: There are none.
    """
    if data is None:
        raise UsageError(
            f"bundle {bundle.manifest.id!r} is a model of your own; pass --data with samples to score it on"
        )
    told = bundle.receipt()[OWN]
    return {"id": bundle.manifest.id, OWN: {**told, "format": _format(data), "data": data.name}, "max_bad": 0}


def parse_channels(option: str, text: str | None) -> tuple[float, ...] | None:
    """`0.5,0.5,0.5` -> numbers.

    Raises:
        UsageError: A part is not a number.
    """
    try:
        return tuple(float(part) for part in text.split(",")) if text else None
    except ValueError:
        raise UsageError(f"{option} takes R,G,B as in 0.485,0.456,0.406; got {text!r}") from None


def lowering_notes(lowering: Mapping[str, Any]) -> list[str]:
    """What lowering could not do, for people."""
    notes = []
    for report in lowering.values():
        if report["left_float"]:
            left = ", ".join(f"{count} {kind}" for kind, count in sorted(report["left_float"].items()))
            notes.append(f"left in float, as no INT8 kernel fits: {left}")
        silent = report["silent"]
        if silent:
            named = ", ".join(map(repr, silent[:SHOWN])) + (", ..." if len(silent) > SHOWN else "")
            notes.append(f"{len(silent)} tensor(s) were 0 on every calibration sample and stay float: {named}")
    return notes


def _files(path: Path, runner: Runner) -> dict[str, Input]:
    """The graph as ONNX, and the Paddle program that it came from."""
    if path.suffix == NEW_PROGRAM:
        raise BadData(
            f"{str(path)!r} is of Paddle's new program format, which PaddleSlim does not read; "
            "save it as .pdmodel, with FLAGS_enable_pir_api=0 in the environment"
        )
    if path.suffix == GRAPH:
        parts = [path, *external_files(path, read_own(path))]
        digest = sha256_json([sha256_file(part) for part in parts])
        return {"graph": Input(path.resolve(), digest)}
    files = {}
    for role, part in (("program", path), ("weights", path.with_suffix(PADDLE_WEIGHTS))):
        if not part.is_file():
            raise BadData(f"model file {str(part)!r} does not exist")
        files[role] = Input(part.resolve(), sha256_file(part))
    adopted = runner.run("adopt", {}, files)
    graph = adopted.path / "main.onnx"
    read_own(graph)
    return {**files, "graph": Input(graph, adopted.digest)}


def _format(data: Path) -> str:
    if data.is_dir():
        return "images"
    if data.suffix != ".npz":
        raise UsageError(f"--data {str(data)!r} is neither a folder of images nor a .npz file")
    if not data.is_file():
        raise BadData(f"data file {str(data)!r} does not exist")
    return "npz"


def _settled(interface: Interface, data: Path, shapes: Shapes) -> tuple[TensorSpec, ...]:
    """Every axis but the batch given a number: by the user, else by the samples."""
    names = [spec.name for spec in interface.inputs]
    for name in shapes:
        if name not in names:
            raise unknown_name("input", name, names)
    for spec in interface.inputs:
        if not spec.shape:
            raise BadData(f"input {spec.name!r} has no axis for samples; make it a constant of the graph")
    arrays = read_arrays(data) if _format(data) == "npz" else {}
    full = {spec.name: shapes.get(spec.name) or _shape_in(arrays, spec) for spec in interface.inputs}
    settled = settle(interface.inputs, 1, {name: shape for name, shape in full.items() if shape}).specs
    return tuple(
        replace(before, shape=(before.shape[0], *after.shape[1:]))
        for before, after in zip(interface.inputs, settled, strict=True)
    )


def _shape_in(arrays: Mapping[str, Array], spec: TensorSpec) -> tuple[int, ...]:
    """The shape of one sample of an input; none where it would not fit, which is said when it is read."""
    array = arrays.get(spec.name)
    if array is None or array.ndim != len(spec.shape) or 0 in array.shape:
        return ()
    first = spec.shape[0] if isinstance(spec.shape[0], int) else 1
    if any(isinstance(axis, int) and axis != size for axis, size in zip(spec.shape[1:], array.shape[1:], strict=True)):
        return ()
    return (first, *array.shape[1:])


def _notes(dataset: Any, data: Path) -> tuple[str, ...]:
    notes = []
    if isinstance(dataset, PictureSamples):
        notes.append(f"{dataset.prepare.told()}; --resize, --mean and --std set others")
        blank, total = dataset.count_blank(), dataset.train_size()
        if blank == total:
            raise BadData(
                f"every picture for calibration in {str(data)!r} is of one value throughout, as black ones are; "
                "no range follows from that: give real samples"
            )
        if blank:
            notes.append(f"{blank} of {total} pictures for calibration are of one value throughout, as black ones are")
        if dataset.bad:
            notes.append(f"{len(dataset.bad)} picture(s) left out, first: {dataset.bad[0]}")
    assert isinstance(dataset, Unlabelled)
    if dataset.shared:
        notes.append("one sample only: agreement is measured on the very sample that ranges were found on")
    return tuple(notes)
