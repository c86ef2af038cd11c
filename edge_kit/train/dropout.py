"""Training mode, with or without what dropout adds."""

from __future__ import annotations

from typing import Any

from paddle import nn

from edge_kit.train.recipe import Recipe


def train_mode(net: Any, recipe: Recipe) -> None:
    """Put `net` in training mode, but for its dropout layers where the recipe wants none dropped."""
    net.train()
    if not recipe.dropout:
        for layer in net.sublayers():
            if isinstance(layer, nn.Dropout):
                layer.eval()
