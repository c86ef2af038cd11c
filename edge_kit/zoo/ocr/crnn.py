"""CRNN with CTC, a reader of text lines. PaddlePaddle/models release/1.6, PaddleCV/ocr_recognition; arXiv:1507.05717.

Differs from what was published in the recurrent layer: `nn.GRU` applies the reset gate behind the recurrent matrix and
has a tanh where the published one had a ReLU: this is what exporters and OpenVINO know as a GRU. The count of
parameters is the same: a bias more in each direction, and one less in front of it. Weights begin as large as their
layers want them (arXiv:1502.01852 for convolutions) and batch norms at 1: from the published N(0, 0.0005) to N(0, 0.02)
a few hundred steps learn nothing. Published weights were averaged over the last 12,500 steps.
"""

from __future__ import annotations

from paddle import ParamAttr, Tensor, nn
from paddle.nn.initializer import KaimingNormal

from edge_kit.core.lines import IMAGE, LinePreprocess
from edge_kit.core.tensors import MAIN, GraphSpec, TensorSpec
from edge_kit.data.dataset import MiniSettings
from edge_kit.train.recipe import Recipe
from edge_kit.zoo.entry import Reference, Setup, ZooEntry, register

GROUPS = (16, 32, 64, 128)  # channels of two convolutions each; a pool halves the map behind all groups but the last
HIDDEN = 200  # of a direction
COLUMN = GROUPS[-1] * 6  # channels times the rows that are left of 48
README = "PaddlePaddle/models release/1.6, PaddleCV/ocr_recognition/README.md"


class CRNN(nn.Layer):
    """(N, 1, 48, W) grey, -127.5..127.5 -> logits (N, W/8, classes + 1); the last class is CTC's blank."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        layers: list[nn.Layer] = []
        channels = 1
        for width in GROUPS:
            layers += [*_convolution(channels, width), *_convolution(width, width)]
            if width != GROUPS[-1]:
                layers.append(nn.MaxPool2D(2, 2, ceil_mode=True))
            channels = width
        self.features = nn.Sequential(*layers)
        self.gru = nn.GRU(COLUMN, HIDDEN, direction="bidirectional", bias_hh_attr=ParamAttr(learning_rate=2.0))
        self.out = nn.Linear(2 * HIDDEN, num_classes + 1)

    def forward(self, image: Tensor) -> Tensor:
        columns = self.features(image).transpose([0, 3, 1, 2])  # (N, C, 6, T) -> (N, T, C, 6)
        return self.out(self.gru(columns.reshape([0, 0, COLUMN]))[0])


def _convolution(entering: int, channels: int) -> list[nn.Layer]:
    weight = ParamAttr(initializer=KaimingNormal())
    return [nn.Conv2D(entering, channels, 3, 1, 1, weight_attr=weight), nn.BatchNorm2D(channels), nn.ReLU()]


def graphs(preprocess: LinePreprocess) -> dict[str, GraphSpec]:
    """The one graph: `image` (N, 1, 48, width) -> `logits` (N, width / 8, classes + 1)."""
    image = TensorSpec(IMAGE, ("N", 1, preprocess.height, preprocess.width), layout="NCHW")
    return {MAIN: GraphSpec((image,), ("logits",))}


# 720,000 steps were published, and the size of the set was not: these are as many over 1.15 million lines.
PUBLISHED = Recipe(20, 32, 0.001, "constant", weight_decay=0.0004)
# A thousandth of that.
MINI = Recipe(4, 16, 0.003, "cosine", optimizer="adam", momentum=0.0)

register(
    ZooEntry(
        id="crnn_ctc",
        title="CRNN-CTC",
        family="text_recognition",
        task="read_text",
        paper="arXiv:1507.05717",
        licence="Apache-2.0",
        source="PaddlePaddle/models release/1.6, PaddleCV/ocr_recognition; Paddle's own GRU",
        data="ocr_lines",
        parameters=1_496_688,
        macs=293_824_512,
        published_sizes={"num_classes": 95},
        build=CRNN,
        graphs=graphs,
        references=(
            Reference("single-line English text images", "sequence error rate", 22.3, "%", README),
            Reference(
                "single-line English text images", "lowest test sequence error on training curve", 22.0, "%", README
            ),
        ),
        published=Setup(LinePreprocess(384), PUBLISHED, PUBLISHED),
        mini=Setup(LinePreprocess(104), MINI, MINI, made=MiniSettings(train=1536, evaluation=500, side=32)),
    )
)
