"""TSM, the temporal shift module, on ResNet50. Lin et al. 2018, arXiv:1811.08383, section 4.

A frame a segment goes through the classifier's network; before each bottleneck's convolutions an eighth of the channels
comes from the frame before and an eighth from the one after, at no cost. Differs from what was published in two places:
the graph gives logits, published were their softmax; and dropout scales while training, published did so afterwards, so
that the last weights are half of those.
"""

from __future__ import annotations

from paddle import ParamAttr, Tensor, flatten, nn
from paddle.nn import functional
from paddle.regularizer import L2Decay

from edge_kit.core.clips import CLIP, ClipPreprocess
from edge_kit.core.tensors import MAIN, GraphSpec, TensorSpec
from edge_kit.data.dataset import MiniSettings
from edge_kit.data.kinetics import MultiScaleCrop
from edge_kit.train.recipe import Recipe
from edge_kit.zoo.classification.layers import uniform_linear
from edge_kit.zoo.classification.resnet import UNITS, ResNetFeatures
from edge_kit.zoo.entry import Reference, Setup, ZooEntry, register

README = "PaddlePaddle/models release/1.6, PaddleCV/PaddleVideo/models/tsm/README.md"
SHIFTED = 1 / 8  # of the channels, each way


class TemporalShift(nn.Layer):
    """(N*T, C, H, W) -> the same, channels moved between the T frames of a clip; zeros come in at its ends."""

    def __init__(self, segments: int) -> None:
        super().__init__()
        self.segments = segments

    def forward(self, x: Tensor) -> Tensor:
        return functional.temporal_shift(x, self.segments, SHIFTED)


class TSM(nn.Layer):
    """Clip (N, T, 3, H, W) -> logits (N, classes)."""

    def __init__(self, num_classes: int, segments: int) -> None:
        super().__init__()
        self.segments = segments
        self.backbone = ResNetFeatures(UNITS[50])
        for block in self.backbone.blocks:
            block.before = TemporalShift(segments)
        self.dropout = nn.Dropout(0.5)
        self.mean = nn.AdaptiveAvgPool2D(1)
        self.fc = uniform_linear(self.backbone.width, num_classes)
        bias = ParamAttr(learning_rate=2.0, regularizer=L2Decay(0.0), initializer=nn.initializer.Constant(0.0))
        self.fc.bias = self.fc.create_parameter([num_classes], attr=bias, is_bias=True)

    def forward(self, clip: Tensor) -> Tensor:
        frames = clip.reshape([-1, *clip.shape[2:]])  # (N, T, 3, H, W) -> (N*T, 3, H, W)
        features = self.dropout(self.backbone(frames))
        # A pool, not a mean: engines have it in INT8.
        by_channel = features.reshape([-1, self.segments, self.backbone.width, 1]).transpose([0, 2, 1, 3])
        return self.fc(flatten(self.mean(by_channel), 1))


def graphs(preprocess: ClipPreprocess) -> dict[str, GraphSpec]:
    """The one graph: `clip` (N, T, 3, side, side) float32 -> `logits` (N, classes)."""
    side = preprocess.crop
    clip = TensorSpec(CLIP, ("N", preprocess.segments, 3, side, side), layout="NTCHW")
    return {MAIN: GraphSpec((clip,), ("logits",))}


PUBLISHED = Recipe(65, 128, 0.01, "step", milestones=(40, 60), weight_decay=1e-4)
# Some minutes of two cores: steps that learn something in that time, and no more of them.
MINI = Recipe(2, 8, 5e-4, optimizer="adam", momentum=0.0)

register(
    ZooEntry(
        id="tsm",
        title="TSM ResNet50",
        family="video_classification",
        task="classify_clip",
        paper="arXiv:1811.08383",
        licence="Apache-2.0",
        source="PaddlePaddle/models release/1.6, PaddleCV/PaddleVideo; logits instead of shares",
        data="kinetics",
        parameters=24_327_632,
        macs=32_697_909_248,
        published_sizes={"num_classes": 400, "segments": 8},
        build=TSM,
        graphs=graphs,
        references=(Reference("Kinetics-400 val", "top1", 70, "%", README),),
        published=Setup(ClipPreprocess(8, 256, 224), PUBLISHED, PUBLISHED),
        mini=Setup(
            ClipPreprocess(8, 32, 32),
            MINI,
            MINI,
            augment=MultiScaleCrop((1.0, 0.9), flip=0.0),
            made=MiniSettings(train=160, evaluation=40, side=32),
        ),
    )
)
