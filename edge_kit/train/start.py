"""Random weights as a recipe has them begin."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

import paddle

from edge_kit.core.tensors import GraphSpec, Tensors
from edge_kit.train.recipe import Recipe
from edge_kit.train.settle import settle


def begin(net: Any, recipe: Recipe, specs: Mapping[str, GraphSpec], batches: Iterable[Tensors]) -> None:
    """Give a network of random weights those that its recipe begins with.

    Args:
        specs: Its graphs.
        batches: Of training samples; the first, of some dozen, is taken where the recipe has weights fitted to one.

    Raises:
        ValueError: A pattern of `recipe.starts` is that of no parameter.
    """
    for pattern, value in recipe.starts:
        chosen = [parameter for name, parameter in net.named_parameters() if fnmatchcase(name, pattern)]
        if not chosen:
            raise ValueError(f"no parameter is called {pattern!r}")
        for parameter in chosen:
            parameter.set_value(paddle.full_like(parameter, value))
    if recipe.settled:
        batch = next(iter(batches))
        for spec in specs.values():
            settle(net, spec, batch, to_train=True)
