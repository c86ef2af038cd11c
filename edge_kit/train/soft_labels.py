"""Label smoothing and mixup: labels become distributions over the classes, pictures mixtures of two."""

from __future__ import annotations

import numpy as np

from edge_kit.core.tensors import Tensors
from edge_kit.train.recipe import Recipe


def soften(batch: Tensors, classes: int, recipe: Recipe, step: int) -> Tensors:
    """A batch of classification as the recipe has it; the same for the same seed and step.

    Pictures are mixed with their neighbours, first with second, third with fourth: their order is random already, and a
    share of a batch is mixed as it is in the whole. An odd one at the end stays as it is.

    Args:
        batch: `image` (N, 3, H, W) float32 and `label` (N,) integers.
        classes: Of the network.

    Returns:
        The batch itself where the recipe does neither; otherwise `label` is (N, classes) float32, each row's sum 1.
    """
    if not recipe.label_smoothing and not recipe.mixup:
        return batch
    target = np.full((len(batch["label"]), classes), recipe.label_smoothing / classes, np.float32)
    target[np.arange(len(target)), batch["label"]] += 1 - recipe.label_smoothing
    image = batch["image"]
    if recipe.mixup:
        rng = np.random.default_rng([recipe.seed, step])
        share = np.float32(rng.beta(recipe.mixup, recipe.mixup))  # one a batch, as published
        partner = np.arange(len(target)) ^ 1
        partner[partner == len(target)] -= 1
        image = share * image + (1 - share) * image[partner]
        target = share * target + (1 - share) * target[partner]
    return {**batch, "image": image, "label": target}
