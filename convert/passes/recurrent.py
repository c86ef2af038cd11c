"""Recurrent layers and tables of embeddings: what is multiplied in INT8, and what is only stored so.

The state of a recurrent layer is fed back through every step, so no range found before fits all of it: an LSTM finds
the range of each step as it runs, which ONNX Runtime has a kernel for. It has none for the others.
"""

from __future__ import annotations

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from convert.graph import Array, Graph, attribute
from convert.lstm import DYNAMIC_LSTM
from convert.pairs import fit_channels, fit_pairs
from convert.passes.place import SUMS, WEIGHTED, clip_limits
from convert.quantization import Quantization
from runtimes.targets import Target

RECURRENT = ("LSTM", "GRU", "RNN")
WEIGHTS = (1, 2)  # inputs W and R, (directions, gates * hidden, inputs)
BIAS = 3
STATES = (5, 6)  # where a layer starts from
LSTM_INPUTS = 8
MOVERS = ("Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten")
FEWEST = 1024  # numbers in a weight: below, scales and nodes take what INT8 saves
TOP = 127
MICROSOFT = "com.microsoft"


def fold_recurrent_weights(graph: Graph) -> int:
    """Compute the weights of every LSTM, GRU and RNN that follow from constants.

    paddle2onnx slices Paddle's gates apart and joins them in ONNX's order within the graph.
    """
    done = 0
    for node in [n for n in graph.nodes if n.op_type in RECURRENT]:
        for position in (*WEIGHTS, BIAS):
            name = node.input[position] if position < len(node.input) else ""
            done += bool(name) and not graph.is_constant(name) and settle(graph, name)
    if done:
        graph.remove_dead()
    return done


def settle(graph: Graph, name: str) -> bool:
    """Make a tensor a constant if it follows from constants; returns whether it is one."""
    if not name or graph.is_constant(name):
        return True
    node = graph.producer(name)
    if node is None or len(node.output) != 1 or not node.input or name in graph.outputs:
        return False
    if not all([settle(graph, read) for read in node.input]):
        return False
    feeds = {read: graph.constants[read] for read in node.input if read}
    (graph.constants[name],) = ReferenceEvaluator(node, opsets={"": graph.opset()}).run(None, feeds)
    graph.remove(node)
    return True


def drop_zero_states(graph: Graph) -> int:
    """Leave out initial states of a recurrent layer that are 0, as they are where none are given.

    paddle2onnx makes them from the batch's size, and MNN reads no LSTM whose inputs have a gap in front of them.
    """
    done = 0
    for node in [n for n in graph.nodes if n.op_type in RECURRENT]:
        for position in STATES[: max(len(node.input) - STATES[0], 0)]:
            if node.input[position] and is_zero(graph, node.input[position]):
                node.input[position] = ""
                done += 1
        while not node.input[-1]:
            del node.input[-1]
    if done:
        graph.remove_dead()
    return done


def is_zero(graph: Graph, name: str) -> bool:
    """Whether a tensor is surely 0 everywhere."""
    if name in graph.constants:
        return not graph.constants[name].any()
    node = graph.producer(name)
    if node is None or node.op_type not in (*MOVERS, "Slice", "Expand", "ConstantOfShape"):
        return False
    if node.op_type != "ConstantOfShape":
        return is_zero(graph, node.input[0])
    value = attribute(node, "value")
    return value is None or not numpy_helper.to_array(value).any()


def keep_sequences_float(graph: Graph, known: Quantization) -> int:
    """Forget the ranges of what recurrent layers read and give, and of what only moves it: it is computed in float.

    What a convolution, a Gemm or a sum gives keeps its range: that is on a grid anyway.
    """
    done = 0
    for node in [n for n in graph.nodes if n.op_type in RECURRENT]:
        names = [*_moved_from(graph, node.input[0]), *(name for out in node.output for name in _moved_to(graph, out))]
        for name in names:
            done += known.ranges.pop(name, None) is not None
    return done


def _moved_from(graph: Graph, name: str) -> list[str]:
    """A tensor, and what it was before it was moved, as long as nothing else reads that."""
    producer = graph.producer(name)
    if len(graph.consumers(name)) > 1 or _from_kernel(graph, name):
        return []
    if producer is None or producer.op_type not in MOVERS:
        return [name]
    return [name, *_moved_from(graph, producer.input[0])]


def _from_kernel(graph: Graph, name: str) -> bool:
    """Whether an INT8 kernel may give a tensor, with or without a ReLU that its grid takes the place of."""
    producer = graph.producer(name)
    if producer is not None and clip_limits(graph, producer) is not None:
        producer = graph.producer(producer.input[0])
    return producer is not None and producer.op_type in (*WEIGHTED, *SUMS)


def _moved_to(graph: Graph, name: str) -> list[str]:
    """A tensor, and what it becomes by being moved."""
    movers = [node for node in graph.consumers(name) if name and node.op_type in MOVERS and node.input[0] == name]
    return [name, *(after for node in movers for after in _moved_to(graph, node.output[0]))]


