"""SSD on MobileNetV1. Liu et al. 2016, arXiv:1512.02325; PaddlePaddle/models release/1.6, PaddleCV/ssd.

The published number was reached from weights that had seen COCO. Published pictures were resized by Pillow, which
smooths what it shrinks as `area` does here, by another filter.
"""

from __future__ import annotations

from dataclasses import replace

import paddle
from paddle import Tensor, nn

from edge_kit.core.images import SquarePreprocess
from edge_kit.core.tensors import MAIN, GraphSpec, TensorSpec
from edge_kit.data.augment_scenes import Distortion, SceneAugment
from edge_kit.data.dataset import MiniSettings
from edge_kit.tasks.detect_ssd import OUTPUTS, SIDE, shapes_of
from edge_kit.train.recipe import Recipe
from edge_kit.zoo.classification.layers import ConvNorm
from edge_kit.zoo.detection.mobilenetv1 import MobileNetV1Body, from_classifier
from edge_kit.zoo.entry import Reference, Setup, ZooEntry, register

TAPS = {11: 512, 13: 1024}  # separable units of the body that are looked at, and their channels
EXTRA = ((256, 512), (128, 256), (128, 256), (64, 128))  # channels of the 1x1 and the 3x3 of each further unit
SLOW = (("body.*.0.weight", 0.1), ("extra.*._conv.weight", 0.1))  # convolutions that were trained before
README = "PaddlePaddle/models release/1.6, PaddleCV/ssd/README.md"
HALF = (0.5, 0.5, 0.5)


class MobileNetSsd(nn.Layer):
    """A picture (N, 3, S, S) -> corrections (N, P, 4) and logits (N, P, 1 + classes), background first."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.body = MobileNetV1Body(TAPS)
        self.extra = nn.LayerList()
        channels = list(TAPS.values())
        for narrow, wide in EXTRA:
            self.extra.append(nn.Sequential(ConvNorm(channels[-1], narrow, 1), ConvNorm(narrow, wide, 3, 2)))
            channels.append(wide)
        self.classes = num_classes + 1
        shapes = [len(shapes_of(place)) for place in range(len(channels))]
        self.loc = nn.LayerList([nn.Conv2D(c, 4 * n, 1) for c, n in zip(channels, shapes, strict=True)])
        self.conf = nn.LayerList([nn.Conv2D(c, self.classes * n, 1) for c, n in zip(channels, shapes, strict=True)])

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.body(image)
        for unit in self.extra:
            maps.append(unit(maps[-1]))
        loc = [_by_prior(head(maps[i]), 4) for i, head in enumerate(self.loc)]
        conf = [_by_prior(head(maps[i]), self.classes) for i, head in enumerate(self.conf)]
        return paddle.concat(loc, axis=1), paddle.concat(conf, axis=1)


def _by_prior(x: Tensor, values: int) -> Tensor:
    return x.transpose([0, 2, 3, 1]).reshape([0, -1, values])  # (N, priors * values, H, W) -> (N, H * W * priors, ...)


def graphs(preprocess: SquarePreprocess) -> dict[str, GraphSpec]:
    """The one graph: `image` (N, 3, side, side) float32 -> `loc` and `conf`."""
    image = TensorSpec("image", ("N", 3, preprocess.side, preprocess.side), layout="NCHW")
    return {MAIN: GraphSpec((image,), OUTPUTS)}


def _pictures(side: int) -> SquarePreprocess:
    return SquarePreprocess(side, "area", mean=HALF, std=HALF, channel_order="BGR")


PUBLISHED = Recipe(
    120,
    64,
    0.001,
    "step",
    milestones=(40, 60, 80, 100),
    factors=(0.5, 0.25, 0.1, 0.01),
    weight_decay=5e-5,
    optimizer="rmsprop",
    rates=SLOW,
)
AUGMENT = SceneAugment(distort=Distortion(), expand=4.0, least=(0.1, 0.3, 0.5, 0.7, 0.9, 0.0))
# From random weights, on pictures of a third of the side.
MINI = Recipe(6, 16, 0.001, warmup_steps=50, weight_decay=5e-5, optimizer="adam")
PLAIN = SceneAugment(flip=0.0)  # digits have a left and a right, and come in all sizes and colours

ENTRY = register(
    ZooEntry(
        id="ssd",
        title="SSD MobileNetV1",
        family="object_detection",
        task="detect_ssd",
        paper="arXiv:1512.02325",
        licence="Apache-2.0",
        source="PaddlePaddle/models release/1.6, PaddleCV/ssd; body of paddle.vision.models.mobilenetv1",
        data="voc",
        parameters=5_796_089,
        macs=1_148_479_168,
        published_sizes={"num_classes": 20},
        build=MobileNetSsd,
        graphs=graphs,
        references=(Reference("VOC07 test", "mAP", 73.32, "%", README),),
        published=Setup(
            _pictures(SIDE),
            PUBLISHED,
            replace(PUBLISHED, epochs=20, learning_rate=1e-4, schedule="constant", milestones=(), factors=()),
            augment=AUGMENT,
        ),
        mini=from_classifier(
            Setup(
                _pictures(96),
                MINI,
                replace(MINI, epochs=2),
                augment=PLAIN,
                made=MiniSettings(train=1024, evaluation=200, side=128),
            )
        ),
    )
)
