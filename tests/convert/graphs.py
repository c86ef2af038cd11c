"""Small ONNX graphs for tests."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from convert.graph import Graph
from runtimes.registry import get_runtime


def build(
    nodes: list[NodeProto],
    constants: Mapping[str, np.ndarray],
    inputs: Mapping[str, list[int | str]],
    outputs: Mapping[str, list[int | str]],
    opset: int = 13,
) -> Graph:
    """A graph whose inputs and outputs are float32."""
    body = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 8
    return Graph(model)


def run(graph: Graph, inputs: Mapping[str, np.ndarray], folder: Path) -> dict[str, np.ndarray]:
    """What ONNX Runtime makes of it."""
    path = folder / "graph.onnx"
    graph.save(path)
    return get_runtime("onnx").load(path).run(inputs)


def fused(path: Path, folder: Path) -> list[str]:
    """The operators that ONNX Runtime really runs, after its own fusions."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(folder / "fused.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return [node.op_type for node in onnx.load(str(folder / "fused.onnx")).graph.node]


def operators(graph: Graph) -> list[str]:
    return [node.op_type for node in graph.nodes]
