"""Parity finds the largest difference, and is not fooled by numbers that are not finite."""

import numpy as np

from convert.parity import measure_parity


def constant(value: np.ndarray):
    return lambda inputs: {"y": value}


def test_the_largest_difference_is_found_where_it_is() -> None:
    wanted = np.array([[1.0, 2.0], [4.0, -8.0]])
    got = wanted + np.array([[0.0, 0.1], [0.0, 0.4]])
    [parity] = measure_parity(constant(wanted), constant(got), [{"x": np.zeros(2)}])
    assert parity.at == (1, 1)
    assert np.isclose(parity.max_abs, 0.4)
    assert np.isclose(parity.max_rel, 0.05)
    assert parity.samples == 2


def test_a_nan_or_another_shape_is_an_infinite_difference() -> None:
    wanted = np.ones((1, 2))
    for got in (np.array([[1.0, np.nan]]), np.ones((1, 3))):
        [parity] = measure_parity(constant(wanted), constant(got), [{"x": np.zeros(1)}])
        assert parity.max_rel == float("inf")


def test_the_worst_batch_counts_and_all_samples_are_counted() -> None:
    answers = iter([np.ones((2, 1)), np.full((3, 1), 1.5)])
    wanted = iter([np.ones((2, 1)), np.ones((3, 1))])
    [parity] = measure_parity(lambda _: {"y": next(wanted)}, lambda _: {"y": next(answers)}, [{}, {}])
    assert parity.max_abs == 0.5
    assert parity.samples == 5
