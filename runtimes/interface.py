"""What an ONNX file takes and gives, read without the onnx package: boards have only NumPy and one engine.

Engines forget some of it: the names of open axes, int64, an output's name. So it is read from the
graph itself, and kept beside the forms that other engines read.

Source: onnx/onnx, onnx/onnx.proto (field numbers); protobuf.dev, "Encoding".
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edge_kit.core.errors import BadData
from edge_kit.core.tensors import TensorSpec
from runtimes.inputs import name_axes

SUFFIX = ".json"
QUANTIZERS = frozenset({"QuantizeLinear", "DequantizeLinear"})

DTYPES = {
    **{1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64"},
    **{9: "bool", 10: "float16", 11: "float64", 12: "uint32", 13: "uint64"},
}
"""NumPy's names of ONNX's element types; NumPy has none for the others."""


@dataclass(frozen=True, slots=True)
class Interface:
    """What a graph takes and gives, and which operators it is made of.

    Attributes:
        inputs: As in the graph; initializers that older files list among them are left out.
        outputs: Likewise; their axes are named as those of inputs are.
        operators: The ONNX operators in it, sorted.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    operators: tuple[str, ...]

    @property
    def is_quantized(self) -> bool:
        """Whether it holds quantizers."""
        return not QUANTIZERS.isdisjoint(self.operators)

    def save(self, form: Path) -> None:
        """Write it beside an engine's form of the graph."""
        form.with_suffix(SUFFIX).write_text(json.dumps(asdict(self), indent=1))

    @classmethod
    def beside(cls, form: Path) -> Interface:
        """Read what `save` wrote.

        Raises:
            BadData: It is missing or broken.
        """
        path = form.with_suffix(SUFFIX)
        try:
            row = json.loads(path.read_text())
            return cls(_specs(row["inputs"]), _specs(row["outputs"]), tuple(row["operators"]))
        except OSError:
            raise BadData(
                f"{str(form)!r} has no {path.name} beside it, which says what it takes; give the ONNX graph instead"
            ) from None
        except (ValueError, KeyError, TypeError, RecursionError) as fault:
            raise BadData(f"{str(path)!r} is broken; give the ONNX graph instead") from fault


def read_interface(graph: Path) -> Interface:
    """Read the interface of an ONNX file.

    Raises:
        BadData: The file is no ONNX graph, or takes or gives what NumPy has no type for.
    """
    try:
        with graph.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _interface(data)
    except BadData as fault:
        raise BadData(f"{str(graph)!r} cannot be used: {fault}") from None
    except ValueError as fault:  # what `_Malformed` and UnicodeDecodeError are, too
        raise BadData(f"{str(graph)!r} is not an ONNX graph or is cut short") from fault


class _Malformed(ValueError):
    """Bytes that no protobuf writer writes."""


def _interface(data: Any) -> Interface:
    bodies = _messages(data, 0, len(data), 7)  # ModelProto.graph
    if not bodies:
        raise _Malformed("no graph")
    values: dict[int, list[tuple[int, int]]] = {1: [], 5: [], 11: [], 12: []}
    for field, start, stop in _fields(data, *bodies[-1]):
        if field in values:
            values[field].append((start, stop))
    constants = {_text(data, span, 8) for span in values[5]}  # GraphProto.initializer, TensorProto.name
    for span in values[5]:
        _check_place(data, span)
    inputs = [_spec(data, span) for span in values[11]]
    return Interface(
        tuple(spec for spec in inputs if spec.name not in constants),
        tuple(_spec(data, span) for span in values[12]),
        tuple(sorted({_text(data, span, 4) for span in values[1]})),  # NodeProto.op_type
    )


def _check_place(data: Any, span: tuple[int, int]) -> None:
    """Refuse weights that lie outside the folder of the graph; not every engine does."""
    for entry in _messages(data, *span, 13):  # TensorProto.external_data
        if _text(data, entry, 1) == "location":
            place = Path(_text(data, entry, 2))
            if place.is_absolute() or ".." in place.parts:
                raise BadData(f"weight {_text(data, span, 8)!r} lies outside the folder of its graph: {str(place)!r}")


def _spec(data: Any, span: tuple[int, int]) -> TensorSpec:
    name = _text(data, span, 1)
    tensors = [part for kind in _messages(data, *span, 2) for part in _messages(data, *kind, 1)]
    if not tensors:
        raise BadData(f"{name!r} is not a tensor; only tensors can go in and out of a graph")
    number = _number(data, tensors[-1], 1, 0)
    if number not in DTYPES:
        raise BadData(f"{name!r} has element type {number} of ONNX, which NumPy does not have")
    axes: list[int | str | None] = []
    for shape in _messages(data, *tensors[-1], 2):
        axes = [_axis(data, axis) for axis in _messages(data, *shape, 1)]
    return TensorSpec(name, name_axes(name, axes), DTYPES[number])


def _axis(data: Any, span: tuple[int, int]) -> int | str | None:
    size = _number(data, span, 1, -1)
    return size if 0 <= size < 1 << 63 else _text(data, span, 2) or None


def _fields(data: Any, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
    """Each field of a message: its number, and where its value starts and stops."""
    while start < stop:
        key, start = _varint(data, start, stop)
        if key & 7 == 0:
            _, end = _varint(data, start, stop)
        elif key & 7 == 2:
            length, start = _varint(data, start, stop)
            end = start + length
        elif key & 7 in (1, 5):
            end = start + (8 if key & 7 == 1 else 4)
        else:
            raise _Malformed(f"wire type {key & 7}")
        if end > stop or key < 8:
            raise _Malformed("a field runs over its end")
        yield key >> 3, start, end
        start = end


def _varint(data: Any, at: int, stop: int) -> tuple[int, int]:
    number = 0
    for shift in range(0, 70, 7):
        if at >= stop:
            break
        byte = data[at]
        at += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, at
    raise _Malformed("a number runs over its end")


def _messages(data: Any, start: int, stop: int, wanted: int) -> list[tuple[int, int]]:
    return [(begin, end) for field, begin, end in _fields(data, start, stop) if field == wanted]


def _text(data: Any, span: tuple[int, int], wanted: int) -> str:
    found = _messages(data, *span, wanted)
    return bytes(data[slice(*found[-1])]).decode() if found else ""


def _number(data: Any, span: tuple[int, int], wanted: int, default: int) -> int:
    found = _messages(data, *span, wanted)
    return _varint(data, *found[-1])[0] if found else default


def _specs(rows: list[dict[str, Any]]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(row["name"], tuple(row["shape"]), row["dtype"], row["layout"]) for row in rows)
