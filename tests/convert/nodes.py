"""Every tensor of a fused graph, as ONNX Runtime computes it: on this processor, or on one without AVX-512."""

import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, numpy_helper

from convert.emulate import computed, fused, has_form
from convert.integer import Products
from convert.lstm import DYNAMIC_LSTM
from edge_kit.core.tensors import Array, Tensors

# NumPy and ONNX Runtime alone: Valgrind takes minutes for more.
SCRIPT = """
import sys
import numpy as np, onnxruntime
model, feed, out = sys.argv[1:]
options = onnxruntime.SessionOptions()
options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
names = [value.name for value in session.get_outputs()]
np.savez(out, **dict(zip(names, session.run(names, dict(np.load(feed))))))
"""
WITHIN = {DYNAMIC_LSTM: 1e-5}  # what computes in float between its products rounds apart
AVX2 = ("valgrind", "--tool=none", "--smc-check=all-non-file")  # it runs AVX2 and tells that there is no AVX-512


@dataclass
class Compared:
    """What came of running every node on its own.

    Attributes:
        nodes: That were compared, by operator.
        differ: Operator and name of those that gave another output.
        saturated: Pair sums that saturated.
    """

    nodes: Counter[str] = field(default_factory=Counter)
    differ: list[str] = field(default_factory=list)
    saturated: int = 0


def tensors(graph: Path, inputs: Tensors, folder: Path, prefix: tuple[str, ...] = ()) -> dict[str, Array]:
    """All tensors of a graph after its fusions, by name; `prefix` is a command that runs the engine."""
    model = fused(graph)
    known = {value.name for value in model.graph.output}
    inner = [name for node in model.graph.node for name in node.output if name and name not in known]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in inner)
    exposed, feed, out = folder / "exposed.onnx", folder / "feed.npz", folder / "tensors.npz"
    onnx.save(model, str(exposed))
    np.savez(feed, **inputs)
    command = [*prefix, sys.executable, "-c", SCRIPT, str(exposed), str(feed), str(out)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return {**constants(model), **inputs, **np.load(out)}


def constants(model: ModelProto) -> dict[str, Array]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def compare_nodes(graph: Path, values: dict[str, Array], *, pairs: bool) -> Compared:
    """Give every emulated node the engine's own inputs and compare with the engine's own output."""
    found = Compared()
    for node in fused(graph).graph.node:
        if not has_form(node):
            continue
        products = Products(pairs=pairs)
        given = [values[name] if name else None for name in node.input]
        got, wanted = computed(node, given, products)[0], values[node.output[0]]
        found.nodes[node.op_type] += 1
        found.saturated += products.saturated
        if got.dtype != wanted.dtype or not np.allclose(got, wanted, rtol=0, atol=WITHIN.get(node.op_type, 0)):
            found.differ.append(f"{node.op_type} {node.name}")
    return found
