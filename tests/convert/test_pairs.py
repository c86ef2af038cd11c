"""Pairs as the kernels make them, and weights that no activation can make saturate."""

import numpy as np
import pytest

from convert.pairs import fit_any_pairs, fit_channels, fit_pairs, in_kernel_order, is_depthwise, pair_load, saturation

SHAPES = [(8, 3, 3, 3), (16, 32, 1, 1), (8, 4, 3, 3), (10, 41)]


def weights(*shape: int) -> np.ndarray:
    return np.random.default_rng(shape).normal(0, 0.1, shape).astype(np.float32)


def full_scale(weight: np.ndarray) -> np.ndarray:
    return (np.abs(weight.reshape(len(weight), -1)).max(axis=1) / 127).astype(np.float32)


def error(weight: np.ndarray, fitted: tuple[np.ndarray, np.ndarray]) -> float:
    """Root mean square over that of the weights."""
    stored, scale = fitted
    restored = stored * scale.reshape(-1, *[1] * (weight.ndim - 1))
    return float(np.sqrt(np.mean((restored - weight) ** 2) / np.mean(weight**2)))


def blunt(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What any two weights of a channel ask for, whatever their signs and places."""
    two = -np.sort(-np.abs(weight.reshape(len(weight), -1)), axis=1)[:, :2]
    return fit_channels(weight, np.maximum(full_scale(weight), two.sum(axis=1) / 127).astype(np.float32))


def test_pairs_are_neighbouring_channels_of_one_kernel_position_and_the_last_may_stand_alone() -> None:
    weight = np.arange(3 * 2 * 2).reshape(1, 3, 2, 2)  # channel c at place p is 4 c + p
    assert in_kernel_order(weight).tolist() == [[0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]]
    assert in_kernel_order(np.ones((1, 3, 1, 1))).tolist() == [[1, 1, 1, 0]]
    assert in_kernel_order(np.arange(3).reshape(1, 3)).tolist() == [[0, 1, 2, 0]]


def test_only_pairs_of_one_sign_can_saturate() -> None:
    rows = np.array([[127, -127, 0, 0], [64, 65, 0, 0], [64, 64, 1, 1], [-64, -65, 0, 0], [64, 0, 65, 0]], np.int8)
    assert (pair_load(rows) > 1).tolist() == [False, True, False, True, False]
    assert pair_load(rows)[1] == pytest.approx(255 * 129 / 32767)


def test_saturation_is_what_vpmaddubsw_does() -> None:
    rng = np.random.default_rng(0)
    activations, rows = rng.integers(0, 256, (300, 7), np.uint8), rng.integers(-127, 128, (9, 8)).astype(np.int8)
    rows[:, 7] = 0
    padded = np.pad(activations, ((0, 0), (0, 1))).astype(int)
    products = padded[:, None, :] * rows.astype(int)  # (300, 9, 8)
    pairs = products[..., ::2] + products[..., 1::2]
    stored = np.clip(pairs, -32768, 32767)
    excess, count = saturation(activations, rows)
    np.testing.assert_array_equal(excess, (stored - pairs).sum(axis=2))
    assert count == (stored != pairs).sum() > 50


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_no_activation_saturates_fitted_weights(shape: tuple[int, ...]) -> None:
    weight = weights(*shape)
    stored, _ = fit_pairs(weight, full_scale(weight))
    rows = in_kernel_order(stored)
    assert stored.shape == weight.shape
    assert (pair_load(rows) <= 1).all()
    towards = np.concatenate([rows > 0, rows < 0]) * np.uint8(255)  # the worst activations of each channel
    assert saturation(towards.astype(np.uint8), rows)[1] == 0
    assert saturation(towards.astype(np.uint8), in_kernel_order(fit_channels(weight, full_scale(weight))[0]))[1] > 0


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_no_two_weights_saturate_in_any_order_where_that_is_asked_for(shape: tuple[int, ...]) -> None:
    weight = weights(*shape)
    stored, scale = fit_any_pairs(weight, full_scale(weight))
    rows = np.sort(stored.reshape(len(stored), -1).astype(int), axis=1)
    assert (255 * np.maximum(rows[:, -2:], 0).sum(axis=1) <= 32767).all()
    assert (255 * np.minimum(rows[:, :2], 0).sum(axis=1) >= -32768).all()
    assert error(weight, (stored, scale)) < 1.1 * error(weight, blunt(weight))


def test_a_channel_of_one_weight_keeps_its_full_range_in_any_order() -> None:
    weight = np.array([[1.0, 0.0, 0.0], [1.0, -1.0, 0.0]], np.float32)
    stored, scale = fit_any_pairs(weight, full_scale(weight))
    assert stored.tolist() == [[127, 0, 0], [127, -127, 0]]
    np.testing.assert_array_equal(scale, full_scale(weight))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_fitted_weights_are_nearer_than_those_of_a_bound_on_any_two(shape: tuple[int, ...]) -> None:
    weight = weights(*shape)
    whole = error(weight, fit_channels(weight, full_scale(weight)))
    assert whole < error(weight, fit_pairs(weight, full_scale(weight))) < 0.85 * error(weight, blunt(weight))


def test_a_channel_whose_pairs_fit_keeps_its_full_range_and_its_neighbour_does_not() -> None:
    weight = np.array([[1.0, -1.0, 0.5, 0.004], [1.0, 0.5, 0.0, 0.0]], np.float32)
    stored, scale = fit_pairs(weight, full_scale(weight))
    assert stored[0].tolist() == [127, -127, 64, 1]
    assert scale[0] == full_scale(weight)[0]
    assert stored[1].astype(int).sum() == 128
    assert scale[1] == pytest.approx(255 * (127 + 64) / 32767 / 127, rel=2**-12)


def test_a_convolution_of_one_channel_a_filter_is_depthwise_and_a_grouped_one_is_not() -> None:
    assert is_depthwise(np.ones((8, 1, 3, 3)), 8)
    assert not is_depthwise(np.ones((8, 2, 3, 3)), 4)
    assert not is_depthwise(np.ones((16, 1, 3, 3)), 8)
