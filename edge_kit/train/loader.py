"""Batches made ahead of the step that reads them, on threads, in a fixed order.

Threads and not processes: decoding, resizing and NumPy's arithmetic let other threads run meanwhile, a data set need
not be sent anywhere, and an interrupt leaves nothing behind.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from edge_kit.core.tensors import Tensors
from edge_kit.data.dataset import Dataset

T = TypeVar("T")
AHEAD = 2  # made or in the making for each thread: one waits while the next is made
MOST_THREADS = 8  # a GPU is kept busy by so many; more fight over Python's lock


def prefetched(make: Callable[[int], T], first: int, end: int, threads: int) -> Generator[T, None, None]:
    """What `make` gives for `first` to `end - 1`, in that order, at most `AHEAD` a thread ahead of its reader.

    What `make` raises is raised here, in its turn. Close the iterator to stop before the end.
    """
    waiting: deque[Future[T]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="batches") as pool:
        try:
            for place in range(first, end):
                waiting.append(pool.submit(make, place))
                if len(waiting) >= AHEAD * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for one in waiting:
                one.cancel()


def batch_at(dataset: Dataset, batch: int, epoch: int, seed: int, place: int) -> Tensors:
    """One training batch of an epoch, by its place in it."""
    for found in dataset.train_batches(batch, epoch, seed, place):
        return found
    raise ValueError(f"{dataset.name} has no batch {place} of {batch} in epoch {epoch}; its train_size says otherwise")


def loader_threads(on_cpu: bool, processes: int = 1) -> int:
    """How many threads keep the device busy.

    Args:
        on_cpu: Whether the network is computed by the cores that would read.
        processes: That train on this machine.
    """
    return 1 if on_cpu else max(1, min(MOST_THREADS, len(os.sched_getaffinity(0)) // processes))
