"""A quantized ONNX graph in two halves, as MNN's converter takes it: a float graph, and what is known of its tensors.

The converter also reads quantizers by itself, and then takes the scales for weights or computes something else
(measured, 3.6.1); so it is given none. A convolution whose input and output have a grid each runs in INT8, with our
weights and scales, and so do sums of such tensors. Where none of these tells the engine a grid, rounding
to it is written out in float: a grid may be all that is left of a Relu.

Source: alibaba/MNN, tools/converter/source/compression/MNN_compression.proto and common/FullQuantAndCoding.cpp.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from edge_kit.core.errors import BadData, MissingDependency
from edge_kit.core.tensors import Array
from runtimes.faults import one_line
from runtimes.scales import settle_scales

MOST = 127
EXACT = ("Conv", "Add")
"""What MNN computes right in INT8. Its MaxPool there gives values of other places, and its averages are rounded to the
grid of what is averaged (measured, 3.6.1, x86)."""
MOVING = ("Concat", "Flatten", "Identity", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze")


@dataclass(frozen=True, slots=True)
class Grid:
    """Of an activation, in S8.

    Attributes:
        zero: -128..127.
    """

    step: float
    zero: int

    def of(self, tensor: str) -> dict[str, Any]:
        """As the converter reads it."""
        ends = {"clamp_min": -128, "clamp_max": 127}
        return {"name": tensor, "bits": 8, "scales": [self.step], "zero_point": self.zero, **ends}


@dataclass(slots=True)
class _Halves:
    """What becomes of the quantizers of a graph.

    Attributes:
        constants: By name; a dequantized one is float.
        steps: Of the constants that are stored in INT8 around zero, one or one an output channel.
        grids: By float activation.
        behind: The float activation, by what a quantizer or dequantizer makes of it.
    """

    constants: dict[str, Array]
    steps: dict[str, Array] = field(default_factory=dict)
    grids: dict[str, Grid] = field(default_factory=dict)
    behind: dict[str, str] = field(default_factory=dict)

    def quantize(self, node: Any) -> None:
        """Take note of an activation's grid; a stored weight's quantizer is computed."""
        name, step, zero = node.input[0], self._constant(node, 1), self._zero(node)
        if name in self.constants:
            axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
            codes = np.rint(self.constants[name] / _along(step, self.constants[name], axis))
            codes = codes + _along(zero, codes, axis)
            ends = np.iinfo(zero.dtype)
            self.constants[node.output[0]] = np.clip(codes, ends.min, ends.max).astype(zero.dtype)
            return
        if step.size != 1 or zero.size != 1 or zero.dtype not in (np.int8, np.uint8):
            raise _refuse(node, f"a grid of {step.size} scales in {zero.dtype}; MNN has one, in 8 bits")
        shift = 128 if zero.dtype == np.uint8 else 0
        self.grids[name] = Grid(float(step.reshape(())), int(zero.reshape(())) - shift)
        self.behind[node.output[0]] = name

    def dequantize(self, node: Any) -> None:
        """Join the other half of a pair to its float activation; a constant's is computed."""
        name, made = node.input[0], node.output[0]
        if name in self.constants:
            axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
            stored, step, zero = self.constants[name], self._constant(node, 1), self._zero(node, np.int8)
            centred = stored.astype(np.float32) - _along(zero.astype(np.float32), stored, axis)
            self.constants[made] = (centred * _along(step, stored, axis)).astype(np.float32)
            if stored.dtype == np.int8 and not zero.any():
                self.steps[made] = step.reshape(-1)
        elif name in self.behind:
            self.behind[made] = self.behind[name]
        else:
            raise _refuse(node, "it reads integers that no QuantizeLinear made, and MNN takes none")

    def layer(self, node: Any) -> dict[str, Any] | None:
        """What the converter is told of a convolution; None where it is to run in float."""
        given, weight, made = self.behind.get(node.input[0]), node.input[1], node.output[0]
        if given is None or made not in self.grids or weight not in self.steps:
            return None
        group, shape = next((a.i for a in node.attribute if a.name == "group"), 1), self.constants[weight].shape
        if len(shape) != 4 or (group > 1 and shape[:2] != (group, 1)):
            return None  # of groups it makes several convolutions, and none of them in INT8
        outputs = shape[0]
        scales = np.broadcast_to(self.steps[weight], (outputs,)).astype(float).tolist()
        held = {"name": weight, "bits": 8, "scales": scales, "clamp_min": -MOST, "clamp_max": MOST}
        return {
            "op_name": node.name or made,
            "method": "QAT",
            "input": [self.grids[given].of(given)],
            "weight": [held],
            "output": [self.grids[made].of(made)],
        }

    def _constant(self, node: Any, place: int) -> Array:
        name = node.input[place]
        if name not in self.constants:
            raise _refuse(node, f"its scale or zero point {name!r} is computed; MNN wants it constant")
        return self.constants[name]

    def _zero(self, node: Any, kind: Any = np.uint8) -> Array:
        return self._constant(node, 2) if len(node.input) > 2 and node.input[2] else np.zeros((), kind)


