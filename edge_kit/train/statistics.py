"""Batch norm that computes in training as it will once it is folded into its convolution."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from paddle import nn
from paddle.nn.layer.norm import _BatchNormBase


@contextmanager
def frozen_statistics(net: Any) -> Iterator[None]:
    """Within the context, batch norms use their running statistics and leave them as they are; gains are trained."""
    norms = [layer for layer in net.sublayers() if isinstance(layer, (_BatchNormBase, nn.BatchNorm))]
    before = [layer._use_global_stats for layer in norms]
    for layer in norms:
        layer._use_global_stats = True
    try:
        yield
    finally:
        for layer, used in zip(norms, before, strict=True):
            layer._use_global_stats = used
