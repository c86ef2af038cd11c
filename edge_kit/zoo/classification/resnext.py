"""ResNeXt. Xie et al. 2016, arXiv:1611.05431, table 1; with the changes of ResNet-D, arXiv:1812.01187, as vd.

The plain ones are Paddle's own; `ResNeXt` is the rest, and SENet's ground. Its layers carry the names of PaddleClas,
so that its released parameters load as they are.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from paddle import Tensor, flatten, nn
from paddle.nn import functional
from paddle.vision import models

from edge_kit.train.recipe import Recipe
from edge_kit.zoo.classification.imagenet import COSINE, MIXED, PADDLE_CLAS, PADDLE_VISION, STEP, Family, residual_mini
from edge_kit.zoo.classification.layers import ConvNorm, uniform_linear
from edge_kit.zoo.classification.resnet import UNITS

WIDTHS = (256, 512, 1024, 2048)
REDUCTION = 16
DEEP_STEM = (32, 32, 64)


class SqueezeExcite(nn.Layer):
    """Scales each channel by what the means of all say of it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pool2d_gap = nn.AdaptiveAvgPool2D(1)
        self.squeeze = uniform_linear(channels, channels // REDUCTION)
        self.excitation = uniform_linear(channels // REDUCTION, channels)

    def forward(self, x: Tensor) -> Tensor:
        scale = functional.relu(self.squeeze(flatten(self.pool2d_gap(x), 1)))
        return x * functional.sigmoid(self.excitation(scale)).unsqueeze([2, 3])


class Bottleneck(nn.Layer):
    """1x1, grouped 3x3, 1x1, perhaps squeeze and excite; added to the input or its projection."""

    def __init__(
        self,
        channels: int,
        width: int,
        filters: int,
        stride: int,
        groups: int,
        projected: bool,
        pooled: bool,
        squeeze: bool,
    ) -> None:
        super().__init__()
        self.conv0 = ConvNorm(channels, width, 1)
        self.conv1 = ConvNorm(width, width, 3, stride, groups)
        self.conv2 = ConvNorm(width, filters, 1, activation=None)
        self.scale = SqueezeExcite(filters) if squeeze else nn.Identity()
        self._projected = projected
        if projected:
            step = 1 if pooled else stride
            self.short = ConvNorm(channels, filters, 1, step, activation=None, pooled=pooled)

    def forward(self, x: Tensor) -> Tensor:
        short = self.short(x) if self._projected else x
        return functional.relu(self.scale(self.conv2(self.conv1(self.conv0(x)))) + short)


class ResNeXt(nn.Layer):
    """Image (N, 3, H, W) -> logits (N, classes).

    Args:
        depth: A key of `UNITS`.
        width: Of the 3x3 convolutions of the first stage; it doubles from stage to stage.
        groups: Of the 3x3 convolutions.
        stem: Filters of its 3x3 convolutions; one 7x7 convolution where empty.
        pooled: Whether shortcuts average before they project, instead of striding.
        squeeze: Whether each unit ends in squeeze and excite.
        dropout: Before the head, while training.
    """

    def __init__(
        self,
        depth: int,
        width: int,
        groups: int,
        num_classes: int,
        stem: tuple[int, ...] = DEEP_STEM,
        pooled: bool = True,
        squeeze: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self._layers = [f"conv1_{i}" for i in range(1, len(stem) + 1)] or ["conv"]
        channels = 3
        for name, filters in zip(self._layers, stem or (64,), strict=True):
            stride = 2 if channels == 3 else 1
            self.add_sublayer(name, ConvNorm(channels, filters, 3 if stem else 7, stride))
            channels = filters
        self.pool2d_max = nn.MaxPool2D(3, 2, padding=1)
        self._layers.append("pool2d_max")
        for stage, (count, filters) in enumerate(zip(UNITS[depth], WIDTHS, strict=True)):
            for unit in range(count):
                stride = 2 if stage and not unit else 1
                block = Bottleneck(
                    channels, width << stage, filters, stride, groups, not unit, pooled and stride == 2, squeeze
                )
                self._layers.append(f"bb_{stage}_{unit}")
                self.add_sublayer(self._layers[-1], block)
                channels = filters
        self.pool2d_avg = nn.AdaptiveAvgPool2D(1)
        self.dropout = nn.Dropout(dropout)
        self.out = uniform_linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        for name in self._layers:
            x = getattr(self, name)(x)
        return self.out(self.dropout(flatten(self.pool2d_avg(x), 1)))


MINI_VD = residual_mini("bb_*.conv2._batch_norm.weight")  # of `ResNeXt`, by whichever name it goes
FAMILY = Family(
    paper="arXiv:1611.05431",
    source="paddle.vision.models.resnet; recipe of PaddlePaddle/models release/1.6, which has none for 50_64x4d: as "
    "50_32x4d",
    mini=residual_mini("layer*.bn3.weight"),
)
FAMILY_D = replace(
    FAMILY,
    mini=MINI_VD,
    source="PaddlePaddle/models release/1.6, which has no recipe for 50_vd_32x4d: as 50_vd_64x4d; names as PaddleClas "
    "25b65bb, model_zoo/resnext_vd.py",
)


def variant(depth: int, groups: int, parameters: int, macs: int, accuracy: tuple[float, float], recipe: Recipe) -> None:
    """Register one plain network by its row in the README and its recipe there."""
    name = f"resnext{depth}_{groups}x4d"
    # The README of 1.6 gives resnext101_64x4d the accuracies of resnext50_64x4d.
    misprinted = name == "resnext101_64x4d"
    family = replace(FAMILY, readme=FAMILY.readme.replace("1.6", "1.7")) if misprinted else FAMILY
    family.add(
        name,
        f"ResNeXt{depth} {groups}x4d",
        getattr(models, name),
        parameters,
        macs,
        accuracy,
        recipe,
        f"{PADDLE_VISION}/{name}.pdparams",
    )


def variant_d(depth: int, groups: int, parameters: int, macs: int, accuracy: tuple[float, float]) -> None:
    """Register one network with the changes of ResNet-D."""
    FAMILY_D.add(
        f"resnext{depth}_vd_{groups}x4d",
        f"ResNeXt{depth}_vd {groups}x4d",
        partial(ResNeXt, depth, 4 * groups, groups),
        parameters,
        macs,
        accuracy,
        MIXED,
        f"{PADDLE_CLAS}/ResNeXt{depth}_vd_{groups}x4d_pretrained.pdparams",
    )


variant(50, 32, 25_028_904, 4_230_479_872, (77.75, 93.82), STEP)
variant(50, 64, 45_192_488, 7_981_236_224, (78.43, 94.13), STEP)
variant(101, 32, 44_177_704, 7_969_996_800, (78.65, 94.19), STEP)
variant(101, 64, 83_455_272, 15_460_270_080, (78.35, 94.52), replace(STEP, weight_decay=1.5e-4))
variant(152, 32, 59_951_400, 11_709_513_728, (78.98, 94.33), STEP)
variant(152, 64, 114_971_944, 22_939_303_936, (79.51, 94.71), replace(STEP, weight_decay=1.8e-4))
variant_d(50, 32, 25_048_136, 4_470_120_448, (79.56, 94.62))
variant_d(50, 64, 45_211_720, 8_220_876_800, (80.12, 94.86))
variant_d(101, 32, 44_196_936, 8_209_637_376, (80.33, 95.12))
variant_d(101, 64, 83_474_504, 15_699_910_656, (80.78, 95.20))
variant_d(152, 64, 114_991_176, 23_178_944_512, (81.08, 95.34))

replace(
    FAMILY,
    mini=MINI_VD,
    paper="arXiv:1812.01187",
    source="PaddlePaddle/models release/1.6; names as PaddleClas 25b65bb, model_zoo/resnet_vc.py",
).add(
    "resnet50_vc",
    "ResNet50_vc",
    partial(ResNeXt, 50, 64, 1, pooled=False),
    25_576_264,
    4_328_824_832,
    (78.35, 94.03),
    COSINE,
    f"{PADDLE_CLAS}/ResNet50_vc_pretrained.pdparams",
)
