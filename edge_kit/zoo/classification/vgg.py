"""VGG. Simonyan and Zisserman 2014, arXiv:1409.1556, table 1, columns A, B, D and E.

Differs from the paper as PaddlePaddle's own does, and paddle.vision's does not: convolutions have no bias. Layers
carry the names of PaddleClas, so that its released parameters load as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from paddle import Tensor, flatten, nn
from paddle.nn import functional

from edge_kit.train.recipe import Recipe
from edge_kit.zoo.classification.imagenet import MINI_ADAM, PADDLE_CLAS, Family, mini_setup

WIDTHS = (64, 128, 256, 512, 512)
HIDDEN = 4096
MAP = 7  # side of the last feature map: 224 px halved five times


class Stage(nn.Layer):
    """3x3 convolutions of one width, each with ReLU; then half the pixels."""

    def __init__(self, channels: int, filters: int, convolutions: int) -> None:
        super().__init__()
        self._convs = [f"conv{i}" for i in range(1, convolutions + 1)]
        for name in self._convs:
            self.add_sublayer(name, nn.Conv2D(channels, filters, 3, padding=1, bias_attr=False))
            channels = filters
        self.max_pool = nn.MaxPool2D(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        for name in self._convs:
            x = functional.relu(getattr(self, name)(x))
        return self.max_pool(x)


class VGG(nn.Layer):
    """Image (N, 3, 224, 224) -> logits (N, classes).

    Args:
        convolutions: Of each of the five stages.
    """

    def __init__(self, convolutions: tuple[int, ...], num_classes: int) -> None:
        super().__init__()
        channels = 3
        self._stages = [f"conv_block_{i}" for i in range(1, len(WIDTHS) + 1)]
        for name, count, filters in zip(self._stages, convolutions, WIDTHS, strict=True):
            self.add_sublayer(name, Stage(channels, filters, count))
            channels = filters
        # Scaled while evaluating, not while training, as the released parameters need it.
        self.drop = nn.Dropout(0.5, mode="downscale_in_infer")
        self.fc1 = nn.Linear(channels * MAP * MAP, HIDDEN)
        self.fc2 = nn.Linear(HIDDEN, HIDDEN)
        self.fc3 = nn.Linear(HIDDEN, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        for name in self._stages:
            x = getattr(self, name)(x)
        if x.shape[-1] != MAP:  # of another picture than the published ones
            x = functional.interpolate(x, size=[MAP, MAP], mode="nearest")
        x = self.drop(functional.relu(self.fc1(flatten(x, 1))))
        return self.fc3(self.drop(functional.relu(self.fc2(x))))


IDENTITIES = ("conv_block_5.conv1.weight", "conv_block_?.conv[!1].weight")  # at first; the others change the width
SLOWER = 0.2  # learning of those: as fast as the others they lose what they pass on before anything is learnt


def _rates() -> Iterator[tuple[str, float]]:
    """One over a layer's inputs: a step of Adam moves all weights alike, and so an output by as much as it has inputs.

    Source: Yang et al. 2022, arXiv:2203.03466, table 3.
    """
    for stage, width in enumerate(WIDTHS, 1):
        yield f"conv_block_{stage}.*", SLOWER / (9 * width)
    for stage, width in enumerate(WIDTHS[:-1], 1):
        yield f"conv_block_{stage}.conv1.*", 1 / (9 * width)
    yield "fc1.*", 1 / (WIDTHS[-1] * MAP * MAP)
    yield "fc[23].*", 1 / HIDDEN


# From random weights. The network begins as one of four convolutions, and fitted to a batch, as it has no batch norm.
MINI_RECIPE = replace(
    MINI_ADAM,
    learning_rate=0.2,
    rates=tuple(_rates()),
    starts=(*((name, "identity") for name in IDENTITIES), ("fc3.weight", 0.0)),
    settled=True,
    dropout=False,
)
CONVOLUTIONS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
FAMILY = Family(
    paper="arXiv:1409.1556",
    source="PaddlePaddle/models release/1.6; names as PaddleClas 25b65bb, legendary_models/vgg.py",
    mini=mini_setup(recipe=MINI_RECIPE),
)


def variant(depth: int, parameters: int, macs: int, accuracy: tuple[float, float], recipe: Recipe) -> None:
    """Register one depth by its row in the README and its recipe there."""
    name = f"VGG{depth}"
    build = partial(VGG, CONVOLUTIONS[depth])
    weights = f"{PADDLE_CLAS}/legendary_models/{name}_pretrained.pdparams"
    FAMILY.add(name.lower(), name, build, parameters, macs, accuracy, recipe, weights)


variant(11, 132_860_584, 7_609_090_048, (69.28, 89.09), Recipe(90, 512, 0.1, "epoch_cosine", weight_decay=2e-4))
variant(13, 133_044_904, 11_308_466_176, (70.02, 89.42), Recipe(90, 256, 0.01, "epoch_cosine", weight_decay=3e-4))
variant(16, 138_353_320, 15_470_264_320, (72.00, 90.69), Recipe(90, 256, 0.01, "epoch_cosine", weight_decay=3e-4))
variant(19, 143_661_736, 19_632_062_464, (72.56, 90.93), Recipe(150, 256, 0.01, "epoch_cosine", weight_decay=4e-4))
