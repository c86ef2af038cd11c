"""CycleGAN. Zhu et al. 2017, arXiv:1703.10593, as PaddlePaddle/models release/1.6, PaddleCV/PaddleGAN runs it.

Nine blocks, base width 32. Published is batch norm that takes the statistics of the one picture it is given, in
training and afterwards; that is instance norm, which exports. Differs from what was published where the paper does: a
transposed convolution computes the row and the column that were filled with zeros.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from paddle import ParamAttr, Tensor, nn
from paddle.nn.initializer import Constant, Normal

from edge_kit.core.images import ImagePreprocess
from edge_kit.core.tensors import GraphSpec, TensorSpec
from edge_kit.data.augment import EnlargedCrop
from edge_kit.data.dataset import MiniSettings
from edge_kit.tasks.translate import A_TO_B, B_TO_A
from edge_kit.train.recipe import Recipe
from edge_kit.zoo.entry import Setup, ZooEntry, register

WIDTH, BLOCKS = 32, 9
JUDGE = [(64, 2), (128, 2), (256, 2), (512, 1)]  # (channels out, stride) of 4x4 convolutions
HALVES = (0.5, 0.5, 0.5)  # pixels become -1..1


def _conv(layer: type[nn.Layer], ins: int, outs: int, kernel: int, bias: bool = False, **how: int) -> nn.Layer:
    weight = ParamAttr(initializer=Normal(0.0, 0.02))
    zero = ParamAttr(initializer=Constant(0.0)) if bias else False
    return layer(ins, outs, kernel, weight_attr=weight, bias_attr=zero, **how)


def _norm(channels: int) -> nn.InstanceNorm2D:
    return nn.InstanceNorm2D(channels, weight_attr=ParamAttr(initializer=Normal(1.0, 0.02)))


class _Block(nn.Layer):
    def __init__(self, channels: int) -> None:
        super().__init__()
        conv = partial(_conv, nn.Conv2D, channels, channels, 3)
        self.body = nn.Sequential(
            *(_reflect(1), conv(), _norm(channels), nn.ReLU()),
            *(_reflect(1), conv(), _norm(channels)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


def _reflect(pixels: int) -> nn.Pad2D:
    return nn.Pad2D(pixels, mode="reflect")


class Generator(nn.Layer):
    """Pictures (N, 3, H, W) in -1..1 -> pictures of the same size; H and W are multiples of 4."""

    def __init__(self) -> None:
        super().__init__()
        width = WIDTH
        layers = [_reflect(3), _conv(nn.Conv2D, 3, width, 7), _norm(width), nn.ReLU()]
        for ins in (width, 2 * width):
            layers += [_conv(nn.Conv2D, ins, 2 * ins, 3, stride=2, padding=1), _norm(2 * ins), nn.ReLU()]
        layers += [_Block(4 * width) for _ in range(BLOCKS)]
        for ins in (4 * width, 2 * width):
            up = _conv(nn.Conv2DTranspose, ins, ins // 2, 3, stride=2, padding=1, output_padding=1)
            layers += [up, _norm(ins // 2), nn.ReLU()]
        layers += [_reflect(3), _conv(nn.Conv2D, width, 3, 7, bias=True), nn.Tanh()]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class Discriminator(nn.Layer):
    """Pictures (N, 3, H, W) in -1..1 -> how real each patch of 70 x 70 is, (N, 1, H / 8 - 2, W / 8 - 2)."""

    def __init__(self) -> None:
        super().__init__()
        layers, ins = [], 3
        for outs, stride in JUDGE:
            first = ins == 3
            layers.append(_conv(nn.Conv2D, ins, outs, 4, bias=first, stride=stride, padding=1))
            layers += [nn.LeakyReLU(0.2)] if first else [_norm(outs), nn.LeakyReLU(0.2)]
            ins = outs
        self.layers = nn.Sequential(*layers, _conv(nn.Conv2D, ins, 1, 4, bias=True, stride=1, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class CycleGan(nn.Layer):
    """Two generators, and while they are trained two discriminators, each of the pictures of one side."""

    def __init__(self) -> None:
        super().__init__()
        self.a_to_b, self.b_to_a = Generator(), Generator()
        self.judge_a, self.judge_b = Discriminator(), Discriminator()

    def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        return self.a_to_b(a), self.b_to_a(b)


def _a_to_b(net: CycleGan) -> nn.Layer:
    return net.a_to_b


def _b_to_a(net: CycleGan) -> nn.Layer:
    return net.b_to_a


def graphs(preprocess: ImagePreprocess) -> dict[str, GraphSpec]:
    """Two: `a_to_b` makes `fake_b` of `a`, `b_to_a` the other way round; all are (N, 3, side, side) in -1..1."""
    shape = ("N", 3, preprocess.crop, preprocess.crop)
    a, b = (TensorSpec(name, shape, layout="NCHW") for name in ("a", "b"))
    return {A_TO_B: GraphSpec((a,), ("fake_b",), _a_to_b), B_TO_A: GraphSpec((b,), ("fake_a",), _b_to_a)}


PUBLISHED = Recipe(
    200, 1, 2e-4, "plateau_linear", optimizer="adam", beta1=0.5, milestones=(99,)
)  # fmt: skip
# A short run on small pictures: losses fall, and nobody would hang the pictures on a wall.
MINI = replace(PUBLISHED, epochs=1, schedule="constant", milestones=())
SIDE = 64

register(
    ZooEntry(
        id="cyclegan",
        title="CycleGAN",
        family="image_generation",
        task="translate",
        paper="arXiv:1703.10593",
        licence="Apache-2.0",
        source="PaddlePaddle/models release/1.6, PaddleCV/PaddleGAN; instance norm, output padding; parameters "
        "without the two discriminators of 2,765,633, which are trained with and not shipped",
        data="unpaired",
        parameters=5_706_374,
        macs=25_392_316_416,
        published_sizes={},
        build=CycleGan,
        graphs=graphs,
        references=(),
        published=Setup(ImagePreprocess(256, 256, HALVES, HALVES), PUBLISHED, PUBLISHED, EnlargedCrop()),
        mini=Setup(
            ImagePreprocess(SIDE, SIDE, HALVES, HALVES),
            MINI,
            MINI,
            EnlargedCrop(),
            made=MiniSettings(train=48, evaluation=16, side=SIDE),
        ),
    )
)
