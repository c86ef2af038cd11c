"""An ONNX graph that passes can rewrite: constants by name, producers and consumers of every tensor."""

from __future__ import annotations

from collections.abc import Container, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import AttributeProto, ModelProto, NodeProto, helper, numpy_helper

from edge_kit.core.tensors import GraphSpec, Tensors, TensorSpec
from runtimes.scales import settle_scales

Array = NDArray[Any]
MOST_OF_A_SHAPE = 1024  # numbers in a constant that may be a shape, or a part of one


class Graph:
    """One ONNX graph, editable.

    Attributes:
        nodes: In topological order.
        constants: Initializers, and what `Constant` nodes held, by tensor name.
        inputs: Names fed by the caller.
        outputs: Names read by the caller; no pass may rename them.
    """

    def __init__(self, model: ModelProto) -> None:
        self._model = ModelProto()  # all but what `nodes` and `constants` hold
        self._model.CopyFrom(model)
        del self._model.graph.node[:], self._model.graph.initializer[:], self._model.graph.value_info[:]
        self.constants: dict[str, Array] = {
            tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer
        }
        self.nodes: list[NodeProto] = []
        for node in model.graph.node:
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                self.constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
            else:
                self.nodes.append(node)
        self.inputs = [value.name for value in model.graph.input if value.name not in self.constants]
        self.outputs = [value.name for value in model.graph.output]

    @classmethod
    def load(cls, path: Path) -> Graph:
        """Read a graph from an `.onnx` file."""
        model = onnx.load(str(path))
        settle_scales(model)
        return cls(model)

    def copy(self) -> Graph:
        """An independent copy, so that a pass never changes its input."""
        return Graph(self.to_model())

    def to_model(self, *, extra_outputs: Iterable[str] = (), without: Container[str] = ()) -> ModelProto:
        """Build the protobuf.

        Args:
            extra_outputs: Inner float32 tensors to expose as outputs as well, of unknown shape.
            without: Constants to leave out.
        """
        used = {name for node in self.nodes for name in node.input} | set(self.outputs)
        model = ModelProto()
        model.CopyFrom(self._model)
        body = model.graph
        body.node.extend(self.nodes)
        body.initializer.extend(
            numpy_helper.from_array(np.asarray(value, order="C"), name)
            for name, value in self.constants.items()
            if name in used and name not in without
        )
        body.output.extend(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in extra_outputs)
        return model

    def with_body(self, nodes: Iterable[NodeProto], inputs: Tensors, outputs: Iterable[str]) -> ModelProto:
        """Build the protobuf of other nodes over the same constants, at the same opset.

        Args:
            inputs: By name, arrays of the types and shapes that will be fed.
            outputs: Float32 tensors of unknown shape.
        """
        body = list(nodes)
        used = {name for node in body for name in node.input}
        return helper.make_model(
            helper.make_graph(
                body,
                self._model.graph.name,
                [
                    helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
                    for name, value in inputs.items()
                ],
                [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in outputs],
                [
                    numpy_helper.from_array(np.asarray(value, order="C"), name)
                    for name, value in self.constants.items()
                    if name in used
                ],
            ),
            opset_imports=self._model.opset_import,
            ir_version=self._model.ir_version,
            functions=self._model.functions,
        )

    def save(self, path: Path) -> None:
        """Check the graph and write it as one `.onnx` file."""
        model = self.to_model()
        onnx.checker.check_model(model)
        onnx.save(model, str(path))

    def name_interface(self, spec: GraphSpec) -> None:
        """Give the outputs their specified names, in order, and the axes of inputs their letters and sizes."""
        body = self._model.graph
        for value, name in zip(body.output, spec.outputs, strict=True):
            producer = self.producer(value.name)
            for node in self.nodes:
                _rename(node.input, value.name, name)
            if producer is not None:
                _rename(producer.output, value.name, name)
            value.name = name
            axes = value.type.tensor_type.shape.dim
            if axes and not axes[0].HasField("dim_value"):
                axes[0].dim_param = "N"
        specs = {tensor.name: tensor for tensor in spec.inputs}
        for value in body.input:
            if value.name in specs:
                for axis, size in zip(value.type.tensor_type.shape.dim, specs[value.name].shape, strict=True):
                    if isinstance(size, str):
                        axis.dim_param = size
                    else:
                        axis.dim_value = size
        self.outputs = list(spec.outputs)

    def retype_input(self, spec: TensorSpec) -> None:
        """Give the input of that name another type and shape; its readers must have been changed."""
        value = next(value for value in self._model.graph.input if value.name == spec.name)
        value.CopyFrom(
            helper.make_tensor_value_info(spec.name, helper.np_dtype_to_tensor_dtype(np.dtype(spec.dtype)), spec.shape)
        )

    def integer_inputs(self) -> set[str]:
        """Names of the inputs that take integers."""
        kinds = {v.name: helper.tensor_dtype_to_np_dtype(v.type.tensor_type.elem_type) for v in self._model.graph.input}
        return {name for name in self.inputs if kinds[name].kind in "iu"}

    def float_tensors(self) -> list[str]:
        """Names of the float32 tensors that nodes compute, in order; one of a type that nobody can tell is left out."""
        computed = [name for node in self.nodes for name in node.output if name]
        types = {name: found.elem_type for name, found in self._inferred().items()}
        return [name for name in computed if types.get(name) == onnx.TensorProto.FLOAT]

    def opset(self) -> int:
        """Of the standard operators."""
        return int(next(one.version for one in self._model.opset_import if one.domain in ("", "ai.onnx")))

    def import_domain(self, domain: str, version: int) -> None:
        """Allow operators of another domain."""
        if all(one.domain != domain for one in self._model.opset_import):
            self._model.opset_import.append(helper.make_opsetid(domain, version))

    def rank(self, tensor: str) -> int | None:
        """How many axes a tensor has; None where nobody can tell."""
        if tensor in self.constants:
            return self.constants[tensor].ndim
        found = self._inferred().get(tensor)
        return len(found.shape.dim) if found is not None and found.HasField("shape") else None

    def shapes(self) -> dict[str, tuple[int | None, ...]]:
        """Of the inputs and of what nodes compute, as far as it follows from them; None for an axis that varies."""
        return {
            name: tuple(axis.dim_value or None for axis in found.shape.dim)
            for name, found in self._inferred(data_prop=True).items()
            if found.HasField("shape")
        }

    def _inferred(self, *, data_prop: bool = False) -> dict[str, Any]:
        """Types of the inputs and of what nodes compute, as ONNX infers them.

        Only few and small constants tell of a shape. The others stand there by their own shape, as if they were inputs:
        to write and read all weights for each question takes minutes where a network has hundreds of megabytes.
        """
        weights = {name: value for name, value in self.constants.items() if value.size > MOST_OF_A_SHAPE}
        model = self.to_model(without=weights)
        model.graph.input.extend(
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
            for name, value in weights.items()
        )
        body = onnx.shape_inference.infer_shapes(model, data_prop=data_prop).graph
        values = (*body.input, *body.value_info, *body.output)
        return {value.name: value.type.tensor_type for value in values if value.name not in weights}

    def producer(self, tensor: str) -> NodeProto | None:
        """The node that computes `tensor`; None for inputs and constants."""
        return next((node for node in self.nodes if tensor in node.output), None)

    def consumers(self, tensor: str) -> list[NodeProto]:
        """The nodes that read `tensor`, in order."""
        return [node for node in self.nodes if tensor in node.input]

    def only_reader(self, tensor: str) -> NodeProto | None:
        """The one node that reads `tensor`; None where several do or none, and where the graph gives it out."""
        readers = self.consumers(tensor)
        return readers[0] if len(readers) == 1 and tensor not in self.outputs else None

    def is_constant(self, tensor: str) -> bool:
        """Whether `tensor` is known before the graph runs."""
        return tensor in self.constants

    def replace_uses(self, old: str, new: str) -> None:
        """Let every reader of `old` read `new`; a graph output keeps its name."""
        if old in self.outputs:
            producer = self.producer(new)
            if producer is None:
                raise ValueError(f"output {old!r} cannot become {new!r}, which no node computes")
            for node in self.consumers(new):
                _rename(node.input, new, old)
            _rename(producer.output, new, old)
            return
        for node in self.consumers(old):
            _rename(node.input, old, new)

    def remove(self, node: NodeProto) -> None:
        """Drop one node; its readers must have been moved before."""
        self.nodes = [other for other in self.nodes if other is not node]

    def insert_before(self, anchor: NodeProto, node: NodeProto) -> None:
        """Put `node` just in front of `anchor`."""
        at = next(i for i, other in enumerate(self.nodes) if other is anchor)
        self.nodes.insert(at, node)

    def insert_after(self, anchor: NodeProto, *nodes: NodeProto) -> None:
        """Put `nodes`, in their order, just behind `anchor`."""
        at = next(i for i, other in enumerate(self.nodes) if other is anchor) + 1
        self.nodes[at:at] = nodes

    def remove_dead(self) -> None:
        """Drop the nodes whose outputs nobody reads, and the constants that go with them."""
        alive = set(self.outputs)
        kept: list[NodeProto] = []
        for node in reversed(self.nodes):
            if alive.intersection(node.output):
                alive.update(node.input)
                kept.append(node)
        self.nodes = kept[::-1]
        self.constants = {name: value for name, value in self.constants.items() if name in alive}


def label(node: NodeProto) -> str:
    """What a node is called: its name, or its first output where it has none."""
    return str(node.name or node.output[0])


def attribute(node: NodeProto, name: str, default: Any = None) -> Any:
    """The value of one attribute of a node, or `default`."""
    found: AttributeProto | None = next((a for a in node.attribute if a.name == name), None)
    return default if found is None else helper.get_attribute_value(found)


def _rename(names: Any, old: str, new: str) -> None:
    for i, name in enumerate(names):
        if name == old:
            names[i] = new
