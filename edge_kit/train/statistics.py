"""Batch norm that computes in training as it will once it is folded, or over what several processes see together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import paddle
from paddle import Tensor, nn
from paddle.autograd import PyLayer
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
        normal, mean, variance = _Normalise.apply(x, self._peers, layer._epsilon)
        with paddle.no_grad():
            for kept, new in ((layer._mean, mean), (layer._variance, variance)):
                kept.set_value(layer._momentum * kept + (1 - layer._momentum) * new)
        plain = layer.weight is None and layer.bias is None
        y = normal if plain else _by_channel(normal, layer.weight, layer.bias)
        activation = getattr(layer, "_act", None)  # of Paddle's older class, which its DenseNet uses
        return getattr(functional, activation)(y) if activation else y


class _Normalise(PyLayer):
    """(N, C, ...) -> the same with mean 0 and variance 1 over the shares of all, and their mean and variance, (C,).

    Its gradient is written out: by way of means and differences Paddle's CPU kernels take forty times as long.
    """

    @staticmethod
    def forward(context: Any, x: Tensor, peers: Peers, epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
        own = _mean(x)
        centred = _by_channel(x, None, -own)
        of_all = peers.gathered(paddle.stack([own, _mean(centred * centred)]))  # (count, 2, C)
        mean = of_all[:, 0].mean(0)
        # What lies within the shares, and between them: no difference of large squares.
        variance = (of_all[:, 1] + (of_all[:, 0] - mean).square()).mean(0)
        gain = paddle.rsqrt(variance + epsilon)
        normal = _by_channel(centred, gain, (own - mean) * gain)
        context.save_for_backward(normal, gain)
        context.peers = peers
        return normal, mean, variance

    @staticmethod
    def backward(context: Any, gradient: Tensor, *_: Any) -> Tensor:
        normal, gain = context.saved_tensor()
        own = paddle.stack([_mean(gradient), _mean(gradient * normal)])
        level, along = context.peers.gathered(own).mean(0)
        return _by_channel(gradient, gain, -gain * level) + _by_channel(normal, -gain * along, None)


def _mean(x: Tensor) -> Tensor:
    """(N, C, ...) -> (C,); as a matrix product, which runs ten times as fast as a sum over some of the axes."""
    rows = x.reshape([x.shape[0] * x.shape[1], -1])
    length = rows.shape[1]
    sums = paddle.matmul(rows, paddle.ones([length, 1], rows.dtype)) if length > 1 else rows
    return sums.reshape(x.shape[:2]).mean(0) / length


def _by_channel(x: Tensor, gain: Tensor | None, shift: Tensor | None) -> Tensor:
    """(N, C, ...) times `gain` plus `shift`, (C,) each, by the kernel of batch norm, whose gradient is fast as well."""
    zero, one = paddle.zeros([x.shape[1]]), paddle.ones([x.shape[1]])
    return functional.batch_norm(
        x, zero, one, one if gain is None else gain, zero if shift is None else shift, training=False, epsilon=0.0
    )
