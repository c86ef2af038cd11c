"""The Bi-LSTM of Senta reads texts in both directions, whatever fills them up, in Paddle and as ONNX."""

from pathlib import Path

import numpy as np
import paddle

from compress.prune.macs import count_macs
from convert.export import canonicalise, export_paddle, paddle_to_onnx
from convert.graph import Graph
from convert.parity import measure_parity
from edge_kit.core.words import WordPreprocess
from edge_kit.train.inference import layer_run
from edge_kit.zoo import MODELS, load_all
from runtimes.registry import get_runtime
from tests.zoo.liveliness import differs

load_all()
ENTRY = MODELS.get("senta_bilstm")
WORDS = 50


def small_net() -> paddle.nn.Layer:
    paddle.seed(4)
    net = ENTRY.build(num_classes=2, vocabulary=WORDS)
    net.eval()
    return net


def logits(net: paddle.nn.Layer, ids: list[int], length: int) -> np.ndarray:
    with paddle.no_grad():
        return np.asarray(net(paddle.to_tensor([ids]), paddle.to_tensor([length])))[0]


def test_what_fills_a_text_up_is_not_read() -> None:
    net = small_net()
    plain = logits(net, [5, 9, 7], 3)
    np.testing.assert_allclose(logits(net, [5, 9, 7, 0, 0, 0], 3), plain, atol=1e-6)
    np.testing.assert_allclose(logits(net, [5, 9, 7, 33, 2, 18], 3), plain, atol=1e-6)
    assert np.abs(logits(net, [5, 9, 7, 33, 2, 18], 4) - plain).max() > 1e-4


def test_it_equals_paddles_own_bidirectional_lstm_which_is_given_the_lengths() -> None:
    net = small_net()
    both = paddle.nn.LSTM(128, 128, direction="bidirect")
    layers = (net.forward_lstm, net.backward_lstm)
    for cell, ours in zip((both[0].cell_fw, both[0].cell_bw), (layer[0].cell for layer in layers), strict=True):
        cell.set_state_dict(ours.state_dict())
    ids, lengths = paddle.to_tensor([[5, 9, 7, 0, 0], [3, 1, 4, 1, 5]]), paddle.to_tensor([3, 5])
    with paddle.no_grad():
        _, (last, _) = both(net.embedding(ids), sequence_length=lengths)
        wanted = net.out(paddle.tanh(net.fc(paddle.concat([last[0], last[1]], axis=1))))
        np.testing.assert_allclose(net(ids, lengths).numpy(), wanted.numpy(), atol=1e-6)


def test_the_onnx_graph_equals_paddle_at_the_published_size(tmp_path: Path) -> None:
    paddle.seed(4)
    net = ENTRY.build(**ENTRY.published_sizes)
    (spec,) = ENTRY.graphs(ENTRY.published.preprocess).values()
    export_paddle(net, spec, tmp_path / "main")
    paddle_to_onnx(tmp_path / "main", tmp_path / "converted.onnx", spec)
    done = canonicalise(tmp_path / "converted.onnx", tmp_path / "main.onnx")
    assert done["fold_recurrent_weights"] == 6
    assert done["drop_zero_states"] == 4
    rng = np.random.default_rng(2)
    batch = {"ids": rng.integers(0, 33_256, (3, 256)), "lengths": np.array([1, 200, 256])}
    session = get_runtime("onnx").load(tmp_path / "main.onnx")
    (parity,) = measure_parity(layer_run(net, spec), session.run, [batch])
    assert parity.max_rel <= 1e-4
    assert differs(layer_run(net, spec)(batch)["logits"])
    (engine,) = measure_parity(session.run, get_runtime("paddle").load(tmp_path / "main.pdmodel").run, [batch])
    assert engine.max_rel <= 1e-4, "Paddle Inference, which fuses what it can"
    layers = [node for node in Graph.load(tmp_path / "main.onnx").nodes if node.op_type == "LSTM"]
    assert [len(node.input) for node in layers] == [4, 4]


def test_work_is_counted_for_recurrent_layers_step_by_step() -> None:
    given = WordPreprocess(7, ("a",))(["a a a", "a b"])
    recurrent = 2 * (512 * 128 + 512 * 128) * 7 * 2  # directions, matrices, steps, texts
    assert count_macs(small_net(), given) == recurrent + 2 * (256 * 96 + 96 * 2)


def test_the_published_accuracy_is_of_the_metric_that_is_measured() -> None:
    assert {row.metric: row.value for row in ENTRY.references}["accuracy"] == 88.3
