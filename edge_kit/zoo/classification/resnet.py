"""ResNet and ResNet-D. He et al. 2015, arXiv:1512.03385, table 1; He et al. 2018, arXiv:1812.01187, figure 2.

Differs from the paper as PaddlePaddle's own do: a bottleneck strides in its 3x3 convolution, and the first shortcut
of ResNet18 and 34 is projected although its shapes match (paddle.vision's is not). The variants called vd have the
stem of ResNet-C and the shortcuts of ResNet-D. Layers carry the names of PaddleClas, so that its released parameters
load as they are.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from paddle import Tensor, flatten, nn

from edge_kit.train.recipe import Recipe
from edge_kit.zoo.classification.imagenet import MIXED, PADDLE_CLAS, STEP, Family, residual_mini
from edge_kit.zoo.classification.layers import LegendaryConvNorm, uniform_linear

WIDTHS = (64, 128, 256, 512)
STEM = ((64, 7, 2),)  # (filters, kernel, stride)
DEEP_STEM = ((32, 3, 2), (32, 3, 1), (64, 3, 1))
EXPANSION = 4


class Residual(nn.Layer):
    """Two 3x3 convolutions, or 1x1, 3x3, 1x1 of four times the width; added to the input or its projection.

    Attributes:
        before: What the convolutions see of the input, and the shortcut does not; all of it where nobody changed that.
    """

    def __init__(self, channels: int, width: int, stride: int, bottleneck: bool, projected: bool, pooled: bool) -> None:
        super().__init__()
        filters = width * EXPANSION if bottleneck else width
        shapes = (
            [(1, 1, width), (3, stride, width), (1, 1, filters)] if bottleneck else [(3, stride, width), (3, 1, width)]
        )
        self._convs = [f"conv{i}" for i in range(len(shapes))]
        inner = channels
        for name, (kernel, step, out) in zip(self._convs, shapes, strict=True):
            active = None if name == self._convs[-1] else nn.ReLU
            self.add_sublayer(name, LegendaryConvNorm(inner, out, kernel, step, activation=active))
            inner = out
        self._projected = projected
        if projected:
            step = 1 if pooled else stride
            self.short = LegendaryConvNorm(channels, filters, 1, step, activation=None, pooled=pooled)
        self.relu = nn.ReLU()
        self.before: nn.Layer = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        short = self.short(x) if self._projected else x
        x = self.before(x)
        for name in self._convs:
            x = getattr(self, name)(x)
        return self.relu(x + short)


class ResNetFeatures(nn.Layer):
    """Image (N, 3, H, W) -> means of the last maps (N, `width`), with nothing behind them.

    Args:
        units: Of each of the four stages.
        deep: Stem of three convolutions and pooled shortcuts: the vd variants.

    Attributes:
        width: Channels of the last maps.
    """

    def __init__(self, units: tuple[int, ...], bottleneck: bool = True, deep: bool = False) -> None:
        super().__init__()
        channels, stem = 3, []
        for filters, kernel, stride in DEEP_STEM if deep else STEM:
            stem.append(LegendaryConvNorm(channels, filters, kernel, stride))
            channels = filters
        self.stem = nn.Sequential(*stem)
        self.max_pool = nn.MaxPool2D(3, 2, padding=1)
        blocks = []
        for stage, (count, width) in enumerate(zip(units, WIDTHS, strict=True)):
            for unit in range(count):
                stride = 2 if stage and not unit else 1
                pooled = deep and stride == 2
                blocks.append(Residual(channels, width, stride, bottleneck, projected=not unit, pooled=pooled))
                channels = width * EXPANSION if bottleneck else width
        self.blocks = nn.Sequential(*blocks)
        self.avg_pool = nn.AdaptiveAvgPool2D(1)
        self.width = channels

    def forward(self, x: Tensor) -> Tensor:
        return flatten(self.avg_pool(self.blocks(self.max_pool(self.stem(x)))), 1)


class ResNet(ResNetFeatures):
    """Image (N, 3, H, W) -> logits (N, classes)."""

    def __init__(self, units: tuple[int, ...], num_classes: int, bottleneck: bool = True, deep: bool = False) -> None:
        super().__init__(units, bottleneck, deep)
        self.fc = uniform_linear(self.width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(super().forward(x))


UNITS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
    200: (3, 12, 48, 3),
}
FAMILY = Family(
    paper="arXiv:1512.03385",
    source="PaddlePaddle/models release/1.6; names as PaddleClas 25b65bb, legendary_models/resnet.py",
)
FAMILY_D = replace(FAMILY, paper="arXiv:1812.01187")
COSINE_120 = Recipe(120, 256, 0.1, "epoch_cosine", weight_decay=1e-4)
MIXED_7E5 = replace(MIXED, weight_decay=7e-5)


def variant(
    depth: int, parameters: int, macs: int, accuracy: tuple[float, float], recipe: Recipe, deep: bool = False
) -> None:
    """Register one depth by its row in the README and its recipe there."""
    name = f"ResNet{depth}_vd" if deep else f"ResNet{depth}"
    build = partial(ResNet, UNITS[depth], bottleneck=depth >= 50, deep=deep)
    weights = f"{PADDLE_CLAS}/legendary_models/{name}_pretrained.pdparams"
    last = "conv2" if depth >= 50 else "conv1"
    family = replace(FAMILY_D if deep else FAMILY, mini=residual_mini(f"blocks.*.{last}.bn.weight"))
    family.add(name.lower(), name, build, parameters, macs, accuracy, recipe, weights)


variant(18, 11_693_736, 1_826_918_400, (70.98, 89.92), COSINE_120)
variant(34, 21_801_896, 3_676_606_464, (74.57, 92.14), COSINE_120)
variant(50, 25_557_032, 4_089_184_256, (76.50, 93.00), STEP)
variant(101, 44_549_160, 7_801_405_440, (77.56, 93.64), STEP)
variant(152, 60_192_808, 11_513_626_624, (78.26, 93.96), STEP)
variant(18, 11_712_968, 2_066_558_976, (72.26, 90.80), MIXED_7E5, deep=True)
variant(34, 21_821_128, 3_916_247_040, (75.98, 92.98), MIXED_7E5, deep=True)
variant(50, 25_576_264, 4_328_824_832, (79.12, 94.44), MIXED_7E5, deep=True)
variant(101, 44_568_392, 8_041_046_016, (80.17, 94.97), MIXED, deep=True)
variant(152, 60_212_040, 11_753_267_200, (80.59, 95.30), MIXED, deep=True)
variant(200, 74_738_504, 15_247_122_432, (80.93, 95.33), MIXED, deep=True)
