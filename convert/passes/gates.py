"""Gates behind convolutions: Sigmoid, and the product that it is a factor of, as in Swish."""

from __future__ import annotations

from onnx import NodeProto

from convert.graph import Graph

GATES = ("Sigmoid", "Mul")


def is_gate(graph: Graph, node: NodeProto) -> bool:
    """Whether a node is the Sigmoid of a convolution, or multiplies by one.

    Those of recurrent cells are not: what is rounded there is fed back at every step.
    """
    if node.op_type == "Mul":
        factors = [graph.producer(name) for name in node.input]
        return any(one is not None and one.op_type == "Sigmoid" and is_gate(graph, one) for one in factors)
    source = graph.producer(node.input[0]) if node.op_type == "Sigmoid" else None
    return source is not None and source.op_type == "Conv"


def may_be_gate(graph: Graph, node: NodeProto) -> bool:
    """Whether a node is no Sigmoid and no product, or one whose rounding is not fed back."""
    return node.op_type not in GATES or is_gate(graph, node)
