"""Text read from logits, figure by figure."""

import math

import numpy as np
import pytest

from edge_kit.tasks.edits import edit_distance
from edge_kit.tasks.read_text import ReadText, read_greedily

BLANK = 3
LINES = {  # the likeliest class of each step, and what it says
    "repeats merge": ([0, 0, 1, 1, 2], (0, 1, 2)),
    "a blank keeps them apart": ([0, BLANK, 0, 0, BLANK], (0, 0)),
    "blanks say nothing": ([BLANK] * 5, ()),
    "the first step counts": ([2, BLANK, BLANK, BLANK, 1], (2, 1)),
}


class FakeData:
    name = "fake"

    def __init__(self, paths: list[list[int]], labels: list[tuple[int, ...]]) -> None:
        self.paths, self.labels = np.array(paths), labels

    def eval_size(self) -> int:
        return len(self.labels)

    def eval_batches(self, batch: int):
        for i in range(0, len(self.labels), batch):
            part = self.labels[i : i + batch]
            lengths = np.array([len(label) for label in part])
            label = np.zeros((len(part), lengths.max()), np.int32)
            for row, own in zip(label, part, strict=True):
                row[: len(own)] = own
            yield {"image": self.paths[i : i + batch], "label": label, "label_length": lengths}


def echo(inputs):
    """Logits that prefer the class that stands at a step."""
    return {"logits": np.eye(4, dtype=np.float32)[inputs["image"]]}


def ignore(done: int, total: int, note: str = "") -> None:
    pass


@pytest.mark.parametrize("name", LINES)
def test_the_best_path_is_read(name: str) -> None:
    path, wanted = LINES[name]
    assert read_greedily(np.eye(4)[[path]]) == [wanted]


def test_a_line_whose_logits_are_not_finite_is_not_read() -> None:
    logits = np.eye(4)[[[0, 1], [1, 2]]]
    logits[0, 1, 2] = np.nan
    assert read_greedily(logits) == [None, (1, 2)]


@pytest.mark.parametrize(
    ("first", "second", "edits"),
    [("kitten", "sitting", 3), ("", "abc", 3), ("abc", "", 3), ("abc", "abc", 0), ("ab", "ba", 2), ("", "", 0)],
)
def test_edits_are_the_fewest(first: str, second: str, edits: int) -> None:
    assert edit_distance(first, second) == edits


def test_error_rates_count_lines_and_characters_over_all_batches() -> None:
    """Of four lines one lacks a character of two and one says one of two wrongly."""
    right, short, wrong = ([0, BLANK, 1], (0, 1)), ([0, BLANK, BLANK], (0, 1)), ([0, BLANK, 2], (0, 1))
    lines = [right, short, wrong, ([2, 2, 2], (2,))] * 20
    data = FakeData([path for path, _ in lines], [label for _, label in lines])
    sequences, characters, normalised = ReadText().evaluate({"main": echo}, data, ignore)
    assert (sequences.name, sequences.value, sequences.samples) == ("sequence error rate", 50.0, 80)
    assert characters.value == pytest.approx(100 * 2 / 7)
    assert normalised.value == pytest.approx(25.0)
    assert all(one.lower_is_better and one.dataset == "fake test" for one in (sequences, characters, normalised))


def test_logits_that_are_not_finite_are_errors_and_no_agreement() -> None:
    data = FakeData([[0, BLANK, 1]] * 4, [(0, 1)] * 4)
    broken = {"main": lambda inputs: {"logits": np.full((len(inputs["image"]), 3, 4), np.nan)}}
    assert [metric.value for metric in ReadText().evaluate(broken, data, ignore)] == [100.0, 100.0, 100.0]
    assert ReadText().agreement(broken, broken, data, 4).value == 0.0
    assert ReadText().agreement({"main": echo}, {"main": echo}, data, 4).value == 100.0


def test_agreement_needs_no_labels() -> None:
    data = FakeData([[0, 0, 1], [1, BLANK, 1]], [(2,), (2,)])
    merges = {"main": lambda inputs: echo({"image": np.where(inputs["image"] == BLANK, 1, inputs["image"])})}
    assert ReadText().agreement({"main": echo}, merges, data, 2).value == 50.0


def test_the_loss_is_that_of_all_paths_that_say_the_label() -> None:
    """Two steps, classes a and b and the blank: 'a' is said by aa, a_ and _a."""
    import paddle

    first, second = (0.5, 0.2, 0.3), (0.6, 0.1, 0.3)
    logits = paddle.to_tensor(np.log([[first, second], [first, second]]).astype(np.float32))
    batch = {
        "image": None,
        "label": paddle.to_tensor([[0, 0], [0, 1]], dtype="int32"),
        "label_length": paddle.to_tensor([1, 2]),
    }
    a, ab = 0.5 * 0.6 + 0.5 * 0.3 + 0.3 * 0.6, 0.5 * 0.1
    loss = ReadText().loss(lambda image: logits, batch)
    assert float(loss) == pytest.approx(-math.log(a) - math.log(ab), rel=1e-5)
