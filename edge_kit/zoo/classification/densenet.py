"""DenseNet. Huang et al. 2016, arXiv:1608.06993, table 1.

Paddle's own network.
"""

from functools import partial

from paddle.vision.models import DenseNet

from edge_kit.zoo.classification.imagenet import PADDLE_CLAS, STEP, Family, mini_setup

FAMILY = Family(
    paper="arXiv:1608.06993",
    source="paddle.vision.models.densenet; recipe of PaddlePaddle/models release/1.6",
    mini=mini_setup(train=2048),
)


def variant(depth: int, parameters: int, macs: int, accuracy: tuple[float, float]) -> None:
    """Register one depth by its row in the README and its recipe there."""
    weights = f"{PADDLE_CLAS}/DenseNet{depth}_pretrained.pdparams"
    build = partial(DenseNet, depth)
    FAMILY.add(f"densenet{depth}", f"DenseNet{depth}", build, parameters, macs, accuracy, STEP, weights)


variant(121, 7_978_856, 2_834_161_664, (75.66, 92.58))
variant(161, 28_681_000, 7_727_907_072, (78.57, 94.14))
variant(169, 14_149_480, 3_359_843_328, (76.81, 93.31))
variant(201, 20_013_928, 4_291_365_888, (77.63, 93.66))
variant(264, 33_337_704, 5_751_653_376, (77.96, 93.85))
