"""A network small enough to compress in a second, with all that makes MobileNetV2 hard."""

import paddle
from paddle import nn

CLASSES = 5
SHAPES = {"image": (1, 3, 32, 32)}


class ConvNorm(nn.Sequential):
    """Convolution and batch norm, with ReLU6 if asked for."""

    def __init__(
        self,
        inside: int,
        outside: int,
        size: int,
        stride: int = 1,
        groups: int = 1,
        act: bool = True,
    ) -> None:
        convolution = nn.Conv2D(inside, outside, size, stride, size // 2, groups=groups, bias_attr=False)
        super().__init__(convolution, nn.BatchNorm2D(outside), *([nn.ReLU6()] if act else []))


class Block(nn.Layer):
    """Expand, depthwise, project, add."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        hidden = inside * 4
        self.expand = ConvNorm(inside, hidden, 1)
        self.depthwise = ConvNorm(hidden, hidden, 3, stride, hidden)
        self.project = ConvNorm(hidden, outside, 1, act=False)
        self.adds = inside == outside and stride == 1

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        y = self.project(self.depthwise(self.expand(x)))
        return x + y if self.adds else y


class SmallNet(nn.Layer):
    """Stem, four blocks of which two add, classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvNorm(3, 32, 3, 2)
        self.blocks = nn.Sequential(Block(32, 32, 1), Block(32, 48, 2), Block(48, 48, 1), Block(48, 64, 2))
        self.pool = nn.AdaptiveAvgPool2D(1)
        self.classifier = nn.Linear(64, CLASSES)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        features = self.pool(self.blocks(self.stem(x)))
        return self.classifier(paddle.flatten(features, 1))
