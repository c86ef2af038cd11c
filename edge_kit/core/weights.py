"""State dicts on disk: safetensors to keep, Paddle's `.pdparams` to read, neither able to run code.

A `.pdparams` file is a pickle. Python's unpickler, also a restricted one, can be made to fill
memory (a memo index of 2**31 takes 34 GB) or to crash (the hash of a deep tuple), and it hands the
file live callables. So the few opcodes of a state dict are read here, by a machine that can make
arrays, texts, numbers and containers and nothing else.

NumPy has no bfloat16. Paddle hands one over as its bits in uint16 and has no uint16 of its own, so
BF16 in a safetensors file and uint16 in memory are the same thing here, both ways.
"""

from __future__ import annotations

import enum
import io
import json
import math
import pickletools
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from edge_kit.core.errors import BadData, EdgeKitError
from edge_kit.core.files import write_atomic
from edge_kit.core.tensors import Array

# BF16 comes after U16, so that the reverse table names it for uint16
_CODES = {
    "BOOL": "?", "C64": "<c8", "U8": "u1", "I16": "<i2", "U16": "<u2", "BF16": "<u2", "I32": "<i4",
    "U32": "<u4", "I64": "<i8", "U64": "<u8", "F16": "<f2", "F32": "<f4", "F64": "<f8", "I8": "i1",
}  # fmt: skip
_TAGS = {np.dtype(code): tag for tag, code in _CODES.items()}
_PICKLED = {f"{kind}{size}" for kind in "iufc" for size in (1, 2, 4, 8, 16)} | {"b1"}
_NAME_TABLE = "StructuredToParameterName@@"  # parameter name by structured name; no weight
_SLICED = "UnpackBigParamInfor@@"  # protocols 2 and 3 cut arrays of 1 GiB and more; this tells how
_MISFITS = (ValueError, LookupError, ArithmeticError, TypeError, AttributeError, RecursionError)


def load_weights(path: Path) -> dict[str, Array]:
    """Read a state dict; what the file holds decides how, not what it is called.

    Returns:
        Writable arrays in native byte order; bfloat16 as its bits in uint16.

    Raises:
        BadData: It is missing, empty, damaged, holds other things than arrays or would run code.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        why = f"cannot be read ({error.strerror}); check the path and its permissions"
        raise BadData(f"weights {str(path)!r} {why}") from error
    if not content:
        raise _damaged(path, "it is empty")
    if content[8:9] == b"{" and content[4:8] == bytes(4):  # a header's length, and JSON
        return _read_safetensors(path, content)
    return _read_paddle(path, content)


def save_weights(path: Path, weights: Mapping[str, Array], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file, whole or not at all; equal content gives equal bytes.

    Not by the safetensors package, whose writer changes the order of the metadata from call to call
    and puts the elements of a transposed array in the wrong order.

    Raises:
        EdgeKitError: The format cannot hold a weight, or the file cannot be written.
    """
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    blobs: list[bytes] = []
    end = 0
    # the widest elements first, as the format's own writer does: every array starts aligned
    for name in sorted(weights, key=lambda name: (-weights[name].dtype.itemsize, name)):
        array, dtype = weights[name], weights[name].dtype.newbyteorder("<")
        if dtype not in _TAGS or name == "__metadata__":
            raise EdgeKitError(f"safetensors cannot hold weight {name!r} of dtype {dtype.name!r}")
        blobs.append(array.astype(dtype, copy=False).tobytes())
        where = [end, end := end + len(blobs[-1])]
        header[name] = {"dtype": _TAGS[dtype], "shape": list(array.shape), "data_offsets": where}
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    try:
        write_atomic(path, b"".join([len(text).to_bytes(8, "little"), text, *blobs]))
    except OSError as error:
        raise EdgeKitError(f"cannot write weights {str(path)!r}: {error.strerror}") from error


