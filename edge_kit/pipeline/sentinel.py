"""The sentinel pack: a few real inputs and what full precision answers, inside the bundle.

    input/GRAPH/NAME     (calls, *shape of one call)
    codes/GRAPH/NAME     (calls, *shape) uint8 and grid/GRAPH/NAME (calls, 2, channels) instead, of a picture
    output/GRAPH/NAME    (calls, values): what FP32 answered; of large outputs evenly spaced values
    made/GRAPH/NAME      likewise, what INT8 answered where it was made

A pack is read without a data set and without what made it; NumPy is enough.
"""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_kit.core.bundle import FULL, SENTINEL, SMALL, Bundle
from edge_kit.core.errors import BadData
from edge_kit.core.tensors import Array, Graphs, GraphSpec, Tensors, TensorSpec
from edge_kit.data import Dataset
from edge_kit.tasks import Task

BUDGET = 400_000  # bytes of a pack, about
FEWEST, MOST = 8, 64
POOL = 1000  # held-out samples to choose from
LARGEST_SIDE = 112  # of a picture; larger ones are kept in blocks of pixels, so that more of them fit
CANDIDATES = 4  # around each rank, to choose a class from
VALUES = 4096  # of one output of one call
COMPRESSED = 0.8  # of the bytes, guessed for real pictures

Feed = Mapping[str, Tensors]
"""Inputs of every graph for one call."""


@dataclass(frozen=True, slots=True)
class Pack:
    """A pack as it is used.

    Attributes:
        inputs: graph -> input -> (calls, *shape of one call).
        outputs: graph -> output -> (calls, values) of full precision.
        made: Likewise, of INT8 on the machine that made the bundle.
    """

    inputs: Mapping[str, Mapping[str, Array]]
    outputs: Mapping[str, Mapping[str, Array]]
    made: Mapping[str, Mapping[str, Array]] = field(default_factory=dict)

    @property
    def calls(self) -> int:
        """How often each graph is called."""
        return len(next(iter(next(iter(self.inputs.values())).values())))

    def feeds(self, graph: str) -> Iterator[dict[str, Array]]:
        """The inputs of one graph, call by call."""
        for i in range(self.calls):
            yield {name: value[i] for name, value in self.inputs[graph].items()}

    def run(self, graphs: Graphs) -> dict[str, dict[str, Array]]:
        """What graphs answer, in the form of `outputs`."""
        return {graph: _stacked([graphs[graph](feed) for feed in self.feeds(graph)]) for graph in self.inputs}


@dataclass(frozen=True, slots=True)
class Deviation:
    """How far answers are from those of full precision.

    Attributes:
        flips: Share of calls that prefer another class, in %; None where no output looks like scores of classes.
        error: Root mean square of the difference over that of the answers, the worst output's; NaN answers are inf.
        calls: How many were compared.
    """

    flips: float | None
    error: float
    calls: int


def write_pack(
    path: Path, task: Task, dataset: Dataset, specs: Mapping[str, GraphSpec], runs: Mapping[str, Graphs]
) -> None:
    """Choose held-out samples that tell most, and keep them with the answers to them.

    Args:
        dataset: Of samples as the graphs take them.
        runs: By precision.
    """
    pool = [_answer(runs[FULL], feed) for feed in _feeds(task, dataset, specs, runs[FULL], set(range(POOL)))]
    shapes = [shape for shape, _ in pool]
    usual = max(set(shapes), key=shapes.count)
    fitting = [i for i, shape in enumerate(shapes) if shape == usual]
    first = next(_feeds(task, dataset, specs, runs[FULL], {fitting[0]}))
    bytes_each = COMPRESSED * sum(_stored_bytes(specs[g], feed) for g, feed in first.items())
    count = int(np.clip(BUDGET / bytes_each, FEWEST, MOST))
    wanted = {fitting[i] for i in choose([pool[i][1] for i in fitting], count)}
    kept = list(_feeds(task, dataset, specs, runs[FULL], wanted))
    inputs = {g: {n: np.stack([feed[g][n] for feed in kept]) for n in kept[0][g]} for g in kept[0]}
    arrays: dict[str, Array] = {}
    for graph, named in inputs.items():
        for spec in specs[graph].inputs:
            arrays.update(_stored(graph, spec, named[spec.name]))
    pack = Pack(_read_inputs(arrays), {})
    for kind, precision in (("output", FULL), ("made", SMALL)):
        for graph, answers in pack.run(runs[precision]).items():
            arrays.update({f"{kind}/{graph}/{name}": value for name, value in answers.items()})
    np.savez_compressed(path, **arrays)


