"""Models that are changed and compared while frames run."""

import numpy as np
import pytest

from edge_kit.camera.frame import Run
from edge_kit.camera.lineup import Lineup
from edge_kit.camera.model import Model
from edge_kit.core.errors import BadData


class Echo:
    """A demo whose answer is the number that a model gives."""

    def infer(self, graphs, inputs):
        return graphs["main"](inputs)

    def same(self, first, second):
        return first["n"] == second["n"]


def load(runtime: str, precision: str) -> Model:
    if runtime == "broken":
        raise BadData("no such graph")
    step = 1 if precision == "int8" else 10
    return Model({"runtime": runtime, "precision": precision}, {"main": lambda inputs: {"n": inputs["n"] // step}})


def answered(lineup: Lineup, number: int) -> list[Run]:
    runs = lineup.run(Echo(), {"n": np.array(number)})
    for run in runs:
        run.answer = {"n": int(run.outputs["n"])}
    return runs


def test_two_models_run_on_the_same_frame_and_their_differences_are_counted() -> None:
    lineup = Lineup(load)
    lineup.choose("onnx", "int8", compare=True)
    for number in (0, 0, 7):
        runs = answered(lineup, number)
        assert [run.model["precision"] for run in runs] == ["int8", "fp32"]
        lineup.count(Echo(), runs)
    assert lineup.differing() == {"frames": 3, "differing": 1}
    assert lineup.notes() == ("int8 and fp32 differ on 1 of 3 frames",)


def test_another_choice_counts_anew_and_frames_under_way_no_longer_count() -> None:
    lineup = Lineup(load)
    lineup.choose("onnx", "int8", compare=True)
    old = answered(lineup, 7)
    lineup.choose("mnn", "fp32", compare=True)
    lineup.count(Echo(), old)
    assert lineup.differing() == {"frames": 0, "differing": 0}
    lineup.choose("mnn", "fp32", compare=False)
    assert [run.model for run in answered(lineup, 1)] == [{"runtime": "mnn", "precision": "fp32"}]
    assert lineup.notes() == ()


def test_what_cannot_be_loaded_leaves_running_what_ran() -> None:
    lineup = Lineup(load)
    lineup.choose("onnx", "int8", compare=False)
    with pytest.raises(BadData, match="no such graph"):
        lineup.choose("broken", "int8", compare=False)
    assert answered(lineup, 1)[0].model["runtime"] == "onnx"
