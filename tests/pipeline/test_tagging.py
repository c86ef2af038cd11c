"""A model whose weights come with another package, and whose answers are paths, goes the whole way."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from edge_kit.core.bundle import Bundle
from edge_kit.core.words import CharacterPreprocess
from edge_kit.tasks.tag_text import best_paths, words_of
from runtimes.deploy import load_bundle
from tests.conftest import ANY_RATIO, Cli, Result, install_distribution

pytestmark = pytest.mark.slow  # two minutes: the graph has thousands of operators

TAGGER = """
from dataclasses import replace

from edge_kit.core.words import CharacterPreprocess
from edge_kit.data import MiniSettings
from edge_kit.zoo import MODELS, register
from edge_kit.zoo.nlp import lac

ENTRY, CHARACTERS = MODELS.get("lac"), CharacterPreprocess(8)  # the graph is written out character by character
setup = replace(ENTRY.mini, preprocess=CHARACTERS, made=MiniSettings(train=60, evaluation=100))
register(replace(ENTRY, id="tagger", mini=setup))
"""


@pytest.fixture(scope="module")
def made(session_cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> Result:
    site = tmp_path_factory.mktemp("tagger")
    install_distribution(site, "tagger", "edge_kit.models", "tagger", TAGGER)
    return session_cli.with_packages(site)("compress", "tagger", "--calibration", "40", *ANY_RATIO, "--json")


def test_published_weights_are_taken_as_they_are_and_int8_keeps_their_tags(made: Result) -> None:
    assert made.code == 0, made.err
    assert all(check["ok"] is not False for check in made.json["checks"])
    assert "train" not in [stage["name"] for stage in made.json["stages"]]
    assert made.json["facts"]["agreement"]["int8"]["value"] > 99
    metric = made.json["models"]["fp32"]["metric"]
    assert metric["name"] == "F1"
    assert metric["value"] > 50, "of the first eight characters of sentences of another standard"


def test_grus_and_table_are_stored_in_int8(made: Result) -> None:
    graph = onnx.load(str(Path(made.json["bundle"]) / "int8/main.onnx")).graph
    large = [tensor for tensor in graph.initializer if np.prod(tensor.dims) > 4096]
    assert {tensor.data_type for tensor in large} == {onnx.TensorProto.INT8}
    sizes = [made.json["models"][precision]["size_bytes"] for precision in ("int8", "fp32")]
    assert sizes[0] < 0.27 * sizes[1]


def test_a_bundle_tags_texts_with_nothing_else_at_hand(made: Result) -> None:
    bundle = Bundle(Path(made.json["bundle"]))
    feeds = bundle.preprocess_as(CharacterPreprocess)(["我爱北京天安门"])
    for precision in ("fp32", "int8"):
        outputs = load_bundle(bundle, precision=precision)["main"].run(feeds)
        (path,) = best_paths(outputs["emissions"], outputs["transitions"][0], feeds["lengths"])
        spans = words_of([bundle.manifest.labels[i] for i in path])
        assert spans == [(0, 1, "r"), (1, 2, "v"), (2, 4, "LOC"), (4, 7, "LOC")]
