"""A user's own samples: no labels, no published split; half finds ranges, the other half tells what they cost."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from edge_kit.core.errors import UsageError
from edge_kit.core.tensors import Tensors, TensorSpec
from edge_kit.data.dataset import evenly_spread


class Unlabelled(ABC):
    """The part of `Dataset` that does not depend on where samples lie.

    Samples of even place are for calibration, those of odd place for evaluation; a single sample serves both.

    Attributes:
        shared: Whether evaluation is on the samples that ranges were found on.
    """

    published = False
    labels: tuple[str, ...] = ()
    sizes: Mapping[str, int] = {}
    preprocess: Any

    def __init__(self, name: str, count: int, inputs: Sequence[TensorSpec]) -> None:
        self.shared = count < 2
        self.name = f"{name}, {'calibrated on' if self.shared else 'held out'}"
        self._calibration = list(range(0, count, 2))
        self._evaluation = list(range(1, count, 2)) or self._calibration
        fixed = [spec.shape[0] for spec in inputs if isinstance(spec.shape[0], int)]
        self._batch = int(fixed[0]) if fixed else None

    @abstractmethod
    def read(self, places: Sequence[int]) -> Tensors:
        """The samples at these places, as one batch."""

    @abstractmethod
    def digest(self) -> str:
        """Changes when what is read may change."""

    def train_size(self) -> int:
        return len(self._calibration)

    def eval_size(self) -> int:
        return len(self._evaluation)

    def train_batches(self, batch: int, epoch: int, seed: int, start: int = 0) -> Iterator[Tensors]:
        raise UsageError("samples without labels cannot be trained on")

    def eval_batches(self, batch: int) -> Iterator[Tensors]:
        yield from self._batches(self._evaluation, batch)

    def calibration_batches(self, samples: int, batch: int) -> Iterator[Tensors]:
        yield from self._batches(self.calibration_places(samples), batch)

    def calibration_places(self, samples: int) -> list[int]:
        """Places of at most so many samples, evenly spread over those for calibration."""
        return [self._calibration[i] for i in evenly_spread(len(self._calibration), samples)]

    def _batches(self, places: Sequence[int], batch: int) -> Iterator[Tensors]:
        """Whole batches only where the graph takes no others; a last one is filled up with its own samples."""
        step = self._batch or batch
        for start in range(0, len(places), step):
            part = places[start : start + step]
            yield self.read([part[i % len(part)] for i in range(self._batch or len(part))])
