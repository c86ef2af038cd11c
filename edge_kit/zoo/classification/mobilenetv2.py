"""MobileNetV2. Sandler et al. 2018, arXiv:1801.04381, table 2.

Differs from the paper as PaddlePaddle's own does: the first unit has its expansion convolution although it expands
by 1. Layers carry the names of PaddleClas, so that its released parameters load as they are.
"""

from __future__ import annotations

from functools import partial

from paddle import Tensor, flatten, nn

from edge_kit.data.augment import RandomAreaCrop
from edge_kit.train.recipe import Recipe
from edge_kit.zoo.classification.imagenet import PADDLE_CLAS, Family
from edge_kit.zoo.classification.layers import ConvNorm

STAGES = [  # (expansion, channels out, units, stride), table 2 rows 2-8
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
]
HEAD = 1280


class InvertedResidual(nn.Layer):
    """1x1 expansion, 3x3 depthwise, linear 1x1 projection; added to its input where `skip`."""

    def __init__(self, channels: int, filters: int, stride: int, expansion: int, skip: bool) -> None:
        super().__init__()
        hidden = channels * expansion
        self._skip = skip
        self._expand_conv = ConvNorm(channels, hidden, 1, activation=nn.ReLU6)
        self._bottleneck_conv = ConvNorm(hidden, hidden, 3, stride, groups=hidden, activation=nn.ReLU6)
        self._linear_conv = ConvNorm(hidden, filters, 1, activation=None)

    def forward(self, x: Tensor) -> Tensor:
        y = self._linear_conv(self._bottleneck_conv(self._expand_conv(x)))
        return x + y if self._skip else y


class Stage(nn.Layer):
    """Units of one width; only the first strides, and only the others skip."""

    def __init__(self, name: str, channels: int, filters: int, units: int, stride: int, expansion: int) -> None:
        super().__init__()
        self._first_block = InvertedResidual(channels, filters, stride, expansion, skip=False)
        self._rest = [f"{name}_{i}" for i in range(2, units + 1)]
        for unit in self._rest:
            self.add_sublayer(unit, InvertedResidual(filters, filters, 1, expansion, skip=True))

    def forward(self, x: Tensor) -> Tensor:
        x = self._first_block(x)
        for unit in self._rest:
            x = getattr(self, unit)(x)
        return x


class MobileNetV2(nn.Layer):
    """Image (N, 3, H, W) -> logits (N, classes). Widths are `int(channels * width)`, not rounded to eights."""

    def __init__(self, num_classes: int, width: float) -> None:
        super().__init__()
        channels = int(32 * width)
        self.conv1 = ConvNorm(3, channels, 3, stride=2, activation=nn.ReLU6)
        self._stages = [f"conv{i}" for i in range(2, 2 + len(STAGES))]
        for name, (expansion, filters, units, stride) in zip(self._stages, STAGES, strict=True):
            out = int(filters * width)
            self.add_sublayer(name, Stage(name, channels, out, units, stride, expansion))
            channels = out
        head = int(HEAD * width) if width > 1 else HEAD
        self.conv9 = ConvNorm(channels, head, 1, activation=nn.ReLU6)
        self.pool2d_avg = nn.AdaptiveAvgPool2D(1)
        self.out = nn.Linear(head, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        for name in self._stages:
            x = getattr(self, name)(x)
        return self.out(flatten(self.pool2d_avg(self.conv9(x)), 1))


SQUARE = RandomAreaCrop(aspect=(1.0, 1.0))
FAMILY = Family(
    paper="arXiv:1801.04381",
    source="PaddlePaddle/models release/1.6; names as PaddleClas 25b65bb, model_zoo/mobilenet_v2.py",
)


def variant(
    suffix: str,
    width: float,
    parameters: int,
    macs: int,
    accuracy: tuple[float, float],
    batch: int = 256,
    learning_rate: float = 0.1,
    weight_decay: float = 4e-5,
    augment: RandomAreaCrop | None = None,
    packaged: bool = False,
) -> None:
    """Register one width by its row in the README and its recipe there."""
    FAMILY.add(
        f"mobilenetv2{suffix}",
        f"MobileNetV2 {width:g}x",
        partial(MobileNetV2, width=width),
        parameters,
        macs,
        accuracy,
        Recipe(240, batch, learning_rate, "epoch_cosine", weight_decay=weight_decay),
        f"{PADDLE_CLAS}/MobileNetV2{suffix}_pretrained.pdparams",
        augment=augment,
        packaged=packaged,
    )


variant("_x0_25", 0.25, 1_517_392, 30_480_864, (53.21, 76.52), weight_decay=3e-5, augment=SQUARE)
variant("_x0_5", 0.5, 1_965_736, 92_271_040, (65.03, 85.72), weight_decay=3e-5, augment=SQUARE)
variant("_x0_75", 0.75, 2_628_592, 186_650_528, (69.83, 89.01), learning_rate=0.045)
variant("", 1.0, 3_505_960, 313_619_328, (72.15, 90.65), 500, packaged=True)
variant("_x1_5", 1.5, 6_852_712, 681_017_664, (74.12, 91.67))
variant("_x2_0", 2.0, 11_262_312, 1_188_808_448, (75.23, 92.58))
