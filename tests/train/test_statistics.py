"""Batch norm over the shares of several processes is that of the whole batch, whatever the shape."""

from collections.abc import Callable
from typing import Any

import numpy as np
import paddle
import pytest
from paddle import nn

from edge_kit.train.peers import ALONE, Peers
from edge_kit.train.statistics import shared_statistics

CHANNELS = 5
SHAPES = {2: (12,), 3: (12, 7), 4: (12, 4, 3), 5: (12, 2, 3, 2)}  # by rank, without the channels
LAYERS: dict[int, Callable[..., Any]] = {2: nn.BatchNorm1D, 3: nn.BatchNorm1D, 4: nn.BatchNorm2D, 5: nn.BatchNorm3D}


class Mirror(Peers):
    """As if another process had the same share: the batch is the share twice, its statistics those of the share."""

    def gathered(self, own: Any) -> Any:
        return paddle.stack([own, own])


def computed(layer: Any, peers: Peers, values: Any, wanted: Any) -> dict[str, Any]:
    x = paddle.to_tensor(values, stop_gradient=False)
    with shared_statistics(layer, peers):
        y = layer(x)
        ((y - paddle.to_tensor(wanted)) ** 2).sum().backward()
    found = {"output": y, "gradient": x.grad, "mean": layer._mean, "variance": layer._variance}
    for name in ("weight", "bias"):
        if getattr(layer, name) is not None:
            found[name] = getattr(layer, name).grad
    return {name: value.numpy() for name, value in found.items()}


def draw(ndim: int) -> tuple[Any, Any]:
    first, *rest = SHAPES[ndim]
    rng = np.random.default_rng(ndim)
    values = rng.normal(20, 0.5, (first, CHANNELS, *rest)) * np.arange(1, CHANNELS + 1).reshape(-1, *[1] * len(rest))
    return values.astype(np.float32), rng.normal(size=values.shape).astype(np.float32)


@pytest.mark.parametrize("ndim", SHAPES)
@pytest.mark.parametrize("learnt", [True, False], ids=["gain and shift", "plain"])
def test_outputs_gradients_and_running_statistics_are_those_of_paddles_own(ndim: int, learnt: bool) -> None:
    attributes = {} if learnt else {"weight_attr": False, "bias_attr": False}
    values, wanted = draw(ndim)
    shared, own = (LAYERS[ndim](CHANNELS, **attributes) for _ in range(2))
    if learnt:
        for layer in (shared, own):
            layer.weight.set_value(np.linspace(0.5, 2, CHANNELS, dtype=np.float32))
            layer.bias.set_value(np.linspace(-1, 1, CHANNELS, dtype=np.float32))
    found = computed(shared, Mirror(count=2), values, wanted)
    for name, value in computed(own, ALONE, values, wanted).items():
        np.testing.assert_allclose(found[name], value, rtol=2e-4, atol=2e-4, err_msg=name)


def test_a_network_in_evaluation_uses_what_it_has_seen() -> None:
    values, wanted = draw(4)
    layer = nn.BatchNorm2D(CHANNELS)
    layer.eval()
    found = computed(layer, Mirror(count=2), values, wanted)
    np.testing.assert_allclose(found["output"], values / np.sqrt(1 + 1e-5), rtol=1e-5)
    np.testing.assert_array_equal(found["mean"], np.zeros(CHANNELS))
