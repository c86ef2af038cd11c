"""Simple Baselines: three transposed convolutions on a ResNet. Xiao et al. 2018, arXiv:1804.06208, figure 1(c).

Published were two sizes of the input; the weights are the same.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from paddle import ParamAttr, Tensor, nn

from edge_kit.core.poses import PosePreprocess
from edge_kit.data.coco_keypoints import PoseChanges
from edge_kit.data.dataset import MiniSettings
from edge_kit.train.recipe import Recipe
from edge_kit.zoo.classification.resnet import EXPANSION, UNITS, WIDTHS, ResNet
from edge_kit.zoo.entry import Reference, Setup, ZooEntry, register
from edge_kit.zoo.keypoints import keypoint_graphs

GROWN, GROWINGS = 256, 3  # channels of the transposed convolutions, and how many there are
README = "PaddlePaddle/models release/1.6, PaddleCV/human_pose_estimation/README.md"


class SimpleBaselines(nn.Layer):
    """Image (N, 3, H, W) -> heat maps (N, keypoints, H / 4, W / 4); H and W are multiples of 32.

    Args:
        depth: Of the ResNet, 50 or more.
    """

    def __init__(self, keypoints: int, depth: int = 50) -> None:
        super().__init__()
        body = ResNet(UNITS[depth], num_classes=1)
        self.features = nn.Sequential(body.stem, body.max_pool, body.blocks)
        start = ParamAttr(initializer=nn.initializer.Normal(0.0, 0.001))
        head: list[nn.Layer] = []
        for i in range(GROWINGS):
            channels = GROWN if i else WIDTHS[-1] * EXPANSION
            grow = nn.Conv2DTranspose(channels, GROWN, 4, stride=2, padding=1, weight_attr=start, bias_attr=False)
            head += [grow, nn.BatchNorm2D(GROWN), nn.ReLU()]
        self.head = nn.Sequential(*head, nn.Conv2D(GROWN, keypoints, 1, weight_attr=start))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


PUBLISHED = Recipe(140, 128, 0.001, "step", milestones=(90, 120), optimizer="adam", momentum=0.0)
MINI = Recipe(3, 16, 0.001, "cosine", warmup_steps=20, optimizer="adam", momentum=0.0)
# 64 x 64 keeps a whole number of cells at every stage; the box around a person is then a square.
MINI_SETUP = Setup(
    PosePreprocess(64, 64),
    MINI,
    replace(MINI, epochs=1, warmup_steps=0),
    augment=PoseChanges(scale=0.05, turned=0.0, sigma=1.5),
    made=MiniSettings(train=512, evaluation=100, side=96),
)


def variant(id: str, height: int, width: int, macs: int, published: dict[str, float]) -> None:
    """Register one size of the input with its row of the README's table, in percent."""
    recipe = replace(PUBLISHED, epochs=20, learning_rate=1e-4, schedule="cosine", milestones=())
    register(
        ZooEntry(
            id=id,
            title=f"Simple Baselines ResNet50 {height} x {width}",
            family="keypoint_detection",
            task="keypoints",
            paper="arXiv:1804.06208",
            licence="Apache-2.0",
            source="PaddlePaddle/models release/1.6, PaddleCV/human_pose_estimation; channels are RGB here",
            data="coco_keypoints",
            parameters=33_999_697,
            macs=macs,
            published_sizes={"keypoints": 17},
            build=partial(SimpleBaselines, depth=50),
            graphs=keypoint_graphs,
            references=tuple(
                Reference("COCO val2017", metric, value, "%", README) for metric, value in published.items()
            ),
            published=Setup(PosePreprocess(height, width), PUBLISHED, recipe),
            mini=MINI_SETUP,
        )
    )


variant(
    "simple_baselines", 384, 288, 12_209_356_800,
    {"AP": 72.7, "AP50": 89.7, "AP75": 79.6, "AP_M": 69.0, "AP_L": 78.3, "AR": 75.4, "AR50": 90.7, "AR75": 81.3,
     "AR_M": 71.4, "AR_L": 81.4},
)  # fmt: skip
variant(
    "simple_baselines_256x192", 256, 192, 5_426_380_800,
    {"AP": 71.2, "AP50": 89.7, "AP75": 78.6, "AP_M": 68.3, "AP_L": 75.6, "AR": 74.1, "AR50": 90.6, "AR75": 80.6,
     "AR_M": 70.9, "AR_L": 79.0},
)  # fmt: skip
