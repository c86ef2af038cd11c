"""ShuffleNetV2. Ma et al. 2018, arXiv:1807.11164, table 5.

Paddle's own network. Differs from the paper: the second width of 2x is 224, not 244. `shufflenetv2` is the variant
with Swish for ReLU, whose accuracy PaddlePaddle once published under the plain name.
"""

from functools import partial

from paddle.vision.models import ShuffleNetV2

from edge_kit.data.augment import RandomAreaCrop
from edge_kit.train.recipe import Recipe
from edge_kit.zoo.classification.imagenet import PADDLE_VISION, Family, warmed_up

FAMILY = Family(
    paper="arXiv:1807.11164",
    source="paddle.vision.models.shufflenetv2; recipe of PaddlePaddle/models release/1.6",
)
NARROW = warmed_up(Recipe(240, 1024, 0.5, "late_cosine", weight_decay=3e-5), epochs=5)
FULL = warmed_up(Recipe(240, 1024, 0.5, "late_cosine", weight_decay=4e-5), epochs=5)
WIDE = warmed_up(Recipe(240, 512, 0.25, "late_cosine", weight_decay=4e-5), epochs=5)

GENTLE = RandomAreaCrop(area=(0.64, 1.0), aspect=(0.8, 1.2))
SQUARE = RandomAreaCrop(aspect=(1.0, 1.0))


def variant(
    name: str,
    width: float,
    parameters: int,
    macs: int,
    accuracy: tuple[float, float],
    recipe: Recipe,
    augment: RandomAreaCrop | None = None,
) -> None:
    """Register one width, or the Swish variant, by its row in the README and its recipe there."""
    swish = name == "swish"
    FAMILY.add(
        "shufflenetv2" if swish else f"shufflenetv2_{name}",
        f"ShuffleNetV2 {width:g}x{', Swish' if swish else ''}",
        partial(ShuffleNetV2, width, "swish" if swish else "relu"),
        parameters,
        macs,
        accuracy,
        recipe,
        f"{PADDLE_VISION}/shufflenet_v2_{name}.pdparams",
        augment=augment,
        packaged=swish,
    )


variant("x0_25", 0.25, 603_688, 17_575_760, (49.90, 73.79), NARROW, GENTLE)
variant("x0_33", 0.33, 647_272, 22_454_592, (53.73, 77.05), NARROW, GENTLE)
variant("x0_5", 0.5, 1_366_792, 40_476_448, (60.32, 82.26), NARROW, GENTLE)
variant("x1_0", 1.0, 2_278_604, 144_907_992, (68.80, 88.45), FULL)
variant("x1_5", 1.5, 3_503_624, 295_759_392, (71.63, 90.15), WIDE, SQUARE)
variant("x2_0", 2.0, 7_366_536, 564_370_824, (73.15, 91.20), WIDE)
variant("swish", 1.0, 2_278_604, 144_907_992, (70.03, 89.17), FULL)
