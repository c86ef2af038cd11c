"""The Paddle form of a bundle, from `compress` to `bench`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_kit.core.bundle import Bundle
from edge_kit.core.errors import BadData
from edge_kit.core.tensors import random_inputs
from runtimes.deploy import load_bundle
from tests.conftest import Cli, Result


def test_paddle_and_onnx_runtime_agree_on_a_bundle(toy_run: Result) -> None:
    bundle = Bundle(Path(toy_run.json["bundle"]))
    bundle.verify()
    inputs = random_inputs(bundle.manifest.inputs["main"], 4, 0)
    answers = [
        load_bundle(bundle, precision="fp32", runtime=name)["main"].run(inputs)["logits"] for name in ("paddle", "onnx")
    ]
    np.testing.assert_allclose(*answers, atol=1e-4 * np.abs(answers[1]).max())  # the limit that `compress` checks


def test_nothing_of_this_machine_is_in_the_program(toy_run: Result) -> None:
    program = Bundle(Path(toy_run.json["bundle"])).paddle_graph("main").read_bytes()
    assert b".py" not in program
    assert str(Path.cwd()).encode() not in program


def test_paddle_reads_no_int8(toy_run: Result) -> None:
    with pytest.raises(BadData) as caught:
        load_bundle(Path(toy_run.json["bundle"]), precision="int8", runtime="paddle")
    assert str(caught.value) == "bundle 'toynet' holds no int8 graph that runtime 'paddle' reads (.pdmodel, .json)"


def test_bench_measures_what_paddle_reads_of_a_bundle_and_plain_programs(toy_run: Result, session_cli: Cli) -> None:
    bundle = Bundle(Path(toy_run.json["bundle"]))
    program = bundle.paddle_graph("main")
    done = session_cli("bench", "toynet", str(program), "--runtime", "paddle", "--repeats", "5", "--json")
    assert done.code == 0, done.err
    rows = {row["model"]: row for row in done.json["rows"]}
    assert list(rows) == ["toynet fp32", str(program)]
    size = sum(path.stat().st_size for path in program.parent.iterdir())
    assert [row["size_bytes"] for row in rows.values()] == [size, size]
