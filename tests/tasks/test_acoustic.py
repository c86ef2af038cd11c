"""Hearing, figure by figure."""

import math

import numpy as np
import pytest

from edge_kit.tasks.acoustic import Acoustic, merged

DELAY = 2


class FakeData:
    """Frames whose number says which state the graph below prefers; answers come two frames later."""

    name = "fake"

    def __init__(self, heard: list[list[int]], labels: list[list[int]]) -> None:
        count, frames = len(heard), np.array(heard)
        told = np.full(frames.shape, -1)
        for row, label in zip(told, labels, strict=True):
            row[DELAY : DELAY + len(label)] = label
        self._batch = {
            "frames": frames.reshape(count, -1, 2, 1, 1, 1).astype(np.float32),
            "state": np.zeros((count, 1, 2), np.float32),
            "cell": np.zeros((count, 1, 1), np.float32),
            "label": told.reshape(count, -1, 2),
        }

    def eval_size(self) -> int:
        return len(self._batch["label"])

    def eval_batches(self, batch: int):
        yield self._batch


def echo(inputs):
    """Prefers the state of two frames ago, which it remembers; `cell` counts chunks."""
    frames = inputs["frames"][:, :, 0, 0, 0]
    logits = np.eye(4, dtype=np.float32)[inputs["state"][:, 0].astype(int)]
    return {"logits": logits, "state_after": frames[:, None], "cell_after": inputs["cell"] + 1}


def ignore(done: int, total: int, note: str = "") -> None:
    pass


HEARD = FakeData([[0, 1, 1, 2, 2, 2, 0, 0], [3, 3, 1, 1, 1, 2, 0, 0]], [[0, 1, 1, 2, 2, 2], [3, 3, 2, 1, 1]])


def test_frames_are_counted_where_something_is_asked_and_states_once_however_long_they_last() -> None:
    accuracy, errors = Acoustic().evaluate({"main": echo}, HEARD, ignore)
    assert (accuracy.name, accuracy.samples) == ("frame accuracy", 11)
    assert accuracy.value == pytest.approx(100 * 10 / 11)
    assert (errors.name, errors.lower_is_better, errors.samples) == ("state error rate", True, 2)
    assert errors.value == pytest.approx(100 * 1 / 6), "of 0 1 2 and 3 2 1, heard as 3 1"


def test_states_in_order_each_once() -> None:
    assert merged(np.array([0, 0, 1, 1, 0, 2])) == [0, 1, 0, 2]


def test_a_graph_is_fed_with_the_chunk_in_the_middle_and_what_was_before_it() -> None:
    (feed,) = Acoustic().feeds({"main": echo}, next(HEARD.eval_batches(2))).values()
    assert feed["frames"][:, :, 0, 0, 0].tolist() == [[2, 2], [1, 2]]
    assert feed["state"][:, 0].tolist() == [[1, 2], [1, 1]]
    assert feed["cell"].tolist() == [[[2.0]], [[2.0]]]


def test_agreement_needs_no_labels_and_numbers_that_are_not_finite_agree_with_nothing() -> None:
    def forgets(inputs):
        return echo({**inputs, "state": np.zeros_like(inputs["state"])})

    def breaks(inputs):
        return {**echo(inputs), "logits": np.full((2, 2, 4), np.nan)}

    def same(first, second) -> float:
        return Acoustic().agreement({"main": first}, {"main": second}, HEARD, 2).value

    assert same(echo, echo) == 100.0
    assert same(echo, forgets) == pytest.approx(100 * 1 / 11)
    assert same(breaks, breaks) == 0.0
    assert Acoustic().evaluate({"main": breaks}, HEARD, ignore)[0].value == 0.0


def test_the_loss_is_the_mean_over_frames_that_something_is_asked_of() -> None:
    import paddle

    logits = paddle.to_tensor([[[0.0, 0.0], [0.0, math.log(3.0)], [5.0, 5.0], [math.log(7.0), 0.0]]])
    batch = {
        "frames": paddle.zeros([1, 2, 2, 3, 11, 80]),
        "state": None,
        "cell": None,
        "label": paddle.to_tensor([[[-1, 1], [-1, 0]]]),
    }
    loss = Acoustic().loss(lambda frames, state, cell: (logits, None, None), batch)
    assert float(loss) == pytest.approx((math.log(4 / 3) + math.log(8 / 7)) / 2, rel=1e-5)
