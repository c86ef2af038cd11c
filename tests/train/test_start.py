"""What a recipe has random weights begin with."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import paddle
import pytest
from paddle import nn

from edge_kit.core.tensors import MAIN, GraphSpec, Tensors, TensorSpec
from edge_kit.train.recipe import Recipe
from edge_kit.train.start import begin

SPECS = {MAIN: GraphSpec((TensorSpec("image", ("N", 3, 8, 8)),), ("logits",))}
RECIPE = Recipe(epochs=1, batch_size=8, learning_rate=0.1)
IMAGES = np.random.default_rng(0).normal(0.3, 1, (24, 3, 8, 8)).astype(np.float32)


@pytest.fixture
def net() -> nn.Layer:
    paddle.seed(0)
    return nn.Sequential(nn.Conv2D(3, 4, 3), nn.BatchNorm2D(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10))


def values(net: nn.Layer) -> Tensors:
    return {name: parameter.numpy().copy() for name, parameter in net.named_parameters()}


def test_parameters_by_their_pattern_begin_at_the_value_and_all_others_as_they_are(net: nn.Layer) -> None:
    before = values(net)
    begin(net, replace(RECIPE, starts=(("*.bias", 0.5), ("1.weight", 0.0))), SPECS, ())
    after = values(net)
    assert {name for name in after if (after[name] != before[name]).any()} == {"0.bias", "1.bias", "4.bias", "1.weight"}
    assert all((after[name] == 0.5).all() for name in ("0.bias", "1.bias", "4.bias"))
    assert not after["1.weight"].any()


def test_a_pattern_that_no_parameter_has_is_refused(net: nn.Layer) -> None:
    with pytest.raises(ValueError, match=r"no parameter is called '1\.scale'"):
        begin(net, replace(RECIPE, starts=(("1.scale", 0.0),)), SPECS, ())


def test_settled_weights_give_answers_of_mean_0_and_deviation_1(net: nn.Layer) -> None:
    begin(net, replace(RECIPE, settled=True), SPECS, iter([{"image": IMAGES, "label": np.zeros(24, np.int64)}]))
    logits = net(paddle.to_tensor(IMAGES)).numpy()
    np.testing.assert_allclose(logits.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(logits.std(axis=0), 1, atol=1e-2)


def test_a_recipe_that_says_nothing_leaves_all_as_it_is(net: nn.Layer) -> None:
    before = values(net)

    def none_asked_for():
        raise AssertionError("samples were read")
        yield

    begin(net, RECIPE, SPECS, none_asked_for())
    assert all((value == before[name]).all() for name, value in values(net).items())
