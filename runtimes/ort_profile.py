"""Times by node out of the trace that ONNX Runtime's own profiler writes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from runtimes.protocol import OperatorTime

SUFFIX = "_kernel_time"  # other events of a node, in older versions, are its fences
PRECISIONS = {"float": "fp32", "double": "fp64", "float16": "fp16", "bfloat16": "bf16", "int8": "int8", "uint8": "int8"}
CPU_PROVIDER = "CPUExecutionProvider"
CONVERSION = "conversion"
COPY = "Memcpy"  # MemcpyToHost and MemcpyFromHost: what a node on another device costs besides


def read_trace(events: Iterable[Mapping[str, Any]], calls: int) -> tuple[OperatorTime, ...]:
    """Read the nodes of the last calls, in the order in which they first ran.

    A node in the body of a loop runs several times a call: its time is the sum.

    Args:
        events: The trace, as JSON.
        calls: How many of the calls to take; those before them warmed up.
    """
    ordered = sorted(events, key=lambda event: int(event.get("ts", 0)))
    starts = [int(event["ts"]) for event in ordered if event.get("name") == "model_run"][-calls:]
    spent: dict[tuple[str, str], np.ndarray[Any, np.dtype[np.float64]]] = {}
    seen: dict[tuple[str, str], Mapping[str, Any]] = {}
    for event in ordered:
        name, of = str(event.get("name", "")), event.get("args", {})
        if event.get("cat") != "Node" or not name.endswith(SUFFIX) or int(event["ts"]) < starts[0]:
            continue
        key = (name.removesuffix(SUFFIX), str(of.get("node_index", "")))
        seen.setdefault(key, of)
        call = int(np.searchsorted(starts, int(event["ts"]), side="right")) - 1
        spent.setdefault(key, np.zeros(len(starts)))[call] += int(event["dur"]) / 1000  # microseconds -> ms
    return tuple(_operator(name, seen[name, node], spent[name, node]) for name, node in seen)


def count_fallbacks(operators: Sequence[OperatorTime]) -> int:
    """Count the operators of a profile taken on a GPU that ran on the CPU, and the copies that this takes."""
    return sum(one.place == CPU_PROVIDER or one.kind.startswith(COPY) for one in operators)


def _operator(name: str, of: Mapping[str, Any], times: np.ndarray[Any, np.dtype[np.float64]]) -> OperatorTime:
    kind = str(of.get("op_name", ""))
    return OperatorTime(name, kind, str(of.get("provider", "")), _precision(kind, of), float(np.median(times)))


def _precision(kind: str, of: Mapping[str, Any]) -> str:
    """That of the data that the node reads: its first input; a quantizer left by itself computes in neither."""
    if kind in ("QuantizeLinear", "DequantizeLinear"):
        return CONVERSION
    if kind.startswith("DynamicQuantize"):
        return "int8"  # reads floats, quantizes them and computes in INT8
    types = [element for shape in of.get("input_type_shape", []) for element in shape]
    return PRECISIONS.get(types[0], types[0]) if types else ""
