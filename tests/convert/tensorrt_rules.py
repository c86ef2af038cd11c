"""What TensorRT's documents ask of an explicitly quantized graph, as a checker; TensorRT itself is not here.

Source: docs.nvidia.com, TensorRT, "Explicit Quantization" and the best practices for Q/DQ placement;
onnx/onnx-tensorrt, docs/operators.md (QuantizeLinear, DequantizeLinear) and onnxOpImporters.cpp.
"""

from collections.abc import Iterator

import numpy as np

from convert.graph import Graph, attribute

WEIGHTED = ("Conv", "Gemm", "MatMul")
ACTIVATIONS = ("Relu", "Clip")


def broken_rules(graph: Graph) -> list[str]:
    """Every rule that a graph breaks, with the node."""
    return [*_quantizers(graph), *_products(graph), *_placement(graph), *_sums(graph)]


def _quantizers(graph: Graph) -> Iterator[str]:
    for node in graph.nodes:
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            continue
        scale = graph.constants.get(node.input[1])
        zero = graph.constants.get(node.input[2]) if len(node.input) > 2 else None
        if scale is None or not (scale > 0).all():
            yield f"{node.name}: scales are positive constants"
        if zero is None or zero.dtype != np.int8 or zero.any():
            yield f"{node.name}: its zero point is written out, INT8 and 0"
        held = graph.constants.get(node.input[0])
        if node.op_type == "DequantizeLinear" and held is not None and held.dtype != np.int8:
            yield f"{node.name}: it dequantizes {held.dtype}; INT8 is what can be"


def _products(graph: Graph) -> Iterator[str]:
    for node in graph.nodes:
        if node.op_type not in WEIGHTED:
            continue
        sources = [graph.producer(name) for name in node.input[:2]]
        if any(one is None or one.op_type != "DequantizeLinear" for one in sources):
            yield f"{node.name or node.output[0]}: both factors of a product are dequantized"
            continue
        data, weight = sources
        assert data is not None and weight is not None
        channels = 1 if node.op_type != "Conv" and not attribute(node, "transB", 0) else 0
        stored, scale = graph.constants[weight.input[0]], graph.constants[weight.input[1]]
        if scale.size not in (1, stored.shape[channels]) or (
            scale.size > 1 and attribute(weight, "axis", 1) != channels
        ):
            yield f"{weight.name}: weights have one scale, or one an output channel"
        if graph.constants[data.input[1]].size != 1:
            yield f"{data.name}: activations have one scale"
        if (
            len(node.input) > 2
            and node.input[2]
            and graph.constants.get(node.input[2], np.zeros(0)).dtype != np.float32
        ):
            yield f"{node.name or node.output[0]}: its bias is a float constant"


def _placement(graph: Graph) -> Iterator[str]:
    """What a product gives is rounded behind its activation, so that both are one kernel; and nothing twice."""
    for node in graph.nodes:
        readers = [reader.op_type for name in node.output for reader in graph.consumers(name)]
        rounded = readers.count("QuantizeLinear")
        if rounded > 1:
            yield f"{node.name or node.output[0]}: quantized {rounded} times"
        if node.op_type in WEIGHTED and rounded and set(readers) & set(ACTIVATIONS):
            yield f"{node.name or node.output[0]}: quantized in front of its activation"
        if node.op_type == "DequantizeLinear" and rounded:
            yield f"{node.name}: dequantized to be quantized again"


def _sums(graph: Graph) -> Iterator[str]:
    """A convolution adds the other summand before it rounds; that one is INT8, and its own product never was."""
    for node in graph.nodes:
        if node.op_type != "Add":
            continue
        sources = [graph.producer(name) for name in node.input]
        kinds = sorted("other" if one is None else one.op_type for one in sources)
        if kinds not in (["Conv", "DequantizeLinear"], ["DequantizeLinear", "DequantizeLinear"]):
            yield f"{node.name or node.output[0]}: one summand comes from a convolution, the others are dequantized"
        if kinds == ["DequantizeLinear"] * 2 and any(_only_summed(graph, one.input[0]) for one in sources if one):
            yield f"{node.name or node.output[0]}: a convolution is rounded that only this sum reads"


def _only_summed(graph: Graph, codes: str) -> bool:
    """Whether codes are of a convolution, and one dequantizer and one node read them."""
    quantizer = graph.producer(codes)
    source = graph.producer(quantizer.input[0]) if quantizer is not None else None
    if quantizer is None or source is None or source.op_type != "Conv":
        return False
    dequantizers = graph.consumers(codes)
    alone = len(graph.consumers(quantizer.input[0])) == 1 and len(dequantizers) == 1
    return alone and len(graph.consumers(dequantizers[0].output[0])) == 1