def split_quantized(graph: Path, float_graph: Path, table: Path) -> int:
    """Write the float half of a quantized graph, and the table of grids and scales that belongs to it.

    Returns:
        How many convolutions are to run in INT8.

    Args:
        table: Its suffix must be `.json`, by which the converter knows what it is.

    Raises:
        MissingDependency: onnx is not installed.
        BadData: The quantizers are of a kind that MNN has no form for.
    """
    try:
        onnx = import_module("onnx")
    except ModuleNotFoundError:
        raise MissingDependency("converting a quantized graph for runtime 'mnn'", "onnx", "mnn") from None
    try:
        model = onnx.load(str(graph))
        for value in model.graph.output:
            value.type.tensor_type.shape.SetInParent()  # which the checker asks for, and some writers leave out
        onnx.checker.check_model(model)
        settle_scales(model)
        layers = _split(onnx, model)
        onnx.save(model, str(float_graph))
    except BadData:
        raise
    except Exception as fault:  # onnx and protobuf have many, without a common base
        raise BadData(f"MNN: cannot read {str(graph)!r}: {one_line(fault)}") from fault
    algorithm = {"type": "QUANTIZE", "quant_params": {"round_mode": "ROUND_HALF_TO_EVEN", "layer": layers}}
    table.write_text(json.dumps({"version": "0.0.0", "algo": [algorithm]}))
    return len(layers)


def _split(onnx: Any, model: Any) -> list[dict[str, Any]]:
    """Take the quantizers off a model; gives what the converter is told of each convolution that runs in INT8."""
    body = model.graph
    halves = _Halves({one.name: onnx.numpy_helper.to_array(one) for one in body.initializer})
    kept = _without_quantizers(body, halves)
    given = {halves.behind.get(value.name, value.name) for value in body.output}
    for name in (value.name for value in body.output):
        if name in halves.behind:
            kept.append(onnx.helper.make_node("Identity", [halves.behind[name]], [name], name=f"{name}.given"))
    for node in reversed(kept):
        if node.op_type == "Identity" and node.output[0] in given:
            given.add(halves.behind.get(node.input[0], node.input[0]))
    # What leaves the graph is renamed on the way, and the converter finds a layer by the name of its output.
    inner = [node for node in kept if node.op_type == "Conv" and node.output[0] not in given]
    layers = [layer for node in inner if (layer := halves.layer(node)) is not None]
    known = {one["name"] for layer in layers for one in (*layer["input"], *layer["output"])}
    for node in kept:
        node.input[:] = [halves.behind.get(name, name) for name in node.input]
    kept = _apart(onnx, _rounded(onnx, kept, halves, set(halves.grids) - known), known, halves)
    read = {name for node in kept for name in node.input}
    held = [onnx.numpy_helper.from_array(value, name) for name, value in halves.constants.items() if name in read]
    del body.node[:], body.initializer[:], body.value_info[:]
    body.node.extend(kept)
    body.initializer.extend(held)
    return layers