def read_pack(bundle: Bundle) -> Pack:
    """The pack of a bundle.

    Raises:
        BadData: It has none, or it cannot be read or does not fit the bundle.
    """
    path = bundle.path / SENTINEL
    if not path.is_file():
        raise BadData(f"bundle {str(bundle.path)!r} has no {SENTINEL}: it was made by an older edge-kit; make it again")
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        pack = Pack(_read_inputs(arrays), _read(arrays, "output"), _read(arrays, "made"))
        _check(pack, bundle)
    except (
        ValueError,
        KeyError,
        IndexError,
        OSError,
        EOFError,
        StopIteration,
        zipfile.BadZipFile,
        MemoryError,
    ) as error:
        raise BadData(f"{str(path)!r} cannot be read ({error}); make the bundle again") from None
    return pack


def _check(pack: Pack, bundle: Bundle) -> None:
    calls = pack.calls
    for graph, specs in bundle.manifest.inputs.items():
        for spec in specs:
            array = pack.inputs[graph][spec.name]
            if array.ndim != len(spec.shape) + 1 or len(array) != calls or array.dtype != np.dtype(spec.dtype):
                raise ValueError(f"input {spec.name!r} is {array.shape} {array.dtype}")
        for kind in (pack.outputs, pack.made):
            if any(len(kind[graph][name]) != calls for name in bundle.manifest.outputs[graph]):
                raise ValueError(f"answers of {graph!r} are not as many as its {calls} inputs")


def deviation(wanted: Mapping[str, Mapping[str, Array]], got: Mapping[str, Mapping[str, Array]]) -> Deviation:
    """Compare answers in the form that `Pack.run` gives."""
    flipped: NDArray[np.bool_] | None = None
    worst, calls = 0.0, 0
    for graph, outputs in wanted.items():
        for name, value in outputs.items():
            calls, other = len(value), got[graph][name]
            if value.dtype.kind != "f":
                continue
            worst = max(worst, _relative(value.astype(np.float64), other.astype(np.float64)))
            if _are_scores(value):
                same = value.argmax(axis=-1) == other.argmax(axis=-1)
                turned = ~(same & np.isfinite(other).all(axis=-1)).reshape(calls, -1).all(axis=1)
                flipped = turned if flipped is None else flipped | turned
    return Deviation(None if flipped is None else 100 * float(flipped.mean()), worst, calls)


def _relative(wanted: NDArray[np.float64], got: NDArray[np.float64]) -> float:
    if wanted.shape != got.shape or not np.isfinite(got).all():
        return float("inf")
    size = float(np.sqrt((wanted**2).mean()))
    return float(np.sqrt(((wanted - got) ** 2).mean())) / max(size, 1e-12)


def _are_scores(value: Array) -> bool:
    """(calls, batch, classes) float, two classes or more."""
    return value.ndim == 3 and value.shape[2] >= 2 and value.dtype.kind == "f"


def choose(answers: Sequence[Mapping[str, Mapping[str, Array]]], count: int) -> list[int]:
    """Places of the samples that tell most.

    Ordered by how sure full precision is of them, samples are taken at ranks that grow geometrically: a fault that
    turns one in a thousand answers turns one of the least sure, and ten times as large a fault about as many more
    again. Around each rank the class that was taken least often has precedence.
    """
    margins, classes = zip(*(_margin(one) for one in answers), strict=True)
    order = [int(i) for i in np.argsort(margins, kind="stable")]
    ranks = np.empty(len(order))
    ranks[order] = np.arange(1, len(order) + 1)
    taken: Counter[int] = Counter()
    chosen: list[int] = []
    for rank in np.geomspace(1, len(order), min(count, len(order))):
        near = np.argsort(np.abs(np.log(ranks / rank)), kind="stable")
        free = [int(i) for i in near if i not in chosen][:CANDIDATES]
        best = min(free, key=lambda i: taken[classes[i]])
        taken[classes[best]] += 1
        chosen.append(best)
    return chosen


def _margin(answer: Mapping[str, Mapping[str, Array]]) -> tuple[float, int]:
    """By how much the first class leads, of the first output that has classes, and which it is; 0 without classes."""
    for outputs in answer.values():
        for value in outputs.values():
            if value.ndim == 2 and value.shape[1] >= 2 and value.dtype.kind == "f":
                ordered = np.sort(value, axis=1)
                return float((ordered[:, -1] - ordered[:, -2]).min()), int(value[0].argmax())
    return 0.0, 0


def _feeds(
    task: Task, dataset: Dataset, specs: Mapping[str, GraphSpec], full: Graphs, wanted: set[int]
) -> Iterator[dict[str, dict[str, Array]]]:
    """What the graphs are given for some samples, pictures as the pack can hold them."""
    kept = {name: _as_kept(specs[name], run) for name, run in full.items()}
    for i, batch in enumerate(islice(dataset.eval_batches(1), max(wanted) + 1)):
        if i in wanted:
            yield {g: _rounded(specs[g], inputs) for g, inputs in task.feeds(kept, batch).items()}


