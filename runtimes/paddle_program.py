"""What a Paddle inference model takes, read from its file: the engine tells only names before the first run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edge_kit.core.errors import BadData
from edge_kit.core.tensors import TensorSpec
from runtimes.faults import one_line
from runtimes.inputs import name_axes

OLD, NEW = ".pdmodel", ".json"
DTYPES = ("float32", "float64", "float16", "int32", "int64", "int8", "uint8", "bool")  # what an input can be fed
FILE_OPERATORS = frozenset({"load", "load_combine", "save", "save_combine", "py_func"})


def read_inputs(graph: Path, core: Any) -> dict[str, TensorSpec]:
    """Read the inputs of a program by name; also keeps malformed files from Paddle Inference, which they crash.

    Args:
        graph: A `.pdmodel`, or a `.json` of the new program format.
        core: `paddle.base.core`.

    Raises:
        BadData: It is not such a file, reads or writes files itself, or takes what NumPy has no type for.
    """
    try:
        found = list(_old(graph.read_bytes(), core) if graph.suffix == OLD else _new(graph.read_bytes()))
    except BadData:
        raise
    except Exception as fault:  # Paddle raises what pybind11 makes of C++; a made-up JSON can fail anywhere
        raise BadData(f"{str(graph)!r} is not a Paddle inference model: {one_line(fault)}") from None
    return {name: _spec(name, shape, dtype) for name, shape, dtype in found}


def _spec(name: str, shape: list[int], dtype: str) -> TensorSpec:
    if dtype not in DTYPES:
        raise BadData(f"input {name!r} is a {dtype}, a type that Paddle Inference cannot be fed with from NumPy")
    return TensorSpec(name, name_axes(name, [None if axis < 0 else axis for axis in shape]), dtype)


def _old(content: bytes, core: Any) -> Iterator[tuple[str, list[int], str]]:
    program = core.ProgramDesc(content)
    if not program.num_blocks():
        raise ValueError("it holds no block of operators")
    for i in range(program.num_blocks()):
        _refuse_file_operators(program.block(i))
    block = program.block(0)
    for i in range(block.op_size()):
        if block.op(i).type() == "feed":
            (name,) = block.op(i).output_arg_names()
            variable = block.find_var(name.encode())
            if variable is None:
                raise ValueError(f"input {name!r} is not declared")
            yield name, list(variable.shape()), str(variable.dtype()).removeprefix("paddle.")


def _refuse_file_operators(block: Any) -> None:
    for i in range(block.op_size()):
        if block.op(i).type() in FILE_OPERATORS:
            raise BadData(
                f"the graph holds a {block.op(i).type()!r} operator, which reaches outside the model; remove it"
            )


def _new(content: bytes) -> Iterator[tuple[str, list[int], str]]:
    document = json.loads(content)
    if document["base_code"]["magic"] != "pir":
        raise ValueError("its JSON is not a program")
    for operator in document["program"]["regions"][0]["blocks"][0]["ops"]:
        if operator["#"] == "1.data":  # the operator that an input is, in the dialect numbered 1
            held = {one["N"]: one["AT"]["D"] for one in operator["A"]}
            yield str(held["name"]), [int(axis) for axis in held["shape"]], str(held["dtype"])
