"""Models that take a camera's pixels: which inputs change, and how their samples are told from normalised ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from edge_kit.core.errors import UsageError, unknown_name
from edge_kit.core.images import FLOAT, PIXELS, NormalisedPreprocess, is_picture, pixels_of
from edge_kit.core.tensors import Array, GraphSpec, Run, Tensors, TensorSpec
from edge_kit.pipeline.job import Context
from edge_kit.zoo import Setup, ZooEntry
from runtimes.targets import Target

INPUTS = (FLOAT, PIXELS)


def check_input(name: str, target: Target | None = None) -> None:
    """Refuse a form of input that there is not, or not for this target.

    Raises:
        UsageError: Names those there are.
    """
    if name not in INPUTS:
        raise unknown_name("input", name, INPUTS)
    if name == PIXELS and target is not None and target.symmetric:
        why = f"--input {PIXELS} needs a grid of 0 to 255, and target {target.name!r} has none"
        raise UsageError(f"{why}; leave one of them out")


def check_takes_pixels(entry: ZooEntry, setup: Setup) -> None:
    """Refuse a model whose graphs cannot take pixels.

    Raises:
        UsageError: Its samples are no pictures.
    """
    pictures = isinstance(setup.preprocess, NormalisedPreprocess)
    if not pictures or not any(picture_of(spec) for spec in entry.graphs(setup.preprocess).values()):
        raise UsageError(f"{entry.id!r} takes no normalised colour picture; leave out --input {PIXELS}")


def picture_of(spec: GraphSpec) -> TensorSpec | None:
    """The input of a graph that can take pixels; None where it has none."""
    return next((tensor for tensor in spec.inputs if is_picture(tensor)), None)


def pixel_specs(specs: Mapping[str, GraphSpec]) -> dict[str, GraphSpec]:
    """The graphs as they are once their pictures are pixels."""
    return {name: replace(spec, inputs=_pixel_inputs(spec)) for name, spec in specs.items()}


def _pixel_inputs(spec: GraphSpec) -> tuple[TensorSpec, ...]:
    picture = picture_of(spec)
    return tuple(pixels_of(tensor) if tensor is picture else tensor for tensor in spec.inputs)


def normalised_first(run: Run, spec: GraphSpec, preprocess: NormalisedPreprocess) -> Run:
    """A graph that takes normalised pictures, given pixels: what a program without `uint8-nhwc` does."""
    picture = picture_of(spec)

    def with_pixels(inputs: Tensors) -> Tensors:
        prepared: dict[str, Array] = dict(inputs)
        if picture is not None:
            prepared[picture.name] = np.stack([preprocess.normalise(one) for one in inputs[picture.name]])
        return run(prepared)

    return with_pixels


def takes_pixels(context: Context) -> bool:
    """Whether a stage's graphs take pixels."""
    return bool(context.settings.get("input", FLOAT) == PIXELS)
