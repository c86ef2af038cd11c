"""Layers left in float, and which of them it helps most."""

from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from convert.graph import Graph
from convert.lower import LowerReport, lower
from convert.sensitivity import LayerHarm, rank_layers
from edge_kit.core.errors import UsageError
from runtimes.registry import get_runtime
from runtimes.targets import TARGETS
from tests.convert.graphs import build, operators, run

IMAGES = np.random.default_rng(0).normal(0, 1, (32, 3, 8, 8)).astype(np.float32)
BATCHES = [{"image": IMAGES[:16]}, {"image": IMAGES[16:]}]
TARGET = TARGETS["x86-vnni"]
LAYERS = ["first", "wild", "last", "sum", "logits"]


def fake_quantized(dead_channel_scale: float | None = None) -> Graph:
    """Conv-Relu, Conv-Relu, Conv added to the first, flattened, Gemm without a name.

    Weights lie behind quantizers as PaddleSlim leaves them; the grid of `wild` is far too coarse.
    """
    rng = np.random.default_rng(3)
    shapes = {"w0": (8, 3, 3, 3), "w1": (8, 8, 1, 1), "w2": (8, 8, 1, 1), "w3": (512, 5)}
    constants = {name: rng.normal(0, 0.3, shape).astype(np.float32) for name, shape in shapes.items()}
    constants |= {f"b{i}": rng.normal(0, 0.3, size).astype(np.float32) for i, size in enumerate((8, 8, 8, 5))}
    nodes = []
    for name in ("w0", "w1", "w2"):
        scale = np.abs(constants[name]).reshape(8, -1).max(axis=1) / 127
        constants[f"{name}.s"] = np.full(8, 0.4, np.float32) if name == "w1" else scale.astype(np.float32)
        constants[f"{name}.z"] = np.zeros(8, np.int8)
        grid = [f"{name}.s", f"{name}.z"]
        nodes.append(helper.make_node("QuantizeLinear", [name, *grid], [f"{name}q"], axis=0))
        nodes.append(helper.make_node("DequantizeLinear", [f"{name}q", *grid], [f"{name}d"], axis=0))
    if dead_channel_scale is not None:
        constants["w2.s"][3] = dead_channel_scale
        constants["w2"][3] = 0
    nodes += [
        helper.make_node("Conv", ["image", "w0d", "b0"], ["c0"], pads=[1, 1, 1, 1], name="first"),
        helper.make_node("Relu", ["c0"], ["r0"], name="relu0"),
        helper.make_node("Conv", ["r0", "w1d", "b1"], ["c1"], name="wild"),
        helper.make_node("Relu", ["c1"], ["r1"], name="relu1"),
        helper.make_node("Conv", ["r1", "w2d", "b2"], ["c2"], name="last"),
        helper.make_node("Add", ["r0", "c2"], ["sum"], name="sum"),
        helper.make_node("Flatten", ["sum"], ["flat"], axis=1, name="flatten"),
        helper.make_node("Gemm", ["flat", "w3", "b3"], ["logits"]),
    ]
    return build(nodes, constants, {"image": ["N", 3, 8, 8]}, {"logits": ["N", 5]})


def float_graph() -> Graph:
    graph = fake_quantized()
    for node in [node for node in graph.nodes if node.op_type == "DequantizeLinear"]:
        graph.replace_uses(node.output[0], node.output[0][:-1])
        graph.remove(node)
    graph.remove_dead()
    return graph


def lowered(folder: Path, *keep: str) -> tuple[Graph, LowerReport]:
    fake_quantized().save(folder / "fake.onnx")
    report = lower(folder / "fake.onnx", folder / "int8.onnx", TARGET, BATCHES, keep_float=keep)
    return Graph.load(folder / "int8.onnx"), report


def error(graph: Graph, folder: Path) -> float:
    """Mean square of the error over that of the float answers."""
    wanted, got = (run(one, {"image": IMAGES}, folder)["logits"] for one in (float_graph(), graph))
    return float(((wanted - got) ** 2).mean() / (wanted**2).mean())


@pytest.fixture(scope="module")
def ranking(tmp_path_factory: pytest.TempPathFactory) -> list[LayerHarm]:
    path = tmp_path_factory.mktemp("ranking") / "fake.onnx"
    fake_quantized().save(path)
    seen: list[int] = []
    harms = rank_layers(path, TARGET, BATCHES, lambda done, total, note="": seen.append(done))
    assert seen == [1, 2, 3, 4, 5]
    return harms


def test_every_layer_is_ranked_and_the_wild_one_comes_first(ranking: list[LayerHarm]) -> None:
    assert sorted(harm.node for harm in ranking) == sorted(LAYERS)
    assert ranking[0].node == "wild"
    assert [harm.noise for harm in ranking] == sorted((harm.noise for harm in ranking), reverse=True)
    assert ranking[0].noise > 10 * ranking[1].noise
    assert ranking[0].sqnr_db == pytest.approx(-10 * np.log10(ranking[0].noise))
    assert ranking[0].weights == 8 * 8 + 8
    for harm in ranking:
        assert harm.divergence is not None and harm.divergence >= 0
        assert harm.same is not None and 0 <= harm.same <= 1


