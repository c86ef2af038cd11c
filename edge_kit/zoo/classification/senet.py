"""Squeeze-and-excitation networks. Hu et al. 2017, arXiv:1709.01507.

SENet154_vd and SE_ResNet50_vd have the stem and shortcuts of ResNet-D, arXiv:1812.01187. Differs from the paper's
SENet-154 as PaddlePaddle's own does: the first 1x1 convolutions are as wide as the 3x3 ones. Dropout scales while
training, as PaddleClas evaluates without any.
"""

from functools import partial

from edge_kit.train.recipe import Recipe
from edge_kit.zoo.classification.imagenet import MIXED, PADDLE_CLAS, Family
from edge_kit.zoo.classification.resnext import MINI_VD, ResNeXt

FAMILY = Family(
    paper="arXiv:1709.01507",
    source="PaddlePaddle/models release/1.6; names as PaddleClas 25b65bb, model_zoo/se_resnext.py, "
    "se_resnext_vd.py and se_resnet_vd.py",
    mini=MINI_VD,
)
WIDE_STEM = (64, 64, 128)
SE = partial(ResNeXt, squeeze=True)
PLAIN = partial(SE, width=128, groups=32, stem=(), pooled=False, dropout=0.5)
SENET = partial(SE, 152, 256, 64, stem=WIDE_STEM, dropout=0.2)


def variant(
    name: str,
    build: partial[ResNeXt],
    parameters: int,
    macs: int,
    accuracy: tuple[float, float],
    recipe: Recipe = MIXED,
) -> None:
    """Register one network by its row in the README and its recipe there."""
    weights = f"{PADDLE_CLAS}/{name}_pretrained.pdparams"
    FAMILY.add(name.lower(), name, build, parameters, macs, accuracy, recipe, weights)


variant("SE_ResNet50_vd", partial(SE, 50, 64, 1), 28_107_256, 4_331_339_776, (79.52, 94.75))
variant(
    "SE_ResNeXt50_32x4d",
    partial(PLAIN, 50),
    27_559_896,
    4_232_994_816,
    (78.44, 93.96),
    Recipe(200, 400, 0.1, "epoch_cosine", weight_decay=1.2e-4),
)
variant(
    "SE_ResNeXt101_32x4d",
    partial(PLAIN, 101),
    48_955_416,
    7_974_739_968,
    (79.12, 94.20),
    Recipe(200, 400, 0.1, "epoch_cosine", weight_decay=1.5e-5),
)
variant("SENet154_vd", SENET, 121_737_048, 24_339_570_688, (81.40, 95.48))