def _as_kept(spec: GraphSpec, run: Any) -> Any:
    """A graph that sees pictures as the pack holds them, so that what it hands on fits them."""
    return lambda inputs: run(_rounded(spec, inputs))


def _rounded(spec: GraphSpec, inputs: Tensors) -> dict[str, Array]:
    by_name = {one.name: one for one in spec.inputs}
    return {n: _decode(*_encode(v)) if _is_coded(by_name[n]) else v for n, v in inputs.items()}


def _is_coded(spec: TensorSpec) -> bool:
    """Whether it looks like pictures (N, 3, H, W) or clips (N, T, 3, H, W); a user's own does not tell its layout."""
    return len(spec.shape) in (4, 5) and spec.shape[-3] == 3 and spec.dtype == "float32"


def _encode(picture: Array) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """(..., 3, H, W) float32 -> codes (..., 3, H/k, W/k) and grid (3, 3).

    The rows of the grid are the lowest value of each channel, its step, and height, width and k.
    """
    *lead, channels, height, width = picture.shape
    k = -(-max(height, width) // LARGEST_SIDE)
    trimmed = picture[..., : height // k * k, : width // k * k]
    small = trimmed.reshape(*lead, channels, height // k, k, width // k, k).mean(axis=(-3, -1), dtype=np.float64)
    others = tuple(axis for axis in range(small.ndim) if axis != len(lead))
    low, high = small.min(axis=others), small.max(axis=others)
    grid = np.stack([low, np.maximum((high - low) / 255, 1e-12)]).astype(np.float32)
    steps = (small - grid[0][:, None, None]) / grid[1][:, None, None]
    codes = np.clip(np.rint(steps), 0, 255).astype(np.uint8)
    padding = [(0, 0)] * (len(lead) + 1)
    padding += [(0, -(-height // k) - height // k), (0, -(-width // k) - width // k)]
    return np.pad(codes, padding, mode="edge"), np.concatenate([grid, [[height, width, k]]]).astype(np.float32)


def _decode(codes: NDArray[np.uint8], grid: NDArray[np.float32]) -> Array:
    height, width, k = (int(value) for value in grid[2])
    values = grid[0][:, None, None] + codes.astype(np.float32) * grid[1][:, None, None]
    return np.ascontiguousarray(values.repeat(k, axis=-2).repeat(k, axis=-1)[..., :height, :width])


def _stored(graph: str, spec: TensorSpec, calls: Array) -> dict[str, Array]:
    if not _is_coded(spec):
        return {f"input/{graph}/{spec.name}": calls}
    codes, grids = zip(*(_encode(one) for one in calls), strict=True)
    return {f"codes/{graph}/{spec.name}": np.stack(codes), f"grid/{graph}/{spec.name}": np.stack(grids)}


def _stored_bytes(spec: GraphSpec, inputs: Tensors) -> int:
    stored = [_stored("", one, inputs[one.name][None]) for one in spec.inputs]
    return sum(array.nbytes for arrays in stored for array in arrays.values())


def _read(arrays: Mapping[str, Array], kind: str) -> dict[str, dict[str, Array]]:
    found: dict[str, dict[str, Array]] = {}
    for key, value in arrays.items():
        prefix, graph, name = key.split("/", 2)
        if prefix == kind:
            found.setdefault(graph, {})[name] = value
    return found


def _read_inputs(arrays: Mapping[str, Array]) -> dict[str, dict[str, Array]]:
    inputs, grids = _read(arrays, "input"), _read(arrays, "grid")
    for graph, named in _read(arrays, "codes").items():
        for name, codes in named.items():
            pictures = [_decode(code, grid) for code, grid in zip(codes, grids[graph][name], strict=True)]
            inputs.setdefault(graph, {})[name] = np.stack(pictures)
    return inputs


def _answer(full: Graphs, feed: Feed) -> tuple[str, dict[str, dict[str, Array]]]:
    """Shapes of what went in and came out, and what full precision says."""
    answers = {graph: dict(full[graph](inputs)) for graph, inputs in feed.items()}
    shapes = {g: {n: v.shape for n, v in {**feed[g], **answers[g]}.items()} for g in feed}
    return repr(shapes), {g: {n: v for n, v in named.items() if v.ndim == 2} for g, named in answers.items()}


def _stacked(answers: list[Tensors]) -> dict[str, Array]:
    """(calls, *shape) of scores of classes, (calls, values) of anything else."""
    stacked = {}
    for name, first in answers[0].items():
        values = [one[name] for one in answers]
        if first.ndim != 2:
            stride = -(-first.size // VALUES)
            values = [value.reshape(-1)[::stride] for value in values]
        stacked[name] = np.stack(values)
    return stacked