def read_metadata(path: Path) -> dict[str, str]:
    """Read the metadata of a safetensors file; empty where it has none.

    Raises:
        BadData: It is missing or no whole safetensors file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, fault: object) -> BadData:
    why = " ".join(str(fault).split())[:120]
    what = f"is damaged or no weights file ({why})"
    return BadData(f"weights {str(path)!r} {what}; copy or download it again")


def _not_arrays(path: Path, what: str) -> BadData:
    return BadData(f"weights {str(path)!r}: {what}; save layer.state_dict() on its own")


def _read_safetensors(path: Path, content: bytes) -> dict[str, Array]:
    from safetensors import SafetensorError, deserialize

    weights: dict[str, Array] = {}
    try:
        for name, entry in deserialize(content):  # type: ignore[no-untyped-call]
            if entry["dtype"] not in _CODES:
                raise ValueError(f"{name!r} has dtype {entry['dtype']}; known: {' '.join(_CODES)}")
            dtype = np.dtype(_CODES[entry["dtype"]])
            stored: Array = np.ndarray(entry["shape"], dtype, buffer=entry["data"])
            weights[name] = stored.astype(dtype.newbyteorder("="))
    except (SafetensorError, ValueError) as error:
        raise _damaged(path, error) from error
    return dict(sorted(weights.items()))


def _read_paddle(path: Path, content: bytes) -> dict[str, Array]:
    try:
        state = _PickleReader(path, len(content)).read(content)
        if not isinstance(state, dict):
            raise _not_arrays(path, f"holds a {type(state).__name__}, not a state dict")
        return _joined(path, state)
    except _MISFITS as error:
        raise _damaged(path, error) from error


def _joined(path: Path, state: dict[str, Any]) -> dict[str, Array]:
    """Take the arrays out of a state dict and put those together that were cut."""
    recipes = state.pop(_SLICED, {})
    weights: dict[str, Array] = {}
    for name, value in state.items():
        # paddle.save makes (parameter name, array) of a tensor outside a flat dict
        pickled = value[1] if isinstance(value, tuple) and len(value) == 2 else value
        if isinstance(pickled, _PickledArray) and pickled.value is not None:
            weights[name] = pickled.value
        elif name != _NAME_TABLE:
            raise _not_arrays(path, f"entry {name[:80]!r} is {type(value).__name__}, no array")
    for name, recipe in recipes.items():
        parts = recipe["slices"]
        if not all(isinstance(part, str) for part in parts):
            raise ValueError("a part without a name")
        # each is used up, so that naming one a million times allocates nothing
        whole = np.concatenate([weights.pop(part) for part in parts])
        weights[name] = whole.reshape(recipe["OriginShape"])
    return weights


_Global = enum.Enum("_Global", "RECONSTRUCT NDARRAY DTYPE ORDERED_DICT TUPLE BYTES ENCODE")

# what a state dict may refer to; nothing here can be called
_GLOBALS = {
    "numpy.core.multiarray._reconstruct": _Global.RECONSTRUCT,
    "numpy._core.multiarray._reconstruct": _Global.RECONSTRUCT,  # NumPy 2
    "numpy.ndarray": _Global.NDARRAY,
    "numpy.dtype": _Global.DTYPE,
    "collections.OrderedDict": _Global.ORDERED_DICT,
    "builtins.tuple": _Global.TUPLE,  # of (parameter name, array)
    "__builtin__.tuple": _Global.TUPLE,  # protocol 2 uses Python 2's names
    "__builtin__.bytes": _Global.BYTES,  # an empty array in protocol 2
    "_codecs.encode": _Global.ENCODE,  # any other array in protocol 2
}


@dataclass(slots=True)
class _PickledDtype:
    code: str
    order: str = "|"


@dataclass(slots=True)
class _PickledArray:
    value: Array | None = None


_CONSTANTS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_CONSTANTS |= {"EMPTY_TUPLE": (), "EMPTY_LIST": [], "EMPTY_DICT": {}}
_LITERALS = ("BININT", "LONG1", "BINFLOAT", "BINUNICODE", "BINBYTES", "BINSTRING")


@dataclass
class _PickleReader:
    """Reads one pickle; `budget`, the size of the file, bounds what its arrays may take."""

    path: Path
    budget: int
    stack: list[Any] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def read(self, content: bytes) -> Any:
        for opcode, argument, _ in pickletools.genops(io.BytesIO(content)):
            self._step(opcode.name, argument)
        return self.stack.pop()

    def _step(self, name: str, argument: Any) -> None:
        stack = self.stack
        if name.removeprefix("SHORT_").startswith(_LITERALS):
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(copy(_CONSTANTS[name]))
        elif name in ("GLOBAL", "INST"):
            stack.append(self._global(argument.replace(" ", ".", 1)))
        elif name == "STACK_GLOBAL":
            stack.append(self._global(".".join(self._popped(2))))
        elif name == "MARK":
            self.marks.append(len(stack))
        elif name == "TUPLE" or (name[:5] == "TUPLE" and name[5:] in "123"):
            stack.append(tuple(self._popped(int(name[5:]) if name[5:] else None)))
        elif name in ("APPEND", "APPENDS", "SETITEM", "SETITEMS"):
            self._fill(name)
        elif name in ("BINPUT", "LONG_BINPUT", "MEMOIZE"):
            self.memo[len(self.memo) if name == "MEMOIZE" else argument] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(self.memo[argument])
        elif name == "REDUCE":
            stack.append(self._reduced(*self._popped(2)))
        elif name == "BUILD":
            self._build(stack[-2], stack.pop())
        elif name not in ("PROTO", "FRAME", "STOP"):
            raise ValueError(f"pickle opcode {name}, which no state dict has")

    def _refuse(self, what: str) -> NoReturn:
        raise BadData(f"weights {str(self.path)!r} {what}; refused: a state dict holds arrays only")

    def _global(self, name: str) -> _Global:
        if name not in _GLOBALS:
            self._refuse(f"would run {name[:120]!r} when loaded")
        return _GLOBALS[name]

    def _popped(self, count: int | None) -> list[Any]:
        """Take the last `count` items off the stack, or those above the last mark."""
        start = self.marks.pop() if count is None else len(self.stack) - count
        if not 0 <= start <= len(self.stack):
            raise ValueError("fewer items than the pickle takes")
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def _fill(self, name: str) -> None:
        items = self._popped(None if name[-1] == "S" else 1 if name == "APPEND" else 2)
        if name.startswith("APPEND"):
            self.stack[-1].extend(items)
        elif all(isinstance(key, str) for key in items[::2]):
            self.stack[-1].update(zip(items[::2], items[1::2], strict=True))
        else:
            self._refuse("has an entry without a name")

    def _reduced(self, called: Any, arguments: Any) -> Any:
        match called, arguments:
            case _Global.RECONSTRUCT, (_Global.NDARRAY, _, _):
                return _PickledArray()
            case _Global.DTYPE, (str(code), *_):
                if code not in _PICKLED:
                    self._refuse(f"holds an array of dtype {code[:20]!r}")
                return _PickledDtype(code)
            case _Global.ORDERED_DICT, ():
                return {}
            case _Global.BYTES, ():
                return b""
            case _Global.TUPLE, (tuple(items),):
                return items
            case _Global.ENCODE, (str(text), "latin1"):
                return text  # becomes bytes in _build, where its length is checked
            case _:
                raise ValueError(f"arguments that do not fit a {type(called).__name__}")

    def _build(self, target: Any, state: Any) -> None:
        match target, state:
            case _PickledDtype(), (_, "<" | ">" | "|" | "=" as order, *_):
                target.order = order
            case _PickledArray(), (_, tuple(shape), _PickledDtype() as kind, fortran, data):
                dtype = np.dtype(kind.order + kind.code)
                if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != len(data):
                    raise ValueError("an array of another size than its shape says")
                self.budget -= len(data)
                if self.budget < 0:
                    raise ValueError("more elements than bytes")
                raw = data if isinstance(data, bytes) else data.encode("latin-1")
                stored: Array = np.ndarray(shape, dtype, buffer=raw, order="F" if fortran else "C")
                target.value = stored.astype(dtype.newbyteorder("="), order="C")
            case _:
                raise ValueError(f"a state that does not fit a {type(target).__name__}")
