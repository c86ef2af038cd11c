"""What data sets share that are two lists of samples, whatever a sample is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar

from edge_kit.core.tensors import Tensors
from edge_kit.data.dataset import evenly_spread, shuffled

S = TypeVar("S")


class ListedSamples(ABC, Generic[S]):
    """Sizes and batches of a `Dataset`; a format fills both lists and says what a batch of samples holds."""

    _train: Sequence[S]
    _test: Sequence[S]

    def train_size(self) -> int:
        return len(self._train)

    def eval_size(self) -> int:
        return len(self._test)

    def train_batches(self, batch: int, epoch: int, seed: int, start: int = 0) -> Iterator[Tensors]:
        for chosen in shuffled(len(self._train), batch, epoch, seed, start):
            yield self._batch([self._train[i] for i in chosen])

    def eval_batches(self, batch: int) -> Iterator[Tensors]:
        yield from self._plain_batches(self._test, batch)

    def calibration_batches(self, samples: int, batch: int) -> Iterator[Tensors]:
        yield from self._plain_batches([self._train[i] for i in evenly_spread(len(self._train), samples)], batch)

    def _plain_batches(self, samples: Sequence[S], batch: int) -> Iterator[Tensors]:
        for start in range(0, len(samples), batch):
            yield self._batch(samples[start : start + batch])

    @abstractmethod
    def _batch(self, samples: Sequence[S]) -> Tensors:
        """The inputs and the task's targets."""
