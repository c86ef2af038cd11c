"""Inception-v4. Szegedy et al. 2016, arXiv:1602.07261, figures 3 to 9; 299x299 pixels.

Differs from the paper as PaddlePaddle's own does: some pairs of 1x7 and 7x1 convolutions, and of 1x3 and 3x1, stand in
the other order. Layers carry the names of PaddleClas, so that its released parameters load as they are.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from paddle import Tensor, concat, flatten, nn

from edge_kit.train.recipe import Recipe
from edge_kit.zoo.classification.imagenet import MINI_ADAM, PADDLE_CLAS, Family, mini_setup
from edge_kit.zoo.classification.layers import ConvNorm, uniform_linear


class Conv(NamedTuple):
    """One convolution of a table; it keeps the number of pixels unless it strides or has no padding."""

    name: str
    filters: int
    kernel: int | tuple[int, int]
    stride: int = 1
    padding: int | None = None


def halving(name: str, filters: int) -> Conv:
    """A 3x3 convolution that halves the pixels, without padding."""
    return Conv(name, filters, 3, stride=2, padding=0)


AVERAGE, LARGEST = "average", "largest"  # pooling over 3x3 pixels; the second halves them
Branch = tuple["str | Conv | list[Conv]", ...]  # one behind the other; a list, last, is a fork
Branches = tuple[Branch, ...]

STEM: tuple[Branches, ...] = (
    ((halving("_conv_1", 32), Conv("_conv_2", 32, 3, padding=0), Conv("_conv_3", 64, 3)),),
    ((LARGEST,), (halving("_conv2", 96),)),
    (
        (Conv("_conv1_1", 64, 1), Conv("_conv1_2", 96, 3, padding=0)),
        (
            Conv("_conv2_1", 64, 1),
            Conv("_conv2_2", 64, (7, 1)),
            Conv("_conv2_3", 64, (1, 7)),
            Conv("_conv2_4", 96, 3, padding=0),
        ),
    ),
    ((halving("_conv3", 192),), (LARGEST,)),
)
BLOCK_A: Branches = (
    (AVERAGE, Conv("_conv1", 96, 1)),
    (Conv("_conv2", 96, 1),),
    (Conv("_conv3_1", 64, 1), Conv("_conv3_2", 96, 3)),
    (Conv("_conv4_1", 64, 1), Conv("_conv4_2", 96, 3), Conv("_conv4_3", 96, 3)),
)
REDUCTION_A: Branches = (
    (LARGEST,),
    (halving("_conv2", 384),),
    (Conv("_conv3_1", 192, 1), Conv("_conv3_2", 224, 3), halving("_conv3_3", 256)),
)
BLOCK_B: Branches = (
    (AVERAGE, Conv("_conv1", 128, 1)),
    (Conv("_conv2", 384, 1),),
    (Conv("_conv3_1", 192, 1), Conv("_conv3_2", 224, (1, 7)), Conv("_conv3_3", 256, (7, 1))),
    (
        Conv("_conv4_1", 192, 1),
        Conv("_conv4_2", 192, (1, 7)),
        Conv("_conv4_3", 224, (7, 1)),
        Conv("_conv4_4", 224, (1, 7)),
        Conv("_conv4_5", 256, (7, 1)),
    ),
)
REDUCTION_B: Branches = (
    (LARGEST,),
    (Conv("_conv2_1", 192, 1), halving("_conv2_2", 192)),
    (
        Conv("_conv3_1", 256, 1),
        Conv("_conv3_2", 256, (1, 7)),
        Conv("_conv3_3", 320, (7, 1)),
        halving("_conv3_4", 320),
    ),
)
BLOCK_C: Branches = (
    (AVERAGE, Conv("_conv1", 256, 1)),
    (Conv("_conv2", 256, 1),),
    (Conv("_conv3_0", 384, 1), [Conv("_conv3_1", 256, (1, 3)), Conv("_conv3_2", 256, (3, 1))]),
    (
        Conv("_conv4_0", 384, 1),
        Conv("_conv4_00", 448, (1, 3)),
        Conv("_conv4_000", 512, (3, 1)),
        [Conv("_conv4_1", 256, (1, 3)), Conv("_conv4_2", 256, (3, 1))],
    ),
)


class Inception(nn.Layer):
    """Tables of branches, one behind the other; the branches of one are concatenated."""

    def __init__(self, channels: int, *tables: Branches) -> None:
        super().__init__()
        self._tables = tables
        self.average = nn.AvgPool2D(3, 1, padding=1)
        self.largest = nn.MaxPool2D(3, 2)
        for branches in tables:
            channels = sum(self._add(channels, branch) for branch in branches)
        self.filters = channels

    def _add(self, channels: int, branch: Branch) -> int:
        """Make the convolutions of a branch; returns its channels out."""
        for step in branch:
            if isinstance(step, str):
                continue
            convs = [step] if isinstance(step, Conv) else step
            for conv in convs:
                layer = ConvNorm(channels, conv.filters, conv.kernel, conv.stride, padding=conv.padding)
                self.add_sublayer(conv.name, layer)
            channels = sum(conv.filters for conv in convs)
        return channels

    def _run(self, branch: Branch, x: Tensor) -> list[Tensor]:
        ends = [x]
        for step in branch:
            if isinstance(step, str):
                names = [step]
            else:
                names = [conv.name for conv in ([step] if isinstance(step, Conv) else step)]
            ends = [getattr(self, name)(ends[0]) for name in names]
        return ends

    def forward(self, x: Tensor) -> Tensor:
        for branches in self._tables:
            parts = [part for branch in branches for part in self._run(branch, x)]
            x = concat(parts, 1) if len(parts) > 1 else parts[0]
        return x


class InceptionV4(nn.Layer):
    """Image (N, 3, H, W) -> logits (N, classes)."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        named = [
            *((f"_inceptionA_{i}", BLOCK_A) for i in range(1, 5)),
            ("_reductionA", REDUCTION_A),
            *((f"_inceptionB_{i}", BLOCK_B) for i in range(1, 8)),
            ("_reductionB", REDUCTION_B),
            *((f"_inceptionC_{i}", BLOCK_C) for i in range(1, 4)),
        ]
        self._inception_stem = Inception(3, *STEM)
        self._blocks = ["_inception_stem"]
        for name, branches in named:
            block = Inception(getattr(self, self._blocks[-1]).filters, branches)
            self.add_sublayer(name, block)
            self._blocks.append(name)
        self.avg_pool = nn.AdaptiveAvgPool2D(1)
        # Scaled while evaluating, not while training, as the released parameters need it.
        self._drop = nn.Dropout(0.2, mode="downscale_in_infer")
        self.out = uniform_linear(block.filters, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        for name in self._blocks:
            x = getattr(self, name)(x)
        return self.out(self._drop(flatten(self.avg_pool(x), 1)))


# Where half of what a ReLU sees is cut off, a hundred layers in a row are chaotic and learn nothing (arXiv:1902.08129).
MINI_RECIPE = replace(MINI_ADAM, starts=(("*._batch_norm.bias", 1.0),))

Family(
    paper="arXiv:1602.07261",
    source="PaddlePaddle/models release/1.6; names as PaddleClas 25b65bb, model_zoo/inception_v4.py",
    resize_short=320,
    crop=299,
    # At 75 px one pixel is left; the layers without padding make less impossible. At 107 px it learns faster.
    mini=mini_setup(side=107, recipe=MINI_RECIPE),
).add(
    "inceptionv4",
    "Inception-v4",
    InceptionV4,
    42_679_816,
    12_253_974_624,
    (80.77, 95.26),
    Recipe(200, 256, 0.045, "epoch_cosine", weight_decay=1e-4, label_smoothing=0.1, mixup=0.2),
    f"{PADDLE_CLAS}/InceptionV4_pretrained.pdparams",
)
