"""A Paddle layer -> a Paddle inference model -> ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from convert.graph import Graph
from convert.passes.canonical import CANONICAL
from edge_kit.core.errors import EdgeKitError
from edge_kit.core.tensors import GraphSpec

OPSET = 13  # per-channel DequantizeLinear appears here; paddle2onnx 1.3.1 converts INT8 graphs at it


def export_paddle(net: Any, spec: GraphSpec, prefix: Path) -> None:
    """Trace the part of a network that a graph is of; write `prefix`.pdmodel and `prefix`.pdiparams."""
    import paddle
    from paddle.static import InputSpec

    layer = spec.part(net)
    layer.eval()
    shapes = [[axis if isinstance(axis, int) else None for axis in tensor.shape] for tensor in spec.inputs]
    inputs = [
        InputSpec(shape, tensor.dtype, name=tensor.name) for shape, tensor in zip(shapes, spec.inputs, strict=True)
    ]
    paddle.jit.save(layer, str(prefix), input_spec=inputs)


def paddle_to_onnx(prefix: Path, out: Path, spec: GraphSpec | None) -> None:
    """Convert a Paddle inference model to ONNX and give inputs and outputs their specified names and axes.

    paddle2onnx may abort the process on graphs it does not know: call this in a child process.

    Args:
        prefix: Of the `.pdmodel` and `.pdiparams` files.
        spec: None keeps the names that the program has.
    """
    import paddle2onnx

    paddle2onnx.export(
        f"{prefix}.pdmodel",
        f"{prefix}.pdiparams",
        save_file=str(out),
        opset_version=OPSET,
        enable_onnx_checker=True,
    )
    if spec is None:
        return
    graph = Graph.load(out)
    if set(graph.inputs) != {tensor.name for tensor in spec.inputs} or len(graph.outputs) != len(spec.outputs):
        raise EdgeKitError(
            f"{str(prefix)!r} was converted to inputs {graph.inputs} and {len(graph.outputs)} outputs; "
            f"expected {[tensor.name for tensor in spec.inputs]} and {list(spec.outputs)}"
        )
    graph.name_interface(spec)
    graph.save(out)


def canonicalise(onnx_in: Path, out: Path) -> dict[str, int]:
    """Rewrite a float graph without changing its answers; returns rewrites by pass."""
    graph = Graph.load(onnx_in)
    done = {rewrite.__name__: rewrite(graph) for rewrite in CANONICAL}
    graph.save(out)
    return done
