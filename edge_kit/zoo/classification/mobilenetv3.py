"""MobileNetV3. Howard et al. 2019, arXiv:1905.02244, tables 1 and 2.

Differs from the paper as PaddlePaddle's own does, and paddle.vision's differs from both: the last hidden layer of
`small` has 1280 units, at every width and without bias; a squeeze is a quarter of its input, not rounded; the hard
sigmoid has slope 0.2; every unit has its expansion convolution. Layers carry the names of PaddleClas, so that its
released parameters load as they are.
"""

from __future__ import annotations

from functools import partial

from paddle import Tensor, flatten, nn
from paddle.nn import functional

from edge_kit.train.recipe import Recipe
from edge_kit.zoo.classification.imagenet import PADDLE_CLAS, Family, warmed_up
from edge_kit.zoo.classification.layers import LegendaryConvNorm

RE, HS = nn.ReLU, nn.Hardswish
UNITS = {  # (kernel, expanded channels, channels out, squeeze and excite, activation, stride)
    "large": [
        (3, 16, 16, False, RE, 1),
        (3, 64, 24, False, RE, 2),
        (3, 72, 24, False, RE, 1),
        (5, 72, 40, True, RE, 2),
        (5, 120, 40, True, RE, 1),
        (5, 120, 40, True, RE, 1),
        (3, 240, 80, False, HS, 2),
        (3, 200, 80, False, HS, 1),
        (3, 184, 80, False, HS, 1),
        (3, 184, 80, False, HS, 1),
        (3, 480, 112, True, HS, 1),
        (3, 672, 112, True, HS, 1),
        (5, 672, 160, True, HS, 2),
        (5, 960, 160, True, HS, 1),
        (5, 960, 160, True, HS, 1),
    ],
    "small": [
        (3, 16, 16, True, RE, 2),
        (3, 72, 24, False, RE, 2),
        (3, 88, 24, False, RE, 1),
        (5, 96, 40, True, HS, 2),
        (5, 240, 40, True, HS, 1),
        (5, 240, 40, True, HS, 1),
        (5, 120, 48, True, HS, 1),
        (5, 144, 48, True, HS, 1),
        (5, 288, 96, True, HS, 2),
        (5, 576, 96, True, HS, 1),
        (5, 576, 96, True, HS, 1),
    ],
}
STEM, HIDDEN = 16, 1280


def rounded(channels: float) -> int:
    """The multiple of 8 nearest to a number of channels, at least 8 and more than nine tenths of it."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest if nearest >= 0.9 * channels else nearest + 8


class SqueezeExcite(nn.Layer):
    """Scales each channel by what the means of all say of it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.avg_pool = nn.AdaptiveAvgPool2D(1)
        self.conv1 = nn.Conv2D(channels, channels // 4, 1)
        self.conv2 = nn.Conv2D(channels // 4, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        scale = self.conv2(functional.relu(self.conv1(self.avg_pool(x))))
        return x * functional.hardsigmoid(scale, slope=0.2, offset=0.5)


class InvertedResidual(nn.Layer):
    """1x1 expansion, depthwise, squeeze and excite, linear 1x1 projection; added to its input where shapes allow."""

    def __init__(
        self, channels: int, kernel: int, hidden: int, filters: int, squeeze: bool, activation: type, stride: int
    ) -> None:
        super().__init__()
        self._skip = stride == 1 and channels == filters
        self.expand_conv = LegendaryConvNorm(channels, hidden, 1, activation=activation)
        self.bottleneck_conv = LegendaryConvNorm(hidden, hidden, kernel, stride, groups=hidden, activation=activation)
        self.mid_se = SqueezeExcite(hidden) if squeeze else nn.Identity()
        self.linear_conv = LegendaryConvNorm(hidden, filters, 1, activation=None)

    def forward(self, x: Tensor) -> Tensor:
        y = self.linear_conv(self.mid_se(self.bottleneck_conv(self.expand_conv(x))))
        return x + y if self._skip else y


class MobileNetV3(nn.Layer):
    """Image (N, 3, H, W) -> logits (N, classes).

    Args:
        size: `large` or `small`.
        width: Channels are multiplied by it and rounded to eights.
    """

    def __init__(self, size: str, width: float, num_classes: int) -> None:
        super().__init__()
        channels = rounded(STEM * width)
        self.conv = LegendaryConvNorm(3, channels, 3, 2, activation=HS)
        blocks = []
        for kernel, hidden, filters, squeeze, activation, stride in UNITS[size]:
            shape = (kernel, rounded(hidden * width), rounded(filters * width))
            blocks.append(InvertedResidual(channels, *shape, squeeze, activation, stride))
            channels = shape[-1]
        self.blocks = nn.Sequential(*blocks)
        last = rounded(UNITS[size][-1][1] * width)
        self.last_second_conv = LegendaryConvNorm(channels, last, 1, activation=HS)
        self.avg_pool = nn.AdaptiveAvgPool2D(1)
        self.last_conv = nn.Conv2D(last, HIDDEN, 1, bias_attr=False)
        # Scaled while evaluating, not while training, as the released parameters need it.
        self.dropout = nn.Dropout(0.2, mode="downscale_in_infer")
        self.fc = nn.Linear(HIDDEN, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.avg_pool(self.last_second_conv(self.blocks(self.conv(x))))
        return self.fc(flatten(self.dropout(functional.hardswish(self.last_conv(x))), 1))


FAMILY = Family(
    paper="arXiv:1905.02244",
    source="PaddleClas 25b65bb, legendary_models/mobilenet_v3.py and configs/ImageNet/MobileNetV3, whose batch is that "
    "of one device; published without weight decay on batch norm, and large_x1_0 with AutoAugment",
    readme="PaddleClas d178931, docs/en/algorithm_introduction/ImageNet_models_en.md",
)


def variant(
    size: str,
    width: float,
    parameters: int,
    macs: int,
    accuracy: tuple[float, float],
    weight_decay: float = 2e-5,
    batch: int = 512,
) -> None:
    """Register one size and width by its row in PaddleClas' table and its recipe there."""
    name = f"{size}_x{width}".replace(".", "_")
    recipe = Recipe(360, batch, 1.3 * batch / 512, weight_decay=weight_decay, label_smoothing=0.1)
    FAMILY.add(
        f"mobilenetv3_{name}",
        f"MobileNetV3 {size} {width:g}x",
        partial(MobileNetV3, size, width),
        parameters,
        macs,
        accuracy,
        warmed_up(recipe, epochs=5),
        f"{PADDLE_CLAS}/legendary_models/MobileNetV3_{name}_pretrained.pdparams",
        packaged=(size, width) == ("small", 1.0),
    )


variant("small", 0.35, 1_665_954, 13_161_528, (53.03, 76.37), weight_decay=1e-5)
variant("small", 0.5, 1_902_536, 20_759_280, (59.21, 81.52), weight_decay=1e-5)
variant("small", 0.75, 2_375_106, 43_048_536, (66.02, 86.33))
variant("small", 1.0, 2_939_958, 60_119_520, (68.24, 88.06))
variant("small", 1.25, 3_627_370, 95_364_424, (70.67, 89.51))
variant("large", 0.35, 2_104_328, 37_188_872, (64.32, 85.46))
variant("large", 0.5, 2_673_422, 66_704_432, (69.24, 88.52))
variant("large", 0.75, 3_912_248, 143_780_440, (73.14, 91.08))
variant("large", 1.0, 5_480_206, 219_799_200, (75.32, 92.31), batch=256)
variant("large", 1.25, 7_443_308, 349_965_896, (76.41, 92.95), weight_decay=4e-5)
