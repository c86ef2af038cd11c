"""Random weights as a recipe has them begin."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import paddle

from edge_kit.core.tensors import Array, GraphSpec, Tensors
from edge_kit.train.recipe import Recipe
from edge_kit.train.settle import settle


def begin(net: Any, recipe: Recipe, specs: Mapping[str, GraphSpec], batches: Iterable[Tensors]) -> None:
    """Give a network of random weights those that its recipe begins with.

    Args:
        specs: Its graphs.
        batches: Of training samples; the first, of some dozen, is taken where the recipe has weights fitted to one.

    Raises:
        ValueError: A pattern of `recipe.starts` is that of no parameter, or one that is to be `identity` cannot be.
    """
    set_by_hand: set[int] = set()
    for pattern, start in recipe.starts:
        chosen = [(name, parameter) for name, parameter in net.named_parameters() if fnmatchcase(name, pattern)]
        if not chosen:
            raise ValueError(f"no parameter is called {pattern!r}")
        for name, parameter in chosen:
            value = _identity(name, parameter.shape) if start == "identity" else np.full(parameter.shape, start)
            parameter.set_value(paddle.to_tensor(value.astype(np.float32)))
            set_by_hand.add(id(parameter))
    if recipe.settled:
        batch = next(iter(batches))
        for spec in specs.values():
            settle(net, spec, batch, recipe=recipe, but=set_by_hand)


def _identity(name: str, shape: list[int]) -> Array:
    """A kernel (O, I, height, width) that gives out what it is given."""
    if len(shape) != 4 or shape[0] != shape[1] or not all(side % 2 for side in shape[2:]):
        raise ValueError(f"{name!r} of shape {shape} cannot be the identity")
    kernel: Array = np.zeros(shape)
    kernel[range(shape[0]), range(shape[0]), shape[2] // 2, shape[3] // 2] = 1
    return kernel
