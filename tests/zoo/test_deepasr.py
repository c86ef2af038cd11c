"""DeepASR's acoustic model hears a whole utterance and the same in chunks alike, in Paddle and as ONNX."""

from pathlib import Path

import numpy as np
import paddle
import pytest

from convert.export import canonicalise, export_paddle, paddle_to_onnx
from convert.lower import lower
from convert.parity import measure_parity
from edge_kit.core.speech import AcousticPreprocess
from edge_kit.train.inference import layer_run
from edge_kit.zoo import MODELS, load_all
from edge_kit.zoo.speech import deepasr
from runtimes.registry import get_runtime
from runtimes.targets import TARGETS

load_all()
ENTRY = MODELS.get("deepasr")
CHUNK = AcousticPreprocess(3, (2, 16), (2, 40))  # of a net of two narrow layers
RNG = np.random.default_rng(8)


@pytest.fixture(scope="module")
def net() -> paddle.nn.Layer:
    paddle.seed(5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deepasr, "LAYERS", 2)
        patch.setattr(deepasr, "HIDDEN", 40)
        patch.setattr(deepasr, "PROJECTION", 16)
        made = deepasr.DeepASR(num_classes=9)
        for cell in made.lstms:
            cell.peepholes.set_value(paddle.randn([3, 40]))
            cell.bias.set_value(paddle.randn([160]))
        for norm in made.norms:
            norm._mean.set_value(0.1 * paddle.randn([16]))
            norm._variance.set_value(0.1 + 0.2 * paddle.rand([16]))
            norm.bias.set_value(paddle.randn([16]))
        made.eval()
        yield made


def test_parameters_add_up_as_the_published_layers_do() -> None:
    convolution = 32 * 3 * 9 + 32
    entering = (6240 * 4096 + 4096) + 4 * (512 * 4096 + 4096)
    recurrent = 5 * (512 * 4096 + 1024 * 512 + 7 * 1024)
    assert convolution + entering + recurrent + 5 * 2 * 512 + 512 * 3040 + 3040 == ENTRY.parameters


def run_in_chunks(run, frames: np.ndarray, size: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Logits of all frames, and what is remembered at the end; `run` takes inputs by name."""
    kept, logits = CHUNK.start(len(frames)), []
    for first in range(0, frames.shape[1], size):
        answers = run({"frames": frames[:, first : first + size], **kept})
        kept = {"state": answers["state_after"], "cell": answers["cell_after"]}
        logits.append(answers["logits"])
    return np.concatenate(logits, axis=1), kept


def test_a_chunk_follows_a_chunk_as_if_there_were_one(net: paddle.nn.Layer) -> None:
    frames = RNG.normal(0, 1, (2, 12, 3, 11, 80)).astype(np.float32)
    run = layer_run(net, deepasr.graphs(CHUNK)["main"])
    whole, at_end = run_in_chunks(run, frames, 12)
    for size in (1, 3, 5):
        logits, kept = run_in_chunks(run, frames, size)
        np.testing.assert_allclose(logits, whole, atol=1e-5 * np.abs(whole).max())
        for name, value in kept.items():
            np.testing.assert_allclose(value, at_end[name], atol=1e-5)
    forgetful = run({"frames": frames[:, 6:], **CHUNK.start(2)})["logits"]
    assert np.abs(forgetful - whole[:, 6:]).max() > 1e-2 * np.abs(whole).max(), "what is remembered counts"


def test_a_cell_is_that_of_the_paper_written_out(net: paddle.nn.Layer) -> None:
    def sigmoid(x: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-x))

    cell = net.lstms[0]
    given = RNG.normal(0, 1, (2, 4, 160))
    state, kept = RNG.normal(0, 1, (2, 16)), RNG.normal(0, 1, (2, 40))
    with paddle.no_grad():
        got = cell(*(paddle.to_tensor(one.astype(np.float32)) for one in (given, state, kept)))
    recurrent, projection, bias, (into, forget, out) = (
        one.numpy().astype(np.float64)
        for one in (cell.recurrent.weight, cell.projection.weight, cell.bias, cell.peepholes)
    )
    outputs = []
    for step in range(4):
        candidate, i, f, o = np.split(given[:, step] + bias + state @ recurrent, 4, axis=1)
        old = kept
        kept = sigmoid(f + forget * old) * old + sigmoid(i + into * old) * np.tanh(candidate)
        state = np.tanh((sigmoid(o + out * kept) * np.tanh(kept)) @ projection)
        outputs.append(state)
    for mine, theirs in zip((np.stack(outputs, axis=1), state, kept), got, strict=True):
        np.testing.assert_allclose(theirs.numpy(), mine, atol=1e-5)


def test_the_graph_streams_as_paddle_does_and_in_int8_is_a_quarter(net: paddle.nn.Layer, tmp_path: Path) -> None:
    spec = deepasr.graphs(CHUNK)["main"]
    export_paddle(net, spec, tmp_path / "main")
    paddle_to_onnx(tmp_path / "main", tmp_path / "converted.onnx", spec)
    done = canonicalise(tmp_path / "converted.onnx", tmp_path / "main.onnx")
    assert (done["gemm_from_matmul_and_add"], done["fold_batch_norm_into_gemm"]) == (3, 2)
    frames = RNG.normal(0, 1, (8, 9, 3, 11, 80)).astype(np.float32)
    feed = {"frames": frames[:, :3], "state": RNG.normal(0, 0.5, (8, 2, 16)), "cell": RNG.normal(0, 1, (8, 2, 40))}
    feed = {name: value.astype(np.float32) for name, value in feed.items()}
    full = get_runtime("onnx").load(tmp_path / "main.onnx").run
    assert all(one.max_rel <= 1e-4 for one in measure_parity(layer_run(net, spec), full, [feed]))
    report = lower(tmp_path / "main.onnx", tmp_path / "int8.onnx", TARGETS["x86-vnni"], [feed])
    assert (report.quantized["Conv"], report.quantized["Gemm"]) == (1, 3)
    assert "Add" not in report.quantized, "gates stay float"
    small = get_runtime("onnx").load(tmp_path / "int8.onnx").run
    wanted, got = (run_in_chunks(run, frames, 3)[0] for run in (full, small))
    assert np.sqrt(((got - wanted) ** 2).mean() / (wanted**2).mean()) < 0.1


def test_the_published_rate_is_of_another_metric_than_is_measured_without_a_decoder() -> None:
    assert [(row.metric, row.value, row.unit) for row in ENTRY.references] == [("CER", 10.1971, "%")]
