"""Sound to frames, number by number."""

import numpy as np
import pytest

from edge_kit.core.errors import BadData
from edge_kit.core.speech import AcousticPreprocess, mel_bands, slopes

PREPROCESS = AcousticPreprocess(4, (5, 512), (5, 1024), delay=2)


def test_a_tone_is_loudest_in_the_band_it_lies_in() -> None:
    """Band k is centred where the mel scale is cut into 81 equal parts."""
    for hertz in (200.0, 1000.0, 5000.0):
        sound = 0.5 * np.sin(2 * np.pi * hertz * np.arange(8000) / 16_000)
        bands = mel_bands(sound)
        low, high = (1127 * np.log1p(edge / 700) for edge in (20.0, 8000.0))
        place = (1127 * np.log1p(hertz / 700) - low) / (high - low) * 81 - 1
        assert bands.shape == (48, 80)
        assert (np.abs(bands.argmax(axis=1) - place) < 1).all()


def test_twice_as_loud_is_the_same_more_in_every_band() -> None:
    sound = np.random.default_rng(0).normal(0, 0.1, 4000)
    np.testing.assert_allclose(mel_bands(2 * sound) - mel_bands(sound), 2 * np.log(2), atol=1e-3)


def test_sound_shorter_than_a_window_has_no_frame() -> None:
    assert mel_bands(np.zeros(399)).shape == (0, 80)
    assert mel_bands(np.zeros(400)).shape == (1, 80)


def test_slopes_are_those_of_straight_lines_and_of_a_regression_elsewhere() -> None:
    line = np.arange(8, dtype=np.float32)[:, None] * [3.0, -1.0]
    np.testing.assert_allclose(slopes(line)[2:-2], np.tile([3.0, -1.0], (4, 1)), rtol=1e-6)
    step = np.array([0, 0, 0, 1, 1, 1], np.float32)[:, None]
    np.testing.assert_allclose(slopes(step)[:, 0], [0, 0.2, 0.3, 0.3, 0.2, 0], atol=1e-6)


def test_a_frame_is_seen_between_its_neighbours_and_the_ends_are_repeated() -> None:
    bands = np.tile(np.arange(7, dtype=np.float32)[:, None], (1, 80))
    chunks = PREPROCESS(bands)
    assert chunks.shape == (3, 4, 3, 11, 80), "7 frames and a delay of 2 fill three chunks of 4"
    frames = chunks.reshape(12, 3, 11, 80)
    assert frames[3, 0, :, 5].tolist() == [0, 0, 0, 1, 2, 3, 4, 5, 6, 6, 6]
    assert frames[11, 0, :, 5].tolist() == [6] * 11
    np.testing.assert_allclose(frames[3, 1, 5], slopes(bands)[3])


def test_normalisation_is_of_bands_slopes_and_theirs() -> None:
    mean, variance = np.zeros(240), np.ones(240)
    mean[3], variance[3], mean[80 + 3] = 2.0, 4.0, -1.0
    given = AcousticPreprocess(4, (5, 512), (5, 1024), 2, tuple(mean), tuple(variance))
    bands = np.random.default_rng(1).normal(0, 1, (6, 80))
    plain, normalised = PREPROCESS(bands), given(bands)
    np.testing.assert_allclose(normalised[..., 0, :, 3], (plain[..., 0, :, 3] - 2) / 2, atol=1e-6)
    np.testing.assert_allclose(normalised[..., 1, :, 3], plain[..., 1, :, 3] + 1, atol=1e-6)
    np.testing.assert_array_equal(normalised[..., 2, :, :], plain[..., 2, :, :])


def test_it_reads_back_as_it_was() -> None:
    given = AcousticPreprocess(4, (5, 512), (5, 1024), 2, (0.5,) * 240, (2.0,) * 240)
    again = AcousticPreprocess.from_dict(given.as_dict())
    bands = np.random.default_rng(2).normal(0, 1, (6, 80))
    assert again.as_dict() == given.as_dict()
    np.testing.assert_array_equal(again(bands), given(bands))
    assert {name: value.shape for name, value in again.start(3).items()} == {"state": (3, 5, 512), "cell": (3, 5, 1024)}


@pytest.mark.parametrize("bands", [np.zeros((0, 80)), np.zeros((4, 40)), np.full((4, 80), np.nan), np.zeros(80)])
def test_what_are_no_bands_is_refused(bands: np.ndarray) -> None:
    with pytest.raises(BadData, match=r"^an utterance must be \(T, 80\) finite numbers and not empty, got"):
        PREPROCESS(bands)
