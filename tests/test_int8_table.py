"""The arithmetic of `scripts/int8-table` and `int8-accuracy`; their measurements are long checks of their own."""

import numpy as np

from scripts.int8_accuracy import Row as AccuracyRow
from scripts.int8_accuracy import rows_of
from scripts.int8_rivals import SIDE, pictures
from scripts.int8_table import OF_FP32, Ratio, Row, claim, claims_of
from scripts.trained import Answers


def test_a_claim_is_short_only_where_noise_cannot_explain_it() -> None:
    assert claim("n", "time", Ratio(0.98, 0.9, 1.1), 1.0).state == "ok"
    assert claim("n", "time", Ratio(1.05, 0.99, 1.11), 1.0).state == "even"
    assert claim("n", "time", Ratio(1.005, 1.004, 1.006), 1.0).state == "even"
    assert claim("n", "time", Ratio(1.05, 1.02, 1.08), 1.0).state == "short"


def test_what_no_one_could_reach_is_told_from_what_we_did_not() -> None:
    slow, low, high = Ratio(0.92, 0.91, 0.93), Ratio(0.7, 0.69, 0.71), Ratio(0.91, 0.9, 0.92)
    assert claim("n", "way", slow, 0.8, floor=high).state == "out of reach"
    assert claim("n", "way", slow, 0.8, floor=low).state == "short"
    assert claim("n", "way", low, 0.8, floor=high).state == "ok"
    assert claim("n", "way", slow, 0.8, floor=Ratio(0.81, 0.79, 0.83)).state == "short"


def test_a_size_is_exact_and_gets_no_leave() -> None:
    assert claim("n", "size", Ratio(0.2601, 0.2601, 0.2601), 0.26).state == "short"
    assert claim("n", "size", Ratio(0.26, 0.26, 0.26), 0.26).state == "ok"


def test_ours_is_held_against_the_faster_of_the_two_forms_that_onnx_runtime_writes() -> None:
    times = {("onnx", "fp32"): 10.0, ("onnx", "ours"): 4.0, ("onnx", "slow form"): 6.0, ("onnx", "fast form"): 5.0}
    times["onnx", "ours, uint8-nhwc"] = 3.0
    times |= {("openvino", "fp32"): 10.0, ("openvino", "ours"): 3.0, ("openvino", "nncf"): 4.0}
    rows = [
        Row("mobilenetv2", runtime, model, ms, 100 if model == "fp32" else 25, Ratio(ms / 10, 0.0, 1.0), 1.0)
        for (runtime, model), ms in times.items()
    ]
    claims = claims_of("mobilenetv2", rows, lambda a, b: Ratio(times[a] / times[b], 0.0, 2.0))
    assert [(one.what, one.ratio.value, one.limit) for one in claims] == [
        ("time of fp32", 0.4, OF_FP32["mobilenetv2"]),
        ("size of fp32", 0.25, 0.26),
        ("time of fast form", 0.8, 1.0),
        ("time of fast form, fed uint8-nhwc", 0.6, 0.95),
        ("time of nncf, both on openvino", 0.75, 1.0),
    ]


def test_made_up_pictures_are_the_same_every_time_and_differ_in_more_than_noise() -> None:
    made = pictures(2, seed=3)
    np.testing.assert_array_equal(made, pictures(2, seed=3))
    assert made.shape == (2, 3, SIDE, SIDE)
    assert abs(made.std() - 1) < 1e-4
    blots = made.reshape(2, 3, 7, 32, 7, 32).mean(axis=(3, 5))
    assert blots.std() > 0.3  # noise of single pixels would leave 1/32


def test_int8_is_held_to_what_it_may_lose_and_to_its_rivals_sample_by_sample() -> None:
    def but_for(count: int) -> Answers:
        right = np.arange(1000) >= count
        return Answers(right.astype(int), right)

    answers = {"fp32": but_for(0), "ptq": but_for(6), "quantize_static": but_for(2), "nncf": but_for(900)}
    found = {row.model: row for row in rows_of("n", [answers])}
    assert (found["ptq"].top1, round(found["ptq"].change.value, 3), found["ptq"].ok) == (99.4, -0.6, False)
    assert [round(row.same, 3) for row in found.values()] == [100, 99.4, 99.8, 10]
    better = found["quantize_static"].ours_minus_it
    assert better is not None and better.value < 0
    assert found["quantize_static"].ok, "four samples of a thousand are within the interval"
    assert found["nncf"].ok
    assert found["fp32"].ok is None
    worse = {**answers, "ptq": but_for(30), "quantize_static": but_for(0)}
    assert not {row.model: row for row in rows_of("n", [worse])}["quantize_static"].ok


def test_what_one_training_shows_for_sure_and_another_refutes_is_luck() -> None:
    def trained(theirs: int) -> dict[str, Answers]:
        rights = {"fp32": 100, "ptq": 101, "quantize_static": 100 - theirs}
        made = {form: np.arange(1000) >= wrong for form, wrong in rights.items()}
        return {form: Answers(right.astype(int), right) for form, right in made.items()}

    def theirs(*gains: int) -> AccuracyRow:
        return next(row for row in rows_of("n", [trained(gain) for gain in gains]) if row.model == "quantize_static")

    assert not theirs(16).ok
    several = theirs(16, -5, -9, 17, 2)
    assert (several.trainings, several.ok) == (5, True)
    assert several.ours_minus_it is not None
    assert (round(several.top1, 2), round(several.ours_minus_it.value, 2)) == (90.42, -0.52)
    assert not theirs(16, 15, 17, 14, 16).ok, "what all of them show is none"
