"""What is known about the numbers in a graph before it is lowered: ranges of activations, grids of weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
STEPS = 255  # between the ends of an 8-bit grid


@dataclass(frozen=True, slots=True)
class Range:
    """The values an activation takes, `low <= 0 <= high`.

    Attributes:
        low: Smallest value kept; below it is clipped.
        high: Largest value kept.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        if not (np.isfinite(self.low) and np.isfinite(self.high) and self.low <= 0 <= self.high):
            raise ValueError(f"a range must be finite and hold 0, got [{self.low}, {self.high}]")

    @classmethod
    def holding(cls, low: float, high: float) -> Range:
        """The smallest range that holds `low`, `high` and zero."""
        return cls(min(low, 0.0), max(high, 0.0))

    @property
    def width(self) -> float:
        """From end to end."""
        return self.high - self.low

    def intersect(self, other: Range) -> Range:
        """The values in both ranges."""
        return Range(max(self.low, other.low), min(self.high, other.high))

    def where_used(self, seen: Range) -> Range:
        """The range with the side that is used less cut to what was seen."""
        if seen.high >= -seen.low:
            return Range(max(self.low, seen.low), self.high)
        return Range(self.low, min(self.high, seen.high))


@dataclass(slots=True)
class Quantization:
    """What a quantizer found out about a float graph.

    Attributes:
        ranges: By activation tensor.
        weight_scales: By constant, one scale per output channel, (C,) float32: the grid to round it to.
        silent: Activations that were 0 all the time: they have no range, and no grid.
        mended: Tensors whose scale was zero or not a number, and was left out.
        means: By activation tensor that weights are multiplied with, (C,) float32: its mean in every channel.
    """

    ranges: dict[str, Range] = field(default_factory=dict)
    weight_scales: dict[str, Array] = field(default_factory=dict)
    silent: list[str] = field(default_factory=list)
    mended: list[str] = field(default_factory=list)
    means: dict[str, Array] = field(default_factory=dict)

    def copy(self) -> Quantization:
        """An independent copy."""
        return Quantization(
            dict(self.ranges), dict(self.weight_scales), list(self.silent), list(self.mended), dict(self.means)
        )
