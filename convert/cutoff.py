"""How much of what a float graph computes lies beyond the grids of its INT8 version."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from convert.graph import Graph
from edge_kit.core.tensors import Tensors
from runtimes.registry import get_runtime


@dataclass(frozen=True, slots=True)
class CutOff:
    """Activations that INT8 cannot hold and clips.

    Attributes:
        share: Of all values of the tensors compared, in %.
        worst: The tensor that loses the largest share; empty where none loses any.
        worst_share: Of that one, in %.
        tensors: How many were compared.
    """

    share: float
    worst: str
    worst_share: float
    tensors: int


def measure_cut_off(full: Path, small: Path, batches: Iterable[Tensors]) -> CutOff:
    """Run the float graph, and hold each tensor that INT8 quantizes to the ends of its grid there.

    What an absorbed ReLU clips is no loss: the float tensor is read behind it.
    """
    graph = Graph.load(full)
    computed = graph.float_tensors()
    ends = {name: one for name, one in _grids(Graph.load(small)).items() if name in {*computed, *graph.inputs}}
    inner = [name for name in ends if name in computed and name not in graph.outputs]
    lost: Counter[str] = Counter()
    seen: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "observed.onnx"
        onnx.save(graph.to_model(extra_outputs=inner), str(path))
        session = get_runtime("onnx").load(path)
        for batch in batches:
            values = {**batch, **session.run(batch)}
            for name, (low, high) in ends.items():
                lost[name] += int(np.count_nonzero((values[name] < low) | (values[name] > high)))
                seen[name] += values[name].size
    shares = {name: 100 * lost[name] / seen[name] for name in ends if seen[name]}
    worst = max(shares, key=lambda name: shares[name], default="")
    share = 100 * sum(lost.values()) / max(sum(seen.values()), 1)
    return CutOff(share, worst if shares.get(worst) else "", shares.get(worst, 0.0), len(shares))


def _grids(graph: Graph) -> dict[str, tuple[float, float]]:
    """Lowest and highest value of each quantized tensor, with the half step that rounds onto them."""
    found = {}
    for node in graph.nodes:
        if node.op_type != "QuantizeLinear" or any(name not in graph.constants for name in node.input[1:]):
            continue
        scale = graph.constants[node.input[1]]
        zero = graph.constants[node.input[2]] if len(node.input) > 2 else np.zeros((), np.uint8)
        if scale.size == 1 and zero.size == 1:
            limits, point, step = np.iinfo(zero.dtype), int(zero.item()), float(scale.item())
            found[node.input[0]] = ((limits.min - point - 0.5) * step, (limits.max - point + 0.5) * step)
    return found
