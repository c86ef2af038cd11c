"""Times by operator out of the trace of Paddle's host profiler, which says neither place nor precision."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from edge_kit.core.errors import BadData
from runtimes.protocol import OperatorTime

OPERATOR = "Operator"  # the category of a whole operator; its parts have another


def read_trace(events: Iterable[Mapping[str, Any]], calls: int) -> tuple[OperatorTime, ...]:
    """Read the operators of the last calls, numbered in the order of execution, as Paddle gives them no names.

    Args:
        events: The trace, as JSON; times in microseconds.
        calls: How many of the calls to take; one before them warmed up.

    Raises:
        BadData: The calls did not run the same operators, so that there is no median of one.
    """
    found = [(_kind(event), float(event["dur"])) for event in _outermost(events)]
    count, rest = divmod(len(found), calls + 1)
    kinds = [kind for kind, _ in found[:count]]
    if rest or not count or [kind for kind, _ in found] != kinds * (calls + 1):
        raise BadData("this graph runs other operators from call to call; there is no time of each")
    times = np.median(np.reshape([spent for _, spent in found], (calls + 1, count))[1:], axis=0) / 1000
    return tuple(OperatorTime(f"{kind}_{i}", kind, "", "", float(times[i])) for i, kind in enumerate(kinds))


def _outermost(events: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Operators that are in no other, by their start: the body of a loop counts for the loop."""
    operators = sorted((one for one in events if one.get("cat") == OPERATOR), key=_window)
    kept: list[Mapping[str, Any]] = []
    for one in operators:
        if not kept or _window(one)[0] >= _window(kept[-1])[1]:
            kept.append(one)
    return kept


def _window(event: Mapping[str, Any]) -> tuple[float, float]:
    """Start and end; `ts` is too coarse, `args` has the digits: `{"start_time": "249.291 us"}`."""
    args = event["args"]
    return _microseconds(args["start_time"]), _microseconds(args["end_time"])


def _microseconds(text: str) -> float:
    number, unit = text.split()
    return float(number) * {"ns": 1e-3, "us": 1.0, "ms": 1e3, "s": 1e6}[unit]


def _kind(event: Mapping[str, Any]) -> str:
    return str(event["name"]).partition("[")[0]  # `fused_conv2d[51.717 us]`
