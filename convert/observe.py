"""Finds the range of every activation of a float graph by running it."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from convert.clipping import SEARCHES, Magnitudes
from convert.graph import Array, Graph
from convert.quantization import Range
from edge_kit.core.errors import BadData, UsageError, unknown_name
from edge_kit.core.tensors import Tensors
from runtimes.registry import get_runtime

PIECE = 4  # samples whose activations are held at once: 2 GB of ResNet200's, of 20 it would be 10
ALGORITHMS = ("abs_max", "avg", *SEARCHES)


@dataclass(frozen=True, slots=True)
class Observer:
    """How the range of an activation follows from what was seen, by PaddleSlim's names.

    A range need not lie evenly around 0: what a symmetric algorithm allows is cut to what was seen.

    Attributes:
        algorithm: `abs_max` keeps all values, `avg` takes the mean of the batches' ends, `hist` keeps `share`
            of all values; `KL`, `mse` and `emd` search for the limit with the least error of their kind.
        share: Of the values that `hist` keeps.
    """

    algorithm: str = "abs_max"
    share: float = 0.99999

    def __post_init__(self) -> None:
        if self.algorithm not in ALGORITHMS:
            raise unknown_name("quantization algorithm", self.algorithm, ALGORITHMS)
        if not 0 < self.share <= 1:
            raise UsageError(f"the share of values to keep must be above 0 and at most 1, got {self.share!r}")


def observe_ranges(graph: Graph, batches: Sequence[Tensors], observer: Observer | None = None) -> dict[str, Range]:
    """The range of each float activation over all batches, graph inputs included.

    Args:
        observer: The smallest range that holds all values where None.

    Raises:
        BadData: No batch, or an activation that is not finite.
    """
    observer = observer or Observer()
    lows: dict[str, Array] = {}  # one of each batch
    highs: dict[str, Array] = {}
    for i, name, value in _activations(graph, batches):
        if not np.isfinite(value).all():
            raise BadData(f"activation {name!r} is not finite on the calibration data; look at the weights")
        low, high = (ends.setdefault(name, np.zeros(len(batches))) for ends in (lows, highs))
        low[i], high[i] = min(float(value.min()), low[i]), max(float(value.max()), high[i])
    if not lows:
        raise BadData("no calibration data: give at least one sample")
    if observer.algorithm == "avg":
        return {name: Range(float(lows[name].mean()), float(highs[name].mean())) for name in lows}
    spans = {name: Range(float(lows[name].min()), float(highs[name].max())) for name in lows}
    return spans if observer.algorithm == "abs_max" else _cut(graph, batches, observer, spans)


def observe_means(graph: Graph, batches: Sequence[Tensors], names: Collection[str]) -> dict[str, Array]:
    """The mean of each named float activation in every channel, (C,) float64, over all batches; channels are axis 1."""
    sums: dict[str, Array] = {}
    rows: Counter[str] = Counter()  # a sample may have several: the frames of a clip, the words of a sentence
    for _, name, value in _activations(graph, batches, names):
        others = tuple(axis for axis in range(value.ndim) if axis not in (0, 1))
        sums[name] = sums.get(name, 0) + value.mean(axis=others, dtype=np.float64).sum(0)
        rows[name] += len(value)
    return {name: total / rows[name] for name, total in sums.items()}


def _cut(graph: Graph, batches: Sequence[Tensors], observer: Observer, spans: dict[str, Range]) -> dict[str, Range]:
    """Run once more, now that the histograms' ends are known."""
    seen = {name: Magnitudes(span) for name, span in spans.items()}
    for _, name, value in _activations(graph, batches):
        seen[name].add(value)
    search = SEARCHES[observer.algorithm]
    return {name: one.cut(search(one, observer.share)) if one.top else spans[name] for name, one in seen.items()}


def _activations(
    graph: Graph, batches: Sequence[Tensors], names: Collection[str] | None = None
) -> Iterator[tuple[int, str, Array]]:
    """Every float tensor of the graph in order, or those of `names`, batch by batch: its number, the name, the values.

    A batch may come in pieces: all activations of a large one would not fit into memory.
    """
    computed = [name for name in graph.float_tensors() if names is None or name in names]
    inner = [name for name in computed if name not in graph.outputs]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "observed.onnx"
        onnx.save(graph.to_model(extra_outputs=inner), str(path))
        session = get_runtime("onnx").load(path)
        axes = {spec.shape[0] if spec.shape else 1 for spec in session.inputs}
        together = len(axes) == 1 and isinstance(next(iter(axes)), str)  # the first axis of all is the batch
        for i, batch in enumerate(batches):
            fed = {name: batch[name] for name in graph.inputs}
            for inputs in _pieces(fed) if together else [fed]:
                values = {**inputs, **session.run(inputs)}
                for name in (*inputs, *computed):
                    if names is not None and name not in names:
                        continue
                    if values[name].dtype.kind == "f" and values[name].size:
                        yield i, name, values[name]


def _pieces(batch: Tensors) -> Iterator[Tensors]:
    for at in range(0, len(next(iter(batch.values()))), PIECE):
        yield {name: values[at : at + PIECE] for name, values in batch.items()}
