"""Recurrent layers and tables, before and after each pass."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from convert.diverge import find_divergence
from convert.graph import Graph
from convert.lower import lower
from convert.pairs import in_kernel_order, pair_load
from convert.passes.canonical import gemm_from_matmul_and_add
from convert.passes.recurrent import (
    TOP,
    drop_zero_states,
    fold_recurrent_weights,
    keep_sequences_float,
    quantize_lstm,
    store_tables,
    store_weights,
)
from convert.quantization import Quantization, Range
from runtimes.registry import get_runtime
from runtimes.targets import TARGETS
from tests.convert.graphs import build, operators, run

WORDS, WIDTH, HIDDEN, STEPS = 60, 24, 20, 7
RNG = np.random.default_rng(5)
IDS = RNG.integers(0, WORDS, (3, STEPS))
GATES = {"LSTM": 4, "GRU": 3}


def floats(*shape: int) -> np.ndarray:
    return RNG.normal(0, 0.4, shape).astype(np.float32)


def sequence_net(kind: str, directions: int = 1) -> Graph:
    """Ids, embedded, to the outputs of one recurrent layer, times a matrix."""
    gates = GATES[kind] * HIDDEN
    constants = {
        "table": floats(WORDS, WIDTH),
        "W": floats(directions, gates, WIDTH),
        "R": floats(directions, gates, HIDDEN),
        "B": floats(directions, 2 * gates),
        "matrix": floats(HIDDEN, 80),
    }
    direction = "bidirectional" if directions == 2 else "forward"
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["embedded"]),
        helper.make_node("Transpose", ["embedded"], ["steps"], perm=[1, 0, 2]),
        helper.make_node(kind, ["steps", "W", "R", "B"], ["states"], hidden_size=HIDDEN, direction=direction),
        helper.make_node("Transpose", ["states"], ["ordered"], perm=[2, 0, 1, 3]),
        helper.make_node("MatMul", ["ordered", "matrix"], ["out"]),
    ]
    body = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["N", STEPS])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["N", STEPS, directions, 80])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    return Graph(model)


def error(graph: Graph, wanted: np.ndarray, folder: Path) -> float:
    """Of the output, root mean square over the root mean square of what it should be."""
    got = run(graph, {"ids": IDS}, folder)["out"]
    return float(np.sqrt(((got - wanted) ** 2).mean() / (wanted**2).mean()))


@pytest.mark.parametrize("target", ["x86-vnni", "x86-avx2", "arm64"])
@pytest.mark.parametrize("directions", [1, 2])
def test_an_lstm_multiplies_in_int8_and_keeps_its_answers(target: str, directions: int, tmp_path: Path) -> None:
    graph = sequence_net("LSTM", directions)
    weight, wanted = graph.constants["W"], run(graph, {"ids": IDS}, tmp_path)["out"]
    assert quantize_lstm(graph, TARGETS[target]) == 1
    assert operators(graph) == ["Gather", "Transpose", "DynamicQuantizeLSTM", "Transpose", "MatMul"]
    stored, scale = graph.constants["W.quantized"], graph.constants["W.quantized.scale"]
    assert stored.dtype == np.int8
    rows, steps = stored.transpose(0, 2, 1), 0.5001  # half a step is what rounding may cost a weight
    if TARGETS[target].saturating_pairs:
        assert all((pair_load(in_kernel_order(one)) <= 1).all() for one in rows)
        assert np.abs(stored).max() > 100, "a weight beside a small one keeps its steps"
        steps += 1  # that are trimmed off a pair
    else:
        assert np.abs(stored).max() == TOP
    assert (np.abs(rows * scale[..., None] - weight) <= steps * scale[..., None]).all()
    assert 1e-5 < error(graph, wanted, tmp_path) < 0.03


def test_an_lstm_whose_weights_are_computed_stays_as_it_is() -> None:
    graph = sequence_net("LSTM")
    graph.nodes.insert(0, helper.make_node("ReduceMax", ["ids"], ["any"], keepdims=0))
    graph.nodes.insert(1, helper.make_node("Cast", ["any"], ["one"], to=TensorProto.FLOAT))
    graph.nodes.insert(2, helper.make_node("Mul", ["W", "one"], ["made"]))
    next(node for node in graph.nodes if node.op_type == "LSTM").input[1] = "made"
    assert fold_recurrent_weights(graph) == 0
    assert quantize_lstm(graph, TARGETS["x86-vnni"]) == 0


def test_a_table_is_stored_in_a_quarter_and_read_by_rows(tmp_path: Path) -> None:
    graph = sequence_net("LSTM")
    table, wanted = graph.constants["table"], run(graph, {"ids": IDS}, tmp_path)["out"]
    assert store_tables(graph) == 1
    assert operators(graph)[:3] == ["Gather", "Cast", "Mul"]
    stored = graph.constants["table.stored"]
    assert stored.dtype == np.int8
    assert "table" not in graph.constants
    scale = np.abs(table).max(axis=0) / 127
    assert (np.abs(stored * scale - table) <= 0.5001 * scale).all()
    assert 1e-5 < error(graph, wanted, tmp_path) < 0.02


def test_two_sequences_share_one_stored_table(tmp_path: Path) -> None:
    graph = sequence_net("GRU")
    graph.nodes.insert(1, helper.make_node("Gather", ["table", "ids"], ["again"]))
    graph.nodes.insert(2, helper.make_node("Add", ["embedded", "again"], ["both"]))
    graph.nodes[3].input[0] = "both"
    wanted = run(graph, {"ids": IDS}, tmp_path)["out"]
    assert store_tables(graph) == 2
    assert sum(value.nbytes for value in graph.constants.values() if value.shape == (WORDS, WIDTH)) == WORDS * WIDTH
    assert error(graph, wanted, tmp_path) < 0.02


def test_weights_of_a_gru_and_a_product_are_stored_as_int8_and_float_when_loaded(tmp_path: Path) -> None:
    import onnxruntime

    graph = sequence_net("GRU", directions=2)
    wanted = run(graph, {"ids": IDS}, tmp_path)["out"]
    assert store_weights(graph) == 3
    assert {graph.constants[f"{name}.stored"].dtype for name in ("W", "R", "matrix")} == {np.dtype(np.int8)}
    assert not {"W", "R", "matrix"} & set(graph.constants)
    assert 1e-5 < error(graph, wanted, tmp_path) < 0.03
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "loaded.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(str(tmp_path / "graph.onnx"), options, providers=["CPUExecutionProvider"])
    left = {node.op_type for node in onnx.load(str(tmp_path / "loaded.onnx")).graph.node}
    assert not {"Cast", "Mul"} & left


@pytest.mark.parametrize("kind", GATES)
def test_what_is_stored_as_int8_is_no_fault_and_what_is_stored_wrongly_is_one(kind: str, tmp_path: Path) -> None:
    graph, ids = sequence_net(kind, directions=2), [{"ids": IDS}]
    graph.save(tmp_path / "right.onnx")
    store_tables(graph)
    store_weights(graph)
    graph.save(tmp_path / "stored.onnx")
    found = find_divergence(tmp_path / "right.onnx", tmp_path / "stored.onnx", ids)
    assert found.first is None, found.show()
    assert {"embedded", "states", "out"} <= set(found.compared)
    for name, tensor in (("table", "embedded"), ("R", "states"), ("matrix", "out")):
        wrong = graph.copy()
        wrong.constants[f"{name}.stored"] = np.roll(wrong.constants[f"{name}.stored"], 1, axis=-1)
        wrong.save(tmp_path / "wrong.onnx")
        first = find_divergence(tmp_path / "right.onnx", tmp_path / "wrong.onnx", ids).first
        assert first is not None and first.tensor == tensor


def test_small_weights_are_left_alone(tmp_path: Path) -> None:
    graph = sequence_net("GRU")
    graph.constants["table"] = graph.constants["table"][:5]
    graph.constants["matrix"] = graph.constants["matrix"][:, :4]
    assert store_tables(graph) == 0
    assert store_weights(graph) == 2


def test_what_a_recurrent_layer_reads_and_gives_gets_no_grid() -> None:
    graph = sequence_net("LSTM")
    known = Quantization({name: Range(-1.0, 1.0) for name in ("embedded", "steps", "states", "ordered", "out")})
    assert keep_sequences_float(graph, known) == 4
    assert set(known.ranges) == {"out"}


def reading_net() -> Graph:
    """A convolution and a ReLU, columns of which a GRU reads, and what it gives through a ReLU, moved again."""
    constants = {
        "kernel": floats(8, 1, 3, 3),
        "W": floats(1, 3 * HIDDEN, 8 * 4),
        "R": floats(1, 3 * HIDDEN, HIDDEN),
        "columns": np.array([0, 0, 32]),
    }
    nodes = [
        helper.make_node("Conv", ["image", "kernel"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Transpose", ["r"], ["turned"], perm=[3, 0, 1, 2]),
        helper.make_node("Reshape", ["turned", "columns"], ["steps"]),
        helper.make_node("GRU", ["steps", "W", "R"], ["states"], hidden_size=HIDDEN),
        helper.make_node("Transpose", ["states"], ["ordered"], perm=[2, 0, 1, 3]),
        helper.make_node("Relu", ["ordered"], ["out"]),
    ]
    inputs, outputs = {"image": ["N", 1, 4, STEPS]}, {"out": ["N", STEPS, 1, HIDDEN]}
    return build(nodes, constants, inputs, outputs)


@pytest.mark.parametrize("target", ["x86-vnni", "openvino"])
def test_a_relu_between_a_convolution_and_a_gru_is_not_lost(target: str, tmp_path: Path) -> None:
    """Its convolution keeps its grid, which clips; where there is none, as behind the GRU, the ReLU stays."""
    reading_net().save(tmp_path / "float.onnx")
    image = {"image": RNG.normal(0, 1, (5, 1, 4, STEPS)).astype(np.float32)}
    report = lower(tmp_path / "float.onnx", tmp_path / "int8.onnx", TARGETS[target], [image])
    assert report.quantized["Conv"] == 1
    full, small = (get_runtime("onnx").load(tmp_path / f"{name}.onnx").run(image)["out"] for name in ("float", "int8"))
    assert (small >= 0).all()
    assert np.sqrt(((small - full) ** 2).mean() / (full**2).mean()) < 0.05


def test_weights_that_follow_from_constants_become_constants(tmp_path: Path) -> None:
    """paddle2onnx reorders gates within the graph."""
    graph = sequence_net("LSTM")
    wanted, weight = run(graph, {"ids": IDS}, tmp_path)["out"], graph.constants["W"]
    graph.constants["W"] = np.concatenate([weight[:, HIDDEN:], weight[:, :HIDDEN]], axis=1)
    for name, value in (("from", 3 * HIDDEN), ("to", 4 * HIDDEN), ("axis", 1), ("zero", 0)):
        graph.constants[name] = np.array([value])
    graph.nodes[:0] = [
        helper.make_node("Slice", ["W", "from", "to", "axis"], ["last"]),
        helper.make_node("Slice", ["W", "zero", "from", "axis"], ["others"]),
        helper.make_node("Concat", ["last", "others"], ["joined"], axis=1),
    ]
    next(node for node in graph.nodes if node.op_type == "LSTM").input[1] = "joined"
    assert fold_recurrent_weights(graph) == 1
    assert "Slice" not in operators(graph)
    np.testing.assert_array_equal(graph.constants["joined"], weight)
    np.testing.assert_array_equal(run(graph, {"ids": IDS}, tmp_path)["out"], wanted)


@pytest.mark.parametrize(("start", "dropped"), [(0.0, 2), (0.5, 0)])
def test_states_that_start_at_zero_are_left_out_and_others_are_kept(start: float, dropped: int, tmp_path: Path) -> None:
    """As paddle2onnx writes them: of the batch's size, sliced layer by layer."""
    graph = sequence_net("LSTM")
    graph.constants.update(shape=np.array([2, 3, HIDDEN]), low=np.array([0]), high=np.array([1]))
    value = numpy_helper.from_array(np.array([start], np.float32))
    graph.nodes[:0] = [
        helper.make_node("ConstantOfShape", ["shape"], ["starts"], value=value),
        helper.make_node("Slice", ["starts", "low", "high", "low"], ["start"]),
    ]
    layer = next(node for node in graph.nodes if node.op_type == "LSTM")
    layer.input.extend(["", "start", "start"])
    wanted = run(graph, {"ids": IDS}, tmp_path)["out"]
    assert drop_zero_states(graph) == dropped
    assert len(layer.input) == (4 if dropped else 7)
    assert ("ConstantOfShape" in operators(graph)) is not bool(dropped)
    np.testing.assert_array_equal(run(graph, {"ids": IDS}, tmp_path)["out"], wanted)
    assert drop_zero_states(graph) == 0, "a graph may come through twice"


