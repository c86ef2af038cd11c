"""Whether arrays fit a graph, and which sizes its open axes take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NoReturn

import numpy as np

from edge_kit.core.errors import BadData, UsageError, unknown_name
from edge_kit.core.tensors import Tensors, TensorSpec

Shapes = Mapping[str, tuple[int, ...]]
"""Full shapes by input name, as the user fixed them."""


class InputCheck:
    """Holds arrays against the inputs of a graph; a few microseconds a call when all is well.

    Behind an inference the caches hold no Python, and what takes 2 us in a loop of its own takes 40 (measured). So
    shapes are compared with those that fitted last, and axis by axis only where they differ.
    """

    def __init__(self, specs: tuple[TensorSpec, ...]) -> None:
        self._specs = specs
        # Comparing against a ready dtype is many times faster than against its name.
        self._rows = tuple((spec.name, np.dtype(spec.dtype), spec.shape) for spec in specs)
        self._fitted: dict[str, tuple[int, ...]] = {}

    def __call__(self, inputs: Tensors) -> None:
        """Pass silently or raise.

        Raises:
            UsageError: A name is missing or unknown.
            BadData: The type, the rank or a fixed axis of an array differs.
        """
        if len(inputs) != len(self._rows):
            self._refuse_names(inputs)
        for name, dtype, shape in self._rows:
            array = inputs.get(name)
            if array is None:
                self._refuse_names(inputs)
            if not isinstance(array, np.ndarray):
                raise BadData(f"input {name!r} must be an array, got {type(array).__name__}")
            if array.dtype != dtype:
                raise BadData(f"input {name!r} must be {dtype}, got {array.dtype}")
            if array.shape != self._fitted.get(name):
                # An engine reports no axes both for a scalar and for an input of any rank.
                if shape and not _fits(array.shape, shape):
                    raise BadData(f"input {name!r} must be {show(shape)}, got {show(array.shape)}")
                self._fitted[name] = array.shape

    def _refuse_names(self, inputs: Tensors) -> NoReturn:
        names = [spec.name for spec in self._specs]
        for name in inputs:
            if name not in names:
                raise unknown_name("input", name, names)
        missing = next(name for name in names if inputs.get(name) is None)
        raise UsageError(f"input {missing!r} is missing; the graph takes: {', '.join(names)}")


class BatchCheck:
    """Tells the batch of arrays; for engines that read past the end where one is of another batch."""

    def __init__(self, specs: tuple[TensorSpec, ...]) -> None:
        self._places = [(spec.name, spec.shape.index("N")) for spec in specs if "N" in spec.shape]

    def __call__(self, inputs: Tensors) -> int:
        """Give what the axes called `N` are; 1 where there is none.

        Raises:
            BadData: They differ, or are 0.
        """
        sizes = {inputs[name].shape[place] for name, place in self._places} or {1}
        if len(sizes) > 1 or 0 in sizes:
            shapes = ", ".join(f"{name} {show(inputs[name].shape)}" for name, _ in self._places)
            raise BadData(f"the inputs must be of one batch, and of at least 1: {shapes}")
        return sizes.pop()


def _fits(shape: tuple[int, ...], wanted: tuple[int | str, ...]) -> bool:
    if len(shape) != len(wanted):
        return False
    return all(size == axis or isinstance(axis, str) for size, axis in zip(shape, wanted, strict=True))


def show(shape: tuple[int | str, ...]) -> str:
    """Write a shape as a person does: `(N, 3, 224, 224)`."""
    return f"({', '.join(str(axis) for axis in shape)}{',' if len(shape) == 1 else ''})"


@dataclass(frozen=True, slots=True)
class Settled:
    """Inputs without an open axis, and the batch they make."""

    specs: tuple[TensorSpec, ...]
    batch: int


def settle(specs: tuple[TensorSpec, ...], batch: int, shapes: Shapes) -> Settled:
    """Give every open axis a size.

    Args:
        batch: For the axes called `N` that `shapes` leaves open.
        shapes: A size given here to a named axis holds for that name in the other inputs, too.

    Raises:
        UsageError: A shape does not fit, an axis stays open, or the batch cannot be had.
    """
    sizes: dict[str, int] = {}
    for spec in specs:
        if spec.name in shapes:
            _bind(spec, shapes[spec.name], sizes)
    given = sizes.setdefault("N", batch)
    if batch not in (1, given) or (batch > 1 and not any("N" in spec.shape for spec in specs)):
        raise UsageError(f"batch {batch} does not fit: {_list(specs, shapes)}")
    settled = []
    for spec in specs:
        fixed: tuple[int | str, ...] = shapes.get(spec.name) or tuple(
            axis if isinstance(axis, int) else sizes.get(axis, axis) for axis in spec.shape
        )
        if any(isinstance(axis, str) for axis in fixed):
            example = ",".join(str(axis) for axis in fixed)
            raise UsageError(
                f"input {spec.name!r} has open axes {show(spec.shape)}; fix them: "
                f"--shape {spec.name}={example} with a number for each letter"
            )
        settled.append(replace(spec, shape=fixed))
    return Settled(tuple(settled), given)


def _bind(spec: TensorSpec, shape: tuple[int, ...], sizes: dict[str, int]) -> None:
    if min(shape, default=1) < 1 or not _fits(shape, spec.shape):
        raise UsageError(f"input {spec.name!r} is {show(spec.shape)}; {show(shape)} does not fit")
    for size, axis in zip(shape, spec.shape, strict=True):
        if isinstance(axis, str):
            sizes.setdefault(axis, size)


def _list(specs: tuple[TensorSpec, ...], shapes: Shapes) -> str:
    shown = ((spec.name, shapes.get(spec.name) or spec.shape) for spec in specs)
    return ", ".join(f"{name} {show(shape)}" for name, shape in shown) or "the graph takes no input"


def name_axes(name: str, shape: list[int | str | None]) -> tuple[int | str, ...]:
    """Name the open axes: `N` the first, others as in the graph or after input and place."""
    first = shape[0] if shape else None
    axes: list[int | str] = []
    for place, axis in enumerate(shape):
        if isinstance(axis, int):
            axes.append(axis)
        elif place == 0 or (axis and axis == first):
            axes.append("N")
        elif not axis or axis == "N":  # no name, or one that would be taken for the batch
            axes.append(f"{name}_axis{place}")
        else:
            axes.append(axis)
    return tuple(axes)
