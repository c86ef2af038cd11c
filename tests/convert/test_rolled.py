"""A GRU written out step by step, before and after it is one again."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import NodeProto, TensorProto, helper, numpy_helper

from convert.graph import Graph
from convert.passes.rolled import roll_up_gru
from tests.convert.graphs import operators, run

WIDTH, HIDDEN, STEPS = 6, 5, 4
RNG = np.random.default_rng(8)
FEEDS = {
    "x": RNG.normal(0, 1, (3, STEPS, WIDTH)).astype(np.float32),
    "fill": np.array([[0, 0, 0, 0], [0, 0, 1, 1], [0, 1, 1, 1]], np.float32)[..., None],
}


def floats(*shape: int) -> np.ndarray:
    return RNG.normal(0, 0.5, shape).astype(np.float32)


def written_out(reverse: bool, filled: bool = True) -> Graph:
    """As paddle2onnx writes `edge_kit/zoo/nlp/gru.py`."""
    row = np.zeros((1, 1, 3 * HIDDEN), np.float32)
    row[..., :HIDDEN] = -60
    constants = {
        "W": floats(WIDTH, 3 * HIDDEN), "a": floats(3 * HIDDEN), "row": row, "zero": np.zeros(1, np.float32),
        "U": floats(HIDDEN, 2 * HIDDEN), "b": floats(2 * HIDDEN), "C": floats(HIDDEN, HIDDEN), "c": floats(HIDDEN),
        "from": np.array([0]), "middle": np.array([2 * HIDDEN]), "to": np.array([2**31 - 1]), "axis": np.array([2]),
    }  # fmt: skip
    nodes: list[NodeProto] = []

    def add(kind: str, inputs: list[str], *outputs: str, **attributes: int) -> str:
        nodes.append(helper.make_node(kind, inputs, list(outputs), **attributes))
        return outputs[0]

    add("Add", [add("MatMul", ["x", "W"], "product"), "a"], "projected")
    last = "projected"
    if filled:
        last = add("Add", ["projected", add("Mul", ["fill", "row"], "shut")], "shutting")
    for name, start, end in (("gated", "from", "middle"), ("offered", "middle", "to")):
        part = add("Slice", [last, start, end, "axis"], f"{name}.all")
        add("Split", [part], *(f"{name}{t}" for t in range(STEPS)), axis=1)
    state = add("Expand", ["zero", add("Shape", ["offered0"], "shape")], "start")
    states = [""] * STEPS
    for t in reversed(range(STEPS)) if reverse else range(STEPS):
        linear = add("Add", [add("MatMul", [state, "U"], f"hU{t}"), "b"], f"hUb{t}")
        opened = add("Sigmoid", [add("Add", [f"gated{t}", linear], f"opening{t}")], f"opened{t}")
        add("Split", [opened], f"update{t}", f"reset{t}", axis=2)
        cut = add("Mul", [f"reset{t}", state], f"cut{t}")
        inner = add("Add", [add("MatMul", [cut, "C"], f"rhC{t}"), "c"], f"rhCc{t}")
        fresh = add("Tanh", [add("Add", [f"offered{t}", inner], f"offering{t}")], f"fresh{t}")
        moved = add("Mul", [f"update{t}", add("Sub", [fresh, state], f"distance{t}")], f"moved{t}")
        state = states[t] = add("Add", [state, moved], f"state{t}")
    add("Concat", states, "out", axis=1)
    body = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", STEPS, v.shape[2]]) for n, v in FEEDS.items()],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["N", STEPS, HIDDEN])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    return Graph(model)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("filled", [False, True])
def test_the_steps_become_one_gru_with_their_answers(reverse: bool, filled: bool, tmp_path: Path) -> None:
    graph = written_out(reverse, filled)
    wanted = run(graph, FEEDS, tmp_path)["out"]
    assert roll_up_gru(graph) == 1
    assert operators(graph) == [*["Concat"] * filled, "Transpose", "GRU", "Transpose", "Squeeze"]
    np.testing.assert_allclose(run(graph, FEEDS, tmp_path)["out"], wanted, atol=1e-6)
    assert roll_up_gru(graph) == 0


def test_what_fills_up_leaves_the_state_of_a_reversed_one_at_zero(tmp_path: Path) -> None:
    graph = written_out(True)
    roll_up_gru(graph)
    out = run(graph, FEEDS, tmp_path)["out"]
    assert np.abs(out[FEEDS["fill"][..., 0] == 1]).max() < 1e-20
    assert np.abs(out[FEEDS["fill"][..., 0] == 0]).min() > 1e-4


def rewire(name: str, position: int, to: str) -> Callable[[Graph], None]:
    def change(graph: Graph) -> None:
        next(node for node in graph.nodes if node.output[0] == name).input[position] = to

    return change


def other_weights(graph: Graph) -> None:
    graph.constants["V"] = floats(HIDDEN, 2 * HIDDEN)
    rewire("hU2", 1, "V")(graph)


def start_at_one(graph: Graph) -> None:
    graph.constants["zero"] = np.ones(1, np.float32)


@pytest.mark.parametrize(
    "change",
    [
        rewire("state2", 0, "state0"),
        rewire("cut2", 1, "state0"),
        rewire("distance1", 1, "start"),
        rewire("moved3", 0, "reset3"),
        rewire("opening2", 0, "gated1"),
        rewire("offering1", 0, "offered0"),
        rewire("offered.all", 1, "from"),
        other_weights,
        start_at_one,
    ],
)
def test_steps_that_do_something_else_are_left_alone(change: Callable[[Graph], None], tmp_path: Path) -> None:
    graph = written_out(False)
    change(graph)
    before = operators(graph)
    assert roll_up_gru(graph) == 0
    assert operators(graph) == before
