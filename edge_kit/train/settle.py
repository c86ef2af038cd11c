"""Random weights whose layers know the scale of their inputs, so that comparing two versions says something.

As it is initialised, a deep network gives every picture nearly the same answer: what batch norms do not normalise in
evaluation mode fades or explodes from layer to layer, and biases outweigh the rest.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import paddle
from paddle import nn
from paddle.nn.layer.norm import _BatchNormBase

from edge_kit.core.tensors import GraphSpec, Tensors
from edge_kit.train.recipe import Recipe

SHIFT = 1.0
"""Deviations that a channel lies above 0: what follows then cuts off a sixth of it. With half of it cut off, a random
network is chaotic, and rounding grows from layer to layer until no answer is left."""
LEAST = 1e-6  # deviation of a channel that is taken for dead


def settle(
    net: nn.Layer, spec: GraphSpec, batch: Tensors, *, recipe: Recipe | None = None, but: Collection[int] = ()
) -> None:
    """Let one pass over a batch set what a layer can know of its inputs; in evaluation mode afterwards.

    Batch norms take the batch's mean and variance, and shift by `SHIFT`. Every convolution and linear layer with a bias
    is scaled and shifted so that each of its channels has mean `SHIFT` and deviation 1 over the batch; the last one's
    are the answers.

    Args:
        batch: Inputs of the graph, some dozen samples.
        recipe: Of the training that starts from these weights: with its dropout, whose noise is deviation too, and a
            shift of 0; a convolution without a bias loses the mean by its weights. None for no training.
        but: Parameters by `id` that are left alone.

    Source: Kraehenbuehl et al. 2016, arXiv:1511.06856, section 3.1 (initialisation within layers).
    """
    part, shift = spec.part(net), SHIFT if recipe is None else 0.0
    part.eval()  # auxiliary heads stay off
    for layer in part.sublayers():
        if recipe and recipe.dropout and isinstance(layer, nn.Dropout):
            layer.train()
    norms = [layer for layer in part.sublayers() if isinstance(layer, _BatchNormBase)]
    momenta = [layer._momentum for layer in norms]
    for layer in norms:
        layer.train()
        layer._momentum = 0.0  # of what was before
        if layer.bias is not None:
            layer.bias.set_value(paddle.full_like(layer.bias, shift))
    hooks = [
        layer.register_forward_post_hook(_Normalise(shift))
        for layer in part.sublayers()
        if isinstance(layer, nn.Conv2D | nn.Linear)
        and (layer.bias is not None or recipe)
        and id(layer.weight) not in but
    ]
    with paddle.no_grad():
        part(*(paddle.to_tensor(batch[tensor.name]) for tensor in spec.inputs))
    for hook in hooks:
        hook.remove()
    for layer, momentum in zip(norms, momenta, strict=True):
        layer._momentum = momentum
    part.eval()


class _Normalise:
    """Normalises a layer at its first call, and gives the output that it now has."""

    def __init__(self, shift: float) -> None:
        self._shift = shift
        self._done = False

    def __call__(self, layer: Any, inputs: Any, output: Any) -> Any:
        if self._done:
            return output
        self._done = True
        # Filters come first in a convolution's weight, and last in a linear layer's.
        out, spread = (1, [-1, 1, 1, 1]) if isinstance(layer, nn.Conv2D) else (output.ndim - 1, [1, -1])
        if layer.bias is None and isinstance(layer, nn.Conv2D):
            output = _without_mean(layer, *inputs)
        values = output.numpy()
        others = tuple(axis for axis in range(values.ndim) if axis != out)
        mean, deviation = values.mean(axis=others), values.std(axis=others)
        scale = np.where(deviation > LEAST, 1 / np.maximum(deviation, LEAST), 1.0).astype(np.float32)
        shape = [1, -1, 1, 1] if out == 1 and values.ndim == 4 else [-1]
        layer.weight.set_value(layer.weight.numpy() * scale.reshape(spread))
        if layer.bias is None:
            return paddle.to_tensor(values * scale.reshape(shape))
        layer.bias.set_value((layer.bias.numpy() - mean) * scale + self._shift)
        return paddle.to_tensor((values - mean.reshape(shape)) * scale.reshape(shape) + self._shift)


def _without_mean(layer: nn.Conv2D, x: Any) -> Any:
    """Take from each filter what answers to the mean of the inputs; returns the output then."""
    weight = layer.weight.numpy()
    if len(x.shape) == 4 and weight.shape[1] == x.shape[1]:  # one group
        mean = np.broadcast_to(x.mean([0, 2, 3]).numpy()[:, None, None], weight.shape[1:])
        along = (weight * mean).sum(axis=(1, 2, 3), keepdims=True) / max((mean**2).sum(), LEAST)
        layer.weight.set_value((weight - along * mean).astype(np.float32))
    return layer.forward(x)
