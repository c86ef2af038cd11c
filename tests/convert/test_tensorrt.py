"""The target `tensorrt` against TensorRT's documented rules; no TensorRT runs here."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from convert.graph import Graph
from tests.convert.graphs import build, operators, run
from tests.convert.tensorrt_rules import broken_rules
from tests.convert.test_passes import RNG, floats, lowered, residual_net


def shortcut_net() -> Graph:
    """As a block of ResNet: a pooled stem, a sum of two convolutions, its Relu, and a Concat behind."""
    nodes = [
        helper.make_node("Conv", ["image", "w0", "b0"], ["c0"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c0"], ["r0"]),
        helper.make_node("MaxPool", ["r0"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["p", "w1"], ["c1"], pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["p", "w2"], ["c2"]),
        helper.make_node("Add", ["c1", "c2"], ["sum"]),
        helper.make_node("Relu", ["sum"], ["r1"]),
        helper.make_node("Add", ["r1", "p"], ["again"]),
        helper.make_node("Concat", ["again", "r1"], ["both"], axis=1),
        helper.make_node("Conv", ["both", "w3"], ["c3"]),
        helper.make_node("GlobalAveragePool", ["c3"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"], axis=1),
        helper.make_node("Gemm", ["flat", "w4", "b4"], ["logits"], transB=1),
    ]
    shapes = {"w0": (8, 3, 3, 3), "b0": (8,), "w1": (8, 8, 3, 3), "w2": (8, 8, 1, 1), "w3": (6, 16, 1, 1)}
    constants = {name: floats(*shape) for name, shape in {**shapes, "w4": (5, 6), "b4": (5,)}.items()}
    return build(nodes, constants, {"image": ["N", 3, 8, 8]}, {"logits": ["N", 5]})


NETS = [residual_net, shortcut_net]


@pytest.mark.parametrize("net", NETS, ids=lambda net: net.__name__)
def test_the_lowered_graph_keeps_every_documented_rule(net: Callable[[], Graph]) -> None:
    assert broken_rules(lowered(net(), "tensorrt")) == []


@pytest.mark.parametrize("net", NETS, ids=lambda net: net.__name__)
def test_its_answers_stay_near_the_float_ones(net: Callable[[], Graph], tmp_path: Path) -> None:
    images = RNG.normal(0, 1, (64, 3, 8, 8)).astype(np.float32)
    wanted = run(net(), {"image": images}, tmp_path)["logits"]
    got = run(lowered(net(), "tensorrt", images), {"image": images}, tmp_path)["logits"]
    assert np.sqrt(np.mean((wanted - got) ** 2)) / wanted.std() < 0.05


def test_of_two_convolutions_that_are_summed_the_first_is_rounded() -> None:
    graph = lowered(shortcut_net(), "tensorrt")
    first, second = (node for node in graph.nodes if node.op_type == "Add")
    assert list(first.input) == ["c1.dq", "c2"]
    assert list(second.input) == ["r1.dq", "p.dq"]
    assert operators(graph).count("QuantizeLinear") == 7


@pytest.mark.parametrize("net", NETS, ids=lambda net: net.__name__)
@pytest.mark.parametrize("target", ["x86-vnni", "arm64"])
def test_the_checker_tells_other_targets_apart(net: Callable[[], Graph], target: str) -> None:
    broken = " ".join(broken_rules(lowered(net(), target)))
    assert "its zero point is written out, INT8 and 0" in broken
    assert "it dequantizes int32; INT8 is what can be" in broken
    assert "a convolution is rounded that only this sum reads" in broken or net is shortcut_net


def test_the_checker_sees_what_is_left_float_and_what_is_rounded_too_early() -> None:
    graph = lowered(residual_net(), "tensorrt")
    conv = next(node for node in graph.nodes if node.op_type == "Conv")
    scale = graph.producer(conv.input[1])
    assert scale is not None
    graph.constants[scale.input[1]] = graph.constants[scale.input[1]][:3]
    early = helper.make_node("QuantizeLinear", [conv.output[0], "image.scale", "image.zero"], ["early"], name="early")
    graph.insert_before(graph.consumers(conv.output[0])[0], early)
    last = graph.nodes[-1]
    last.input[0] = "flat"
    assert [one.split(": ")[1] for one in broken_rules(graph)] == [
        "weights have one scale, or one an output channel",
        "both factors of a product are dequantized",
        "quantized in front of its activation",
    ]
