"""The emulator's LSTM is ONNX Runtime's to the last digits: with VNNI as it is here, without as Valgrind shows it."""

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from convert.emulate import Arithmetic, emulated
from convert.graph import Graph
from convert.passes.recurrent import quantize_lstm
from edge_kit.core.errors import BadData
from runtimes.registry import get_runtime
from runtimes.targets import TARGETS, this_machine
from tests.convert.nodes import AVX2, compare_nodes, tensors

STEPS, WIDTH, HIDDEN = 9, 22, 21  # no multiples of four: the kernels fill up
HERE = Arithmetic.INT16_PAIRS if this_machine().saturating_pairs else Arithmetic.INT32


def lstm(target: str, folder: Path, extra: dict[str, np.ndarray] | None = None, **attributes: object) -> Path:
    """One LSTM in INT8; `extra` are inputs behind its bias, by name."""
    rng = np.random.default_rng(3)
    directions = 2 if attributes.get("direction") == "bidirectional" else 1
    constants = {
        "W": rng.normal(0, 0.4, (directions, 4 * HIDDEN, WIDTH)).astype(np.float32),
        "R": rng.normal(0, 0.4, (directions, 4 * HIDDEN, HIDDEN)).astype(np.float32),
        "B": rng.normal(0, 0.4, (directions, 8 * HIDDEN)).astype(np.float32),
        **(extra or {}),
    }
    last = [directions, "N", HIDDEN]
    outputs = {"states": [STEPS, *last], "last": last, "cells": last}
    inputs = ["x", "W", "R", "B", *(extra if extra and "lengths" in extra else ("", *(extra or ())))]
    node = helper.make_node("LSTM", inputs, list(outputs), name="lstm", hidden_size=HIDDEN, **attributes)
    body = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [STEPS, "N", WIDTH])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    graph = Graph(helper.make_model(body, opset_imports=[helper.make_opsetid("", 14)], ir_version=8))
    assert quantize_lstm(graph, TARGETS[target]) == 1
    graph.save(folder / "lstm.onnx")
    return folder / "lstm.onnx"


def sequences(count: int = 3) -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(1).normal(0.5, 1, (STEPS, count, WIDTH)).astype(np.float32)}


@pytest.mark.parametrize("target", ["x86-vnni", "x86-avx2"])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_states_and_cells_are_those_of_onnx_runtime(direction: str, target: str, tmp_path: Path) -> None:
    graph = lstm(target, tmp_path, direction=direction)
    for inputs in (sequences(), {"x": -np.abs(sequences(1)["x"])}, {"x": np.zeros_like(sequences()["x"])}):
        got, wanted = emulated(graph, HERE)(inputs), get_runtime("onnx").load(graph).run(inputs)
        assert set(got) == {"states", "last", "cells"}
        for name, value in got.items():
            assert value.dtype == np.float32
            np.testing.assert_allclose(value, wanted[name], atol=2e-6)


def test_it_goes_on_from_a_state_that_it_is_given(tmp_path: Path) -> None:
    begin = np.random.default_rng(2).normal(0, 1, (2, 1, 3, HIDDEN)).astype(np.float32)
    graph = lstm("x86-avx2", tmp_path, {"state": begin[0], "cell": begin[1]})
    got, wanted = emulated(graph, HERE)(sequences()), get_runtime("onnx").load(graph).run(sequences())
    np.testing.assert_allclose(got["states"], wanted["states"], atol=2e-6)
    plain = lstm("x86-avx2", tmp_path)
    assert np.abs(emulated(plain, HERE)(sequences())["states"] - got["states"]).max() > 0.05


@pytest.mark.skipif(shutil.which("valgrind") is None, reason="valgrind shows a processor without AVX-512")
def test_weights_of_full_range_saturate_as_the_avx2_kernels_do_and_those_for_avx2_do_not(tmp_path: Path) -> None:
    naive = lstm("x86-vnni", tmp_path, direction="bidirectional")
    found = compare_nodes(naive, tensors(naive, sequences(), tmp_path, AVX2), pairs=True)
    assert found.differ == []
    assert found.nodes["DynamicQuantizeLSTM"] == 1
    assert found.saturated > 100
    exact, pairs = (emulated(naive, arithmetic)(sequences())["states"] for arithmetic in Arithmetic)
    assert np.abs(exact - pairs).max() > 0.1
    safe = lstm("x86-avx2", tmp_path, direction="bidirectional")
    run = emulated(safe, Arithmetic.INT16_PAIRS)
    run(sequences())
    assert run.saturated == {}


@pytest.mark.parametrize(
    ("extra", "attributes"),
    [({}, {"clip": 1.0}), ({}, {"activations": ["Relu", "Tanh", "Tanh"]}), ({"lengths": np.int32([3, 9, 5])}, {})],
)
def test_one_of_a_kind_without_a_form_is_refused(
    extra: dict[str, np.ndarray], attributes: dict[str, object], tmp_path: Path
) -> None:
    graph = lstm("x86-avx2", tmp_path, extra, **attributes)
    with pytest.raises(BadData, match="cannot emulate DynamicQuantizeLSTM 'lstm': only a plain one"):
        emulated(graph, Arithmetic.INT32)(sequences())


def test_a_plain_activation_may_be_written_out(tmp_path: Path) -> None:
    graph = lstm("x86-avx2", tmp_path, activations=["Sigmoid", "Tanh", "Tanh"])
    assert onnx.load(str(graph)).graph.node[0].attribute
    got = emulated(graph, HERE)(sequences())["last"]
    np.testing.assert_allclose(got, get_runtime("onnx").load(graph).run(sequences())["last"], atol=2e-6)
