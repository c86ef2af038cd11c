"""CRNN is the published net, and its graph reads the same lines in Paddle, as ONNX and in INT8."""

from pathlib import Path

import numpy as np
import onnx
import paddle
import pytest

from convert.export import canonicalise, export_paddle, paddle_to_onnx
from convert.lower import lower
from convert.parity import measure_parity
from edge_kit.core.lines import LinePreprocess
from edge_kit.train.inference import layer_run
from edge_kit.train.settle import settle
from edge_kit.zoo import MODELS, load_all
from runtimes.registry import get_runtime
from runtimes.targets import TARGETS

load_all()
ENTRY = MODELS.get("crnn_ctc")
(SPEC,) = ENTRY.graphs(LinePreprocess(104)).values()


def lines(count: int) -> dict[str, np.ndarray]:
    """Smooth random pictures, filled up on the right."""
    rng = np.random.default_rng(6)
    coarse = rng.uniform(-127.5, 127.5, (count, 1, 12, 20)).astype(np.float32)
    image = np.zeros((count, 1, 48, 104), np.float32)
    image[..., :80] = coarse.repeat(4, axis=2).repeat(4, axis=3)
    return {"image": image}


@pytest.fixture(scope="module")
def net() -> paddle.nn.Layer:
    paddle.seed(3)
    made = ENTRY.build(num_classes=95)
    settle(made, SPEC, lines(8))
    return made


@pytest.fixture(scope="module")
def exported(net: paddle.nn.Layer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("crnn")
    export_paddle(net, SPEC, folder / "main")
    paddle_to_onnx(folder / "main", folder / "converted.onnx", SPEC)
    canonicalise(folder / "converted.onnx", folder / "main.onnx")
    return folder / "main.onnx"


def test_parameters_add_up_as_the_published_layers_do() -> None:
    convolutions = sum(9 * a * b + b + 2 * b for a, b in ((1, 16), (16, 16), (16, 32), (32, 32)))
    convolutions += sum(9 * a * b + b + 2 * b for a, b in ((32, 64), (64, 64), (64, 128), (128, 128)))
    projected = 768 * 600 + 600  # of a direction, with a bias of its own
    recurrent = 200 * 600 + 600
    assert convolutions + 2 * (projected + recurrent) + 400 * 96 + 96 == ENTRY.parameters


@pytest.mark.parametrize("width", [96, 104])
def test_a_step_of_the_answer_is_eight_pixels(net: paddle.nn.Layer, width: int) -> None:
    with paddle.no_grad():
        assert net(paddle.zeros([2, 1, 48, width])).shape == [2, width // 8, 96]


def test_columns_are_flattened_channel_by_channel(net: paddle.nn.Layer) -> None:
    """And the two directions read them as Paddle's cells do, one step after the other."""
    image = paddle.to_tensor(lines(2)["image"])
    with paddle.no_grad():
        features = net.features(image).numpy()
        got = net(image).numpy()
        columns = np.stack([features[:, :, :, t].reshape(2, -1) for t in range(features.shape[3])], axis=1)
        cells, ends = (net.gru[0].cell_fw, net.gru[0].cell_bw), []
        for cell, order in zip(cells, (slice(None), slice(None, None, -1)), strict=True):
            state, outputs = paddle.zeros([2, 200]), []
            for step in columns[:, order].transpose(1, 0, 2):
                output, state = cell(paddle.to_tensor(np.ascontiguousarray(step)), state)
                outputs.append(output.numpy())
            ends.append(np.stack(outputs, axis=1)[:, order])
        wanted = net.out(paddle.to_tensor(np.concatenate(ends, axis=2))).numpy()
    np.testing.assert_allclose(got, wanted, atol=1e-4 * np.abs(wanted).max())


def test_the_onnx_graph_equals_paddle(net: paddle.nn.Layer, exported: Path) -> None:
    session = get_runtime("onnx").load(exported)
    (parity,) = measure_parity(layer_run(net, SPEC), session.run, [lines(3)])
    assert parity.max_rel <= 1e-4


@pytest.mark.parametrize("target", ["x86-vnni", "x86-avx2"])
def test_in_int8_it_is_a_quarter_and_agrees(exported: Path, target: str, tmp_path: Path) -> None:
    report = lower(exported, tmp_path / "int8.onnx", TARGETS[target], [lines(8)])
    assert report.quantized["Conv"] == 8
    assert (tmp_path / "int8.onnx").stat().st_size < 0.27 * exported.stat().st_size
    graph = onnx.load(str(tmp_path / "int8.onnx")).graph
    large = {tensor.data_type for tensor in graph.initializer if np.prod(tensor.dims) > 4096}
    assert large == {onnx.TensorProto.INT8}
    full, small = (
        get_runtime("onnx").load(path).run(lines(8))["logits"] for path in (exported, tmp_path / "int8.onnx")
    )
    assert np.sqrt(((small - full) ** 2).mean() / (full**2).mean()) < 0.1


def test_the_published_row_is_of_the_metric_that_is_measured() -> None:
    assert {row.metric: row.value for row in ENTRY.references}["sequence error rate"] == 22.3
