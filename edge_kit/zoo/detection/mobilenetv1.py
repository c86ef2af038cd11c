"""MobileNetV1 as the body of a detector: Paddle's own network without its head, tapped on the way."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from paddle import Tensor, nn
from paddle.vision.models import MobileNetV1

from edge_kit.zoo.entry import Setup


class MobileNetV1Body(nn.Layer):
    """A picture (N, 3, S, S) -> maps, the largest first.

    Args:
        taps: Numbers of the separable units, from 1, whose outputs are given; the last unit is 13.
    """

    def __init__(self, taps: Collection[int]) -> None:
        super().__init__()
        self.net = MobileNetV1(num_classes=0, with_pool=False)
        self._taps = frozenset(taps)

    def forward(self, image: Tensor) -> list[Tensor]:
        x, maps = self.net.conv1(image), []
        for number, unit in enumerate(self.net.dwsl, 1):
            x = unit(x)
            if number in self._taps:
                maps.append(x)
        return maps


def from_classifier(mini: Setup) -> Setup:
    """The same for a detector whose `body` starts as the packaged classifier of mini pictures, as published ones do."""
    return replace(mini, weights="mobilenetv1.safetensors", part="body.net")