def test_a_layer_that_is_given_nothing_but_weights_is_left_as_it_is() -> None:
    graph = sequence_net("GRU")
    layer = next(node for node in graph.nodes if node.op_type == "GRU")
    assert drop_zero_states(graph) == 0
    assert list(layer.input) == ["steps", "W", "R", "B"]


def test_a_product_of_matrices_becomes_a_gemm_and_one_of_sequences_does_not(tmp_path: Path) -> None:
    for axes, expected in ((["N", 4], 1), (["N", 2, 4], 0)):
        body = helper.make_graph(
            [helper.make_node("MatMul", ["x", "w"], ["product"]), helper.make_node("Add", ["product", "b"], ["out"])],
            "test",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, axes)],
            [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
            [numpy_helper.from_array(floats(4, 6), "w"), numpy_helper.from_array(floats(6), "b")],
        )
        model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 13)])
        model.ir_version = 8
        assert gemm_from_matmul_and_add(Graph(model)) == expected


def test_openvino_reads_a_lowered_lstm(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    graph = sequence_net("LSTM", directions=2)
    wanted = run(graph, {"ids": IDS}, tmp_path)["out"]
    quantize_lstm(graph, TARGETS["x86-vnni"])
    store_tables(graph)
    store_weights(graph)
    graph.save(tmp_path / "lowered.onnx")
    got = get_runtime("openvino").load(tmp_path / "lowered.onnx").run({"ids": IDS})["out"]
    assert np.sqrt(((got - wanted) ** 2).mean() / (wanted**2).mean()) < 0.04
