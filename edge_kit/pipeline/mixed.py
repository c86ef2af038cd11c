"""Mixed precision: the fewest layers left in float that keep what INT8 loses within what is allowed.

The loss is measured on training samples, prepared as for evaluation: the evaluation set judges the result, and must not
have chosen it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from convert.lower import LowerReport
from edge_kit.core.progress import Progress, silent
from edge_kit.core.records import Check
from edge_kit.core.tensors import Graphs, Tensors
from edge_kit.data import Dataset
from edge_kit.pipeline.feeds import onnx_runs
from edge_kit.tasks import Task

JUDGED_SAMPLES = 1000  # training samples that a loss is measured on

Lowering = Callable[[Mapping[str, Sequence[str]], Path], dict[str, LowerReport]]
"""Writes every graph into a folder, the named layers of each left in float."""


class TrainingSamples:
    """A data set that is scored on some of its training samples, evenly spread."""

    def __init__(self, dataset: Dataset, samples: int = JUDGED_SAMPLES) -> None:
        self._dataset = dataset
        self._samples = min(samples, dataset.train_size())
        self.name, self.published = f"{dataset.name}, training samples", False
        self.labels, self.sizes, self.preprocess = dataset.labels, dataset.sizes, dataset.preprocess
        self.digest, self.train_size = dataset.digest, dataset.train_size
        self.train_batches, self.calibration_batches = dataset.train_batches, dataset.calibration_batches

    def eval_size(self) -> int:
        """Samples that are scored."""
        return self._samples

    def eval_batches(self, batch: int) -> Iterator[Tensors]:
        """Training samples, as `Dataset.calibration_batches` spreads them."""
        return self._dataset.calibration_batches(self._samples, batch)


@dataclass(frozen=True, slots=True)
class Judge:
    """Holds graphs to full precision: by the headline metric, or by agreement where the task has none.

    Attributes:
        reference: Folder of the full-precision graphs.
        max_drop: Points of the metric that may be lost; None for any.
        min_agreement: In its unit; None for any.
    """

    task: Task
    dataset: Dataset
    reference: Path
    max_drop: float | None
    min_agreement: float | None

    def check(self, candidate: Path) -> Check:
        """Of the graphs in a folder; `ok` is None where nothing was asked for that can be measured."""
        full, own = _runs(self.reference), _runs(candidate)
        before = self.task.evaluate(full, self.dataset, silent)
        if before:
            after = self.task.evaluate(own, self.dataset, silent)
            name, drop = before[0].loss_name, before[0].lost(after[0])
            note = f"on {before[0].samples:,} training samples"
            if self.max_drop is None:
                return Check(name, drop, None, None, "points", note=note)
            return Check.at_most(name, drop, self.max_drop, "points", note)
        one = self.task.agreement(full, own, self.dataset, self.dataset.eval_size())
        note = f"on {one.samples:,} training samples"
        if self.min_agreement is None:
            return Check(one.name, one.value, None, None, one.unit, "min", note)
        return Check.at_least(one.name, one.value, self.min_agreement, one.unit, note)


def fewest(total: int, fits: Callable[[int], bool]) -> int:
    """The smallest count from 1 to `total` that fits, where more never fits worse; `total` is taken to fit."""
    low, high = 0, min(1, total)
    while high < total and not fits(high):
        low, high = high, min(2 * high, total)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return high


@dataclass(frozen=True, slots=True)
class Search:
    """Lowers graphs with more and more layers left in float.

    Attributes:
        ranking: Layers of all graphs as `convert.sensitivity` ranks them, worst first, each with its `graph`.
        scratch: Folder for graphs that are tried.
    """

    lowering: Lowering
    ranking: Sequence[Mapping[str, Any]]
    judge: Judge
    scratch: Path

    def run(self, out: Path, progress: Progress) -> tuple[dict[str, LowerReport], dict[str, Any]]:
        """Lower into `out` with the fewest layers in float that the judge accepts; with none where all do not help.

        Returns:
            Reports by graph, and as JSON the `layers` kept, `of` how many, the counts `tried`, and the `reason`.
        """
        tried: dict[int, Check] = {}
        total = len(self.ranking)

        def fits(count: int) -> bool:
            self.lowering(self._worst(count), self.scratch)
            found = tried[count] = self.judge.check(self.scratch)
            progress(len(tried), total.bit_length() + 1, f"{count} layers in float: {_said(found)}")
            return found.ok is True

        count = fewest(total, fits) if fits(total) else 0
        return self.lowering(self._worst(count), out), {
            "layers": list(self.ranking[:count]),
            "of": total,
            "tried": {str(n): asdict(tried[n]) for n in sorted(tried)},
            "reason": _reason(count, total, tried[count or total]),
        }

    def _worst(self, count: int) -> dict[str, list[str]]:
        kept: dict[str, list[str]] = {}
        for one in self.ranking[:count]:
            kept.setdefault(one["graph"], []).append(one["node"])
        return kept


def _reason(count: int, total: int, check: Check) -> str:
    if count:
        return f"the {count} of {total} layers whose quantization harms the outputs most: with them, {_said(check)}"
    return f"none: with all {total} layers in float, {_said(check)} all the same"


def _said(check: Check) -> str:
    bound = "at most" if check.sense == "max" else "at least"
    return f"{check.name} {check.value:.4g} {check.unit} ({bound} {check.limit:g}) {check.note}"


def _runs(folder: Path) -> Graphs:
    return onnx_runs({path.stem: path for path in sorted(folder.glob("*.onnx"))})
