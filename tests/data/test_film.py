"""The film of digits: any frame by itself, and what it shows is what it says."""

import numpy as np

from edge_kit.data.mini.clip import HOLD, digit_of, film


def test_a_frame_is_the_same_whatever_was_made_before_it() -> None:
    later = film(HOLD + 3)
    film(0), film(9 * HOLD)
    np.testing.assert_array_equal(film(HOLD + 3), later)
    assert (later.shape, later.dtype) == ((240, 240, 3), np.uint8)


def test_frames_of_one_digit_move_and_the_next_digit_is_another_picture() -> None:
    def apart(first: int, second: int) -> float:
        return float(np.abs(film(first).astype(int) - film(second)).mean())

    assert 0.05 < apart(0, 1) < 0.5 * apart(HOLD - 1, HOLD)


def test_all_digits_come() -> None:
    assert {digit_of(HOLD * scene) for scene in range(80)} == set(range(10))
    assert len({digit_of(index) for index in range(HOLD)}) == 1
