"""What training, calibration and scoring ask of a data set, whatever its on-disk format."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from edge_kit.core.progress import Progress
from edge_kit.core.registry import Registry
from edge_kit.core.tensors import Tensors


def evenly_spread(count: int, most: int) -> list[int]:
    """At most so many places of `count` samples, from the first to the last."""
    return [int(i) for i in np.unique(np.linspace(0, count - 1, min(most, count)).astype(int))]


def shuffled(count: int, batch: int, epoch: int, seed: int, start: int = 0) -> Iterator[list[int]]:
    """The places of each training batch of an epoch; see `Dataset.train_batches`."""
    order = np.random.default_rng([seed, epoch]).permutation(count)
    for first in range(start * batch, count - batch + 1, batch):
        yield [int(i) for i in order[first : first + batch]]


class Dataset(Protocol):
    """One data set on disk.

    A batch holds a graph's inputs and the task's targets side by side, by name, batch axis first. Batches are asked for
    from several threads at once.

    Attributes:
        name: For records, `imagenet-1k` or `mini-imagenet`.
        published: Whether it is the very set that published numbers were measured on.
        labels: Readable names of the classes, in order; empty where there are none.
        sizes: What a network must know to be built for it, `{"num_classes": 10}`.
        preprocess: From a stored sample to the inputs, with what only the set knows, such as a vocabulary; its
            `as_dict` is kept in the bundle.
    """

    name: str
    published: bool
    labels: tuple[str, ...]
    sizes: Mapping[str, int]
    preprocess: Any

    def digest(self) -> str:
        """Changes when what is read from the set may change."""
        ...

    def train_size(self) -> int:
        """Samples in an epoch."""
        ...

    def eval_size(self) -> int:
        """Samples that the metric is measured on."""
        ...

    def train_batches(self, batch: int, epoch: int, seed: int, start: int = 0) -> Iterator[Tensors]:
        """One epoch, shuffled and augmented; the same for the same epoch and seed, whole batches only.

        Batches of half the size are the halves of these, in order, so that several processes can share one: `shuffled`
        gives such places, and what is random in a sample depends on the sample and not on its batch.

        Args:
            start: Batches to leave out at the beginning, for a run that goes on in the middle of an epoch.
        """
        ...

    def eval_batches(self, batch: int) -> Iterator[Tensors]:
        """Every evaluation sample once, in the order of the set, as published."""
        ...

    def calibration_batches(self, samples: int, batch: int) -> Iterator[Tensors]:
        """Training samples, evenly spread and prepared as for evaluation."""
        ...


@dataclass(frozen=True, slots=True)
class DataFormat:
    """A published on-disk format.

    Attributes:
        name: `imagenet`.
        open: Reads a folder of that format: (folder, preprocessing, options) -> Dataset.
        make_mini: Writes a small real set in that format: (folder, settings, progress); None where samples are
            the user's own.
        published: What records call the published set; empty for the format's own name.
    """

    name: str
    open: Callable[[Path, Any, OpenOptions], Dataset]
    make_mini: Callable[[Path, MiniSettings, Progress], None] | None = None
    published: str = ""


@dataclass(frozen=True, slots=True)
class OpenOptions:
    """How to read a folder.

    Attributes:
        name: What to call the set in records.
        published: Whether it is the published set.
        max_bad: How many missing or broken files to leave out before giving up.
        augment: Changes a training sample at random; the format's own by default.
    """

    name: str
    published: bool
    max_bad: int = 0
    augment: Any = None


@dataclass(frozen=True, slots=True)
class MiniSettings:
    """How large and how hard a mini set is.

    Attributes:
        train: Training samples; sample i is the same in a larger set.
        evaluation: Evaluation samples.
        side: Side of a picture in pixels, where there are pictures.
        seed: Of everything random in it.
    """

    train: int = 4096
    evaluation: int = 1000
    side: int = 64
    seed: int = 0


FORMATS: Registry[DataFormat] = Registry("data format")
