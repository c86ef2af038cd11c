"""What tasks show of a model: errors, and answers side by side."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from edge_kit.core.images import CropPreprocess, ImagePreprocess
from edge_kit.core.tensors import Graphs, Tensors
from edge_kit.core.words import IDS, LENGTHS, WordPreprocess
from edge_kit.tasks import TASKS
from edge_kit.tasks.show import Showing, choose

LABELS = ("cat", "dog", "cow")


class Pictures:
    """Six flat pictures: the class of each is its brightness."""

    name, published, labels = "six", False, LABELS
    preprocess = ImagePreprocess(4, 4)
    values = (0, 1, 2, 0, 1, 2)

    def eval_size(self) -> int:
        return len(self.values)

    def eval_batches(self, batch: int) -> Iterator[Tensors]:
        for start in range(0, len(self.values), batch):
            part = self.values[start : start + batch]
            flat = [np.full((4, 4, 3), 100 * value, np.uint8) for value in part]
            yield {"image": np.stack([self.preprocess.finish(one) for one in flat]), "label": np.array(part)}


def reads(shift: int, of: int) -> Graphs:
    """Reads the brightness; of the class `of` it answers the one that lies `shift` after it."""

    def run(inputs: Tensors) -> Tensors:
        shown = [int(Pictures.preprocess.picture(one)[0, 0, 0]) // 100 for one in inputs["image"]]
        answers = [(one + shift) % 3 if one == of else one for one in shown]
        return {"logits": np.eye(3, dtype=np.float32)[answers]}

    return {"main": run}


def quiet(done: int, total: int, note: str = "") -> None:
    pass


def test_a_confusion_counts_every_sample_by_its_class_and_its_answer() -> None:
    task = TASKS.get("classify")
    assert isinstance(task, Showing)
    chart = task.chart(reads(1, of=2), Pictures(), quiet)
    assert chart.labels == LABELS
    assert chart.counts == ((0, 0, 2), (1, 1, 2), (2, 0, 2))


def test_examples_show_first_what_two_versions_differ_on_with_the_picture_and_both_answers() -> None:
    versions = {"fp32": reads(0, of=0), "int8": reads(1, of=2)}
    found = TASKS.get("classify").examples(versions, Pictures(), 4)
    assert [one.sample for one in found[:2]] == [2, 5] and [one.same for one in found] == [False, False, True, True]
    assert found[0].answers == {"fp32": "cow", "int8": "cat"} and found[0].truth == "cow"
    assert (found[0].picture[""] == 200).all() and found[0].picture[""].shape == (4, 4, 3)


def test_at_most_half_of_the_examples_differ_unless_all_do() -> None:
    assert choose([True] * 10 + [False] * 10, 4) == [0, 9, 10, 19]
    assert choose([True] * 10, 4) == [0, 3, 6, 9]
    assert choose([False] * 3, 4) == [0, 1, 2]
    assert choose([True, False], 4) == [0, 1]


def test_a_picture_is_what_was_prepared() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    for prepare in (ImagePreprocess(8, 8), CropPreprocess(8, 8)):
        assert (prepare.picture(prepare.finish(picture)) == picture).all()


def test_a_text_is_shown_in_the_words_that_the_graph_was_given() -> None:
    prepare = WordPreprocess(4, ("good", "bad"))
    inputs = prepare(["good new bad good bad"])
    assert prepare.text(inputs[IDS][0], int(inputs[LENGTHS][0])) == "good ? bad good"


class Texts:
    """Three texts whose class is their first word."""

    name, published, labels = "three", False, ("bad", "good")
    preprocess = WordPreprocess(3, ("bad", "good"))

    def eval_size(self) -> int:
        return 3

    def eval_batches(self, batch: int) -> Iterator[Tensors]:
        yield {**self.preprocess(["good day", "bad day", "good"]), "label": np.array([1, 0, 1])}


def test_texts_are_shown_with_their_words_and_without_a_picture() -> None:
    def run(inputs: Tensors) -> Tensors:
        return {"logits": np.eye(2, dtype=np.float32)[inputs[IDS][:, 0]]}

    def contrary(inputs: Tensors) -> Tensors:
        return {"logits": 1 - run(inputs)["logits"]}

    task = TASKS.get("classify_text")
    assert task.chart({"main": run}, Texts(), quiet).counts == ((0, 0, 1), (1, 1, 2))
    first, *_ = task.examples({"fp32": {"main": run}, "int8": {"main": contrary}}, Texts(), 3)
    assert (first.text, first.picture, first.truth) == ("good ?", {}, "good")
    assert first.answers == {"fp32": "good", "int8": "bad"} and not first.same