def test_the_harm_of_a_layer_is_the_error_of_the_graph_with_it_alone_in_int8(
    ranking: list[LayerHarm], tmp_path: Path
) -> None:
    alone, report = lowered(tmp_path, *(name for name in LAYERS if name != "wild"), "flatten")
    assert report.quantized == {"Conv": 1}
    assert error(alone, tmp_path) == pytest.approx(ranking[0].noise, rel=1e-3)


def test_a_kept_layer_computes_in_float_with_its_own_weights_and_its_relu(tmp_path: Path) -> None:
    graph, report = lowered(tmp_path, "wild")
    assert report.kept_float == ("wild",)
    assert report.left_float == {"Conv": 1, "Relu": 1}
    assert report.passes["absorb_activations"] == report.passes["choose_float_nodes"] == 1
    wild = next(node for node in graph.nodes if node.name == "wild")
    np.testing.assert_array_equal(graph.constants[wild.input[1]], fake_quantized().constants["w1"])
    whole, _ = lowered(tmp_path)
    assert error(graph, tmp_path) < 0.1 * error(whole, tmp_path)


def test_all_layers_kept_give_the_float_answers(tmp_path: Path) -> None:
    """Between float layers no quantizer stands, so that every Relu must still be there."""
    graph, report = lowered(tmp_path, *LAYERS)
    assert report.kept_float == ("first", "wild", "last", "sum", "flatten", "logits")
    assert report.quantized == {}
    assert operators(graph) == ["Conv", "Relu", "Conv", "Relu", "Conv", "Add", "Flatten", "Gemm"]
    assert error(graph, tmp_path) < 1e-10


def test_nothing_kept_gives_the_same_bytes_as_before(tmp_path: Path) -> None:
    _, report = lowered(tmp_path)
    assert report.kept_float == ()
    first = (tmp_path / "int8.onnx").read_bytes()
    lower(tmp_path / "fake.onnx", tmp_path / "again.onnx", TARGET, BATCHES)
    assert (tmp_path / "again.onnx").read_bytes() == first


def test_an_unknown_layer_is_named_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown node to keep in float 'wold'; did you mean 'wild'"):
        lowered(tmp_path, "wold")


@pytest.mark.parametrize("scale", [0.0, float("nan"), float("inf"), -1.0])
def test_a_scale_that_is_no_scale_is_mended_and_reported(scale: float, tmp_path: Path) -> None:
    graph = fake_quantized(dead_channel_scale=scale)
    pair = helper.make_node("QuantizeLinear", ["r1", "s", "z"], ["r1q"])
    back = helper.make_node("DequantizeLinear", ["r1q", "s", "z"], ["r1d"])
    graph.constants |= {"s": np.array([scale], np.float32), "z": np.zeros(1, np.int8)}
    reader = next(node for node in graph.nodes if node.name == "last")
    reader.input[0] = "r1d"
    graph.insert_before(reader, pair)
    graph.insert_before(reader, back)
    graph.save(tmp_path / "fake.onnx")
    report = lower(tmp_path / "fake.onnx", tmp_path / "int8.onnx", TARGET, BATCHES)
    assert report.mended == ("w2", "r1")
    got = get_runtime("onnx").load(tmp_path / "int8.onnx").run({"image": IMAGES})["logits"]
    fake_quantized(dead_channel_scale=1.0).save(tmp_path / "fake.onnx")
    lower(tmp_path / "fake.onnx", tmp_path / "whole.onnx", TARGET, BATCHES)
    wanted = get_runtime("onnx").load(tmp_path / "whole.onnx").run({"image": IMAGES})["logits"]
    np.testing.assert_allclose(got, wanted, rtol=0, atol=0.01 * np.abs(wanted).max())


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_a_layer_that_was_zero_all_along_and_a_channel_of_zeros_keep_their_biases(target: str, tmp_path: Path) -> None:
    """A black picture is all that was seen, and one channel has no weights: what comes out is the bias."""
    weight = np.random.default_rng(1).normal(0, 1, (4, 3, 1, 1)).astype(np.float32)
    weight[2] = 0
    nodes = [helper.make_node("Conv", ["image", "w", "b"], ["c"]), helper.make_node("Conv", ["c", "u", "d"], ["y"])]
    constants = {
        "w": weight, "b": np.array([1.5, -2, 3, 0.25], np.float32),
        "u": np.eye(4, dtype=np.float32).reshape(4, 4, 1, 1), "d": np.zeros(4, np.float32),
    }  # fmt: skip
    build(nodes, constants, {"image": ["N", 3, 8, 8]}, {"y": ["N", 4, 8, 8]}).save(tmp_path / "float.onnx")
    black = {"image": np.zeros((2, 3, 8, 8), np.float32)}
    lower(tmp_path / "float.onnx", tmp_path / "int8.onnx", TARGETS[target], [black])
    y = get_runtime("onnx").load(tmp_path / "int8.onnx").run(black)["y"]
    np.testing.assert_allclose(y[0, :, 0, 0], constants["b"], atol=5 / 255)
