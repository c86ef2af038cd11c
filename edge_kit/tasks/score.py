"""What scoring found besides the headline: how sure it is, and which classes it is of."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from edge_kit.core.progress import Progress
from edge_kit.core.records import Metric
from edge_kit.core.tensors import Graphs
from edge_kit.data.dataset import Dataset

Z = 1.959964  # of the standard normal distribution at 97.5 %

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class ClassScore:
    """One class.

    Attributes:
        label: Its readable name.
        samples: Scored of this class.
        values: By name of the metric, in its unit; empty where no sample is of this class.
    """

    label: str
    samples: int
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Score:
    """All that one pass over a data set tells of a model.

    Attributes:
        metrics: The headline metric first.
        intervals: 95 % confidence, by name of the metric, in its unit.
        classes: In the order of the labels.
    """

    metrics: tuple[Metric, ...]
    intervals: Mapping[str, Interval]
    classes: tuple[ClassScore, ...]


@runtime_checkable
class Detailed(Protocol):
    """A task that can tell more than its metrics; `evaluate` gives the very same metrics."""

    def score(self, graphs: Graphs, dataset: Dataset, progress: Progress) -> Score:
        """Score exported graphs, whatever runs them.

        Raises:
            BadData: The graphs know another number of classes than the data set has.
        """
        ...


@runtime_checkable
class Comparing(Protocol):
    """A task that can tell more of two versions than how often they agree."""

    def likeness(self, reference: Graphs, candidate: Graphs, dataset: Dataset, samples: int) -> tuple[Metric, ...]:
        """How alike the outputs of two versions are; needs no labels."""
        ...


def wilson(hits: int, samples: int) -> Interval:
    """95 % confidence interval of a proportion, in percent; it stays in 0..100 and is no point at the ends.

    Source: Wilson 1927, Probable inference, the law of succession, and statistical inference, JASA 22.
    """
    share, z2 = hits / samples, Z**2 / samples
    centre = (share + z2 / 2) / (1 + z2)
    half = Z / (1 + z2) * math.sqrt(share * (1 - share) / samples + z2 / (4 * samples))
    return 100 * max(centre - half, 0.0), 100 * min(centre + half, 1.0)
