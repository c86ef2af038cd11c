"""What the entries of ImageNet classifiers share: `Family.add` makes one from a line of a family's table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from edge_kit.core.images import ImagePreprocess
from edge_kit.data.augment import RandomAreaCrop
from edge_kit.data.dataset import MiniSettings
from edge_kit.train.recipe import Recipe
from edge_kit.zoo.classification import classifier_graphs
from edge_kit.zoo.entry import Reference, Setup, ZooEntry, register

README = "PaddlePaddle/models release/1.6, PaddleCV/image_classification/README.md"
PADDLE_VISION = "https://paddle-hapi.bj.bcebos.com/models"  # what paddle.vision.models loads
PADDLE_CLAS = "https://paddle-imagenet-models-name.bj.bcebos.com/dygraph"  # what PaddleClas loads

IMAGES = 1_281_167  # in ImageNet-2012's training set

# Three recipes that many of the README's models share.
STEP = Recipe(120, 256, 0.1, "step", milestones=(30, 60, 90), weight_decay=1e-4)
COSINE = Recipe(200, 256, 0.1, "epoch_cosine", weight_decay=1e-4)
MIXED = replace(COSINE, label_smoothing=0.1, mixup=0.2)


MINI = Recipe(6, 32, 0.05, warmup_steps=50, weight_decay=5e-4)
"""From random weights on the mini set."""

MINI_ADAM = Recipe(4, 32, 0.001, warmup_steps=50, optimizer="adam")
"""The same for networks that momentum does not get going: very deep ones, and ones without batch norm."""

MINI_SIDE = 64  # pixels, of the pictures of the mini set, whatever a network takes


def mini_setup(side: int = MINI_SIDE, train: int = 4096, recipe: Recipe = MINI) -> Setup:
    """Feeding and training on the mini set, from random weights.

    Args:
        side: Of the network's input, in pixels; the pictures are enlarged to it.
        train: Training pictures; a quarter as many are for evaluation, at most 1000.
    """
    return Setup(
        preprocess=ImagePreprocess(resize_short=side, crop=side),
        recipe=recipe,
        recovery=replace(recipe, epochs=3, learning_rate=0.6 * recipe.learning_rate, warmup_steps=0),
        augment=RandomAreaCrop(area=(0.8, 1.0), aspect=(0.9, 1.1), flip=0.0),
        made=MiniSettings(train=train, evaluation=min(train // 4, 1000), side=MINI_SIDE),
    )


def residual_mini(last_scales: str) -> Setup:
    """The same for a residual network, which begins with branches of 0 and so as a shallow one.

    Args:
        last_scales: Pattern of the names of the scales of the batch norm that ends each branch.

    Source: Goyal et al. 2017, arXiv:1706.02677, section 5.1.
    """
    return mini_setup(recipe=replace(MINI_ADAM, starts=((last_scales, 0.0),)))


def packaged_setup(weights: str) -> Setup:
    """Feeding and training on the mini set, from weights that are packaged, by the name of their file.

    They are what `pretraining_setup` makes; a last pass over the data at a low rate shows training at work.
    """
    return replace(
        mini_setup(),
        recipe=Recipe(epochs=1, batch_size=64, learning_rate=0.002, weight_decay=5e-4),
        recovery=Recipe(epochs=3, batch_size=64, learning_rate=0.03, weight_decay=5e-4),
        # Half a network must learn again; with 4,096 pictures it learns them by heart and ends at 94 %.
        made_for_recovery=MiniSettings(train=16_384, evaluation=1000, side=64),
        weights=weights,
    )


def pretraining_setup(mini: Setup) -> Setup:
    """The long schedule from random weights: 128,000 pictures, a quarter of an hour to days on one core."""
    recipe = replace(mini.recipe, epochs=4, batch_size=64, schedule="trapezoid", warmup_steps=200)
    return replace(mini, recipe=recipe, made=replace(mini.made or MiniSettings(), train=32_000))


def warmed_up(recipe: Recipe, epochs: int) -> Recipe:
    """The recipe with a linear rise of the learning rate over its first epochs."""
    return replace(recipe, warmup_steps=epochs * (IMAGES // recipe.batch_size))


def recovery_of(recipe: Recipe) -> Recipe:
    """How a network trained by `recipe` is trained again after pruning: 60 epochs at a tenth of the rate."""
    rate = recipe.learning_rate / 10
    return replace(recipe, epochs=60, learning_rate=rate, schedule="cosine", milestones=(), warmup_steps=0)


@dataclass(frozen=True, slots=True)
class Family:
    """What the classifiers of one paper share.

    Attributes:
        source: What architecture and recipes were taken from, and any difference.
        mini: Feeding and training on the mini set, where a model has no packaged weights for it.
        resize_short: The shorter side of an evaluation picture as published, in pixels.
        crop: The network's input size as published, in pixels.
        readme: Where the accuracies were read.
    """

    paper: str
    source: str
    mini: Setup = mini_setup()
    resize_short: int = 256
    crop: int = 224
    readme: str = README

    def add(
        self,
        id: str,
        title: str,
        build: Callable[..., Any],
        parameters: int,
        macs: int,
        accuracy: tuple[float, float],
        recipe: Recipe,
        weights: str | None = None,
        augment: RandomAreaCrop | None = None,
        packaged: bool = False,
    ) -> ZooEntry:
        """Register one classifier.

        Args:
            build: Takes `num_classes`.
            accuracy: Published top-1 and top-5 on ImageNet-2012 val, in percent.
            weights: Address of the released parameters; their names are the network's.
            augment: As published, where it is not the usual crop.
            packaged: Whether weights for the mini set are packaged, as `weights/{id}.safetensors`.
        """
        return register(
            ZooEntry(
                id=id,
                title=title,
                family="image_classification",
                task="classify",
                paper=self.paper,
                licence="Apache-2.0",
                source=self.source,
                data="imagenet",
                parameters=parameters,
                macs=macs,
                published_sizes={"num_classes": 1000},
                build=build,
                graphs=classifier_graphs,
                references=tuple(
                    Reference("ImageNet-2012 val", metric, value, "%", self.readme)
                    for metric, value in zip(("top1", "top5"), accuracy, strict=True)
                ),
                published=Setup(
                    preprocess=ImagePreprocess(self.resize_short, self.crop),
                    recipe=recipe,
                    recovery=recovery_of(recipe),
                    augment=augment,
                    weights=weights,
                ),
                mini=packaged_setup(f"{id}.safetensors") if packaged else self.mini,
                pretraining=pretraining_setup(self.mini),
            )
        )
