"""Simple Baselines is the published one: its size counted by hand, its head where the paper has it."""

import numpy as np
import paddle
import pytest
from paddle import nn

from edge_kit.zoo import MODELS, load_all

load_all()


def test_the_parameters_are_resnet50_without_its_classes_and_the_head_added_up_by_hand() -> None:
    body = MODELS.get("resnet50").parameters - (2048 * 1000 + 1000)
    growing = 2048 * 256 * 16 + 2 * (256 * 256 * 16) + 3 * 2 * 256  # kernels of 4 x 4, scales and shifts
    heads = 256 * 17 + 17
    for name in ("simple_baselines", "simple_baselines_256x192"):
        assert MODELS.get(name).parameters == body + growing + heads == 33_999_697


def test_the_published_row_is_that_of_the_larger_input() -> None:
    rows = {row.metric: row.value for row in MODELS.get("simple_baselines").references}
    assert (rows["AP"], rows["AP75"], rows["AR"]) == (72.7, 79.6, 75.4)
    (spec,) = MODELS.get("simple_baselines").graphs(MODELS.get("simple_baselines").published.preprocess).values()
    assert spec.inputs[0].shape == ("N", 3, 384, 288)


@pytest.fixture(scope="module")
def net() -> nn.Layer:
    paddle.seed(4)
    return MODELS.get("simple_baselines").build(keypoints=17)


def test_a_heat_map_has_a_cell_for_every_four_pixels(net: nn.Layer) -> None:
    net.eval()
    with paddle.no_grad():
        assert net(paddle.zeros([1, 3, 96, 64])).shape == [1, 17, 24, 16]


def test_the_head_starts_from_tiny_weights_and_grows_by_four_by_four_kernels(net: nn.Layer) -> None:
    grown = [layer for layer in net.head if isinstance(layer, nn.Conv2DTranspose)]
    assert [layer.weight.shape for layer in grown] == [[2048, 256, 4, 4], [256, 256, 4, 4], [256, 256, 4, 4]]
    assert all(layer.bias is None for layer in grown)
    for layer in (*grown, net.head[-1]):
        assert float(layer.weight.numpy().std()) == pytest.approx(0.001, rel=0.05)
    assert np.array_equal(net.head[-1].bias.numpy(), np.zeros(17, np.float32))
