"""Pictures of a game become a stack, the newest last, black where the game is younger."""

import numpy as np
import pytest

from edge_kit.core.errors import BadData
from edge_kit.core.frames import FrameStack


def grey(value: int, side: int = 6) -> np.ndarray:
    return np.full((side, side), value, np.uint8)


def test_the_last_pictures_are_stacked_and_a_young_game_is_black_before_it_began() -> None:
    frames = FrameStack(6, 4)([[grey(value) for value in (1, 2, 3, 4, 5)], [grey(9)]])["frames"]
    assert frames.shape == (2, 4, 6, 6)
    assert frames.dtype == np.float32
    assert frames[0, :, 0, 0].tolist() == [2, 3, 4, 5]
    assert frames[1, :, 5, 5].tolist() == [0, 0, 0, 9]


def test_pictures_of_another_size_are_resized() -> None:
    picture = grey(0, 12)
    picture[:6] = 200
    frames = FrameStack(6, 1)([[picture]])["frames"]
    assert frames[0, 0, :, 0].tolist() == [200, 200, 200, 0, 0, 0]


def test_the_bundles_settings_read_back_as_they_were() -> None:
    document = FrameStack(36, 4, "Pong").as_dict()
    assert document["kind"] == "frames"
    assert FrameStack.from_dict(document) == FrameStack(36, 4, "Pong")


@pytest.mark.parametrize("picture", [np.zeros((6, 6), np.float32), np.zeros((6, 6, 3), np.uint8), grey(0, 0)])
def test_what_is_no_grey_picture_is_refused_on_the_board_too(picture: np.ndarray) -> None:
    with pytest.raises(BadData, match=r"a frame must be \(H, W\) uint8 and not empty, got"):
        FrameStack(6, 1)([[picture]])
