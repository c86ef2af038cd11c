"""A Paddle layer as a function from named arrays to named arrays, like any runtime's session."""

from __future__ import annotations

from typing import Any

import paddle

from edge_kit.core.tensors import Array, GraphSpec, Run, Tensors


def layer_run(net: Any, spec: GraphSpec) -> Run:
    """Run the part of a network that a graph is of, in evaluation mode, without gradients."""
    layer = spec.part(net)
    layer.eval()

    def run(inputs: Tensors) -> dict[str, Array]:
        with paddle.no_grad():
            result = layer(*(paddle.to_tensor(inputs[tensor.name]) for tensor in spec.inputs))
        results = result if isinstance(result, list | tuple) else [result]
        return {name: value.numpy() for name, value in zip(spec.outputs, results, strict=True)}

    return run
