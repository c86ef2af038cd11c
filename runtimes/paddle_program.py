"""What a Paddle inference model takes, read from its file: the engine tells only names before the first run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_kit.core.errors import BadData
from edge_kit.core.tensors import TensorSpec
from runtimes.faults import one_line
from runtimes.inputs import name_axes

OLD, NEW = ".pdmodel", ".json"
DTYPES = ("float32", "float64", "float16", "int32", "int64", "int8", "uint8", "bool")  # what an input can be fed
FILE_OPERATORS = frozenset({"load", "load_combine", "save", "save_combine", "py_func"})


@dataclass(frozen=True, slots=True)
class Program:
    """What a program says of itself.

    Attributes:
        inputs: By name.
        has_weights: Whether a `.pdiparams` belongs to it.
    """

    inputs: Mapping[str, TensorSpec]
    has_weights: bool


def read_program(graph: Path, core: Any) -> Program:
    """Read a `.pdmodel`, or a `.json` of the new format; keeps malformed ones from the engine, which they crash.

    Args:
        core: `paddle.base.core`.

    Raises:
        BadData: It is not such a file, reads or writes files itself, or takes what NumPy has no type for.
    """
    try:
        return _old(graph, core) if graph.suffix == OLD else _new(graph.read_bytes())
    except BadData:
        raise
    except Exception as fault:  # Paddle raises what pybind11 makes of C++; made-up JSON can fail anywhere
        raise BadData(f"{str(graph)!r} is not a Paddle inference model: {say(fault)}") from None


def say(fault: Exception) -> str:
    """What Paddle reports, on one line; its hints repeat it as a line of its source."""
    return one_line(str(fault).partition("[Hint: ")[0])


def _spec(name: str, shape: list[int], dtype: str) -> TensorSpec:
    if dtype not in DTYPES:
        raise BadData(f"input {name!r} is a {dtype}, which Paddle Inference does not take from NumPy")
    return TensorSpec(name, name_axes(name, [None if axis < 0 else axis for axis in shape]), dtype)


def _old(graph: Path, core: Any) -> Program:
    program = core.ProgramDesc(graph.read_bytes())
    if not program.num_blocks():
        raise ValueError("it holds no operators")
    blocks = [program.block(i) for i in range(program.num_blocks())]
    operators = [block.op(i) for block in blocks for i in range(block.op_size())]
    for operator in operators:
        if operator.type() in FILE_OPERATORS:
            raise BadData(f"{str(graph)!r} holds a {operator.type()!r} operator, which reaches other files; remove it")
    inputs = {}
    for name in (name for operator in operators if operator.type() == "feed" for name in operator.output_arg_names()):
        variable = blocks[0].find_var(name.encode())
        if variable is None:
            raise ValueError(f"it does not declare its input {name!r}")
        inputs[name] = _spec(name, variable.shape(), str(variable.dtype()).removeprefix("paddle."))
    kept = {variable.name() for block in blocks for variable in block.all_vars() if variable.persistable()}
    return Program(inputs, bool(kept - {"feed", "fetch"}))


def _new(content: bytes) -> Program:
    try:
        document = json.loads(content)
        operators = document["program"]["regions"][0]["blocks"][0]["ops"]
        named = [{one["N"]: one["AT"]["D"] for one in held["A"]} for held in operators if held["#"] == "1.data"]
        inputs = {str(held["name"]): (list(map(int, held["shape"])), str(held["dtype"])) for held in named}
        has_weights = any(held["#"] == "p" for held in operators)
    except (KeyError, IndexError, TypeError):
        raise ValueError("its JSON is not a program") from None
    return Program({name: _spec(name, *rest) for name, rest in inputs.items()}, has_weights)
