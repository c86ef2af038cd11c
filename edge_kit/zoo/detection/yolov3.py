"""YOLOv3 on DarkNet53 and on MobileNetV1. Redmon and Farhadi 2018, arXiv:1804.02767.

PaddlePaddle/models release/1.6, PaddleCV/yolov3 and PaddleCV/PaddleDetection. Scales of batch norms start at 1, where
PaddleCV/yolov3 draws them around 0. Published training counts steps; here the same lies at the end of an epoch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import paddle
from paddle import Tensor, nn
from paddle.nn import functional
from paddle.nn.layer.norm import _BatchNormBase
from paddle.regularizer import L2Decay

from edge_kit.core.images import SquarePreprocess
from edge_kit.core.tensors import MAIN, GraphSpec, TensorSpec
from edge_kit.data.augment_scenes import Distortion, SceneAugment
from edge_kit.data.dataset import MiniSettings
from edge_kit.tasks.detect_yolo import BOX, MASKS, OUTPUTS
from edge_kit.train.recipe import Recipe
from edge_kit.zoo.classification.layers import ConvNorm
from edge_kit.zoo.detection.mobilenetv1 import MobileNetV1Body, from_classifier
from edge_kit.zoo.entry import Reference, Setup, ZooEntry, register

SLOPE = 0.1  # of LeakyReLU below 0
STAGES = ((64, 1), (128, 2), (256, 8), (512, 8), (1024, 4))  # channels and residual units of DarkNet53
TAPPED = 3  # of the stages, the last
HEADS = (512, 256, 128)  # channels of the head at strides 32, 16 and 8
ZOO = "PaddlePaddle/models release/1.6, PaddleCV/PaddleDetection/docs/MODEL_ZOO.md"
README = "PaddlePaddle/models release/1.6, PaddleCV/yolov3/README.md"
MEAN = (0.485, 0.456, 0.406)

Leaky = partial(ConvNorm, activation=partial(nn.LeakyReLU, SLOPE))


class Residual(nn.Layer):
    """1x1 to half the channels, 3x3 back, added; nothing follows the sum."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.narrow = Leaky(channels, channels // 2, 1)
        self.wide = Leaky(channels // 2, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.wide(self.narrow(x))


class DarkNet53Body(nn.Layer):
    """A picture (N, 3, S, S) -> maps of 256, 512 and 1024 channels at strides 8, 16 and 32."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = Leaky(3, 32, 3)
        self.stages = nn.LayerList()
        channels = 32
        for wide, units in STAGES:
            down = Leaky(channels, wide, 3, 2)
            self.stages.append(nn.Sequential(down, *(Residual(wide) for _ in range(units))))
            channels = wide

    def forward(self, image: Tensor) -> list[Tensor]:
        x, maps = self.stem(image), []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps[-TAPPED:]


class Head(nn.Layer):
    """A map -> what is passed on to the next one, and the answers of this one."""

    def __init__(self, channels: int, width: int, outputs: int) -> None:
        super().__init__()
        narrow, wide = partial(Leaky, filters=width, kernel=1), Leaky(width, 2 * width, 3)
        self.route = nn.Sequential(
            narrow(channels), wide, narrow(2 * width), Leaky(width, 2 * width, 3), narrow(2 * width)
        )
        self.tip = Leaky(width, 2 * width, 3)
        self.out = nn.Conv2D(2 * width, outputs, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        route = self.route(x)
        return route, self.out(self.tip(route))


class YoloV3(nn.Layer):
    """A picture (N, 3, S, S), S a multiple of 32 -> maps (N, 3 * (5 + classes), S/32, S/32), then S/16 and S/8.

    Args:
        body: Makes what gives maps at strides 8, 16 and 32.
        channels: Of those maps.
    """

    def __init__(self, body: Callable[[], nn.Layer], channels: tuple[int, int, int], num_classes: int) -> None:
        super().__init__()
        self.body = body()
        self.heads, self.lifts = nn.LayerList(), nn.LayerList()
        lifted = 0
        for place, (width, given) in enumerate(zip(HEADS, reversed(channels), strict=True)):
            self.heads.append(Head(given + lifted, width, len(MASKS[place]) * (BOX + num_classes)))
            if place < len(HEADS) - 1:
                lifted = width // 2
                self.lifts.append(Leaky(width, lifted, 1))
        for layer in self.sublayers():
            if isinstance(layer, _BatchNormBase):  # no decay, as published
                layer.weight.regularizer = layer.bias.regularizer = L2Decay(0.0)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        maps, answers = self.body(image), []
        x = maps.pop()
        for place, head in enumerate(self.heads):
            route, answer = head(x)
            answers.append(answer)
            if maps:
                lifted = functional.interpolate(self.lifts[place](route), scale_factor=2, mode="nearest")
                x = paddle.concat([lifted, maps.pop()], axis=1)
        return tuple(answers)


def graphs(preprocess: SquarePreprocess) -> dict[str, GraphSpec]:
    """The one graph: `image` (N, 3, side, side) float32 -> a map for each of the three strides."""
    image = TensorSpec("image", ("N", 3, preprocess.side, preprocess.side), layout="NCHW")
    return {MAIN: GraphSpec((image,), OUTPUTS)}


# 500,200 steps of 64 of COCO's 117,266 pictures with objects, a tenth of the rate from 400,000 and from 450,000 on.
PUBLISHED = Recipe(273, 64, 0.001, "step", warmup_steps=4000, weight_decay=5e-4, milestones=(218, 246))
AUGMENT = SceneAugment(
    mixup_epochs=250,
    distort=Distortion(brightness=0.5, hue=0.0),
    expand=4.0,
    fill=(103.53, 116.28, 123.675),
    least=(0.1, 0.3, 0.5, 0.7, 0.9),
    sides=tuple(range(320, 609, 32)),
    interpolations=("linear", "cubic", "area"),
)
PLAIN = SceneAugment(flip=0.0)  # digits have a left and a right


def _add(
    id: str, title: str, body: tuple[Any, tuple[int, int, int]], size: tuple[int, int], ap: float, mini: Setup
) -> None:
    pictures = SquarePreprocess(608, "cubic")
    published = Setup(
        pictures,
        PUBLISHED,
        replace(PUBLISHED, epochs=60, learning_rate=1e-4, schedule="cosine", milestones=()),
        augment=AUGMENT,
    )
    register(
        ZooEntry(
            id=id,
            title=title,
            family="object_detection",
            task="detect_yolo",
            paper="arXiv:1804.02767",
            licence="Apache-2.0",
            source="PaddlePaddle/models release/1.6, PaddleCV/yolov3 and PaddleCV/PaddleDetection",
            data="coco",
            parameters=size[0],
            macs=size[1],
            published_sizes={"num_classes": 80},
            build=partial(YoloV3, *body),
            graphs=graphs,
            references=(Reference("COCO val2017", "mAP@[.50:.95]", ap, "%", ZOO),),
            published=published,
            mini=mini,
        )
    )


def _mini(side: int, epochs: int, train: int, evaluation: int) -> Setup:
    recipe = Recipe(epochs, 8, 0.001, warmup_steps=10, weight_decay=5e-4, optimizer="adam")
    made = MiniSettings(train=train, evaluation=evaluation, side=128)
    recovery = replace(recipe, epochs=max(epochs // 2, 1))
    return Setup(SquarePreprocess(side), recipe, recovery, augment=PLAIN, made=made)


_add(
    "yolov3",
    "YOLOv3 DarkNet53",
    (DarkNet53Body, (256, 512, 1024)),
    (61_949_149, 70_345_950_208),
    38.9,
    _mini(96, 1, 192, 40),
)
MOBILE = partial(MobileNetV1Body, (4, 6, 13))
_add(
    "yolov3_mobilenet_v1",
    "YOLOv3 MobileNetV1",
    (MOBILE, (256, 512, 1024)),
    (24_571_197, 22_160_432_640),
    29.3,
    from_classifier(_mini(96, 4, 1024, 200)),
)
