"""Two whole networks as files, in full precision and lowered, and pictures to feed them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import paddle
from paddle import nn

from convert.export import canonicalise, export_paddle, paddle_to_onnx
from convert.lower import lower
from edge_kit.core.images import ImagePreprocess
from edge_kit.core.tensors import MAIN, Array
from edge_kit.core.weights import load_weights
from edge_kit.data.mini.compose import EVALUATION, compose
from edge_kit.data.mini.digits import load_digits
from edge_kit.pipeline.sources import packaged_weights
from edge_kit.zoo.classification import classifier_graphs
from edge_kit.zoo.classification.mobilenetv2 import MobileNetV2
from runtimes.targets import TARGETS

SIDE = 64
PREPROCESS = ImagePreprocess(SIDE, SIDE)


@dataclass(frozen=True)
class Network:
    """One network on disk.

    Attributes:
        fp32: Canonical float graph.
        int8: The same, lowered for x86-vnni with ranges of other pictures than those in `batches`.
    """

    name: str
    fp32: Path
    int8: Path


def pictures(count: int, seed: int) -> Array:
    """Digits on photographs, prepared; (count, 3, SIDE, SIDE) float32."""
    rng = np.random.default_rng(seed)
    digits = load_digits("val")
    chosen = rng.integers(len(digits.labels), size=count)
    return np.stack([PREPROCESS(compose(digits, int(i), "val", SIDE, EVALUATION, rng)) for i in chosen])


def mobilenetv2() -> nn.Layer:
    """The packaged, trained network."""
    net = MobileNetV2(num_classes=10, width=1.0)
    weights = load_weights(packaged_weights("mobilenetv2.safetensors"))
    net.set_state_dict({name: value.astype(np.float32) for name, value in weights.items()})
    return net


def resnet18() -> nn.Layer:
    """Random weights; batch norms hold the statistics of real pictures, so that every channel is alive."""
    paddle.seed(18)
    net = paddle.vision.models.resnet18(num_classes=10)
    rng = np.random.default_rng(18)
    norms = [layer for layer in net.sublayers() if isinstance(layer, nn.BatchNorm2D)]
    for norm in norms:
        norm._momentum = 0.0  # the statistics of the last batch
        norm.weight.set_value(rng.uniform(0.5, 1.5, norm.weight.shape).astype(np.float32))
        norm.bias.set_value(rng.normal(0, 0.3, norm.bias.shape).astype(np.float32))
    net.train()
    with paddle.no_grad():
        net(paddle.to_tensor(pictures(64, 18)))
    return net


NETWORKS = {"mobilenetv2": mobilenetv2, "resnet18": resnet18}


def save_network(name: str, folder: Path) -> Network:
    """Export a network as the product does, and lower it."""
    spec = classifier_graphs(PREPROCESS)[MAIN]
    export_paddle(NETWORKS[name](), spec, folder / name)
    paddle_to_onnx(folder / name, folder / "converted.onnx", spec)
    network = Network(name, folder / "fp32.onnx", folder / "int8.onnx")
    canonicalise(folder / "converted.onnx", network.fp32)
    save_lowered(network.fp32, network.int8, seed=1)
    return network


def save_lowered(fp32: Path, int8: Path, seed: int, target: str = "x86-vnni") -> None:
    """An INT8 graph calibrated on 64 pictures of a seed."""
    lower(fp32, int8, TARGETS[target], [{"image": pictures(64, seed)}])
