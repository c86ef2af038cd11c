"""Convolutions that are nearly the identity, before and after."""

from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from convert.graph import Graph
from convert.lower import PASSES, lower
from convert.passes.identity import sum_with_identity
from runtimes.registry import get_runtime
from runtimes.targets import TARGETS
from tests.convert.graphs import build, operators, run

RNG = np.random.default_rng(0)
WIDTH, DEPTH = 32, 5
IMAGES = np.abs(RNG.normal(0, 1, (8, WIDTH, 7, 6))).astype(np.float32)
SAME = {"pads": [1, 1, 1, 1]}


def near_identity(width: int = WIDTH, kernel: tuple[int, ...] = (3, 3), size: float = 0.002) -> np.ndarray:
    """A kernel that adds a little to what it is given."""
    weight = RNG.normal(0, size, (width, width, *kernel)).astype(np.float32)
    weight[(np.arange(width), np.arange(width), *(side // 2 for side in kernel))] += 1
    return weight


def conv_net(weight: np.ndarray, **attributes: object) -> Graph:
    """One convolution with a bias, and a ReLU."""
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], name="conv", **attributes),
        helper.make_node("Relu", ["c"], ["y"]),
    ]
    constants = {"w": weight, "b": RNG.normal(0, 0.1, len(weight)).astype(np.float32)}
    inputs = ["N", weight.shape[1] * int(attributes.get("group", 1)), *["S"] * (weight.ndim - 2)]
    return build(nodes, constants, {"x": inputs}, {"y": ["N", len(weight), *[None] * (weight.ndim - 2)]})


def deep_net() -> Graph:
    """Convolutions that are nearly the identity, one behind the other."""
    nodes = []
    for i in range(DEPTH):
        nodes.append(helper.make_node("Conv", [f"x{i}", f"w{i}"], [f"c{i}"], **SAME))
        nodes.append(helper.make_node("Relu", [f"c{i}"], [f"x{i + 1}"]))
    constants = {f"w{i}": near_identity() for i in range(DEPTH)}
    return build(nodes, constants, {"x0": ["N", WIDTH, 7, 6]}, {f"x{DEPTH}": ["N", WIDTH, 7, 6]})


@pytest.mark.parametrize(
    ("kernel", "attributes"),
    [
        ((3, 3), SAME),
        ((3, 3), {"pads": [2, 2, 2, 2], "dilations": [2, 2]}),
        ((1, 1), {}),
        ((5, 3), {"pads": [2, 1, 2, 1], "strides": [1, 1]}),
        ((3,), {"pads": [1, 1]}),
    ],
)
def test_it_becomes_a_sum_and_gives_what_it_gave(
    kernel: tuple[int, ...], attributes: dict[str, object], tmp_path: Path
) -> None:
    graph = conv_net(near_identity(kernel=kernel), **attributes)
    images = IMAGES if len(kernel) == 2 else IMAGES[..., 0]
    wanted = run(graph, {"x": images}, tmp_path)["y"]
    assert sum_with_identity(graph) == 1
    assert operators(graph) == ["Conv", "Add", "Relu"]
    assert np.abs(graph.constants["w.added"]).max() < 0.02
    np.testing.assert_allclose(run(graph, {"x": images}, tmp_path)["y"], wanted, atol=5e-6)


OTHERS = {
    "ordinary": (RNG.normal(0, 0.1, (32, 32, 3, 3)).astype(np.float32), SAME),
    "much added": (near_identity(size=0.1), SAME),
    "cropped": (near_identity(), {}),
    "moved": (near_identity(), {"pads": [2, 2, 0, 0]}),
    "padded by name": (near_identity(), {"auto_pad": "SAME_UPPER"}),
    "strided": (near_identity(), {**SAME, "strides": [2, 2]}),
    "grouped": (near_identity()[:, :16], {**SAME, "group": 2}),
    "even": (near_identity(kernel=(2, 2)), {"pads": [1, 1, 0, 0]}),
    "narrowed": (near_identity()[:16], SAME),
    "doubled": (2 * near_identity(), SAME),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_any_other_convolution_stays_as_it_is(kind: str) -> None:
    weight, attributes = OTHERS[kind]
    graph = conv_net(weight, **attributes)
    assert sum_with_identity(graph) == 0
    assert operators(graph) == ["Conv", "Relu"]


def test_two_convolutions_of_one_weight_both_become_sums(tmp_path: Path) -> None:
    graph = deep_net()
    for node in graph.nodes:
        if node.op_type == "Conv":
            node.input[1] = "w0"
    wanted = run(graph, {"x0": IMAGES}, tmp_path)[f"x{DEPTH}"]
    assert sum_with_identity(graph) == DEPTH
    np.testing.assert_allclose(run(graph, {"x0": IMAGES}, tmp_path)[f"x{DEPTH}"], wanted, atol=1e-5)


def test_int8_keeps_what_such_layers_learnt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = deep_net()
    graph.save(tmp_path / "float.onnx")
    wanted = run(graph, {"x0": IMAGES}, tmp_path)[f"x{DEPTH}"]
    learnt = float(np.sqrt(((wanted - IMAGES) ** 2).mean()))

    def lost() -> float:
        report = lower(tmp_path / "float.onnx", tmp_path / "int8.onnx", TARGETS["x86-avx2"], [{"x0": IMAGES}])
        assert report.left_float == {}
        got = get_runtime("onnx").load(tmp_path / "int8.onnx").run({"x0": IMAGES})[f"x{DEPTH}"]
        return float(np.sqrt(((got - wanted) ** 2).mean())) / learnt

    assert lost() < 0.2
    others = tuple(step for step in PASSES if step.function is not sum_with_identity)
    monkeypatch.setattr("convert.lower.PASSES", others)
    assert lost() > 0.8
