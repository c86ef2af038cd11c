"""How a picture of a line is prepared, pixel by pixel."""

import numpy as np
import pytest

from edge_kit.core.errors import BadData
from edge_kit.core.lines import LinePreprocess


def test_a_line_keeps_its_width_and_is_filled_up_on_the_right() -> None:
    image = np.random.default_rng(0).integers(0, 256, (4, 10, 3), np.uint8)
    line = LinePreprocess(16, 4)(image)
    assert line.shape == (1, 4, 16)
    assert line.dtype == np.float32
    grey = image.astype(np.float64) @ [0.114, 0.587, 0.299]
    np.testing.assert_allclose(line[0, :, :10] + 127.5, np.rint(grey), atol=1.0)
    assert not line[0, :, 10:].any()


def test_grey_is_that_of_pillow() -> None:
    image = np.random.default_rng(1).integers(0, 256, (8, 64, 3), np.uint8)
    pillow = pytest.importorskip("PIL.Image")
    wanted = np.asarray(pillow.fromarray(image[..., ::-1].copy()).convert("L"))
    np.testing.assert_array_equal(LinePreprocess(64, 8)(image)[0] + 127.5, wanted)


def test_a_higher_or_wider_picture_is_squeezed() -> None:
    image = np.repeat(np.arange(0, 240, 2, dtype=np.uint8)[None], 60, axis=0)  # (60, 120), darker on the left
    line = LinePreprocess(64, 48)(image)
    assert line.shape == (1, 48, 64)
    assert (np.diff(line[0, 0]) > 0).all()
    assert line[0, 0, 0] < -124 and line[0, 0, -1] > 107


def test_it_reads_back_as_it_was() -> None:
    preprocess = LinePreprocess(384)
    assert LinePreprocess.from_dict(preprocess.as_dict()) == preprocess


@pytest.mark.parametrize("image", [np.zeros((3, 3), np.float32), np.zeros((0, 3, 3), np.uint8), np.zeros(3, np.uint8)])
def test_what_is_no_picture_is_refused(image: np.ndarray) -> None:
    with pytest.raises(BadData, match=r"^a line must be \(H, W, 3\) or \(H, W\) uint8 and not empty, got"):
        LinePreprocess(64)(image)


@pytest.mark.parametrize("width", [0, 60, 100_000])
def test_a_width_that_no_network_reads_is_refused(width: int) -> None:
    with pytest.raises(ValueError, match="multiple of 8"):
        LinePreprocess(width)
