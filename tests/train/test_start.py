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


def test_a_convolution_that_begins_as_the_identity_gives_out_what_it_is_given() -> None:
    net = nn.Sequential(nn.Conv2D(4, 4, 3, padding=1, bias_attr=False))
    begin(net, replace(RECIPE, starts=(("0.weight", "identity"),)), SPECS, ())
    given = paddle.rand([2, 4, 5, 6])
    np.testing.assert_array_equal(net(given).numpy(), given.numpy())


def test_what_cannot_be_the_identity_is_refused(net: nn.Layer) -> None:
    with pytest.raises(ValueError, match=r"'0\.weight' of shape \[4, 3, 3, 3\] cannot be the identity"):
        begin(net, replace(RECIPE, starts=(("0.weight", "identity"),)), SPECS, ())


def test_settled_convolutions_without_a_bias_lose_the_mean_and_those_set_by_hand_stay() -> None:
    paddle.seed(0)
    net = nn.Sequential(nn.Conv2D(3, 8, 1, bias_attr=False), nn.ReLU(), nn.Conv2D(8, 8, 1, bias_attr=False))
    begin(net, replace(RECIPE, starts=(("2.weight", "identity"),), settled=True), SPECS, iter([{"image": IMAGES + 2}]))
    maps = net[0](paddle.to_tensor(IMAGES + 2)).numpy()
    np.testing.assert_allclose(maps.mean(axis=(0, 2, 3)), 0, atol=1e-4)
    np.testing.assert_allclose(maps.std(axis=(0, 2, 3)), 1, atol=1e-3)
    assert (net[2].weight.numpy()[:, :, 0, 0] == np.eye(8)).all()


def test_what_dropout_adds_counts_as_deviation() -> None:
    paddle.seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Dropout(0.5, mode="downscale_in_infer"), nn.Linear(192, 10))
    begin(net, replace(RECIPE, settled=True), SPECS, iter([{"image": IMAGES + 5}]))
    net.train()
    assert net(paddle.to_tensor(IMAGES + 5)).numpy().std() == pytest.approx(1, abs=0.2)
    net.eval()
    assert net(paddle.to_tensor(IMAGES + 5)).numpy().std() < 0.5


def test_without_dropout_answers_are_fitted_as_they_are_in_evaluation() -> None:
    paddle.seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Dropout(0.5, mode="downscale_in_infer"), nn.Linear(192, 10))
    begin(net, replace(RECIPE, settled=True, dropout=False), SPECS, iter([{"image": IMAGES + 5}]))
    logits = net(paddle.to_tensor(IMAGES + 5)).numpy()
    np.testing.assert_allclose(logits.std(axis=0), 1, atol=1e-2)


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
