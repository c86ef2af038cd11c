"""A static ONNX graph, node by node, into layers of ncnn.

ncnn's tensors have no batch axis and at most four others. So each tensor of the graph is known here by its
ONNX shape with batch 1 and by the place of the batch in it; what ncnn holds is that shape without it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edge_kit.core.errors import BadData
from edge_kit.core.tensors import Array, TensorSpec
from runtimes.inputs import show
from runtimes.interface import Interface
from runtimes.ncnn_graph import Node, StaticGraph
from runtimes.ncnn_model import INPUT, OUTPUT, Model, Parameter, Weight

LARGEST_RANK = 4
SIZES = {1: (0,), 2: (1, 0), 3: (2, 1, 0), 4: (2, 11, 1, 0)}
"""Numbers of the parameters that give the sizes of a blob, outermost axis first: c, d, h, w."""

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Value:
    """One tensor of the graph.

    Attributes:
        blob: What ncnn calls it.
        shape: In ONNX, with batch 1.
        batch: Which axis the batch is; None where it has none.
    """

    blob: str
    shape: Shape
    batch: int | None

    @property
    def mat(self) -> Shape:
        """Its shape in ncnn, outermost axis first."""
        return without_batch(self.shape, self.batch)


@dataclass(frozen=True, slots=True)
class Rounded:
    """A tensor behind a quantizer around zero.

    Attributes:
        value: In front of it.
        step: Of the grid.
    """

    value: Value
    step: float


def without_batch(shape: Shape, batch: int | None) -> Shape:
    """Give the shape that ncnn holds; a single number is a vector of one."""
    return tuple(size for place, size in enumerate(shape) if place != batch) or (1,)


def _has_size(mat: Shape) -> bool:
    """Whether there is something in it, and no more than ncnn can count."""
    return 0 < int(np.prod(mat, dtype=np.float64)) < 1 << 31 and min(mat) > 0


class Translation:
    """What is known of a graph half-way through it.

    Attributes:
        codes: What QuantizeLinear gives, by name; integers, which no layer of ours reads.
        rounded: What DequantizeLinear makes of them.
    """

    def __init__(self, graph: StaticGraph) -> None:
        self.graph = graph
        self.model = Model()
        self.codes: dict[str, Rounded] = {}
        self.rounded: dict[str, Rounded] = {}
        self._values: dict[str, Value] = {}

    def take_input(self, spec: TensorSpec) -> None:
        """Begin with an input of the graph: a layer of its name."""
        shape = self.graph.shapes[spec.name]
        batch = spec.shape.index("N") if "N" in spec.shape else (0 if shape[:1] == (1,) else None)
        mat = without_batch(shape, batch)
        if len(mat) > LARGEST_RANK or not _has_size(mat):
            raise BadData(
                f"ncnn: input {spec.name!r} is {show(shape)}; ncnn has 1 to {LARGEST_RANK} axes besides the batch"
            )
        parameters: dict[int, Parameter] = dict(zip(SIZES[len(mat)], mat, strict=True))
        (blob,) = self.model.add("Input", spec.name, [], [INPUT.format(len(self._values))], parameters)
        self._values[spec.name] = Value(blob, shape, batch)

    def value(self, node: Node, place: int) -> Value:
        """Give an input that is computed when the graph runs."""
        name = node.inputs[place]
        if name in self.graph.constants:
            raise node.refuse(f"its input {name!r} is a constant, which ncnn takes none of there")
        if name in self.codes:
            raise node.refuse(f"its input {name!r} is quantized, and ncnn has INT8 kernels for products only")
        if name not in self._values:
            self._round(name)
        return self._values[name]

    def _round(self, name: str) -> None:
        """Round in float, for a layer that has no INT8 kernel."""
        value, step = self.rounded[name].value, self.rounded[name].step
        blob = value.blob
        steps: tuple[tuple[str, dict[int, Parameter]], ...] = (
            ("BinaryOp", {0: 3, 1: 1, 2: step}),  # divided by
            ("UnaryOp", {0: 18}),  # rounded, halves to even
            ("Clip", {0: -128.0, 1: 127.0}),
            ("BinaryOp", {0: 2, 1: 1, 2: step}),  # times
        )
        for kind, parameters in steps:
            (blob,) = self.model.add(kind, name, [blob], 1, parameters)
        self._values[name] = Value(blob, value.shape, value.batch)

    def operand(self, node: Node, place: int) -> Value:
        """Give an input that may be a constant; one becomes a layer of its own."""
        constant = self.constant(node, place)
        return self.value(node, place) if constant is None else self.hold(node, constant)

    def hold(self, node: Node, constant: Array) -> Value:
        """Make a layer that gives a constant."""
        if constant.ndim > LARGEST_RANK or not constant.ndim:
            raise node.refuse(f"a constant of {constant.ndim} axes; ncnn has 1 to {LARGEST_RANK}")
        parameters: dict[int, Parameter] = dict(zip(SIZES[constant.ndim], constant.shape, strict=True))
        (blob,) = self.model.add("MemoryData", f"{node.name}_constant", [], 1, parameters, [Weight(constant)])
        return Value(blob, constant.shape, None)

    def constant(self, node: Node, place: int) -> Array | None:
        """Give an input that is known beforehand; None where it is computed or left out."""
        return self.graph.constants.get(node.inputs[place]) if place < len(node.inputs) else None

    def weight(self, node: Node, place: int, shape: Shape | None = None) -> Array:
        """Give an input that ncnn wants beforehand; of this shape, as it reads past the end of a smaller one."""
        constant = self.constant(node, place)
        if constant is None:
            raise node.refuse(f"its input {node.inputs[place]!r} is computed; ncnn wants it constant")
        if not constant.size:
            raise node.refuse(f"its input {node.inputs[place]!r} is empty")
        if shape is not None and constant.shape != shape:
            raise node.refuse(f"its input {node.inputs[place]!r} is {show(constant.shape)} and not {show(shape)}")
        return constant

    def shape(self, node: Node, place: int = 0) -> Shape:
        """Give the ONNX shape of an output."""
        name = node.outputs[place]
        if name not in self.graph.shapes:
            raise node.refuse(f"the shape of {name!r} depends on what the inputs hold")
        return self.graph.shapes[name]

    def layer(
        self,
        node: Node,
        kind: str,
        inputs: Sequence[Value],
        shape: Shape,
        parameters: Mapping[int, Parameter] | None = None,
        weights: Sequence[Weight] = (),
        scale: float | None = None,
    ) -> Value:
        """Append a layer with one output of the given ONNX shape; the batch stays where the first input has it."""
        batch = next((value.batch for value in inputs if value.batch is not None), None)
        blobs = [value.blob for value in inputs]
        (blob,) = self.model.add(kind, node.name, blobs, 1, dict(parameters or {}), weights, scale)
        return self._checked(node, Value(blob, shape, batch))

    def parts(self, node: Node, kind: str, value: Value, parameters: Mapping[int, Parameter]) -> None:
        """Append a layer with all outputs of the node."""
        blobs = self.model.add(kind, node.name, [value.blob], len(node.outputs), dict(parameters))
        for place, blob in enumerate(blobs):
            self.give(node, Value(blob, self.shape(node, place), value.batch), place)

    def view(self, node: Node, value: Value, shape: Shape, batch: int | None) -> Value:
        """See a tensor in another shape; no layer where ncnn holds both alike."""
        seen = self._checked(node, Value(value.blob, shape, batch))
        if seen.mat == value.mat:
            return seen
        (blob,) = self.model.add(
            "Reshape", node.name, [value.blob], 1, dict(zip(SIZES[len(seen.mat)], seen.mat, strict=True))
        )
        return Value(blob, shape, batch)

    def give(self, node: Node, value: Value, place: int = 0) -> None:
        """Say what an output of the node is."""
        self._values[node.outputs[place]] = value

    def outputs(self, interface: Interface) -> tuple[TensorSpec, ...]:
        """End with the outputs of the graph; returns them with the shapes they were found to have."""
        batched = any("N" in spec.shape for spec in interface.inputs)
        found: list[TensorSpec] = []
        for spec in interface.outputs:
            if spec.name in self.rounded:
                self._round(spec.name)
            value = self._values.get(spec.name)
            if value is None or spec.dtype != "float32":
                raise BadData(
                    f"ncnn: output {spec.name!r} is {spec.dtype} or a constant; it gives computed float32 only"
                )
            self.model.add("Noop", spec.name, [value.blob], [OUTPUT.format(len(found))])
            axes: list[int | str] = list(value.shape)
            if batched and value.batch is not None:
                axes[value.batch] = "N"
            found.append(TensorSpec(spec.name, tuple(axes), spec.dtype))
        return tuple(found)

    def axis(self, node: Node, value: Value, axis: int) -> int:
        """Where ncnn has an ONNX axis of a tensor."""
        axis += len(value.shape) if axis < 0 else 0
        if axis == value.batch:
            raise node.refuse("it works across the batch, and ncnn computes sample by sample")
        return axis - (value.batch is not None and axis > value.batch)

    def _checked(self, node: Node, value: Value) -> Value:
        if len(value.mat) > LARGEST_RANK or not _has_size(value.mat):
            raise node.refuse(f"a tensor of {show(value.shape)}; ncnn has 1 to {LARGEST_RANK} axes besides the batch")
        if value.batch is not None and value.shape[value.batch] != 1:
            raise node.refuse("it mixes the samples of a batch, and ncnn computes sample by sample")
        return value


Rule = Callable[[Translation, Node], None]
RULES: dict[str, Rule] = {}


def rule(*kinds: str) -> Callable[[Rule], Rule]:
    """Register how ONNX operators become layers."""

    def put(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(kinds, function))
        return function

    return put


def translate(graph: StaticGraph, interface: Interface) -> tuple[Model, Interface]:
    """Turn a graph into layers; also gives its interface with the shapes that its outputs were found to have.

    Raises:
        BadData: ncnn has no layer for an operator, or not for what the node asks of it.
    """
    # Registered by importing them; not at the top, as they import this module.
    import runtimes.ncnn_int8
    import runtimes.ncnn_layers
    import runtimes.ncnn_windows  # noqa: F401

    translation = Translation(graph)
    for spec in interface.inputs:
        translation.take_input(spec)
    for node in graph.nodes:
        if node.kind not in RULES:
            raise BadData(f"ncnn: no layer for {node.kind} (node {node.name!r})")
        RULES[node.kind](translation, node)
    outputs = translation.outputs(interface)
    return translation.model, Interface(interface.inputs, outputs, interface.operators)


def numbers(values: Array) -> list[int]:
    """Plain integers of a constant."""
    return [int(value) for value in np.ravel(values)]
