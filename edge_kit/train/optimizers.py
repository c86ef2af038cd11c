"""Paddle's optimizers, as a recipe asks for them."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

import paddle

from edge_kit.train.recipe import Recipe

STATES = {  # what Paddle calls what an optimizer remembers of a parameter
    "momentum": ("velocity_0",),
    "adagrad": ("moment_0",),
    "adam": ("moment1_0", "moment2_0", "beta1_pow_acc_0", "beta2_pow_acc_0"),
    "rmsprop": ("momentum_0", "mean_square_0", "mean_grad_0"),
}


def build_optimizer(recipe: Recipe, parameters: list[Any]) -> Any:
    """The optimizer of one group of parameters."""
    shared = {
        "learning_rate": recipe.learning_rate,
        "parameters": parameters,
        "weight_decay": recipe.weight_decay,
    }
    if recipe.optimizer == "adam":
        return paddle.optimizer.Adam(beta1=recipe.beta1, epsilon=recipe.epsilon, **shared)
    if recipe.optimizer == "adagrad":
        return paddle.optimizer.Adagrad(**shared)
    if recipe.optimizer == "rmsprop":
        return paddle.optimizer.RMSProp(rho=0.95, epsilon=1e-6, **shared)
    return paddle.optimizer.Momentum(momentum=recipe.momentum, **shared)


def set_rates(recipe: Recipe, named: list[tuple[str, Any]]) -> None:
    """Give the parameters that a recipe names a learning rate of their own."""
    for pattern, rate in recipe.rates:
        for name, parameter in named:
            if fnmatchcase(name, pattern):
                parameter.optimize_attr["learning_rate"] = rate
