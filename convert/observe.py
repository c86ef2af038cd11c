"""Finds the range of every activation of a float graph by running it."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
import onnx
from onnx import helper

from convert.clipping import SEARCHES, Largest, Magnitudes
from convert.graph import Array, Graph
from convert.quantization import Range
from edge_kit.core.errors import BadData, UsageError, unknown_name
from edge_kit.core.tensors import Tensors
from runtimes.registry import get_runtime

PIECE = 4  # samples whose activations are held at once: 2 GB of ResNet200's, of 20 it would be 10
ALGORITHMS = ("abs_max", "avg", "hist", *SEARCHES)
LARGE = 1 << 16  # values of a sample; of a larger tensor `hist` looks at every `STRIDE`-th
STRIDE = 11  # shares no factor with the sides of maps, so that it meets every column


@dataclass(frozen=True, slots=True)
class Observer:
    """How the range of an activation follows from what was seen, by PaddleSlim's names.

    A range need not lie evenly around 0: what a symmetric algorithm allows is cut to what was seen.

    Attributes:
        algorithm: `abs_max` keeps all values, `avg` takes the mean of the batches' ends, `hist` keeps `share`
            of all values (of those of a large tensor, every eleventh is looked at); `KL`, `mse` and `emd` search
            for the limit with the least error of their kind.
        share: Of the values that `hist` keeps.
    """

    algorithm: str = "abs_max"
    share: float = 0.99999

    def __post_init__(self) -> None:
        if self.algorithm not in ALGORITHMS:
            raise unknown_name("quantization algorithm", self.algorithm, ALGORITHMS)
        if not 0 < self.share <= 1:
            raise UsageError(f"the share of values to keep must be above 0 and at most 1, got {self.share!r}")


@dataclass(frozen=True, slots=True)
class Seen:
    """What activations were on the calibration data, by name.

    Attributes:
        ranges: Of each float activation, graph inputs included.
        means: Of those that were asked for, in every channel, (C,) float64; channels are axis 1.
    """

    ranges: dict[str, Range]
    means: dict[str, Array]


def observe(
    graph: Graph, batches: Sequence[Tensors], observer: Observer | None = None, means_of: Collection[str] = ()
) -> Seen:
    """Run a float graph over all batches.

    Args:
        observer: How ranges follow; the smallest that hold all values where None.
        means_of: Float activations whose means are wanted, too.

    Raises:
        BadData: No batch, or an activation that is not finite.
    """
    observer = observer or Observer()
    lows: dict[str, Array] = {}  # one of each batch
    highs: dict[str, Array] = {}
    sums: dict[str, Array] = {}
    rows: Counter[str] = Counter()  # a sample may have several: the frames of a clip, the words of a sentence
    largest: dict[str, Largest] = {}
    samples = sum(_samples(batch) for batch in batches)
    keeps_share = observer.algorithm == "hist"
    for i, run, name, (low, high, mean, *values) in _reduced(graph, batches, means_of, keeps_share):
        if not (np.isfinite(low) and np.isfinite(high)) or np.isnan(mean).any():
            raise BadData(f"activation {name!r} is not finite on the calibration data; look at the weights")
        first, last = (ends.setdefault(name, np.zeros(len(batches))) for ends in (lows, highs))
        first[i], last[i] = min(float(low), first[i]), max(float(high), last[i])
        if name in means_of:
            sums[name] = sums.get(name, 0) + mean.sum(axis=(0, *range(2, mean.ndim)), dtype=np.float64)
            rows[name] += len(mean)
        if values and values[0].size:
            largest.setdefault(name, Largest(observer.share)).add(values[0], run / samples)
    if not lows:
        raise BadData("no calibration data: give at least one sample")
    means = {name: total / rows[name] for name, total in sums.items()}
    if observer.algorithm == "avg":
        return Seen({name: Range(float(lows[name].mean()), float(highs[name].mean())) for name in lows}, means)
    spans = {name: Range(float(lows[name].min()), float(highs[name].max())) for name in lows}
    limits = {name: one.limit for name, one in largest.items()}
    if observer.algorithm in SEARCHES:
        limits = _search(graph, batches, observer, spans)
    return Seen({name: _within(span, limits.get(name, 0.0)) for name, span in spans.items()}, means)


def _within(span: Range, limit: float) -> Range:
    return span.intersect(Range(-limit, limit)) if limit else span


def _samples(inputs: Tensors) -> int:
    first = next(iter(inputs.values()))
    return len(first) if first.ndim else 1


def _search(graph: Graph, batches: Sequence[Tensors], observer: Observer, spans: dict[str, Range]) -> dict[str, float]:
    """The limit of each tensor's magnitudes, by a second run: now the histograms' ends are known."""
    seen = {name: Magnitudes(span) for name, span in spans.items()}
    for name, value in _activations(graph, batches):
        seen[name].add(value)
    search = SEARCHES[observer.algorithm]
    return {name: search(one) for name, one in seen.items() if one.top}


def _every_nth(graph: Graph) -> list[str]:
    """The constants by which a Slice takes every `STRIDE`-th value of a row: first, last, axis and step."""
    parts = {"first": 0, "last": np.iinfo(np.int64).max, "axis": 1, "step": STRIDE}
    for part, value in parts.items():
        graph.constants[f"slice/{part}"] = np.array([value], np.int64)
    return [f"slice/{part}" for part in parts]


def _reduced(
    graph: Graph, batches: Sequence[Tensors], means_of: Collection[str], with_values: bool
) -> Iterator[tuple[int, int, str, list[Array]]]:
    """What is left of every float tensor: the batch's number, the samples of the run, its name, its ends and its mean.

    The mean is over all, or (rows, C, ...) of `means_of`. `with_values`: also those values that `hist` looks at.

    All are taken within the graph: to hand out the tensors themselves takes as long as to compute them. The ends do
    not tell of a NaN, means do; a mean may overflow where all values are finite.
    """
    observed, shapes = graph.copy(), graph.shapes()
    made: dict[str, list[str]] = {}

    def add(operator: str, name: str, *others: str, **how: int) -> str:
        result = f"{name}/{operator}"
        observed.nodes.append(helper.make_node(operator, [name, *others], [result], **how))
        return result

    every_nth = _every_nth(observed) if with_values else []
    for name in (*_float_inputs(graph), *graph.float_tensors()):
        shape = shapes.get(name, ())
        mean = "ReduceMean"
        if name in means_of:
            mean = "GlobalAveragePool" if len(shape) > 2 else "Identity"
        made[name] = [
            add(kind, name, **({"keepdims": 0} if kind.startswith("Reduce") else {}))
            for kind in ("ReduceMin", "ReduceMax", mean)
        ]
        if with_values:
            large = prod(size or 1 for size in shape[1:]) > LARGE
            made[name].append(add("Slice", add("Flatten", name, axis=0), *every_nth) if large else name)
    wanted = [result for results in made.values() for result in results if result not in graph.inputs]
    for i, values in _runs(observed, batches, list(dict.fromkeys(wanted))):
        run = _samples(values)
        for name, results in made.items():
            yield i, run, name, [values[result] for result in results]


def _activations(graph: Graph, batches: Sequence[Tensors]) -> Iterator[tuple[str, Array]]:
    """Every float tensor of the graph in order, batch by batch: the name, the values."""
    fed, computed = _float_inputs(graph), graph.float_tensors()
    for _, values in _runs(graph, batches, computed):
        yield from ((name, values[name]) for name in (*fed, *computed) if values[name].size)


def _float_inputs(graph: Graph) -> list[str]:
    integers = graph.integer_inputs()
    return [name for name in graph.inputs if name not in integers]


def _runs(graph: Graph, batches: Sequence[Tensors], names: Sequence[str]) -> Iterator[tuple[int, Tensors]]:
    """The number of a batch, what was fed, and the tensors of those names.

    A batch may come in pieces: all activations of a large one would not fit into memory.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "observed.onnx"
        onnx.save(graph.to_model(extra_outputs=[name for name in names if name not in graph.outputs]), str(path))
        session = get_runtime("onnx").load(path, threads=os.cpu_count() or 1)
        axes = {spec.shape[0] if spec.shape else 1 for spec in session.inputs}
        together = len(axes) == 1 and isinstance(next(iter(axes)), str)  # the first axis of all is the batch
        for i, batch in enumerate(batches):
            fed = {name: batch[name] for name in graph.inputs}
            for inputs in _pieces(fed) if together else [fed]:
                yield i, {**inputs, **session.run(inputs)}


def _pieces(batch: Tensors) -> Iterator[Tensors]:
    for at in range(0, len(next(iter(batch.values()))), PIECE):
        yield {name: values[at : at + PIECE] for name, values in batch.items()}
