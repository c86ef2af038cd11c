"""Parameters and multiply-accumulates of zoo entries, each network built once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from math import prod
from typing import NamedTuple
from unittest.mock import patch

import paddle
from paddle.nn.layer.norm import _BatchNormBase

from compress.prune.macs import count_macs
from edge_kit.core.tensors import random_inputs
from edge_kit.zoo import MODELS

# Families whose networks Paddle can build from shapes alone.
FEED_FORWARD = {"image_classification", "metric_learning", "video_classification"}


class Count(NamedTuple):
    """Of one sample at the published sizes."""

    parameters: int
    macs: int
    normalised: int  # values that batch norms give out


@cache
def counted(model: str, only_shapes: bool | None = None) -> Count:
    """Count a network of the zoo.

    Args:
        only_shapes: Build a static program that is never run: VGG19 then takes 0.1 s instead of 5.
    """
    entry = MODELS.get(model)
    static = entry.family in FEED_FORWARD if only_shapes is None else only_shapes
    with static_program() if static else nullcontext():
        net = entry.build(**entry.published_sizes)
        graphs = entry.graphs(entry.published.preprocess)
        held = {one.name: one for spec in graphs.values() for one in spec.part(net).parameters()}
        parameters = sum(prod(one.shape) for one in held.values() if not one.stop_gradient)
        macs, normalised = 0, [0]

        def add(layer: paddle.nn.Layer, inputs: object, output: paddle.Tensor) -> None:
            normalised[0] += prod(output.shape)

        for layer in net.sublayers():
            if isinstance(layer, _BatchNormBase):
                layer.register_forward_post_hook(add)
        for spec in graphs.values():
            shapes = {tensor.name: tensor.with_batch(1) for tensor in spec.inputs}
            macs += count_macs(spec.part(net), shapes if static else random_inputs(spec.inputs, 1, 0))
    return Count(parameters, macs, normalised[0])


@contextmanager
def static_program() -> Iterator[None]:
    """Networks built within are descriptions: parameters have shapes and no values, and nothing is computed."""
    paddle.enable_static()
    try:
        # Paddle notes the whole stack beside every operator, at a third of the time.
        short_stack = patch("sys.tracebacklimit", 1, create=True)
        with short_stack, paddle.static.program_guard(paddle.static.Program(), paddle.static.Program()):
            yield
    finally:
        paddle.disable_static()
