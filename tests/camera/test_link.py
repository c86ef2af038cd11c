"""A queue that cannot grow, whichever of its ends is slow or gone."""

import threading
import time

import pytest

from edge_kit.camera.link import Drained, Link


def test_items_come_out_in_order_and_what_was_given_before_the_end_still_comes() -> None:
    link: Link[int] = Link(3)
    for item in (1, 2, 3):
        assert link.put(item)
    link.close()
    assert [link.take(), link.take(), link.take()] == [1, 2, 3]
    with pytest.raises(Drained):
        link.take()


def test_a_full_link_that_drops_loses_its_oldest_and_counts_it() -> None:
    link: Link[int] = Link(2, drop_oldest=True)
    for item in range(5):
        assert link.put(item)
    assert (link.dropped, link.take(), link.take()) == (3, 3, 4)


def test_a_full_link_that_keeps_all_lets_the_giver_wait() -> None:
    link: Link[int] = Link(1)
    link.put(1)
    giver = threading.Thread(target=link.put, args=(2,))
    giver.start()
    giver.join(0.05)
    assert giver.is_alive()
    assert (link.take(), link.take(1.0)) == (1, 2)
    giver.join(1.0)
    assert not giver.is_alive()
    assert link.dropped == 0


def test_a_giver_that_waits_is_told_when_the_taker_leaves() -> None:
    link: Link[int] = Link(1)
    link.put(1)
    told: list[bool] = []
    giver = threading.Thread(target=lambda: told.append(link.put(2)))
    giver.start()
    time.sleep(0.02)
    link.abandon()
    giver.join(1.0)
    assert told == [False]
    with pytest.raises(Drained):
        link.take()


def test_nothing_in_time_is_none_and_not_the_end() -> None:
    assert Link[int](1).take(0.01) is None


def test_a_link_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1, got 0"):
        Link[int](0)
