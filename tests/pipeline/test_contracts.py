"""A model of two graphs, whose task has no metric, needs nothing but its own file."""

from pathlib import Path

import pytest

from tests.conftest import ANY_RATIO, Cli, Result, install_distribution

TWO_GRAPHS = '''
import numpy as np
from paddle import nn
from paddle.nn import functional

from edge_kit.core.images import ImagePreprocess
from edge_kit.core.records import Metric
from edge_kit.core.tensors import GraphSpec, TensorSpec
from edge_kit.data import MiniSettings
from edge_kit.tasks import TASKS
from edge_kit.train.recipe import Recipe
from edge_kit.zoo import Setup, ZooEntry, register


class Paint:
    """Gives back the picture, by way of an encoder and a decoder; nobody has published how well."""

    name = "paint"

    def loss(self, net, batch):
        return functional.mse_loss(net(batch["image"]), batch["image"])

    def feeds(self, graphs, batch):
        image = {"image": batch["image"]}
        return {"encoder": image, "decoder": {"code": graphs["encoder"](image)["code"]}}

    def _painted(self, graphs, batch):
        return graphs["decoder"](self.feeds(graphs, batch)["decoder"])["picture"]

    def evaluate(self, graphs, dataset, progress):
        return ()

    def agreement(self, reference, candidate, dataset, samples):
        errors = []
        for batch in dataset.eval_batches(50):
            wanted, got = self._painted(reference, batch), self._painted(candidate, batch)
            errors.append(float(np.abs(wanted - got).max() / np.abs(wanted).max()))
        return Metric("largest relative error", max(errors), "", dataset.name, dataset.eval_size())


class AutoEncoder(nn.Layer):
    def __init__(self, num_classes):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2D(3, 16, 3, 2, 1), nn.ReLU(), nn.Conv2D(16, 8, 3, 2, 1))
        self.decoder = nn.Sequential(nn.Conv2D(8, 16, 3, 1, 1), nn.ReLU(), nn.Conv2D(16, 3, 3, 1, 1))

    def forward(self, x):
        return functional.interpolate(self.decoder(self.encoder(x)), scale_factor=4, mode="nearest")


def graphs(preprocess):
    side = preprocess.crop
    image = TensorSpec("image", ("N", 3, side, side), layout="NCHW")
    code = TensorSpec("code", ("N", 8, side // 4, side // 4), layout="NCHW")
    return {
        "encoder": GraphSpec((image,), ("code",), part=lambda net: net.encoder),
        "decoder": GraphSpec((code,), ("picture",), part=lambda net: net.decoder),
    }


TASKS.add("paint", Paint())
RECIPE = Recipe(epochs=1, batch_size=16, learning_rate=0.01)
register(
    ZooEntry(
        id="autoencoder", title="Auto-encoder", family="test", task="paint", paper="none", licence="none",
        source="a test", data="imagenet", parameters=3_203, macs=1, published_sizes={"num_classes": 1},
        build=AutoEncoder, graphs=graphs, references=(), published=Setup(ImagePreprocess(32, 32), RECIPE, RECIPE),
        mini=Setup(ImagePreprocess(32, 32), RECIPE, RECIPE, made=MiniSettings(train=160, evaluation=100, side=32)),
    )
)
'''


@pytest.fixture(scope="module")
def path(session_cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> str:
    site = tmp_path_factory.mktemp("two")
    install_distribution(site, "autoencoder", "edge_kit.models", "two_graphs", TWO_GRAPHS)
    return f"{session_cli.env['PYTHONPATH']}:{site}"


@pytest.fixture(scope="module")
def two_graphs(session_cli: Cli, path: str) -> Result:
    return session_cli("compress", "autoencoder", *ANY_RATIO, "--json", PYTHONPATH=path)


def test_both_graphs_are_in_the_bundle_in_both_precisions(two_graphs: Result) -> None:
    assert two_graphs.code == 0, two_graphs.err
    for model in two_graphs.json["models"].values():
        assert {path.name for path in Path(model["path"]).iterdir()} == {"encoder.onnx", "decoder.onnx"}


def test_each_graph_has_its_own_parity_and_is_quantized(two_graphs: Result) -> None:
    names = [check["name"] for check in two_graphs.json["checks"] if "parity" in check["name"]]
    assert names == ["fp32 parity encoder/code", "fp32 parity decoder/picture"]
    assert all(check["ok"] for check in two_graphs.json["checks"])
    assert two_graphs.json["facts"]["lowering"]["decoder"]["quantized"] == {"Conv": 2}


def test_without_a_metric_none_is_shown_and_agreement_speaks(two_graphs: Result) -> None:
    assert all(model["metric"] is None for model in two_graphs.json["models"].values())
    agreement = two_graphs.json["facts"]["agreement"]["int8"]
    assert agreement["name"] == "largest relative error"
    assert 0 < agreement["value"] < 0.2


def test_how_far_each_output_is_off_is_told_without_labels(two_graphs: Result) -> None:
    differences = two_graphs.json["facts"]["differences"]["int8"]
    assert {graph: [one["output"] for one in outputs] for graph, outputs in differences.items()} == {
        "encoder": ["code"],
        "decoder": ["picture"],
    }
    for outputs in differences.values():
        assert 1e-4 < outputs[0]["max_rel"] < 0.2
        assert outputs[0]["max_abs"] > 0
        assert outputs[0]["samples"] > 10


def test_the_table_prints_without_a_metric(two_graphs: Result, session_cli: Cli) -> None:
    done = session_cli("verify", two_graphs.json["bundle"])
    assert done.code == 0, done.err


def test_its_sentinel_holds_both_graphs_and_has_no_flips(two_graphs: Result, session_cli: Cli, path: str) -> None:
    done = session_cli("verify", two_graphs.json["bundle"], "--sentinel", "--json", PYTHONPATH=path)
    assert done.code == 0, done.err
    checks = {check["name"]: check for check in done.json[0]["checks"]}
    assert checks["sentinel: fp32 error"]["value"] < 1e-6
    assert 1e-4 < checks["sentinel: int8 error"]["value"] < 0.3
    assert "sentinel: int8 flips" not in checks


def test_a_gate_shows_an_agreement_that_may_be_better_when_it_is_small_and_holds_it_to_nothing(
    two_graphs: Result, session_cli: Cli, path: str, tmp_path: Path
) -> None:
    command = ("verify", two_graphs.json["bundle"], "--baseline", str(tmp_path / "b.json"), "--json")
    assert session_cli(*command, "--update-baseline", PYTHONPATH=path).code == 0
    done = session_cli(*command, "--min-agreement", "95", PYTHONPATH=path)
    checks = {check["name"]: check for check in done.json[0]["checks"]}
    assert checks["int8 largest relative error on onnx"]["ok"] is None
    assert checks["baseline: int8 largest relative error on onnx"]["ok"] is None
    assert "which way is better" in checks["baseline: int8 largest relative error on onnx"]["note"]
    assert checks["baseline: int8 bytes"]["ok"] is True
