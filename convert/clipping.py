"""Where to cut an activation's range: rare large values cost every other value precision."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from convert.graph import Array
from convert.quantization import STEPS, Range

BINS = 2048
PART = 1 << 15  # values counted at once
CANDIDATES = 128  # limits that a search tries
LEAST_KEPT = 1024  # magnitudes, of the largest
ROUNDING = 1e-6  # of a share times a number of values


@dataclass(slots=True)
class Magnitudes:
    """A histogram of the magnitudes of one tensor.

    Attributes:
        span: The smallest range that holds all values.
        counts: Of values that are not 0, which every grid represents; (BINS,) from 0 to the largest magnitude.
    """

    span: Range
    counts: Array = field(default_factory=lambda: np.zeros(BINS, np.int64))

    @property
    def top(self) -> float:
        """The largest magnitude."""
        return max(self.span.high, -self.span.low)

    def add(self, values: Array) -> None:
        """Count one batch, in parts that fit a cache."""
        flat = values.ravel()
        if not self.top:
            return
        for at in range(0, flat.size, PART):
            part = flat[at : at + PART]
            places = (np.abs(part) / self.top * BINS).astype(np.uint16)
            self.counts += np.bincount(np.minimum(places, BINS - 1), minlength=BINS)
            self.counts[0] -= part.size - np.count_nonzero(part)

    def cut(self, limit: float) -> Range:
        """The range of the values whose magnitude is at most `limit`."""
        return self.span.intersect(Range(-limit, limit))


@dataclass(slots=True)
class Largest:
    """The largest magnitudes of one tensor, by which a share of all values can be kept without a histogram.

    Attributes:
        share: Of the values that are to lie within the limit.
        seen: Values so far.
        kept: The largest of them, enough of them for all that are to come.
        floor: Magnitudes that are not above it are not kept.
    """

    share: float
    seen: int = 0
    kept: Array = field(default_factory=lambda: np.zeros(0, np.float32))
    floor: float = -1.0
    _most: int = 0

    def add(self, values: Array, portion: float) -> None:
        """Take one batch, `portion` of all that will be."""
        flat = values.ravel()
        # Twice what will be needed if all batches are alike: those of sequences are not.
        self._most = max(self._most, LEAST_KEPT, int(2 * (1 - self.share) * flat.size / portion))
        self.seen += flat.size
        magnitudes = np.abs(flat)
        self.kept = np.concatenate([self.kept, magnitudes[magnitudes > self.floor]])
        if len(self.kept) > 2 * self._most:
            self.kept = np.partition(self.kept, -self._most)[-self._most :]
            self.floor = float(self.kept.min())

    @property
    def limit(self) -> float:
        """The smallest magnitude that `share` of all values do not exceed; 0 where nearly all values are."""
        beyond = int((1 - self.share) * self.seen + ROUNDING)
        place = max(len(self.kept) - 1 - beyond, 0)
        return float(np.partition(self.kept, place)[place])


def least_divergence(seen: Magnitudes) -> float:
    """The limit whose grid tells most of the distribution, by Kullback-Leibler divergence.

    Source: S. Migacz, 8-bit Inference with TensorRT, GTC 2017.
    """
    levels = CANDIDATES
    best, limit = np.inf, seen.top
    for kept in np.linspace(levels, BINS, CANDIDATES).astype(int):
        wanted = seen.counts[:kept].astype(np.float64)
        groups = np.arange(kept) * levels // kept
        filled = wanted > 0
        sums = np.bincount(groups, wanted, levels)
        sizes = np.maximum(np.bincount(groups, filled, levels), 1)
        coarse = np.where(filled, (sums / sizes)[groups], 0.0)
        wanted[-1] += seen.counts[kept:].sum()  # what is clipped lands on the last step
        told = filled & (coarse > 0)
        p, q = wanted / wanted.sum(), coarse / max(coarse.sum(), 1e-300)
        # Where values land and the grid has none, as behind a gap, nothing is told of them.
        lost = p[(p > 0) & ~told].sum() * np.log(BINS)
        divergence = float((p[told] * np.log(p[told] / q[told])).sum() + lost)
        if divergence < best:
            best, limit = divergence, seen.top * kept / BINS
    return limit


def least_square(seen: Magnitudes) -> float:
    """The limit with the least mean square error."""
    return _search(seen, lambda sizes, rounded, counts: float((counts * (sizes - rounded) ** 2).sum()))


def least_shift(seen: Magnitudes) -> float:
    """The limit that moves mean and deviation of the magnitudes the least."""

    def shift(sizes: Array, rounded: Array, counts: Array) -> float:
        weights = counts / counts.sum()
        means = [(weights * values).sum() for values in (sizes, rounded)]
        spreads = [
            np.sqrt((weights * (values - mean) ** 2).sum())
            for values, mean in zip((sizes, rounded), means, strict=True)
        ]
        return float(abs(means[0] - means[1]) + abs(spreads[0] - spreads[1]))

    return _search(seen, shift)


def _search(seen: Magnitudes, error: Callable[[Array, Array, Array], float]) -> float:
    sizes = (np.arange(BINS) + 0.5) * (seen.top / BINS)
    limits = seen.top * np.linspace(1 / CANDIDATES, 1, CANDIDATES)
    errors = []
    for limit in limits:
        span = seen.cut(limit)
        step = span.width / STEPS
        rounded = np.minimum(np.rint(sizes / step) * step, limit)
        errors.append(error(sizes, rounded, seen.counts))
    return float(limits[int(np.argmin(errors))])


SEARCHES: dict[str, Callable[[Magnitudes], float]] = {
    "KL": least_divergence,
    "mse": least_square,
    "emd": least_shift,
}
"""By algorithm."""
