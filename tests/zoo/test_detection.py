"""Detectors: what they are made of, that ONNX gives what Paddle gives, and that INT8 computes all of it."""

from dataclasses import replace
from fnmatch import filter
from pathlib import Path

import numpy as np
import onnx
import paddle
import pytest
from paddle import nn
from paddle.nn.layer.norm import _BatchNormBase

from convert.emulate import fused
from convert.export import canonicalise, export_paddle, paddle_to_onnx
from convert.lower import lower
from convert.parity import measure_parity
from edge_kit.tasks import TASKS
from edge_kit.tasks.detect_ssd import priors
from edge_kit.train.inference import layer_run
from edge_kit.train.settle import settle
from edge_kit.zoo import MODELS, load_all
from runtimes.registry import get_runtime
from runtimes.targets import TARGETS
from tests.zoo.liveliness import differs

load_all()
SIDE = 64
DETECTORS = ["ssd", "yolov3_mobilenet_v1"]


def test_the_ssds_parameters_are_those_of_its_table() -> None:
    """Body 3,206,976; four further units; heads of 3 and 6 priors with 4 corrections and 21 logits each."""
    extra = [(1024, 256, 512), (512, 128, 256), (256, 128, 256), (256, 64, 128)]
    units = sum(given * narrow + 2 * narrow + 9 * narrow * wide + 2 * wide for given, narrow, wide in extra)
    heads = sum((c + 1) * n * 25 for c, n in zip((512, 1024, 512, 256, 256, 128), (3, 6, 6, 6, 6, 6), strict=True))
    assert 3_206_976 + units + heads == MODELS.get("ssd").parameters == 5_796_089


def test_convolutions_of_the_ssds_body_learn_slower_than_its_heads_and_norms() -> None:
    entry = MODELS.get("ssd")
    named = dict(entry.build(num_classes=3).named_parameters())
    slow = {name: rate for pattern, rate in entry.published.recipe.rates for name in filter(named, pattern)}
    assert slow == {name: 0.1 for name, p in named.items() if p.ndim == 4 and not name.startswith(("loc", "conf"))}


def test_norms_of_yolo_have_no_decay() -> None:
    net = MODELS.get("yolov3_mobilenet_v1").build(num_classes=3)
    norms = [layer for layer in net.sublayers() if isinstance(layer, _BatchNormBase)]
    assert len(norms) == 27 + 3 * 6 + 2
    assert all(one.regularizer._coeff == 0 for layer in norms for one in (layer.weight, layer.bias))
    assert all(one.weight.regularizer is None for one in net.sublayers() if isinstance(one, nn.Conv2D))


@pytest.fixture(scope="module", params=DETECTORS)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, dict]:
    """A network of random weights that suit its inputs, as ONNX, and inputs."""
    folder = tmp_path_factory.mktemp(request.param)
    paddle.seed(4)
    entry = MODELS.get(request.param)
    net = entry.build(num_classes=3)
    (spec,) = entry.graphs(replace(entry.mini.preprocess, side=SIDE)).values()
    batch = {"image": np.random.default_rng(1).normal(0, 1, (16, 3, SIDE, SIDE)).astype(np.float32)}
    settle(net, spec, batch)
    export_paddle(net, spec, folder / "main")
    paddle_to_onnx(folder / "main", folder / "converted.onnx", spec)
    canonicalise(folder / "converted.onnx", folder / "main.onnx")
    run = layer_run(net, spec)
    for parity in measure_parity(run, get_runtime("onnx").load(folder / "main.onnx").run, [batch]):
        assert parity.max_rel <= 1e-4
    assert all(differs(value.reshape(len(value), -1)) for value in run(batch).values())
    return request.param, folder, batch


def test_every_convolution_computes_in_int8_and_nothing_between_is_float(exported: tuple[str, Path, dict]) -> None:
    _, folder, batch = exported
    report = lower(folder / "main.onnx", folder / "int8.onnx", TARGETS["x86-vnni"], [batch])
    assert set(report.left_float) <= {"Concat"}, "what joins the answers"
    ran = [node.op_type for node in fused(folder / "int8.onnx").graph.node]
    floats = [node for node in onnx.load(str(folder / "main.onnx")).graph.node if node.op_type == "Conv"]
    ends = 3 if exported[0].startswith("yolo") else 0  # whose answers are given in float
    assert ran.count("QLinearConv") == len(floats) - ends
    assert ran.count("Conv") == ends
    assert not {"LeakyRelu", "Relu", "Add"} & set(ran)
    assert ran.count("QuantizeLinear") == 1, "of the picture alone"


def test_what_a_graph_gives_is_what_its_task_reads(exported: tuple[str, Path, dict]) -> None:
    id, folder, batch = exported
    outputs = get_runtime("onnx").load(folder / "main.onnx").run(batch)
    found = TASKS.get(MODELS.get(id).task).detect(outputs, SIDE)
    assert len(found) == 16
    for one in found:
        assert 0 < len(one.scores) <= 200
        assert set(one.labels) <= {0, 1, 2}
        assert (np.diff(one.scores) <= 0).all()


def test_answers_of_the_ssd_lie_in_the_order_of_its_priors() -> None:
    """A light in one place of the picture must change answers of priors around that place most."""
    paddle.seed(5)
    entry = MODELS.get("ssd")
    net = entry.build(num_classes=3)
    (spec,) = entry.graphs(replace(entry.mini.preprocess, side=160)).values()
    dark = np.zeros((1, 3, 160, 160), np.float32)
    settle(net, spec, {"image": np.random.default_rng(1).normal(0, 1, (2, 3, 160, 160)).astype(np.float32)})
    run, first = layer_run(net, spec), 10 * 10 * 3
    for x, y in ((32, 32), (128, 32), (32, 128)):
        light = dark.copy()
        light[:, :, y - 8 : y + 8, x - 8 : x + 8] = 5
        change = np.abs(run({"image": light})["conf"] - run({"image": dark})["conf"])[0, :first].sum(axis=1)
        place = (change[:, None] * priors(160)[:first, :2]).sum(axis=0) / change.sum()
        assert np.abs(place - np.array([x, y]) / 160).max() < 0.2
