"""ICNet. Zhao et al. 2017, arXiv:1704.08545, section 4.

A picture goes through three branches, each of half the resolution of the next: the heavy one sees a quarter of it, the
light one all. Widths are those of PaddlePaddle/models release/1.6, PaddleCV/icnet, where nothing is pruned; the paper's
own network has half of them. Every resize aligns corners, as published.
"""

from __future__ import annotations

from dataclasses import replace

from paddle import Tensor, nn
from paddle.nn import functional

from edge_kit.core.scenes import ScenePreprocess
from edge_kit.data.augment import SceneCrop
from edge_kit.data.dataset import MiniSettings
from edge_kit.train.recipe import Recipe
from edge_kit.zoo.entry import Reference, Setup, ZooEntry, register
from edge_kit.zoo.segmentation import segmentation_graphs

# (filters, units, stride, dilation) of the residual stages of the heavy branch; the third is cut in two by a resize
CONV2, CONV3_1, CONV3, CONV4, CONV5 = (128, 3, 1, 1), (256, 1, 2, 1), (256, 3, 1, 1), (512, 6, 1, 2), (1024, 3, 1, 4)
FUSED = 128  # channels in which two branches are added
POOLS = (1, 2, 3, 4)  # windows a side of the pyramid
README = "PaddlePaddle/models release/1.6, PaddleCV/icnet/README.md"


def conv_norm(
    channels: int, filters: int, kernel: int, stride: int = 1, dilation: int = 1, active: bool = True
) -> nn.Sequential:
    """Convolution without bias, batch norm, perhaps ReLU; the size is kept, or halved by a stride of 2.

    What a strided 3x3 window reads beyond a picture of even size lies below and to the right.
    """
    pad = dilation * (kernel // 2)
    pads = [pad - 1, pad, pad - 1, pad] if stride == 2 and kernel > 1 else [pad] * 4
    conv = nn.Conv2D(channels, filters, kernel, stride, padding=pads, dilation=dilation, bias_attr=False)
    norm = nn.BatchNorm2D(filters, momentum=0.95)
    return nn.Sequential(conv, norm, nn.ReLU()) if active else nn.Sequential(conv, norm)


class Bottleneck(nn.Layer):
    """1x1 with the stride, 3x3 with the dilation, 1x1; added to the input or its projection."""

    def __init__(self, channels: int, filters: int, stride: int, dilation: int, projected: bool) -> None:
        super().__init__()
        width = filters // 4
        self.body = nn.Sequential(
            conv_norm(channels, width, 1, stride),
            conv_norm(width, width, 3, dilation=dilation),
            conv_norm(width, filters, 1, active=False),
        )
        self.short = conv_norm(channels, filters, 1, stride, active=False) if projected else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.body(x) + self.short(x))


def stage(channels: int, filters: int, units: int, stride: int, dilation: int) -> nn.Sequential:
    """Residual units, the first of which projects unless it has nothing to change."""
    first = Bottleneck(channels, filters, stride, dilation, projected=channels != filters)
    return nn.Sequential(first, *(Bottleneck(filters, filters, 1, dilation, False) for _ in range(units - 1)))


class Pyramid(nn.Layer):
    """Adds to a map its means over 1, 4, 9 and 16 windows; what windows of whole sizes leave over is not read."""

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        total = x
        for parts in POOLS:
            window = (max(height // parts, 1), max(width // parts, 1))
            total = total + resize(functional.avg_pool2d(x, window, window), height, width)
        return total


class Fusion(nn.Layer):
    """A coarse map through dilated 3x3, added to a fine one through 1x1; both of one size."""

    def __init__(self, coarse: int, fine: int) -> None:
        super().__init__()
        self.coarse = conv_norm(coarse, FUSED, 3, dilation=2, active=False)
        self.fine = conv_norm(fine, FUSED, 1, active=False)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        return functional.relu(self.coarse(coarse) + self.fine(fine))


class ICNet(nn.Layer):
    """Image (N, 3, H, W) -> logits (N, classes, H / 4, W / 4); H and W are multiples of 16.

    In training mode there are further logits behind them: of the two upper branches, at an eighth, and of the uppermost
    alone, at a sixteenth.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.light = nn.Sequential(conv_norm(3, 32, 3, 2), conv_norm(32, 32, 3, 2), conv_norm(32, 64, 3, 2))
        stem = (conv_norm(3, 32, 3, 2), conv_norm(32, 32, 3), conv_norm(32, 64, 3), nn.MaxPool2D(3, 2, padding=1))
        self.shared = nn.Sequential(*stem, stage(64, *CONV2), stage(128, *CONV3_1))
        self.heavy = nn.Sequential(stage(256, *CONV3), stage(256, *CONV4), stage(512, *CONV5), Pyramid())
        self.squeeze = conv_norm(1024, 256, 1)
        self.fuse_24 = Fusion(256, 256)
        self.fuse_124 = Fusion(FUSED, 64)
        self.classes = nn.Conv2D(FUSED, num_classes, 1)
        self.classes_24 = nn.Conv2D(FUSED, num_classes, 1)
        self.classes_4 = nn.Conv2D(256, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        height, width = x.shape[2:]
        half = self.shared(resize(x, height // 2, width // 2))
        quarter = self.heavy(resize(half, height // 32, width // 32))
        upper = resize(self.squeeze(quarter), height // 16, width // 16)
        both = resize(self.fuse_24(upper, half), height // 8, width // 8)
        logits = self.classes(resize(self.fuse_124(both, self.light(x)), height // 4, width // 4))
        return (logits, self.classes_24(both), self.classes_4(upper)) if self.training else logits


def resize(x: Tensor, height: int, width: int) -> Tensor:
    """Bilinear, the corners' centres on each other; (N, C, h, w) -> (N, C, height, width)."""
    return functional.interpolate(x, size=[height, width], mode="bilinear", align_corners=True)


PUBLISHED = Recipe(324, 16, 0.003, "poly", weight_decay=1e-4)  # 59,940 of the published 60,000 steps
MINI = replace(PUBLISHED, epochs=8, batch_size=8, learning_rate=0.02, warmup_steps=30)
SIDE = 128

register(
    ZooEntry(
        id="icnet",
        title="ICNet",
        family="semantic_segmentation",
        task="segment",
        paper="arXiv:1704.08545",
        licence="Apache-2.0",
        source="PaddlePaddle/models release/1.6, PaddleCV/icnet; the last resize, by 4, belongs to the task",
        data="cityscapes",
        parameters=6_707_321,
        macs=29_028_777_984,
        published_sizes={"num_classes": 19},
        build=ICNet,
        graphs=segmentation_graphs,
        references=(Reference("Cityscapes val", "mIoU", 67.0, "%", README),),
        published=Setup(
            ScenePreprocess(1024, 2048),
            PUBLISHED,
            replace(PUBLISHED, epochs=60, learning_rate=0.0003),
            augment=SceneCrop(720, 720),
        ),
        mini=Setup(
            ScenePreprocess(SIDE, 2 * SIDE),
            MINI,
            replace(MINI, epochs=3, learning_rate=0.01, warmup_steps=0),
            augment=SceneCrop(SIDE, SIDE, scale=(0.8, 1.25), flip=0.0),
            made=MiniSettings(train=320, evaluation=100, side=SIDE),
        ),
    )
)
