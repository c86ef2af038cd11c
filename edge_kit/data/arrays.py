"""Samples in a `.npz` file: an array an input, by its name, the first axis the samples."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge_kit.core.errors import BadData
from edge_kit.core.files import sha256_file
from edge_kit.core.tensors import Array, Tensors, TensorSpec
from edge_kit.data.dataset import FORMATS, DataFormat, OpenOptions
from edge_kit.data.unlabelled import Unlabelled
from runtimes.inputs import show


def read_arrays(path: Path) -> dict[str, Array]:
    """Read every array of a `.npz` file; nothing in it is run.

    Raises:
        BadData: It is not such a file, holds nothing, or holds Python objects.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: np.asarray(file[name]) for name in file.files}
    except (ValueError, OSError, EOFError, KeyError, AttributeError, TypeError, zipfile.BadZipFile) as fault:
        reason = "it holds Python objects" if "allow_pickle" in str(fault) and zipfile.is_zipfile(path) else str(fault)
        raise BadData(
            f"{str(path)!r} cannot be read as .npz ({' '.join(reason.split())[:120]}); "
            "write it with numpy.savez(FILE, INPUT=array)"
        ) from None
    if not arrays:
        raise BadData(f"{str(path)!r} holds no array; write it with numpy.savez(FILE, INPUT=array)")
    return arrays


@dataclass(frozen=True, slots=True)
class ArrayInputs:
    """The inputs of a graph, fed as they are stored."""

    specs: tuple[TensorSpec, ...]

    def as_dict(self) -> dict[str, Any]:
        """For `bundle.json`."""
        return {"kind": "arrays"}


class ArraySamples(Unlabelled):
    """See `Dataset` for the methods."""

    def __init__(self, path: Path, prepare: ArrayInputs, options: OpenOptions) -> None:
        self.preprocess, inputs = prepare, prepare.specs
        self._arrays = {spec.name: array for spec, array in _matched(path, inputs)}
        self._what = (sha256_file(path), inputs)
        super().__init__(options.name, len(next(iter(self._arrays.values()))), inputs)

    def digest(self) -> str:
        return hashlib.sha256(repr(self._what).encode()).hexdigest()

    def read(self, places: Sequence[int]) -> Tensors:
        return {name: array[list(places)] for name, array in self._arrays.items()}


def _matched(path: Path, inputs: tuple[TensorSpec, ...]) -> list[tuple[TensorSpec, Array]]:
    """Each input with its array, held to type and shape."""
    arrays = read_arrays(path)
    wanted = ", ".join(f"{spec.name} {show(_samples(spec))} {spec.dtype}" for spec in inputs)
    names = {spec.name for spec in inputs}
    for name in arrays:
        if name not in names:
            raise BadData(f"{path.name!r} holds {name!r}, which the graph does not take; it takes {wanted}")
    matched = []
    for spec in inputs:
        if spec.name not in arrays:
            raise BadData(f"{path.name!r} lacks input {spec.name!r}; the graph takes {wanted}")
        array = arrays[spec.name]
        if array.dtype != np.dtype(spec.dtype):
            raise BadData(f"input {spec.name!r} of {path.name!r} is {array.dtype}; the graph takes {wanted}")
        if not _fits(array, spec):
            raise BadData(f"input {spec.name!r} of {path.name!r} is {show(array.shape)}; the graph takes {wanted}")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            wrong = int(np.count_nonzero(~np.isfinite(array)))
            raise BadData(f"{wrong} numbers of input {spec.name!r} of {path.name!r} are not finite; leave them out")
        matched.append((spec, array))
    counts = {spec.name: len(array) for spec, array in matched}
    if len(set(counts.values())) > 1:
        raise BadData(f"{path.name!r} holds unequal numbers of samples: {counts}; give each input as many")
    if 0 in counts.values():
        raise BadData(f"{path.name!r} holds no sample; give at least one, better some hundred")
    _refuse_constant(path, [array for _, array in matched])
    return matched


def _refuse_constant(path: Path, arrays: list[Array]) -> None:
    """A range of one point is no range."""
    if all(array.size and array.min() == array.max() for array in arrays):
        value = arrays[0].reshape(-1)[0]
        raise BadData(
            f"every number in {path.name!r} is the same, {value:g}; no range follows from that: give real samples"
        )


def _samples(spec: TensorSpec) -> tuple[int | str, ...]:
    return ("samples", *spec.shape[1:])


def _fits(array: Array, spec: TensorSpec) -> bool:
    if array.ndim != len(spec.shape) or not array.ndim:
        return False
    return all(
        isinstance(axis, str) or size == axis for size, axis in zip(array.shape[1:], spec.shape[1:], strict=True)
    )


FORMATS.add("npz", DataFormat("npz", ArraySamples))
