"""The tag demo, in a terminal: every line is answered as offline scoring answers it."""

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto

from edge_kit.camera.app import DemoRequest, run_demo
from edge_kit.camera.demo import DEMOS, load_demos
from edge_kit.camera.meter import Summary
from edge_kit.core.bundle import Bundle, Manifest, write_bundle
from edge_kit.core.errors import BadData, UsageError
from edge_kit.core.tensors import TensorSpec
from edge_kit.core.words import CharacterPreprocess
from edge_kit.core.workspace import Workspace
from edge_kit.tasks.tag_text import best_paths, words_of
from runtimes.deploy import load_bundle
from tests.runtimes.graphs import Build

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
LENGTH, TAGS = 6, ("n-B", "n-I", "v-B", "O")
VOCABULARY = tuple("我爱北京天安门。")
TAG_OF = {"我": 0, "爱": 2, "北": 0, "京": 1, "天": 0, "安": 1, "门": 1, "。": 3}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tag for each character, whatever stands beside it; INT8 takes every character for a noun's first."""
    root = tmp_path_factory.mktemp("tagger")
    table = np.zeros((len(VOCABULARY) + 1, len(TAGS)), np.float32)
    for i, character in enumerate(VOCABULARY):
        table[i, TAG_OF[character]] = 4
    table[-1, 3] = 4
    noun = np.zeros_like(table)
    noun[:, 0] = 4
    files = {}
    for precision, weights in (("fp32", table), ("int8", noun)):
        net = Build()
        ids, lengths = (net.input(name, "N", *axes, dtype=INT64) for name, axes in (("ids", [LENGTH]), ("lengths", [])))
        net.output(net.op("Gather", net.const(weights), ids), "emissions")
        none = net.op("Mul", net.op("Cast", lengths, to=FLOAT), net.const(0))
        moves = net.const(np.zeros((1, len(TAGS) + 2, len(TAGS))))
        net.output(net.op("Add", net.op("Reshape", none, net.ints(-1, 1, 1)), moves), "transitions")
        net.save(root / f"{precision}.onnx")
        files[precision] = {"main": root / f"{precision}.onnx"}
    manifest = Manifest(
        id="tagger", title="Tagger", task="tag_text", target="x86-vnni",
        graphs={precision: {"main": f"{precision}/main.onnx"} for precision in files},
        inputs={"main": (TensorSpec("ids", ("N", LENGTH), "int64"), TensorSpec("lengths", ("N",), "int64"))},
        outputs={"main": ("emissions", "transitions")},
        preprocess=CharacterPreprocess(LENGTH, VOCABULARY).as_dict(), labels=TAGS, model={},
    )  # fmt: skip
    (root / "bundle").mkdir()
    write_bundle(root / "bundle", manifest, files, {})
    return root / "bundle"


def tag(folder: Path, bundle: Path, text: Path | None, **options: object) -> tuple[Summary, list[str], list[dict]]:
    told: list[str] = []
    request = DemoRequest("tag", str(bundle), text=text, jsonl=folder / "out.jsonl", **options)
    summary = run_demo(request, Workspace.open(folder), lambda line: None, told.append)
    return summary, told, [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]


@pytest.fixture
def news(tmp_path: Path) -> Path:
    (tmp_path / "news.txt").write_text("我爱北京\n\n天安门。 我\n", encoding="utf-8")
    return tmp_path / "news.txt"


def test_words_are_told_line_by_line_and_written_as_offline_scoring_has_them(
    bundle: Path, news: Path, tmp_path: Path
) -> None:
    summary, told, lines = tag(tmp_path, bundle, news, precision="fp32")
    assert told == ["我/n  爱/v  北京/n", "天安门/n  。 /O  我/n"]
    assert (summary.frames, summary.unit, summary.ended) == (2, "lines", "source ended")
    assert set(summary.ms) == {"preprocess", "inference", "postprocess"}
    session, prepare = load_bundle(Bundle(bundle), precision="fp32")["main"], CharacterPreprocess(LENGTH, VOCABULARY)
    for line in lines:
        feeds = prepare([line["text"]])
        found = session.run(feeds)
        [path] = best_paths(found["emissions"], found["transitions"][0], feeds["lengths"])
        assert line["answer"]["words"] == [list(word) for word in words_of([TAGS[i] for i in path])]


def test_two_precisions_are_held_against_each_other(bundle: Path, news: Path, tmp_path: Path) -> None:
    summary, _, lines = tag(tmp_path, bundle, news, compare=True)
    assert summary.notes == ("int8 and fp32 differ on 2 of 2 frames",)
    assert lines[0]["against"]["precision"] == "fp32"


def test_a_long_line_is_cut_behind_clauses_or_where_it_must_be_and_nothing_is_lost(bundle: Path) -> None:
    load_demos()
    demo = DEMOS.get("tag").make(Bundle(bundle))
    for text in ("我爱。我爱。我爱北京", "我" * 20, "我。" + "爱" * 7 + "。京", "。" * 9, "a 。 b"):
        parts = demo.parts(text)
        assert "".join(parts) == text
        assert all(0 < len(part) <= LENGTH for part in parts)
    assert demo.parts("我爱。我爱。我爱北京") == ["我爱。我爱。", "我爱北京"]
    graphs = {"main": load_bundle(Bundle(bundle), precision="fp32")["main"].run}
    answer = demo.read(demo.infer(graphs, demo.parse("我爱。我爱。我爱北京")))
    assert answer["words"][-1] == [8, 10, "n"]


def test_lines_that_are_no_text_are_left_out_and_told(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "mixed.txt").write_bytes("我\n".encode() + b"\xff\xfe\n" + b"a" * 20_001 + b"\n")
    summary, told, _ = tag(tmp_path, bundle, tmp_path / "mixed.txt", precision="fp32")
    assert (len(told), summary.unread) == (1, 2)
    assert summary.notes[0].startswith("line 2 of mixed.txt: 'utf-8' codec can't decode")
    assert (
        summary.notes[1] == "line 3 of mixed.txt: it holds 20,001 characters, more than 20,000: cut it into sentences"
    )


def test_what_is_piped_in_is_read_and_an_interrupt_leaves_whole_lines(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted(io.BytesIO):
        def readline(self, size: int | None = -1) -> bytes:
            line = super().readline(size)
            if not line:
                raise KeyboardInterrupt
            return line

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(Interrupted("我\n爱\n".encode())))
    summary, told, lines = tag(tmp_path, bundle, None, precision="fp32")
    assert summary.ended == "interrupted"
    assert told == ["我/n", "爱/v"]
    assert [line["text"] for line in lines] == ["我", "爱"]


def test_what_is_wrong_is_one_line(bundle: Path, news: Path, tmp_path: Path) -> None:
    with pytest.raises(BadData, match="'none.txt' cannot be read: No such file"):
        tag(tmp_path, bundle, Path("none.txt"))
    (tmp_path / "empty.txt").write_text("\n \n")
    with pytest.raises(BadData, match="empty.txt holds no line to answer"):
        tag(tmp_path, bundle, tmp_path / "empty.txt")
    for wrong in ({"images": tmp_path}, {"web": True}, {"save": tmp_path / "a.mp4"}):
        with pytest.raises(UsageError, match="demo 'tag' reads text in a terminal; give --text FILE, or type"):
            tag(tmp_path, bundle, None, **wrong)
    with pytest.raises(UsageError, match="a demo has one source, got 2"):
        tag(tmp_path, bundle, news, images=tmp_path)
