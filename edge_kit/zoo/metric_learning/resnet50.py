"""ResNet50 for metric learning, by five losses. PaddlePaddle/models release/1.6, PaddleCV/metric_learning.

The classifier's network without its last layer; He et al. 2015, arXiv:1512.03385, table 1. `arcmargin` trains a
network of ImageNet; the other four go on from what it gave. Differs from what was published in two places: pictures are
resized bilinearly, published was Lanczos; and epochs are shuffled anew, published was one order for all.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from paddle import Tensor, nn

from edge_kit.core.images import ImagePreprocess
from edge_kit.core.tensors import MAIN, GraphSpec, TensorSpec
from edge_kit.data.augment import RandomAreaCrop
from edge_kit.data.dataset import MiniSettings
from edge_kit.data.sop import GroupedCrop
from edge_kit.train.recipe import Recipe
from edge_kit.zoo.classification.resnet import UNITS, ResNetFeatures
from edge_kit.zoo.entry import Reference, Setup, ZooEntry, register
from edge_kit.zoo.metric_learning.losses import ArcMargin, Eml, NPairs, Quadruplet, Triplet

README = "PaddlePaddle/models release/1.6, PaddleCV/metric_learning/README.md"
PRODUCTS = 11_318  # of the published training list, in 59,551 pictures
PAIRS, TRIPLETS = (2,), (2, 1)


class MetricNet(nn.Layer):
    """Image (N, 3, H, W) -> embedding (N, 2048), or with labels (N,) the loss.

    Args:
        loss: Makes the layer that gives it: (classes, width) -> layer.
    """

    def __init__(self, num_classes: int, loss: Any) -> None:
        super().__init__()
        self.backbone = ResNetFeatures(UNITS[50])
        self.loss = loss(num_classes, self.backbone.width)

    def forward(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        embedding = self.backbone(image)
        return embedding if label is None else self.loss(embedding, label)


def graphs(preprocess: ImagePreprocess) -> dict[str, GraphSpec]:
    """The one graph, without the loss: `image` (N, 3, side, side) float32 -> `embedding` (N, 2048)."""
    image = TensorSpec("image", ("N", 3, preprocess.crop, preprocess.crop), layout="NCHW")
    return {MAIN: GraphSpec((image,), ("embedding",), part=lambda net: net.backbone)}


# 30,000 steps of 232 an epoch, the rate falling after 15,000 and 25,000.
ARCMARGIN = Recipe(129, 256, 0.01, "step", milestones=(65, 108), weight_decay=1e-4)
# 100,000 steps of 496 an epoch.
TUNING = Recipe(202, 120, 1e-4, "constant", weight_decay=1e-4)
SIDE = 32
# From random weights, larger steps lose for hundreds of steps what a random network can tell apart.
MINI = Recipe(2, 40, 0.003, weight_decay=1e-4)


def variant(name: str, loss: Any, recall: float, recipe: Recipe, mini: Recipe, groups: tuple[int, ...] = ()) -> None:
    """Register the network with one loss by its row in the README and its recipe there.

    Args:
        groups: That batches are made of; a shuffled list where empty.
    """
    crop, gentle = RandomAreaCrop(), RandomAreaCrop((0.8, 1.0), (0.9, 1.1), 0.0)
    register(
        ZooEntry(
            id=f"resnet50_{name}",
            title=f"ResNet50 {name}",
            family="metric_learning",
            task="embed",
            paper="arXiv:1512.03385",
            licence="Apache-2.0",
            source="PaddlePaddle/models release/1.6, PaddleCV/metric_learning; bilinear resizing",
            data="sop",
            parameters=23_508_032,
            macs=4_087_136_256,
            published_sizes={"num_classes": PRODUCTS},
            build=partial(MetricNet, loss=loss),
            graphs=graphs,
            references=(Reference("Stanford Online Products test", "Recall@1", recall, "%", README),),
            published=Setup(
                ImagePreprocess(224, 224), recipe, recipe, augment=GroupedCrop(crop, groups) if groups else crop
            ),
            mini=Setup(
                ImagePreprocess(SIDE, SIDE),
                mini,
                mini,
                augment=GroupedCrop(gentle, groups) if groups else gentle,
                made=MiniSettings(train=800, evaluation=250, side=SIDE),
            ),
        )
    )


variant("arcmargin", ArcMargin, 78.11, ARCMARGIN, MINI)
variant("triplet", Triplet, 79.21, TUNING, replace(MINI, batch_size=36), TRIPLETS)
variant("quadruplet", Quadruplet, 79.59, TUNING, MINI, PAIRS)
variant("eml", Eml, 80.11, replace(TUNING, epochs=269, batch_size=160), MINI, PAIRS)
variant("npairs", NPairs, 79.81, TUNING, MINI, PAIRS)
