"""Batch norm that computes in training as it will once it is folded, or over what several processes see together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import paddle
from paddle import Tensor, nn
from paddle.nn import functional
from paddle.nn.layer.norm import _BatchNormBase

from edge_kit.train.peers import Peers

NORMS = (_BatchNormBase, nn.BatchNorm)


@contextmanager
def frozen_statistics(net: Any) -> Iterator[None]:
    """Within the context, batch norms use their running statistics and leave them as they are; gains are trained."""
    norms = [layer for layer in net.sublayers() if isinstance(layer, NORMS)]
    before = [layer._use_global_stats for layer in norms]
    for layer in norms:
        layer._use_global_stats = True
    try:
        yield
    finally:
        for layer, used in zip(norms, before, strict=True):
            layer._use_global_stats = used


@contextmanager
def shared_statistics(net: Any, peers: Peers) -> Iterator[None]:
    """Within the context, batch norms see the shares of all processes as the one batch that they are.

    Paddle's own kernel for it runs on GPUs only; this one exchanges means and variances once a layer each way.
    """
    norms = [layer for layer in net.sublayers() if isinstance(layer, NORMS)] if peers.count > 1 else []
    for layer in norms:
        layer.forward = _Shared(layer, layer.forward, peers)
    try:
        yield
    finally:
        for layer in norms:
            del layer.forward  # the class's own shows again


class _Shared:
    def __init__(self, layer: Any, original: Any, peers: Peers) -> None:
        self._layer, self._original, self._peers = layer, original, peers

    def __call__(self, x: Tensor) -> Tensor:
        layer = self._layer
        if not layer.training or layer._use_global_stats:
            return self._original(x)
        axes = [axis for axis in range(x.ndim) if axis != 1]
        shape = [1, -1, *([1] * (x.ndim - 2))]
        own = x.mean(axes)
        spread = (x - own.reshape(shape)).square().mean(axes)
        of_all = self._peers.gathered(paddle.stack([own, spread]))  # (count, 2, C)
        mean = of_all[:, 0].mean(0)
        # What lies within the shares, and between them: no difference of large squares.
        variance = (of_all[:, 1] + (of_all[:, 0] - mean).square()).mean(0)
        with paddle.no_grad():
            for kept, new in ((layer._mean, mean), (layer._variance, variance)):
                kept.set_value(layer._momentum * kept + (1 - layer._momentum) * new)
        gain = paddle.rsqrt(variance + layer._epsilon)
        gain = gain if layer.weight is None else gain * layer.weight
        y = (x - mean.reshape(shape)) * gain.reshape(shape)
        y = y if layer.bias is None else y + layer.bias.reshape(shape)
        activation = getattr(layer, "_act", None)  # of Paddle's older class, which its DenseNet uses
        return getattr(functional, activation)(y) if activation else y
