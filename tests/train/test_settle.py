"""Random weights that are scaled to their inputs."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from paddle import nn

from edge_kit.core.tensors import GraphSpec, TensorSpec
from edge_kit.train.inference import layer_run
from edge_kit.train.settle import SHIFT, settle

SPEC = GraphSpec((TensorSpec("image", ("N", 3, 16, 16)),), ("logits",))


def deep(norm: bool) -> nn.Layer:
    layers: list[nn.Layer] = []
    for i in range(30):
        layers.append(nn.Conv2D(3 if i == 0 else 16, 16, 3, padding=1, bias_attr=False if norm else None))
        layers += [nn.BatchNorm2D(16)] if norm else []
        layers.append(nn.ReLU())
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2D(1), nn.Flatten(), nn.Dropout(0.5), nn.Linear(16, 10))


@pytest.fixture(params=[True, False], ids=["batch norm", "none"])
def net(request: pytest.FixtureRequest) -> nn.Layer:
    paddle.seed(0)
    return deep(request.param)


IMAGES = {"image": np.random.default_rng(0).normal(0.3, 1, (24, 3, 16, 16)).astype(np.float32)}


def test_the_answers_of_thirty_layers_have_the_scale_that_was_asked_for(net: nn.Layer) -> None:
    before = layer_run(net, SPEC)(IMAGES)["logits"]
    assert not np.allclose(before.std(axis=0), 1, atol=0.2), "the test would say nothing"
    settle(net, SPEC, IMAGES)
    logits = layer_run(net, SPEC)(IMAGES)["logits"]
    np.testing.assert_allclose(logits.mean(axis=0), SHIFT, atol=2e-2)
    np.testing.assert_allclose(logits.std(axis=0), 1, atol=2e-2)
    assert len(set(logits.argmax(axis=1).tolist())) > 4, "answers depend on the picture"


def test_batch_norms_hold_the_statistics_of_the_batch_and_their_momentum() -> None:
    paddle.seed(0)
    net = nn.Sequential(nn.Conv2D(3, 4, 3, bias_attr=False), nn.BatchNorm2D(4, momentum=0.7))
    settle(net, SPEC, IMAGES)
    maps = net[0](paddle.to_tensor(IMAGES["image"])).numpy()
    np.testing.assert_allclose(net[1]._mean.numpy(), maps.mean(axis=(0, 2, 3)), atol=1e-5)
    np.testing.assert_allclose(net[1]._variance.numpy(), maps.var(axis=(0, 2, 3)), rtol=1e-3)
    assert net[1]._momentum == 0.7
    assert not net[1].training


def test_a_dead_channel_stays_as_it_is() -> None:
    net = nn.Conv2D(3, 2, 1)
    net.weight.set_value(paddle.to_tensor(np.float32([[[[0.0]]] * 3, [[[1.0]]] * 3])))
    settle(net, SPEC, IMAGES)
    assert np.abs(net.weight.numpy()[0]).max() == 0
    assert np.isfinite(net.bias.numpy()).all()
