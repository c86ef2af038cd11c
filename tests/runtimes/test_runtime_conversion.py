"""Graphs in an engine's own form, made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_kit.core.errors import BadData
from edge_kit.core.workspace import Workspace
from runtimes.conversion import own_form
from runtimes.null import NullRuntime


class Upper(NullRuntime):
    """Reads capitals."""

    form = "model.upper"

    def __init__(self, number: str = "1") -> None:
        self.number, self.made = number, 0

    def version(self) -> str:
        return self.number

    def convert(self, graph: Path, folder: Path) -> None:
        self.made += 1
        text = graph.read_text()
        if text == "bad":
            raise BadData("no capitals of 'bad'")
        (folder / self.form).write_text(text.upper())


@pytest.fixture
def store(tmp_path: Path) -> Workspace:
    return Workspace.open(tmp_path / "workspace")


def test_a_graph_is_converted_on_first_use_and_again_when_it_changes(store: Workspace, tmp_path: Path) -> None:
    graph, runtime = tmp_path / "g.onnx", Upper()
    graph.write_text("abc")
    first = own_form(runtime, graph, store)
    assert (first.name, first.read_text()) == ("model.upper", "ABC")
    assert own_form(runtime, graph, store) == first
    assert runtime.made == 1
    graph.write_text("abd")
    assert own_form(runtime, graph, store).read_text() == "ABD"
    assert first.read_text() == "ABC"


def test_another_version_of_the_engine_converts_anew(store: Workspace, tmp_path: Path) -> None:
    graph = tmp_path / "g.onnx"
    graph.write_text("abc")
    assert own_form(Upper("1"), graph, store) != own_form(Upper("2"), graph, store)


def test_what_is_in_the_engines_form_and_what_needs_none_stays(store: Workspace, tmp_path: Path) -> None:
    graph = tmp_path / "g.upper"
    graph.write_text("ABC")
    assert own_form(Upper(), graph, store) == graph
    assert own_form(NullRuntime(), tmp_path / "g.onnx", store) == tmp_path / "g.onnx"


def test_a_failed_conversion_leaves_nothing(store: Workspace, tmp_path: Path) -> None:
    graph, runtime = tmp_path / "g.onnx", Upper()
    graph.write_text("bad")
    for _ in range(2):
        with pytest.raises(BadData, match="no capitals"):
            own_form(runtime, graph, store)
    assert runtime.made == 2
