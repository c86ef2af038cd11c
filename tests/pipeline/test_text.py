"""A model that takes words goes the whole way, with nothing but its own file."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from edge_kit.core.bundle import Bundle
from edge_kit.core.errors import BadData
from edge_kit.core.words import WordPreprocess
from runtimes.deploy import load_bundle
from tests.conftest import ANY_RATIO, Cli, Result, install_distribution

READER = """
from dataclasses import replace

from edge_kit.core.words import WordPreprocess
from edge_kit.data import MiniSettings
from edge_kit.zoo import register
from edge_kit.zoo.nlp.senta import MINI, SentaBiLSTM, graphs
from edge_kit.zoo import Setup, ZooEntry

WORDS, RECIPE = WordPreprocess(24), replace(MINI, epochs=1)
register(
    ZooEntry(
        id="reader", title="Reader", family="test", task="classify_text", paper="none", licence="none",
        source="a test", data="chnsenticorp", parameters=1, macs=1,
        published_sizes={"num_classes": 2, "vocabulary": 40}, build=SentaBiLSTM, graphs=graphs, references=(),
        published=Setup(WORDS, RECIPE, RECIPE),
        mini=Setup(WORDS, RECIPE, RECIPE, made=MiniSettings(train=1280, evaluation=200)),
    )
)
"""


@pytest.fixture(scope="module")
def reading(session_cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> Cli:
    site = tmp_path_factory.mktemp("reader")
    install_distribution(site, "reader", "edge_kit.models", "reader", READER)
    return session_cli.with_packages(site)


@pytest.fixture(scope="module")
def made(reading: Cli) -> Result:
    return reading("compress", "reader", *ANY_RATIO, "--json")


def test_every_check_holds_and_full_precision_has_learned(made: Result) -> None:
    assert made.code == 0, made.err
    assert all(check["ok"] is not False for check in made.json["checks"])
    metric = made.json["models"]["fp32"]["metric"]
    assert metric["name"] == "accuracy"
    assert metric["value"] > 65, "half would be guessing"
    assert made.json["facts"]["agreement"]["int8"]["value"] > 95


def test_lstms_compute_in_int8_and_the_table_is_stored_so(made: Result) -> None:
    assert made.json["facts"]["lowering"]["main"]["quantized"] == {"DynamicQuantizeLSTM": 2, "Gemm": 2}
    graph = onnx.load(str(Path(made.json["bundle"]) / "int8/main.onnx")).graph
    large = [tensor for tensor in graph.initializer if np.prod(tensor.dims) > 4096]
    assert {tensor.data_type for tensor in large} == {onnx.TensorProto.INT8}
    sizes = [made.json["models"][precision]["size_bytes"] for precision in ("int8", "fp32")]
    assert sizes[0] < 0.3 * sizes[1]


def test_a_bundle_answers_texts_with_nothing_else_at_hand(made: Result) -> None:
    bundle = Bundle(Path(made.json["bundle"]))
    feeds = bundle.preprocess_as(WordPreprocess)(["房间 很 好 。", "房间 很 差 。"])
    answers = {
        precision: load_bundle(bundle, precision=precision)["main"].run(feeds)["logits"]
        for precision in ("fp32", "int8")
    }
    assert np.abs(answers["int8"] - answers["fp32"]).max() < 0.1 * np.abs(answers["fp32"]).max()
    assert np.abs(answers["fp32"][0] - answers["fp32"][1]).max() > 1e-3
    with pytest.raises(BadData, match="takes no pictures"):
        bundle.preprocess()


def test_what_does_not_fit_words_is_refused_in_a_line_before_anything_is_made(reading: Cli) -> None:
    for option, said in (
        (("--prune", "0.5"), "'reader' takes int64 ('ids'); leave out --prune"),
        (("--input", "uint8-nhwc"), "takes no normalised colour picture"),
    ):
        done = reading("compress", "reader", *option)
        assert done.code == 2
        assert done.is_one_line()
        assert said in done.err


def test_pictures_given_to_a_model_of_words_are_told_the_format(reading: Cli, tmp_path: Path) -> None:
    (tmp_path / "JPEGImages").mkdir()
    done = reading("compress", "reader", "--data", str(tmp_path))
    assert done.code == 1
    assert done.is_one_line()
    assert "has no train.tsv; ChnSentiCorp's format is" in done.err
