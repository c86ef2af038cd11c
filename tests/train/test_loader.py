"""Batches are made ahead, in order, and nothing of it shows."""

import threading
import time
from contextlib import closing

import pytest

from edge_kit.core.errors import BadData
from edge_kit.train.loader import AHEAD, batch_at, prefetched
from tests.train.test_trainer import Stripes


@pytest.mark.parametrize("threads", [1, 3])
def test_the_order_is_that_of_the_places_however_long_each_takes(threads: int) -> None:
    def make(place: int) -> int:
        time.sleep(0.01 * (place % 3))
        return place

    assert list(prefetched(make, 4, 20, threads)) == list(range(4, 20))


@pytest.mark.parametrize("threads", [1, 3])
def test_batches_are_made_while_one_is_used_and_no_more_than_agreed(threads: int) -> None:
    made: list[int] = []

    def make(place: int) -> int:
        made.append(place)
        return place

    with closing(prefetched(make, 0, 100, threads)) as batches:
        for _ in range(5):
            next(batches)
        time.sleep(0.2)
        assert len(made) == 5 + AHEAD * threads - 1


def test_a_fault_is_raised_in_its_turn_and_ends_the_threads() -> None:
    def make(place: int) -> int:
        if place == 3:
            raise BadData("image 'x.jpeg' cannot be decoded")
        return place

    seen = []
    with pytest.raises(BadData, match="x.jpeg"):
        for batch in prefetched(make, 0, 100, 2):
            seen.append(batch)
    assert seen == [0, 1, 2]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("batches")]


def test_an_interrupted_reader_leaves_no_thread() -> None:
    def read() -> None:
        with closing(prefetched(lambda place: place, 0, 10**6, 2)) as batches:
            for batch in batches:
                if batch == 3:
                    raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        read()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("batches")]


def test_a_batch_that_a_set_does_not_have_is_said_to_be_missing() -> None:
    assert len(batch_at(Stripes(96), 8, 0, 0, 11)["label"]) == 8
    with pytest.raises(ValueError, match="stripes has no batch 12 of 8 in epoch 0"):
        batch_at(Stripes(96), 8, 0, 0, 12)
