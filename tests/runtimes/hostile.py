"""Files that no engine can load, in each form that some runtime reads."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from runtimes.registry import ONNX

HUGE = 2**40  # elements; as floats four terabytes


def common(suffix: str, folder: Path) -> dict[str, Path]:
    """What is no model in any form."""
    contents = {
        "empty": b"",
        "random": np.random.default_rng(1).bytes(1024),
        "text": b"This is not a graph.\nIt has two lines.\n",
        "zeros": bytes(512),
    }
    for name, content in contents.items():
        (folder / f"{name}{suffix}").write_bytes(content)
    (folder / f"folder{suffix}").mkdir()
    return {name: folder / f"{name}{suffix}" for name in ("missing", "folder", *contents)}


def onnx_files(folder: Path) -> dict[str, Path]:
    """A graph cut short, one whose weight claims four terabytes, one that reaches for a file elsewhere."""
    (folder / "cut.onnx").write_bytes(_scaled(np.ones(3, np.float32))[:-40])
    huge = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[HUGE], raw_data=bytes(12))
    (folder / "huge.onnx").write_bytes(_scaled(huge))
    outside = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[3], data_location=TensorProto.EXTERNAL)
    outside.external_data.add(key="location", value=f"{'../' * len(folder.parts)}etc/passwd")
    (folder / "outside.onnx").write_bytes(_scaled(outside))
    return {name: folder / f"{name}.onnx" for name in ("cut", "huge", "outside")}


def _scaled(weight: np.ndarray | TensorProto) -> bytes:
    tensor = weight if isinstance(weight, TensorProto) else onnx.numpy_helper.from_array(weight, "w")
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Mul", ["x", "w"], ["y"])], "g", values[:1], values[1:], [tensor])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    return bytes(model.SerializeToString())


def old_paddle_files(folder: Path) -> dict[str, Path]:
    """A program cut short, weights that are missing, cut short, made up or claim four terabytes, a tensor that does."""
    good = _paddle(folder / "good")
    program, weights = good.read_bytes(), good.with_suffix(".pdiparams").read_bytes()
    tensor = b"\x08\x05\x10" + _varint(HUGE)  # TensorDesc: float32, one axis
    claim = struct.pack("<IQIi", 0, 0, 0, len(tensor)) + tensor + bytes(64)
    cases = {
        "cut": (program[: len(program) // 2], weights),
        "cut_weights": (program, weights[: len(weights) // 2]),
        "random_weights": (program, np.random.default_rng(2).bytes(1024)),
        "empty_weights": (program, b""),
        "huge_weights": (program, claim),
        "other_weights": (program, weights + weights),
        "missing_weights": (program, None),
        "writes_files": (_with_file_operator(program), weights),
    }
    for name, (held, beside) in cases.items():
        (folder / f"{name}.pdmodel").write_bytes(held)
        if beside is not None:
            (folder / f"{name}.pdiparams").write_bytes(beside)
    return {name: folder / f"{name}.pdmodel" for name in cases}


def new_paddle_files(folder: Path) -> dict[str, Path]:
    """JSON of another kind, nested until a parser gives up, and with operators that there are none of."""
    cases = {
        "list": "[]",
        "deep": "[" * 100_000,
        "other": '{"base_code": {"magic": "pir", "version": 2}, "program": {"regions": []}}',
        "number": '{"program": 7}',
    }
    for name, text in cases.items():
        (folder / f"{name}.json").write_text(text)
    return {name: folder / f"{name}.json" for name in cases}


def _paddle(prefix: Path) -> Path:
    import paddle

    from convert.export import export_paddle
    from edge_kit.core.tensors import GraphSpec, TensorSpec

    paddle.seed(0)
    export_paddle(paddle.nn.Linear(3, 4), GraphSpec((TensorSpec("x", ("N", 3)),), ("y",)), prefix)
    return prefix.with_suffix(".pdmodel")


def _with_file_operator(program: bytes) -> bytes:
    from paddle.base import core

    held = core.ProgramDesc(program)
    operator = held.block(0)._insert_op(1)
    operator.set_type("save")
    operator.set_input("X", ["x"])
    operator._set_attr("file_path", "/tmp/stolen")
    return bytes(held.serialize_to_string())


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes((*out, number))


MAKERS: dict[str, Callable[[Path], dict[str, Path]]] = {
    ONNX: onnx_files,
    ".pdmodel": old_paddle_files,
    ".json": new_paddle_files,
}
