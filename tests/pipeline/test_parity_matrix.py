"""`verify --runtime`: the same model on every engine, and the name of the first tensor that one gets wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edge_kit.core.bundle import Bundle
from edge_kit.core.records import Metric
from edge_kit.core.tensors import Tensors
from edge_kit.data import Dataset
from edge_kit.pipeline.parity import ParityRow, check_row, few_samples
from tests.conftest import Cli, Result, install_distribution
from tests.pipeline.remade import remade

WRONG = """
import tempfile

import onnx
from pathlib import Path
from onnx import numpy_helper
from runtimes.ort import OnnxRuntime


class Wrong(OnnxRuntime):
    \"\"\"Its convolution of 3 x 3 forgets a channel.\"\"\"

    name = "wrong"

    def load(self, graph, *, threads=1, device="cpu"):
        model = onnx.load(graph)
        for weight in model.graph.initializer:
            values = numpy_helper.to_array(weight).copy()
            if values.shape == (32, 1, 3, 3):
                values[5] = 0
                weight.CopyFrom(numpy_helper.from_array(values, weight.name))
        with tempfile.TemporaryDirectory() as folder:
            changed = Path(folder) / "changed.onnx"
            onnx.save(model, changed)
            return super().load(changed, threads=threads, device=device)
"""


def test_every_engine_gives_the_answers_of_full_precision(toy_run: Result, session_cli: Cli) -> None:
    done = session_cli("verify", toy_run.json["bundle"], "--runtime", "all", "--json")
    assert done.code == 0, done.err
    rows = {(row["runtime"], row["precision"]): row for row in done.json[0]["parity"]}
    for runtime in ("mnn", "ncnn", "onnx", "openvino", "paddle"):
        row = rows[runtime, "fp32"]
        assert row["max_rel"] < 1e-4, row
        assert row["agreement"]["value"] == 100
        assert row["metric"]["value"] == rows["onnx", "fp32"]["metric"]["value"]
    for runtime in ("mnn", "onnx", "openvino"):
        assert rows[runtime, "int8"]["agreement"]["value"] > 90
    assert rows["ncnn", "int8"]["reason"].endswith("lower the model with --target ncnn")


def test_an_engine_that_is_wrong_falls_short_and_the_tensor_is_named(
    toy_run: Result, session_cli: Cli, tmp_path: Path
) -> None:
    install_distribution(tmp_path, "wrong", "edge_kit.runtimes", "wrong_runtime:Wrong", WRONG)
    bundle = Bundle(Path(toy_run.json["bundle"]))
    done = session_cli.with_packages(tmp_path)("verify", str(bundle.path), "--runtime", "wrong", "--json")
    assert done.code == 3, done.err
    assert done.is_one_line()
    [row] = [row for row in done.json[0]["parity"] if (row["runtime"], row["precision"]) == ("wrong", "fp32")]
    nodes = onnx.load(bundle.graph("fp32", "main")).graph.node
    weights = {
        w.name: numpy_helper.to_array(w).shape for w in onnx.load(bundle.graph("fp32", "main")).graph.initializer
    }
    [wrong] = [n for n in nodes if n.op_type == "Conv" and weights[n.input[1]] == (32, 1, 3, 3)]
    after = next((n for n in nodes if n.op_type == "Relu" and n.input[0] == wrong.output[0]), wrong)
    assert any(f"first wrong tensor {name!r}" in row["diverges"] for name in (wrong.output[0], after.output[0]))
    assert row["diverges"] in done.err


def test_a_bundle_of_other_labels_asks_for_its_data(toy_run: Result, session_cli: Cli, tmp_path: Path) -> None:
    toy = Bundle(Path(toy_run.json["bundle"]))
    copy = remade(toy, tmp_path, labels=(*toy.manifest.labels[:7], "another", *toy.manifest.labels[8:])).path
    done = session_cli("verify", str(copy), "--runtime", "onnx")
    assert done.code == 1, done.out
    assert "was made for other labels than those of mini-imagenet; pass --data DIR" in done.err


def row(runtime: str, agreement: float, max_rel: float = 0.1, precision: str = "int8") -> ParityRow:
    return ParityRow(runtime, precision, None, Metric("same", agreement, "%", "d", 100), 1.0, max_rel)


@pytest.mark.parametrize(
    ("suspect", "ok"),
    [
        (row("x", 97.0), True),  # onnx itself has 97.5: one sample less is rounding
        (row("x", 96.0), False),
        (row("x", 50.0, 2e-4, "fp32"), True),
        (row("x", 100.0, 2e-3, "fp32"), False),
        (ParityRow("x", "int8", reason="cannot"), None),
    ],
)
def test_a_row_is_held_to_what_its_engine_can_be_asked_for(suspect: ParityRow, ok: bool | None) -> None:
    rows = [row("onnx", 100.0, 0.0, "fp32"), row("onnx", 97.5), suspect]
    assert check_row(suspect, rows).ok is ok


@pytest.mark.parametrize(
    ("shape", "taken"), [((3, 224, 224), 4), ((3, 512, 512), 1), ((8, 3, 224, 224), 1), ((64,), 4)]
)
def test_of_large_samples_fewer_are_compared_tensor_by_tensor(shape: tuple[int, ...], taken: int) -> None:
    """Four clips of TSM, with all tensors of ResNet50 for 32 frames, were more than 20 GB."""

    class Samples:
        def eval_batches(self, batch: int) -> Iterator[Tensors]:
            yield {"sample": np.zeros((batch, *shape), np.float32)}

    assert len(few_samples(cast(Dataset, Samples()))["sample"]) == taken
