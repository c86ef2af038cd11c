"""Layers that several families share. Their parameters carry the names of PaddleClas."""

from __future__ import annotations

import math
from typing import Any

from paddle import ParamAttr, Tensor, nn


class ConvNorm(nn.Layer):
    """Convolution without bias, batch norm, activation.

    Args:
        kernel: Side, or (height, width).
        padding: Half the kernel where None.
        activation: A layer's class; None for a linear end.
        pooled: Average 2x2 pixels before, as the shortcuts of ResNet-D do instead of striding.
    """

    names = ("_conv", "_batch_norm")  # of the two layers with parameters

    def __init__(
        self,
        channels: int,
        filters: int,
        kernel: int | tuple[int, int],
        stride: int = 1,
        groups: int = 1,
        activation: Any = nn.ReLU,
        padding: int | None = None,
        pooled: bool = False,
    ) -> None:
        super().__init__()
        sides = (kernel, kernel) if isinstance(kernel, int) else kernel
        pads = [side // 2 if padding is None else padding for side in sides]
        conv = nn.Conv2D(channels, filters, kernel, stride, padding=pads, groups=groups, bias_attr=False)
        for name, layer in zip(self.names, (conv, nn.BatchNorm2D(filters)), strict=True):
            self.add_sublayer(name, layer)
        self._pool = nn.AvgPool2D(2, 2, ceil_mode=True) if pooled else nn.Identity()
        self._active = activation() if activation else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = self._pool(x)
        for name in self.names:
            x = getattr(self, name)(x)
        return self._active(x)


class LegendaryConvNorm(ConvNorm):
    """The same by the names that PaddleClas has in `legendary_models`."""

    names = ("conv", "bn")


def uniform_linear(channels: int, outputs: int) -> nn.Linear:
    """A linear layer whose weights start within 1 / sqrt(channels), as published heads do."""
    bound = 1 / math.sqrt(channels)
    return nn.Linear(channels, outputs, weight_attr=ParamAttr(initializer=nn.initializer.Uniform(-bound, bound)))
