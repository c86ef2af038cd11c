"""Pictures stretched to a square, in floats of either order of channels, and as pixels."""

import numpy as np
import pytest

from edge_kit.core.errors import BadData
from edge_kit.core.images import ImagePreprocess, SquarePreprocess, StretchPreprocess, read_preprocess

HALF = (0.5, 0.5, 0.5)


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (height, width, 3), np.uint8)


def test_the_whole_picture_is_kept_and_its_aspect_is_not() -> None:
    image = np.zeros((20, 40, 3), np.uint8)
    image[:, 30:] = 200  # the right quarter
    made = SquarePreprocess(8, "area", HALF, HALF)(image)
    assert (made.shape, made.dtype) == ((3, 8, 8), np.float32)
    np.testing.assert_allclose(made[:, :, :6], -1, atol=1e-6)
    np.testing.assert_allclose(made[:, :, 6:], 200 / 127.5 - 1, atol=1e-6)


def test_mean_and_deviation_are_of_red_green_and_blue_in_either_order_of_the_network() -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    image[...] = (10, 20, 30)  # BGR
    settings = {"mean": (0.3, 0.2, 0.1), "std": (0.5, 0.25, 0.125)}
    wanted = [(30 / 255 - 0.3) / 0.5, (20 / 255 - 0.2) / 0.25, (10 / 255 - 0.1) / 0.125]
    rgb = SquarePreprocess(4, **settings)(image)
    bgr = SquarePreprocess(4, **settings, channel_order="BGR")(image)
    np.testing.assert_allclose(rgb[:, 0, 0], wanted, rtol=1e-5)
    np.testing.assert_array_equal(bgr, rgb[::-1])


@pytest.mark.parametrize(
    "preprocess",
    [
        SquarePreprocess(32, "cubic"),
        SquarePreprocess(32, "area", HALF, HALF, "BGR"),
        StretchPreprocess(32, "area"),
        ImagePreprocess(40, 32, channel_order="BGR"),
    ],
    ids=lambda one: one.as_dict()["kind"],
)
def test_a_bundle_reads_back_what_it_was_given(preprocess: StretchPreprocess) -> None:
    again = read_preprocess(preprocess.as_dict())
    assert again == preprocess
    np.testing.assert_array_equal(again(picture(50, 40)), preprocess(picture(50, 40)))


def test_what_is_left_for_a_graph_that_takes_pixels_normalises_to_the_same() -> None:
    whole = SquarePreprocess(16, "cubic", channel_order="BGR")
    pixels = whole.without_normalise()(picture(30, 20))
    assert (pixels.dtype, pixels.shape) == (np.uint8, (16, 16, 3))
    np.testing.assert_array_equal(whole.normalise(pixels), whole(picture(30, 20)))


def test_settings_and_pictures_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="side must be at least 1"):
        SquarePreprocess(0)
    with pytest.raises(ValueError, match="interpolation must be one of linear, cubic, area, got 'magic'"):
        StretchPreprocess(8, "magic")
    with pytest.raises(ValueError, match="RGB or BGR"):
        read_preprocess({**SquarePreprocess(8).as_dict(), "channel_order": "GRB"})
    with pytest.raises(BadData, match="must be"):
        SquarePreprocess(8)(np.zeros((4, 4), np.uint8))
