"""GoogLeNet. Szegedy et al. 2014, arXiv:1409.4842, table 1.

The layers are Paddle's own. They differ from the paper: no local response normalisation, and one ReLU behind each
concatenation instead of one behind each convolution. The auxiliary heads are run in training only, as in the
published evaluation graph, and each has the ReLU that Paddle leaves out of the second.
"""

from __future__ import annotations

from dataclasses import replace

from paddle import Tensor, flatten, nn
from paddle.nn import functional
from paddle.vision import models

from edge_kit.train.recipe import Recipe
from edge_kit.zoo.classification.imagenet import MINI_ADAM, PADDLE_CLAS, Family, mini_setup

FIRST_TO_POOL = 11  # pixels that three windows of 5, 3 apart, take


class GoogLeNet(models.GoogLeNet):
    """Image (N, 3, H, W) -> logits (N, classes); in training also those of the two auxiliary heads."""

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor, Tensor]:
        x = self._pool(self._conv(x))
        x = self._pool(self._conv_2(self._conv_1(x)))
        x = self._pool(self._ince3b(self._ince3a(x)))
        first = self._ince4a(x)
        second = self._ince4d(self._ince4c(self._ince4b(first)))
        x = self._pool(self._ince4e(second))
        x = self._pool_5(self._ince5b(self._ince5a(x)))
        logits = self._fc_out(flatten(self._drop(x), 1))
        if not self.training:
            return logits
        auxiliary = (
            _head(_pooled(first, self._pool_o1), self._conv_o1, self._fc_o1, [self._drop_o1, self._out1]),
            _head(_pooled(second, self._pool_o2), self._conv_o2, self._fc_o2, [self._drop_o2, self._out2]),
        )
        return logits, *auxiliary


def _pooled(x: Tensor, published: nn.Layer) -> Tensor:
    """A map as the 3x3 pixels that a head's linear layer takes; one too small for the published pooling, in thirds."""
    return published(x) if min(x.shape[2:]) >= FIRST_TO_POOL else functional.adaptive_avg_pool2d(x, 3)


def _head(x: Tensor, conv: nn.Layer, hidden: nn.Layer, after: list[nn.Layer]) -> Tensor:
    x = conv(x)
    x = functional.relu(hidden(flatten(x, 1)))
    for layer in after:
        x = layer(x)
    return x


Family(
    paper="arXiv:1409.4842",
    source="paddle.vision.models.googlenet; recipe of PaddlePaddle/models release/1.6; parameters counted with the "
    "auxiliary heads (6,991,272 without), multiply-accumulates without",
    mini=mini_setup(train=16_384, recipe=replace(MINI_ADAM, epochs=3)),
).add(
    "googlenet",
    "GoogLeNet",
    GoogLeNet,
    11_535_736,
    1_431_556_352,
    (70.70, 89.66),
    Recipe(200, 256, 0.01, "epoch_cosine", weight_decay=1e-4),
    f"{PADDLE_CLAS}/GoogLeNet_pretrained.pdparams",
)