def quantize_lstm(graph: Graph, target: Target) -> int:
    """Let every LSTM multiply in INT8, with the range of each step's input and state found as it runs."""
    done = 0
    for node in [n for n in graph.nodes if n.op_type == "LSTM"]:
        weights = [graph.constants.get(node.input[position]) for position in WEIGHTS]
        if not all(_worth_it(weight) for weight in weights):
            continue
        names = [*node.input, *[""] * (LSTM_INPUTS - len(node.input))]
        for position, weight in zip(WEIGHTS, weights, strict=True):
            assert weight is not None
            quantized, scale = _gates_grid(weight, target)
            fresh = f"{node.input[position]}.quantized"
            graph.constants[fresh] = np.ascontiguousarray(quantized.transpose(0, 2, 1))
            graph.constants[f"{fresh}.scale"] = scale
            graph.constants[f"{fresh}.zero"] = np.zeros(scale.shape[:2], np.int8)
            names[position] = fresh
            names += [f"{fresh}.scale", f"{fresh}.zero"]
        dynamic = helper.make_node(DYNAMIC_LSTM, names, list(node.output), node.name, domain=MICROSOFT)
        dynamic.attribute.extend(node.attribute)
        graph.insert_before(node, dynamic)
        graph.remove(node)
        done += 1
    if done:
        graph.import_domain(MICROSOFT, 1)
        graph.remove_dead()
    return done


def store_weights(graph: Graph) -> int:
    """Store as INT8 the weights of every GRU, RNN and MatMul that stayed in float, one scale a column or row of a gate.

    Engines compute the float ones from them while they load.
    """
    done = 0
    for node in [n for n in graph.nodes if n.op_type in (*RECURRENT, "MatMul")]:
        positions, axes = (WEIGHTS, (2,)) if node.op_type in RECURRENT else ((1,), (0,))
        for position in positions:
            name = node.input[position]
            weight = graph.constants.get(name)
            if weight is None or not _worth_it(weight) or weight.ndim != (3 if axes == (2,) else 2):
                continue
            if f"{name}.stored" not in graph.constants:  # another node may read the same
                graph.constants[f"{name}.stored"], graph.constants[f"{name}.scale"] = _grid(weight, axes)
                for step in _to_float(f"{name}.stored", f"{name}.scale", f"{name}.float"):
                    graph.insert_before(node, step)
            node.input[position] = f"{name}.float"
            done += 1
    graph.remove_dead()
    return done


def store_tables(graph: Graph) -> int:
    """Store every table of embeddings as INT8, one scale a column; only the rows that are read become float."""
    done = 0
    for node in [n for n in graph.nodes if n.op_type == "Gather" and not attribute(n, "axis", 0)]:
        name, output = node.input[0], node.output[0]
        table = graph.constants.get(name)
        if table is None or not _worth_it(table) or table.ndim != 2 or output in graph.outputs:
            continue
        if f"{name}.stored" not in graph.constants:  # sequences that share a table share what is stored
            graph.constants[f"{name}.stored"], graph.constants[f"{name}.scale"] = _grid(table, (0,))
        graph.insert_after(node, *_to_float(f"{output}.rows", f"{name}.scale", output))
        node.input[0], node.output[0] = f"{name}.stored", f"{output}.rows"
        done += 1
    graph.remove_dead()
    return done


def _to_float(stored: str, scale: str, out: str) -> list[NodeProto]:
    """INT8 -> float.

    Not DequantizeLinear: ONNX Runtime does not compute one while it loads, and puts quantizers behind those in front
    of a Transpose; a Bi-LSTM of 256 steps took 1.4 times as long.
    """
    cast = helper.make_node("Cast", [stored], [f"{out}.steps"], name=f"{out}.cast", to=TensorProto.FLOAT)
    return [cast, helper.make_node("Mul", [f"{out}.steps", scale], [out], name=f"{out}.scale")]


def _worth_it(weight: Array | None) -> bool:
    return weight is not None and weight.dtype == np.float32 and weight.size >= FEWEST


def _gates_grid(weight: Array, target: Target) -> tuple[Array, Array]:
    """INT8 values (directions, 4 * hidden, inputs), and a scale a row; where pairs of products saturate, none does."""
    fit = fit_pairs if target.saturating_pairs else fit_channels
    fitted = [fit(rows, _scales(rows, (1,))[:, 0]) for rows in weight]
    values, scales = zip(*fitted, strict=True)
    return np.stack(values), np.stack(scales)


def _grid(weight: Array, axes: tuple[int, ...]) -> tuple[Array, Array]:
    """INT8 values, and one scale for all along `axes`; axes are kept."""
    scales = _scales(weight, axes)
    return np.rint(weight / scales).astype(np.int8), scales


def _scales(weight: Array, axes: tuple[int, ...]) -> Array:
    """The largest magnitude along `axes` over that of INT8; axes are kept."""
    largest: Array = np.maximum(np.abs(weight).max(axis=axes, keepdims=True), 1e-12)
    return (largest / TOP).astype(np.float32)


STORE = (store_tables, store_weights)
"""What stays in float once quantizers are placed, and need not be stored so."""
