"""Messages between a bench and its workers: a line of JSON, then the arrays it announces, as raw bytes.

It carries plain numbers only, so that reading a message of an untrusted board can run nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import IO, Any

import numpy as np

from edge_kit.core.errors import EdgeKitError
from edge_kit.core.tensors import Array, Tensors

HELLO = b"edge-kit worker 1\n"
"""The first line of a worker; what a login shell printed before it is passed over."""

PLAIN = "biuf"
"""Kinds of NumPy types that go over the wire: bool, integers, floats."""


def send(stream: IO[bytes], document: Mapping[str, Any], tensors: Tensors | None = None) -> None:
    """Write one message and flush.

    Raises:
        EdgeKitError: An array holds something other than numbers.
    """
    arrays = {name: np.ascontiguousarray(array) for name, array in (tensors or {}).items()}
    for name, array in arrays.items():
        if array.dtype.kind not in PLAIN:
            raise EdgeKitError(f"tensor {name!r} is {array.dtype}; only numbers can be sent")
    heads = [[name, array.dtype.str, list(array.shape)] for name, array in arrays.items()]
    stream.write(json.dumps({"message": dict(document), "tensors": heads}).encode() + b"\n")
    for array in arrays.values():
        stream.write(array.reshape(-1).view(np.uint8).data)
    stream.flush()


def receive(stream: IO[bytes]) -> tuple[dict[str, Any], dict[str, Array]]:
    """Read one message.

    Raises:
        EOFError: The other side has ended.
        EdgeKitError: It sent what is not a message.
    """
    line = stream.readline()
    if not line.endswith(b"\n"):
        raise EOFError
    try:
        head = json.loads(line)
        tensors = {name: _read(stream, np.dtype(kind), tuple(shape)) for name, kind, shape in head["tensors"]}
        return dict(head["message"]), tensors
    except (ValueError, KeyError, TypeError) as fault:
        raise EdgeKitError(f"a worker sent what is not a message: {line[:60]!r}") from fault


def _read(stream: IO[bytes], dtype: np.dtype[Any], shape: tuple[int, ...]) -> Array:
    if dtype.kind not in PLAIN:
        raise TypeError(dtype)
    array = np.empty(shape, dtype)
    rest = memoryview(array.reshape(-1).view(np.uint8).data)
    while rest.nbytes:
        block = stream.read(rest.nbytes)
        if not block:
            raise EOFError
        rest[: len(block)] = block
        rest = rest[len(block) :]
    return array
