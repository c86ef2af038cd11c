"""Counts multiply-accumulates exactly, from shapes.

Counted: convolutions, transposed convolutions and linear layers. Not counted: normalisation,
activations, pooling, and products of two activations, as in attention.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import prod
from typing import Any

import paddle
from paddle import nn
from paddle.nn.layer.conv import _ConvNd

TRANSPOSED = (nn.Conv1DTranspose, nn.Conv2DTranspose, nn.Conv3DTranspose)

Shapes = Mapping[str, Sequence[int]]
"""Input shapes by name, in the order of the network's arguments."""


def positions_by_weight(net: nn.Layer, inputs: Shapes) -> dict[str, int]:
    """How often each entry of a weight is multiplied in one run, by parameter name."""
    found: dict[str, int] = {}
    hooks = [
        layer.register_forward_post_hook(_counter(found))
        for layer in net.sublayers(include_self=True)
        if isinstance(layer, (_ConvNd, nn.Linear))
    ]
    try:
        with evaluating(net), paddle.no_grad():
            net(*(paddle.zeros(list(shape)) for shape in inputs.values()))
    finally:
        for hook in hooks:
            hook.remove()
    return found


def count_macs(net: nn.Layer, inputs: Shapes) -> int:
    """Multiply-accumulates of one run on float32 inputs of these shapes."""
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


def _counter(found: dict[str, int]) -> Callable[[nn.Layer, Any, Any], None]:
    def count(layer: nn.Layer, inputs: Any, outputs: Any) -> None:
        weight = layer.weight
        # Used once per output place; by a transposed one and a linear layer once per input place.
        if isinstance(layer, _ConvNd) and not isinstance(layer, TRANSPOSED):
            times = prod(outputs.shape) // weight.shape[0]
        else:
            times = prod(inputs[0].shape) // weight.shape[0]
        found[weight.name] = found.get(weight.name, 0) + int(times)

    return count
