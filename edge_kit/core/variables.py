"""Parameters as Paddle 1.x kept them: a folder with one file a variable, named as the variable is.

    uint32   version of the file, 0
    uint64   levels of sequence offsets, 0 of a parameter
    uint32   version of the tensor, 0
    int32    bytes of what follows
    bytes    a protobuf message: field 1 the type of an element, field 2 each size of the shape
    bytes    the elements, little-endian

The message has two fields of plain numbers, so it is read here: nothing of the file is ever called.

Source: Paddle release/1.6, paddle/fluid/framework/lod_tensor.cc and tensor_util.cc, what they write.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from edge_kit.core.errors import BadData
from edge_kit.core.tensors import Array

_HEAD, _LENGTH = 16, 20  # where the length of the message is, and where that ends
_TYPES = {1: "<i2", 2: "<i4", 3: "<i8", 4: "<f2", 5: "<f4", 6: "<f8", 20: "u1", 21: "i1"}
_TYPE, _SIZE = 0x08, 0x10  # tags of the two fields: their numbers, both varints
MOST_MESSAGE = 256  # bytes: of a type and some ten sizes


def load_variables(folder: Path) -> dict[str, Array]:
    """Read every variable of a folder.

    Returns:
        Writable arrays by the name of their file, sorted.

    Raises:
        BadData: There is none, or one is damaged or something else.
    """
    paths = sorted(path for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []
    if not paths:
        raise BadData(f"{str(folder)!r} is no folder of Paddle 1.x variables, one file each; copy or download it again")
    return {path.name: _read(path) for path in paths}


def _read(path: Path) -> Array:
    content = path.read_bytes()
    length = int.from_bytes(content[_HEAD:_LENGTH], "little", signed=True)
    if len(content) < _LENGTH or any(content[:_HEAD]) or not 0 < length <= MOST_MESSAGE:
        raise _damaged(path, "its head is not that of a parameter")
    try:
        dtype, shape = _described(content[_LENGTH : _LENGTH + length])
    except (IndexError, KeyError, ValueError) as error:
        raise _damaged(path, f"its type and shape cannot be read, {error}") from None
    data = content[_LENGTH + length :]
    if math.prod(shape) * dtype.itemsize != len(data):
        raise _damaged(path, f"{len(data)} bytes of data do not fill {shape} of {dtype.name}")
    stored: Array = np.frombuffer(data, dtype).reshape(shape)
    return stored.astype(dtype.newbyteorder("="))


def _described(message: bytes) -> tuple[np.dtype[np.generic], tuple[int, ...]]:
    dtype: np.dtype[np.generic] | None = None
    shape: list[int] = []
    at = 0
    while at < len(message):
        tag = message[at]
        value, at = _varint(message, at + 1)
        if tag == _TYPE:
            dtype = np.dtype(_TYPES[value])
        elif tag == _SIZE:
            shape.append(value)
        else:
            raise ValueError(f"field {tag >> 3} is none of a tensor's")
    if dtype is None:
        raise ValueError("no type of element")
    return dtype, tuple(shape)


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """Seven bits a byte, the lowest first; the highest bit says that more follow."""
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _damaged(path: Path, why: str) -> BadData:
    return BadData(f"variable {str(path)!r} is damaged or no Paddle 1.x file ({why}); copy or download it again")
