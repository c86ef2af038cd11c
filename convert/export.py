"""A Paddle layer -> a Paddle inference model -> ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from convert.graph import Graph
from convert.passes.canonical import CANONICAL
from edge_kit.core.errors import EdgeKitError
from edge_kit.core.tensors import GraphSpec

OPSET = 13  # per-channel DequantizeLinear appears here; paddle2onnx 1.3.1 converts INT8 graphs at it
CALL_STACK = "op_callstack"


def export_paddle(net: Any, spec: GraphSpec, prefix: Path) -> None:
    """Trace the part of a network that a graph is of; write `prefix`.pdmodel and `prefix`.pdiparams.

    Raises:
        EdgeKitError: It does not give one tensor of its own for each output.
    """
    import paddle

    layer = spec.part(net)
    layer.eval()
    paddle.jit.save(layer, str(prefix), input_spec=input_specs(spec))
    _settle_program(Path(f"{prefix}.pdmodel"), spec)


def input_specs(spec: GraphSpec) -> list[Any]:
    """What Paddle is told of a graph's inputs when it traces one."""
    from paddle.static import InputSpec

    shapes = [[axis if isinstance(axis, int) else None for axis in tensor.shape] for tensor in spec.inputs]
    return [InputSpec(shape, tensor.dtype, name=tensor.name) for shape, tensor in zip(shapes, spec.inputs, strict=True)]


def _settle_program(path: Path, spec: GraphSpec) -> None:
    """Give outputs their specified names in the program itself, where every engine and exporter finds them.

    The places in our sources that operators were made at go: a graph would hold where we are installed, and
    its bytes would change with every line above them.
    """
    from paddle.base import core

    program = core.ProgramDesc(path.read_bytes())
    blocks = [program.block(i) for i in range(program.num_blocks())]
    operators = [block.op(i) for block in blocks for i in range(block.op_size())]
    given = [operator.input_arg_names()[0] for operator in operators if operator.type() == "fetch"]
    fed = {operator.output_arg_names()[0] for operator in operators if operator.type() == "feed"}
    if len(given) != len(spec.outputs) or fed.intersection(given):
        raise EdgeKitError(
            f"{path.name!r} gives {given} for outputs {list(spec.outputs)}; each must be a tensor of its own, no input"
        )
    for old, name in zip(given, spec.outputs, strict=True):
        if old != name and blocks[0].has_var(name.encode()):
            raise EdgeKitError(f"output {name!r} of {path.name!r} is called as a tensor inside it; call it otherwise")
        blocks[0]._rename_var(old.encode(), name.encode())
    for operator in operators:
        if operator.has_attr(CALL_STACK):
            operator.remove_attr(CALL_STACK)
    path.write_bytes(program.serialize_to_string())


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


def name_interface(path: Path, spec: GraphSpec) -> None:
    """Give the inputs and outputs of a file their specified axes and names, in place."""
    graph = Graph.load(path)
    graph.name_interface(spec)
    graph.save(path)


def canonicalise(onnx_in: Path, out: Path) -> dict[str, int]:
    """Rewrite a float graph without changing its answers; returns rewrites by pass."""
    graph = Graph.load(onnx_in)
    done = {rewrite.__name__: rewrite(graph) for rewrite in CANONICAL}
    graph.save(out)
    return done
