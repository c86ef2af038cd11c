"""SqueezeNet. Iandola et al. 2016, arXiv:1602.07360, table 1; 1.1 is its authors' later, smaller form.

Paddle's own network.
"""

from dataclasses import replace
from functools import partial

from paddle.vision.models import SqueezeNet

from edge_kit.train.recipe import Recipe
from edge_kit.zoo.classification.imagenet import MINI, PADDLE_CLAS, Family, mini_setup

FAMILY = Family(
    paper="arXiv:1602.07360",
    source="paddle.vision.models.squeezenet; recipe of PaddlePaddle/models release/1.6",
    mini=mini_setup(recipe=replace(MINI, learning_rate=0.02)),
)
RECIPE = Recipe(120, 256, 0.02, "epoch_cosine", weight_decay=1e-4)


def variant(version: str, parameters: int, macs: int, accuracy: tuple[float, float]) -> None:
    """Register one version by its row in the README and its recipe there."""
    suffix = version.replace(".", "_")
    weights = f"{PADDLE_CLAS}/SqueezeNet{suffix}_pretrained.pdparams"
    build = partial(SqueezeNet, version)
    FAMILY.add(f"squeezenet{suffix}", f"SqueezeNet {version}", build, parameters, macs, accuracy, RECIPE, weights)


variant("1.0", 1_248_424, 777_221_152, (59.60, 81.66))
variant("1.1", 1_235_496, 349_537_280, (60.08, 81.85))
