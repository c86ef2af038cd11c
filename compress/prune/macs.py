"""Counts multiply-accumulates exactly, from shapes.

Counted: convolutions, transposed convolutions, linear and recurrent layers. Not counted: normalisation,
activations, pooling, and products of two activations, as in attention.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import prod
from typing import Any

import numpy as np
import paddle
from paddle import nn
from paddle.nn.layer.conv import _ConvNd
from paddle.nn.layer.rnn import RNNBase

from edge_kit.core.tensors import Array

TRANSPOSED = (nn.Conv1DTranspose, nn.Conv2DTranspose, nn.Conv3DTranspose)

Shapes = Mapping[str, Sequence[int]]
"""Input shapes by name, in the order of the network's arguments."""

Samples = Mapping[str, Sequence[int] | Array]
"""The same, or arrays, where zeros in float32 would not do."""


def positions_by_weight(net: nn.Layer, inputs: Samples) -> dict[str, int]:
    """How often each entry of a weight is multiplied in one run, by parameter name."""
    found: dict[str, int] = {}
    hooks = [
        layer.register_forward_post_hook(_counter(found))
        for layer in net.sublayers(include_self=True)
        if isinstance(layer, (_ConvNd, nn.Linear, RNNBase))
    ]
    try:
        with evaluating(net), paddle.no_grad():
            net(*(_tensor(given) for given in inputs.values()))
    finally:
        for hook in hooks:
            hook.remove()
    return found


def count_macs(net: nn.Layer, inputs: Samples) -> int:
    """Multiply-accumulates of one run on float32 inputs of these shapes, or on these arrays."""
    positions = positions_by_weight(net, inputs)
    sizes = {weight.name: prod(weight.shape) for weight in net.parameters()}
    return sum(count * sizes[name] for name, count in positions.items())


@contextmanager
def evaluating(net: nn.Layer) -> Iterator[None]:
    """Every layer in evaluation mode; afterwards each as it was."""
    before = [(layer, layer.training) for layer in net.sublayers(include_self=True)]
    net.eval()
    try:
        yield
    finally:
        for layer, training in before:
            layer.training = training


def _tensor(given: Sequence[int] | Array) -> Any:
    return paddle.to_tensor(given) if isinstance(given, np.ndarray) else paddle.zeros(list(given))


def _counter(found: dict[str, int]) -> Callable[[nn.Layer, Any, Any], None]:
    def count(layer: nn.Layer, inputs: Any, outputs: Any) -> None:
        if isinstance(layer, RNNBase):  # every matrix once a step, by each sequence
            times = prod(inputs[0].shape[:2])
            matrices = [one for one in layer.parameters() if len(one.shape) == 2]
            found.update({one.name: found.get(one.name, 0) + int(times) for one in matrices})
            return
        weight = layer.weight
        # Used once per output place; by a transposed one and a linear layer once per input place.
        if isinstance(layer, _ConvNd) and not isinstance(layer, TRANSPOSED):
            times = prod(outputs.shape) // weight.shape[0]
        else:
            times = prod(inputs[0].shape) // weight.shape[0]
        found[weight.name] = found.get(weight.name, 0) + int(times)

    return count
