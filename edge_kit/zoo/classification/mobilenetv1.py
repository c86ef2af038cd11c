"""MobileNetV1. Howard et al. 2017, arXiv:1704.04861, table 1.

Paddle's own network. Paddle gives parameters for the full width only; those that PaddleClas gives for the narrower
ones go by other names.
"""

from dataclasses import replace
from functools import partial

from paddle.vision.models import MobileNetV1

from edge_kit.zoo.classification.imagenet import PADDLE_VISION, STEP, Family

FAMILY = Family(
    paper="arXiv:1704.04861",
    source="paddle.vision.models.mobilenetv1; recipe of PaddlePaddle/models release/1.6",
)
RECIPE = replace(STEP, weight_decay=3e-5)
WEIGHTS = f"{PADDLE_VISION}/mobilenetv1_1.0.pdparams"

FAMILY.add(
    "mobilenetv1_x0_25", "MobileNetV1 0.25x", partial(MobileNetV1, 0.25), 470_072, 41_030_272, (51.43, 75.46), RECIPE
)
FAMILY.add(
    "mobilenetv1_x0_5", "MobileNetV1 0.5x", partial(MobileNetV1, 0.5), 1_331_592, 149_497_088, (63.52, 84.73), RECIPE
)
FAMILY.add(
    "mobilenetv1_x0_75", "MobileNetV1 0.75x", partial(MobileNetV1, 0.75), 2_585_560, 325_400_448, (68.81, 88.23), RECIPE
)
FAMILY.add(
    "mobilenetv1",
    "MobileNetV1 1x",
    partial(MobileNetV1, 1.0),
    4_231_976,
    568_740_352,
    (70.99, 89.68),
    RECIPE,
    WEIGHTS,
    packaged=True,
)
