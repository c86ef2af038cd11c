"""Models that are changed and compared while frames run."""

import numpy as np
import pytest

from edge_kit.camera.frame import Run
from edge_kit.camera.lineup import Cast, Lineup
from edge_kit.camera.model import Model
from edge_kit.core.errors import BadData, UsageError


class Echo:
    """A demo whose answer is the number that a model gives."""

    def infer(self, graphs, inputs):
        return graphs["main"](inputs)

    def same(self, first, second):
        return first["n"] == second["n"]


class Keeper(Echo):
    """One that finds things again."""

    def __init__(self) -> None:
        self.kept: list[str] = []

    def enrol(self, name: str) -> None:
        self.kept.append(name)


def load(bundle: str, runtime: str, precision: str) -> Model:
    if runtime == "broken":
        raise BadData("no such graph")
    step = 1 if precision == "int8" else 10
    about = {"bundle": bundle, "runtime": runtime, "precision": precision}
    return Model(about, {"main": lambda inputs: {"n": inputs["n"] // step}})


def made() -> Lineup:
    return Lineup({"small": Echo, "large": Keeper}, load)


def answered(lineup: Lineup, number: int) -> tuple[Cast, list[Run]]:
    cast = lineup.now()
    runs = cast.run({"n": np.array(number)})
    for run in runs:
        run.answer = {"n": int(run.outputs["n"])}
    return cast, runs


def test_two_models_run_on_the_same_frame_and_their_differences_are_counted() -> None:
    lineup = made()
    lineup.choose("small", "onnx", "int8", compare=True)
    for number in (0, 0, 7):
        cast, runs = answered(lineup, number)
        assert [run.model["precision"] for run in runs] == ["int8", "fp32"]
        lineup.count(cast, runs)
    assert lineup.differing() == {"frames": 3, "differing": 1}
    assert lineup.notes() == ("int8 and fp32 differ on 1 of 3 frames",)


@pytest.mark.parametrize("other", [("small", "mnn"), ("large", "onnx")])
def test_another_choice_counts_anew_and_frames_under_way_no_longer_count(other: tuple[str, str]) -> None:
    lineup = made()
    lineup.choose("small", "onnx", "int8", compare=True)
    old = answered(lineup, 7)
    lineup.choose(*other, "fp32", compare=True)
    lineup.count(*old)
    assert lineup.differing() == {"frames": 0, "differing": 0}
    lineup.choose(*other, "fp32", compare=False)
    expected = dict(zip(("bundle", "runtime"), other, strict=True), precision="fp32")
    assert [run.model for run in answered(lineup, 1)[1]] == [expected]
    assert lineup.chosen() == {**expected, "compare": False}
    assert lineup.notes() == ()


def test_a_frame_under_way_ends_with_the_demo_that_it_began_with() -> None:
    lineup = made()
    lineup.choose("small", "onnx", "int8", compare=False)
    cast = lineup.now()
    lineup.choose("large", "onnx", "int8", compare=False)
    assert isinstance(lineup.now().demo, Keeper)
    assert type(cast.demo) is Echo
    assert cast.run({"n": np.array(3)})[0].model["bundle"] == "small"


def test_a_demo_is_made_once_a_bundle_so_that_what_it_keeps_is_there_when_it_is_chosen_again() -> None:
    lineup = made()
    lineup.choose("large", "onnx", "int8", compare=False)
    assert lineup.enrols()
    lineup.enrol("cup")
    lineup.choose("small", "onnx", "int8", compare=False)
    assert not lineup.enrols()
    with pytest.raises(UsageError, match="this demo finds nothing again; 'search' does"):
        lineup.enrol()
    lineup.choose("large", "onnx", "fp32", compare=False)
    assert lineup.now().demo.kept == ["cup"]


def test_what_cannot_be_loaded_leaves_running_what_ran() -> None:
    lineup = made()
    lineup.choose("small", "onnx", "int8", compare=False)
    with pytest.raises(BadData, match="no such graph"):
        lineup.choose("large", "broken", "int8", compare=False)
    with pytest.raises(UsageError, match="unknown bundle 'lage'; did you mean 'large'?"):
        lineup.choose("lage", "onnx", "int8", compare=False)
    assert lineup.chosen() == {"bundle": "small", "runtime": "onnx", "precision": "int8", "compare": False}
