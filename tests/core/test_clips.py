"""From the frames of a clip to a network's input."""

import numpy as np
import pytest

from edge_kit.core.clips import ClipPreprocess
from edge_kit.core.errors import BadData
from edge_kit.core.images import ImagePreprocess


def frames(count: int, height: int = 32, width: int = 42) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (height, width, 3)).astype(np.uint8) for _ in range(count)]


@pytest.mark.parametrize(
    ("count", "wanted"),
    [
        (80, [4, 14, 24, 34, 44, 54, 64, 74]),  # segments of ten, of which the fifth is the middle
        (89, [5, 16, 27, 38, 49, 60, 71, 82]),  # the last frame is of no segment
        (16, [0, 2, 4, 6, 8, 10, 12, 14]),
        (8, list(range(8))),
        (3, [0, 1, 2, 0, 1, 2, 0, 1]),
    ],
)
def test_the_middle_frame_of_each_segment_is_taken(count: int, wanted: list[int]) -> None:
    assert ClipPreprocess(8, 32, 32).places(count) == wanted


def test_training_draws_within_each_segment() -> None:
    rng = np.random.default_rng(0)
    drawn = np.array([ClipPreprocess(4, 32, 32).places(40, lambda n: int(rng.integers(n))) for _ in range(300)])
    assert (drawn // 10 == np.arange(4)).all()
    assert [set(column) for column in (drawn % 10).T] == [set(range(10))] * 4


def test_a_frame_of_the_right_size_is_cut_and_normalised_as_a_picture_is() -> None:
    clip = frames(16)
    made = ClipPreprocess(8, 32, 24)(clip)
    assert made.shape == (8, 3, 24, 24)
    assert made.dtype == np.float32
    picture = ImagePreprocess(32, 24)
    np.testing.assert_array_equal(made[3], picture.normalise(clip[6][4:28, 9:33]))


def test_other_frames_get_a_fixed_aspect_whatever_theirs_was() -> None:
    prepare = ClipPreprocess(2, 256, 224)
    assert prepare.resized(frames(1, 360, 640)[0]).shape == (256, 341, 3)
    assert prepare.resized(frames(1, 640, 360)[0]).shape == (341, 256, 3)
    assert prepare.resized(frames(1, 256, 900)[0]).shape == (256, 900, 3)


def test_settings_survive_the_way_through_a_bundle() -> None:
    prepare = ClipPreprocess(4, 40, 32, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
    assert prepare.as_dict()["kind"] == "clip"
    assert ClipPreprocess.from_dict(prepare.as_dict()) == prepare


def test_what_is_no_clip_is_told() -> None:
    with pytest.raises(BadData, match="a clip has no frame"):
        ClipPreprocess(2, 32, 32)([])
    with pytest.raises(BadData, match=r"a frame must be \(H, W, 3\) uint8"):
        ClipPreprocess(2, 32, 32)([np.zeros((4, 4), np.uint8)] * 2)
    with pytest.raises(ValueError, match="segments must be at least 1"):
        ClipPreprocess(0, 32, 32)
