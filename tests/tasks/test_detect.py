"""Metrics of detection on cases worked out by hand, and how often two versions find the same."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest

from edge_kit.core.boxes import Detections
from edge_kit.core.errors import BadData
from edge_kit.core.progress import silent
from edge_kit.core.tensors import Tensors
from edge_kit.tasks import coco_precision, voc_precision
from edge_kit.tasks.detect import Detector, Truth, check_outputs, found_again

A, B, C = (0.0, 0.0, 0.4, 0.4), (0.5, 0.5, 0.9, 0.9), (0.0, 0.5, 0.4, 0.9)
NEAR_A = (0.0, 0.0, 0.4, 0.32)  # 0.8 of A


def found(*rows: tuple[tuple[float, ...], float, int]) -> Detections:
    boxes, scores, labels = zip(*rows, strict=True) if rows else ([], [], [])
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32), np.array(labels, np.int64)
    )


def truth(*rows: tuple[tuple[float, ...], int], ignored: tuple[int, ...] = ()) -> Truth:
    boxes, labels = zip(*rows, strict=True) if rows else ([], [])
    marks = np.array([i in ignored for i in range(len(rows))], np.bool_)
    return Truth(np.array(boxes, np.float32).reshape(-1, 4), np.array(labels, np.int64), marks, (100, 200))


def voc(found: list[Detections], truths: list[Truth], classes: int = 1) -> voc_precision.Precision:
    return voc_precision.mean_precision(found, truths, classes)


def test_vocs_eleven_points_by_hand() -> None:
    # Right, wrong, right of four objects: recall 1/4, 1/4, 2/4 at precision 1, 1/2, 2/3.
    one = found((A, 0.9, 0), ((0.4, 0.4, 0.6, 0.6), 0.8, 0), (B, 0.7, 0))
    there = truth((A, 0), (B, 0), (C, 0), ((0.5, 0.0, 0.9, 0.4), 0))
    # Points 0, .1, .2 see 1; .3, .4, .5 see 2/3; the others 0.
    assert voc([one], [there]).values["mAP"] == pytest.approx(100 * (3 * 1 + 3 * 2 / 3) / 11)


def test_a_second_find_of_an_object_is_wrong_and_the_surer_one_is_first_over_all_pictures() -> None:
    first = found((A, 0.9, 0), (NEAR_A, 0.8, 0))
    second = found((B, 0.7, 0))
    both = [truth((A, 0)), truth((B, 0))]
    # 1/2 at 1, then wrong, then 2/2 at 2/3
    assert voc([first, second], both).values["mAP"] == pytest.approx(100 * (6 + 5 * 2 / 3) / 11)
    surer = replace(second, scores=np.array([0.85], np.float32))
    assert voc([first, surer], both).values["mAP"] == pytest.approx(100)


def test_difficult_objects_are_neither_found_nor_missed() -> None:
    there = truth((A, 0), (B, 0), ignored=(1,))
    assert voc([found((A, 0.5, 0))], [there]).values["mAP"] == pytest.approx(100), "not missed"
    twice = found((B, 0.9, 0), (B, 0.8, 0), (A, 0.5, 0))
    assert voc([twice], [there]).values["mAP"] == pytest.approx(100), "not wrong, however often"
    alone = voc([found((B, 0.9, 1))], [truth((A, 0), (B, 1), ignored=(1,))], 2)
    assert alone.classes == [0.0, None], "a class of difficult objects alone does not count"
    assert alone.values["mAP"] == 0


def test_place_and_class_must_both_be_right() -> None:
    there = [truth((A, 0), (B, 1))]
    assert voc([found((A, 0.9, 1), (B, 0.9, 0))], there, 2).values["mAP"] == 0
    assert voc([found(((0.0, 0.0, 0.4, 0.21), 0.9, 0))], [truth((A, 0))]).values["mAP"] == pytest.approx(100)
    assert voc([found(((0.0, 0.0, 0.4, 0.19), 0.9, 0))], [truth((A, 0))]).values["mAP"] == 0, "less than half"
    assert voc([found()], [truth((A, 0))]).values["mAP"] == 0


def test_cocos_thresholds_by_hand() -> None:
    # 0.8 of the box: right at .50 to .80, seven of ten; NEAR_A is 0.8 in float32, a hair above or below.
    close = found(((0.0, 0.0, 0.4, 0.322), 0.9, 0))
    precision = coco_precision.mean_precision([close], [truth((A, 0))], 2)
    assert precision.values == pytest.approx({"mAP@[.50:.95]": 70, "AP50": 100, "AP75": 100})
    assert precision.classes == [pytest.approx(70), None]
    nothing = coco_precision.mean_precision([found()], [truth((A, 0))], 1)
    assert nothing.values == {"mAP@[.50:.95]": 0, "AP50": 0, "AP75": 0}


def test_cocos_crowds_are_neither_found_nor_missed() -> None:
    there = [truth((A, 0), (B, 0), ignored=(1,))]
    both = found(((0.5, 0.5, 0.7, 0.7), 0.95, 0), (A, 0.9, 0))
    assert coco_precision.mean_precision([both], there, 1).values["AP50"] == pytest.approx(100)
    assert coco_precision.mean_precision([both], [truth((A, 0))], 1).values["AP50"] == pytest.approx(50)


def test_coco_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    coco_precision.mean_precision([found((A, 0.9, 0))], [truth((A, 0))], 1)
    assert capsys.readouterr().out == ""


def test_found_again_asks_for_class_place_and_half_the_score_and_a_partner_serves_once() -> None:
    sure = found((A, 0.9, 0), (B, 0.5, 0), (C, 0.2, 0))
    assert found_again(sure, found((NEAR_A, 0.2, 0), (B, 0.16, 0)), 0.3) == 2
    assert found_again(sure, found((NEAR_A, 0.14, 0), (B, 0.5, 1)), 0.3) == 0
    assert found_again(found((A, 0.9, 0), (NEAR_A, 0.8, 0)), found((A, 0.9, 0)), 0.3) == 1
    assert found_again(sure, found(), 0.3) == 0


@dataclass
class Answers:
    """A data set of pictures that are their own numbers."""

    name = "numbers"
    labels = ("x",)
    count: int

    def eval_size(self) -> int:
        return self.count

    def eval_batches(self, batch: int) -> Iterator[Tensors]:
        for i in range(self.count):
            yield {
                "image": np.full((1, 3, 2, 2), i),
                "boxes": np.array([[A]], np.float32),
                "label": np.zeros((1, 1), int),
                "ignored": np.zeros((1, 1), bool),
                "weight": np.ones((1, 1)),
                "size": np.array([[2, 2]]),
            }


class Fixed(Detector):
    def loss(self, net: object, batch: object) -> object:
        raise NotImplementedError

    def classes(self, outputs: Tensors) -> int:
        return outputs.get("classes", 1)

    def detect(self, outputs: Tensors, side: int) -> list[Detections]:
        assert side == 2
        return [
            found((A if place == 0 else B, score, 0))
            for place, score in zip(outputs["place"], outputs["score"], strict=True)
        ]


def graph(places: list[int], score: float) -> dict[str, object]:
    def run(inputs: Tensors) -> Tensors:
        numbers = inputs["image"][:, 0, 0, 0]
        return {"place": np.array([places[i] for i in numbers]), "score": np.full(len(numbers), score)}

    return {"main": run}


def test_agreement_counts_both_directions_and_lowers_the_bar_for_models_that_are_never_sure() -> None:
    task = Fixed("fixed", voc_precision.mean_precision, "test")
    for score in (0.9, 0.02):
        one = task.agreement(graph([0, 0, 0, 0], score), graph([0, 0, 0, 1], score), Answers(4), 100)
        assert (one.name, one.value, one.samples) == ("same detections", 75, 4)
    unsure = task.agreement(graph([0] * 4, 0.9), graph([0] * 4, 0.2), Answers(4), 100)
    assert unsure.value == 100, "each of the sure ones is found again, less sure"
    assert task.agreement(graph([0] * 4, 0.9), graph([0] * 4, 0.1), Answers(4), 100).value == 0
    assert task.agreement(graph([0] * 4, 0.9), graph([0] * 4, 0.9), Answers(4), 2).samples == 2


def test_a_score_tells_the_objects_and_the_precision_of_each_class() -> None:
    task = Fixed("fixed", voc_precision.mean_precision, "test")
    score = task.score(graph([0, 0, 1], 0.9), Answers(3), silent)
    assert score.metrics == task.evaluate(graph([0, 0, 1], 0.9), Answers(3), silent)
    assert [(one.label, one.samples) for one in score.classes] == [("x", 3)]
    assert score.classes[0].values["mAP"] == score.metrics[0].value == pytest.approx(100 * 7 / 11)
    assert score.metrics[0].dataset == "numbers test"


def test_a_graph_of_other_classes_is_refused() -> None:
    task = Fixed("fixed", voc_precision.mean_precision, "test")
    right = graph([0], 0.9)["main"]
    wrong = {"main": lambda inputs: {**right(inputs), "classes": 20}}
    with pytest.raises(BadData, match="^the graph tells 20 classes apart and numbers has 1; pass --data"):
        task.evaluate(wrong, Answers(1), silent)


def test_versions_that_tell_other_classes_apart_than_the_data_may_be_held_to_each_other() -> None:
    """Random weights of a published network are, on the mini set: nothing is held to labels there."""
    task = Fixed("fixed", voc_precision.mean_precision, "test")
    right = graph([0], 0.9)["main"]
    other = {"main": lambda inputs: {**right(inputs), "classes": 20}}
    assert task.agreement(other, other, Answers(1), 1).value == 100


def test_outputs_that_are_none_are_refused_in_a_line() -> None:
    with pytest.raises(BadData, match="^the graph gives logits; a detector of this kind gives loc, conf$"):
        check_outputs({"logits": np.zeros(2)}, ("loc", "conf"))
    with pytest.raises(BadData, match="^output 'loc' is not finite: 1 numbers$"):
        check_outputs({"loc": np.array([np.nan, 1])}, ("loc",))
