"""Persons cut out of pictures, and where the answers lie in them."""

import numpy as np
import pytest

from edge_kit.core.errors import BadData
from edge_kit.core.poses import PosePreprocess, invert, move, peaks

TALL = PosePreprocess(384, 288)


def test_a_box_is_widened_to_the_inputs_shape_and_seen_with_a_quarter_of_room() -> None:
    """Of a square box the width decides: 75 would be enough for its height."""
    matrix = TALL.matrix(np.array([200, 50, 100, 100]))
    seen = move(np.array([[0.0, 0.0], [288.0, 384.0]]), invert(matrix))
    width = 1.25 * 100
    assert seen[0] == pytest.approx([250 - width / 2, 100 - width / 2 * 4 / 3])
    assert seen[1] == pytest.approx([250 + width / 2, 100 + width / 2 * 4 / 3])
    tall = TALL.matrix(np.array([0, 0, 30, 400]))
    assert move(np.array([[15.0, 200.0]]), tall)[0] == pytest.approx([144, 192])
    assert tall[0, 0] == pytest.approx(384 / 500)


def test_turning_and_widening_keep_the_centre() -> None:
    matrix = TALL.matrix(np.array([10, 20, 60, 80]), scale=2.0, rotation_deg=90.0)
    assert move(np.array([[40.0, 60.0]]), matrix)[0] == pytest.approx([144, 192])
    right = move(np.array([[41.0, 60.0]]), matrix)[0] - [144, 192]
    assert right == pytest.approx([0, 288 / (1.25 * 2 * 60)]), "what lay on the right lies below"


def test_the_way_back_is_the_way_back() -> None:
    matrix = TALL.matrix(np.array([3, 5, 70, 44]), 0.8, 33.0)
    points = np.random.default_rng(0).uniform(0, 100, (7, 2))
    assert move(move(points, matrix), invert(matrix)) == pytest.approx(points)


def test_the_input_is_red_first_normalised_and_black_beyond_the_picture() -> None:
    image = np.full((100, 100, 3), (0, 0, 255), np.uint8)  # red, as OpenCV has it
    given = PosePreprocess(64, 64)(image, np.array([0, 0, 100, 100]))
    assert given.shape == (3, 64, 64) and given.dtype == np.float32
    assert given[:, 32, 32] == pytest.approx([(1 - 0.485) / 0.229, -0.456 / 0.224, -0.406 / 0.225], rel=1e-5)
    assert given[0, 0, 0] == pytest.approx(-0.485 / 0.229, rel=1e-5)


@pytest.mark.parametrize("box", [(0, 0, 0, 5), (0, 0, 5, -1), (0, 0, np.nan, 5), (0, 0, np.inf, 5)])
def test_an_empty_box_is_refused(box: tuple[float, ...]) -> None:
    with pytest.raises(BadData, match="a person's box has a width and a height in pixels"):
        TALL.matrix(np.array(box))


def test_the_bundles_preprocessing_reads_back_as_it_was() -> None:
    assert PosePreprocess.from_dict(TALL.as_dict()) == TALL
    with pytest.raises(ValueError, match="must be multiples of 4"):
        PosePreprocess(62, 64)


def test_a_peak_moves_a_quarter_of_a_cell_to_the_higher_neighbour_and_not_at_the_border() -> None:
    maps = np.zeros((1, 4, 5, 6))
    maps[0, 0, 2, 3], maps[0, 0, 2, 4], maps[0, 0, 1, 3] = 1.0, 0.5, 0.3  # right and up
    maps[0, 1, 2, 3], maps[0, 1, 2, 2] = 1.0, 0.5  # left, and neither up nor down
    maps[0, 2, 0, 3], maps[0, 2, 0, 4] = 0.7, 0.5  # in the first row
    points, heights = peaks(maps)
    assert points[0].tolist() == [[3.25, 1.75], [2.75, 2.0], [3.0, 0.0], [0.0, 0.0]]
    assert heights[0].tolist() == [1.0, 1.0, 0.7, 0.0]
