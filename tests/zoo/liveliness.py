"""Networks with random weights whose outputs depend on their inputs, so that comparing them says something."""

from typing import Any

import numpy as np
import paddle
from paddle import nn
from paddle.nn.layer.norm import _BatchNormBase


def lively(net: nn.Layer, side: int = 64) -> nn.Layer:
    """Give batch norms the statistics of one batch, and scales and shifts all of their own; in evaluation mode.

    Without, fifty layers of random weights leave a signal of 1e-7 beside what the shifts add up to.
    """
    norms = [layer for layer in net.sublayers() if isinstance(layer, _BatchNormBase)]
    for layer in norms:
        layer.weight.set_value(paddle.uniform(layer.weight.shape, min=0.5, max=1.5))
        layer.bias.set_value(paddle.normal(0.0, 0.2, layer.bias.shape))
    momenta = [layer._momentum for layer in norms]
    for layer in norms:
        layer._momentum = 0.0  # of what was before
    net.train()
    if norms:
        with paddle.no_grad():
            net(paddle.randn([8, 3, side, side]))
    for layer, momentum in zip(norms, momenta, strict=True):
        layer._momentum = momentum
    net.eval()
    return net


def differs(logits: np.ndarray[Any, Any]) -> bool:
    """Whether the first two samples got different answers, far beyond rounding."""
    return bool(np.abs(logits[0] - logits[1]).max() > 1e-2 * np.abs(logits).max())