def _without_quantizers(body: Any, halves: _Halves) -> list[Any]:
    kept = []
    for node in body.node:
        if node.op_type == "QuantizeLinear":
            halves.quantize(node)
        elif node.op_type == "DequantizeLinear":
            halves.dequantize(node)
        else:
            kept.append(node)
    codes = {node.output[0] for node in body.node if node.op_type == "QuantizeLinear"}
    for node in kept:
        integers = codes.intersection(node.input)
        if integers:
            raise _refuse(node, f"its input {integers.pop()!r} is quantized, and MNN is given floats")
    return kept


def _rounded(onnx: Any, nodes: list[Any], halves: _Halves, names: set[str]) -> list[Any]:
    """The nodes with each of these tensors rounded to its grid in float for those that read it."""
    made: list[Any] = []
    for node in nodes:
        node.input[:] = [f"{name}.rounded" if name in names else name for name in node.input]
    for name in sorted(names - {output for node in nodes for output in node.output}):
        made += _rounding(onnx, name, halves)  # of an input
    for node in nodes:
        made.append(node)
        for name in names.intersection(node.output):
            made += _rounding(onnx, name, halves)
    return made


def _rounding(onnx: Any, name: str, halves: _Halves) -> list[Any]:
    grid = halves.grids[name]
    held = {"step": grid.step, "low": -128.0 - grid.zero, "high": 127.0 - grid.zero}
    halves.constants |= {f"{name}.{key}": np.array(value, np.float32) for key, value in held.items()}
    steps = (("Div", "steps", ("step",)), ("Round", "whole", ()), ("Clip", "clipped", ("low", "high")))
    nodes, last = [], name
    for kind, after, given in (*steps, ("Mul", "rounded", ("step",))):
        inputs = [last, *(f"{name}.{key}" for key in given)]
        last = f"{name}.{after}"
        nodes.append(onnx.helper.make_node(kind, inputs, [last], name=last))
    return nodes


def _apart(onnx: Any, nodes: list[Any], known: set[str], halves: _Halves) -> list[Any]:
    """The nodes with a Max that does nothing on either side of those that must not run in INT8.

    An operator may run in INT8 where all that it reads has a grid; and a grid goes on through pools and what moves
    values, forwards and backwards.
    """
    ends = {name: (-128 - halves.grids[name].zero) * halves.grids[name].step for name in known}
    made: list[Any] = []

    def bridge(start: str, after: str, end: float) -> None:
        halves.constants[f"{after}.low"] = np.array(end, np.float32)
        made.append(onnx.helper.make_node("Max", [start, f"{after}.low"], [after], name=f"{after}.bridge"))

    for node in nodes:
        moves = node.op_type in MOVING
        moved = [name for name in node.input if name not in halves.constants] if moves else []
        if moved and all(name in ends for name in moved):
            low = min(ends[name] for name in moved)
            ends |= {name: low for name in node.output if name not in ends}
        if moves or node.op_type in EXACT:
            made.append(node)
            continue
        for i, name in enumerate(node.input):
            if name in ends:
                node.input[i] = f"{name}.read_by.{node.output[0]}"
                bridge(name, node.input[i], ends[name])
        given = [name for name in node.output if name in ends]
        node.output[:] = [f"{name}.float" if name in ends else name for name in node.output]
        made.append(node)
        for name in given:
            bridge(f"{name}.float", name, ends[name])
    return made


def _along(values: Array, tensor: Array, axis: int) -> Array:
    """One number, or one for each place of an axis, to be broadcast over a tensor."""
    if values.size == 1:
        return values.reshape(())
    shape = [1] * tensor.ndim
    shape[axis] = values.size
    return values.reshape(shape)


def _refuse(node: Any, why: str) -> BadData:
    return BadData(f"MNN: {node.op_type} (node {node.name or node.output[0]!r}): {why}")
