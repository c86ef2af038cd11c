"""Real networks, lowered from their float export, for tests."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import paddle
from paddle.vision import models

from compress.prune.reshape import fit_to_weights
from compress.quantize.ptq import PtqSettings, quantize_static
from convert.export import canonicalise, export_paddle, paddle_to_onnx
from convert.lower import lower
from edge_kit.core.tensors import MAIN
from edge_kit.core.weights import load_weights
from edge_kit.data import FORMATS, Dataset, MiniSettings, OpenOptions
from edge_kit.pipeline.sources import packaged_weights
from edge_kit.zoo import MODELS, load_all
from runtimes.targets import TARGETS

load_all()
MOBILENETV2 = MODELS.get("mobilenetv2")
MINI = MOBILENETV2.setup("mini")
SPEC = MOBILENETV2.graphs(MINI.preprocess)[MAIN]
CALIBRATION = 40


def silent(done: int, total: int, note: str = "") -> None:
    """Tells nobody."""


def mini_set(folder: Path, evaluation: int) -> Dataset:
    """The pictures that the packaged weights know."""
    FORMATS.get("imagenet").make_mini(folder, MiniSettings(train=CALIBRATION, evaluation=evaluation, side=64), silent)
    return FORMATS.get("imagenet").open(folder, MINI.preprocess, OpenOptions("mini-imagenet", False, 0, MINI.augment))


def trained_mobilenetv2() -> paddle.nn.Layer:
    """With the packaged weights."""
    net = MOBILENETV2.build(num_classes=10)
    path = packaged_weights("mobilenetv2.safetensors")
    assert path is not None
    fit_to_weights(net, load_weights(path))
    return net


def untrained(build: Callable[[], paddle.nn.Layer]) -> paddle.nn.Layer:
    """Random weights and settled statistics: without, deep activations fade to nothing."""
    paddle.seed(1)
    net = build()
    rng = np.random.default_rng(1)
    with paddle.no_grad():
        for _ in range(8):
            net(paddle.to_tensor(rng.standard_normal((16, 3, 64, 64)).astype("float32")))
    return net


NETWORKS: dict[str, Callable[[], paddle.nn.Layer]] = {
    "mobilenetv2": trained_mobilenetv2,
    "mobilenetv1": lambda: untrained(lambda: models.mobilenet_v1(num_classes=10)),
    "resnet18": lambda: untrained(lambda: models.resnet18(num_classes=10)),
    "resnet50": lambda: untrained(lambda: models.resnet50(num_classes=10)),
}


def float_graph(net: paddle.nn.Layer, folder: Path) -> Path:
    """Canonical float ONNX."""
    folder.mkdir(parents=True, exist_ok=True)
    net.eval()
    export_paddle(net, SPEC, folder / "float")
    paddle_to_onnx(folder / "float", folder / "converted.onnx", SPEC)
    canonicalise(folder / "converted.onnx", folder / "float.onnx")
    return folder / "float.onnx"


def slimmed(folder: Path, dataset: Dataset) -> Path:
    """The exported network behind the quantizers that PaddleSlim places, as `compress` makes it."""
    quantize_static(folder / "float", folder / "slim" / "int8", feeds(dataset), PtqSettings())
    paddle_to_onnx(folder / "slim" / "int8", folder / "slimmed.onnx", SPEC)
    return folder / "slimmed.onnx"


def feeds(dataset: Dataset) -> list[dict[str, np.ndarray]]:
    return [{"image": batch["image"]} for batch in dataset.calibration_batches(CALIBRATION, 20)]


def lowered(graph: Path, target: str, dataset: Dataset) -> Path:
    """INT8 for a target, next to the float graph."""
    out = graph.with_name(f"{target}.onnx")
    lower(graph, out, TARGETS[target], feeds(dataset))
    return out
