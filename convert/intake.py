"""A user's ONNX file, made fit to be lowered, or refused in one line that says what to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import (
    ModelProto,
    NodeProto,
    TensorProto,
    external_data_helper,
    helper,
    inliner,
    numpy_helper,
    version_converter,
)

from convert.export import OPSET
from edge_kit.core.errors import BadData
from runtimes.faults import one_line
from runtimes.registry import get_runtime

INTEGER = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "ConvInteger", "MatMulInteger")
WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
IR_VERSION = 8  # of opset 15; from 4 on, constants need not be inputs as well
LARGEST = 2**31 - 2**20  # protobuf's limit, and room for what lowering adds


def read_own(path: Path) -> ModelProto:
    """Read a user's model without its external weights, and refuse what cannot be lowered.

    Raises:
        BadData: It is no ONNX file, is quantized already, is not in float32, has control flow, or is too large.
    """
    if not path.is_file():
        raise BadData(f"model file {str(path)!r} does not exist")
    try:
        model = onnx.load(str(path), load_external_data=False)
    except Exception as fault:  # protobuf's exceptions share no public base class
        raise BadData(f"{str(path)!r} is not an ONNX file: {one_line(fault)}") from None
    if not model.graph.node:
        raise BadData(f"{str(path)!r} is not an ONNX file: it holds no operators")
    name = path.name
    kinds = Counter(node.op_type for node in model.graph.node)
    integer = {kind: n for kind, n in kinds.items() if kind in INTEGER or kind.startswith("QLinear")}
    if integer:
        held = ", ".join(f"{n} {kind}" for kind, n in sorted(integer.items()))
        raise BadData(
            f"{name!r} is quantized already ({held}); give the float model that it was made from, "
            f"or take it as it is: edge-kit explain {path}"
        )
    for node in model.graph.node:
        if any(a.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS) for a in node.attribute):
            raise BadData(
                f"{name!r} has control flow ({node.op_type} {node.name!r}), which is not lowered; "
                "export the part inside it by itself"
            )
    _refuse_precision(name, model)
    return model


def external_files(path: Path, model: ModelProto) -> list[Path]:
    """The files that hold weights of a model beside it, in order.

    Raises:
        BadData: One is missing, or lies outside the model's folder.
    """
    held = [tensor for _, tensor in _constants(model) if external_data_helper.uses_external_data(tensor)]
    found = []
    for name in sorted({external_data_helper.ExternalDataInfo(tensor).location for tensor in held}):
        place = path.parent / name
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise BadData(f"{path.name!r} keeps weights outside its folder, in {name!r}; save it with them beside it")
        if not place.is_file():
            raise BadData(f"{path.name!r} keeps weights in {name!r}, which is not beside it; copy that file, too")
        found.append(place)
    if path.stat().st_size + sum(place.stat().st_size for place in found) > LARGEST:
        raise BadData(f"{path.name!r} and its weights are larger than the 2 GB that one ONNX file can hold")
    return found


def take_onnx(path: Path, out: Path, name: str) -> list[str]:
    """Write a model as one file at opset 13 or later, as it computes; returns what was done to it, for people.

    Args:
        name: Of the model, for messages.

    Raises:
        BadData: It cannot be had: what `read_own` refuses, weights that are missing or not numbers, an operator
            that ONNX Runtime does not know.
    """
    model, done = read_own(path), []
    files = external_files(path, model)
    try:
        external_data_helper.load_external_data_for_model(model, str(path.parent))
    except Exception as fault:  # its checks raise what C++ and NumPy make of a file cut short
        raise BadData(f"the weights of {path.name!r} cannot be read: {one_line(fault)}") from None
    if files:
        done.append(f"weights taken in from {', '.join(file.name for file in files)}")
    if model.functions:
        model = inliner.inline_local_functions(model)
    opset = next((one.version for one in model.opset_import if one.domain in ("", "ai.onnx")), 0)
    if opset < OPSET:
        model = _converted(name, model, opset)
        done.append(f"opset {opset} converted to {OPSET}, where channels can have scales of their own")
    model.ir_version = max(model.ir_version, IR_VERSION)
    _refuse_not_numbers(name, model)
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    _save(name, model, out)
    return done


def count_parameters(path: Path) -> int:
    """Numbers in the float constants of a graph of at least one axis."""
    model = onnx.load(str(path))
    kept = (tensor for _, tensor in _constants(model) if tensor.data_type == TensorProto.FLOAT and tensor.dims)
    return sum(int(np.prod(tensor.dims)) for tensor in kept)


def _save(name: str, model: ModelProto, out: Path) -> None:
    """Write it, if ONNX and ONNX Runtime hold it for a model; the engine knows operators that ONNX does not."""
    try:
        onnx.checker.check_model(model)
    except Exception as fault:  # its exceptions come from C++
        raise BadData(f"{name!r} is not a valid ONNX model: {one_line(fault)}") from None
    onnx.save(model, str(out))
    try:
        get_runtime("onnx").load(out)
    except BadData as fault:
        raise BadData(str(fault).replace(str(out), name)) from None


def _converted(name: str, model: ModelProto, opset: int) -> ModelProto:
    try:
        # Older files list constants among their inputs, and the converter looks for them there.
        named = {value.name for value in model.graph.input}
        for tensor in model.graph.initializer:
            if tensor.name not in named:
                model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
        return version_converter.convert_version(model, OPSET)
    except Exception as fault:  # its exceptions come from C++
        raise BadData(
            f"{name!r} has opset {opset}, and what has not opset {OPSET} cannot be quantized channel by channel; "
            f"it cannot be converted ({one_line(fault)}): export it again with opset {OPSET}"
        ) from None


def _constants(model: ModelProto) -> Iterator[tuple[str, TensorProto]]:
    for tensor in model.graph.initializer:
        yield tensor.name, tensor
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            yield node.output[0], node.attribute[0].t


def _refuse_precision(name: str, model: ModelProto) -> None:
    """Lowering starts from float32: half a precision was lost before it, and kernels for double are rare."""
    kinds = {TensorProto.FLOAT16: "float16", TensorProto.BFLOAT16: "bfloat16", TensorProto.DOUBLE: "float64"}
    weights = {name for node in model.graph.node if node.op_type in WEIGHTED for name in node.input[1:]}
    held = Counter(kinds[t.data_type] for n, t in _constants(model) if n in weights and t.data_type in kinds)
    held.update(
        kinds[value.type.tensor_type.elem_type]
        for value in model.graph.input
        if value.type.tensor_type.elem_type in kinds
    )
    for kind, count in held.items():
        raise BadData(f"{name!r} is in {kind} ({count} weights and inputs); INT8 starts from float32: export it so")


def _refuse_not_numbers(name: str, model: ModelProto) -> None:
    """Infinity is a limit or a mask in a constant, but never a weight; NaN is neither."""
    readers: dict[str, NodeProto] = {
        tensor: node for node in model.graph.node if node.op_type in WEIGHTED for tensor in node.input[1:]
    }
    for tensor, stored in _constants(model):
        if stored.data_type != TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(stored)
        wrong = ~np.isfinite(values) if tensor in readers else np.isnan(values)
        if wrong.any():
            count = f"{int(wrong.sum())} of {values.size} numbers"
            raise BadData(f"{count} in weight {tensor!r} of {name!r} are not finite; take an earlier checkpoint")
