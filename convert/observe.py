"""Finds the range of every activation of a float graph by running it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx

from convert.graph import Graph
from convert.quantization import Range
from edge_kit.core.errors import BadData
from edge_kit.core.tensors import Tensors
from runtimes.registry import get_runtime


def observe_ranges(graph: Graph, batches: Iterable[Tensors]) -> dict[str, Range]:
    """The smallest range that holds each float activation over all batches, graph inputs included.

    Raises:
        BadData: No batch, or an activation that is not finite.
    """
    inner = [name for node in graph.nodes for name in node.output if name and name not in graph.outputs]
    lows: dict[str, float] = {}
    highs: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "observed.onnx"
        onnx.save(graph.to_model(extra_outputs=inner), str(path))
        session = get_runtime("onnx").load(path)
        for batch in batches:
            inputs = {name: batch[name] for name in graph.inputs}
            for name, value in {**inputs, **session.run(inputs)}.items():
                if value.dtype.kind != "f" or not value.size:
                    continue
                if not np.isfinite(value).all():
                    raise BadData(f"activation {name!r} is not finite on the calibration data; look at the weights")
                lows[name] = min(lows.get(name, 0.0), float(value.min()))
                highs[name] = max(highs.get(name, 0.0), float(value.max()))
    if not lows:
        raise BadData("no calibration data: give at least one sample")
    return {name: Range(lows[name], highs[name]) for name in lows}
