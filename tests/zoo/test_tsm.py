"""TSM moves channels between the frames of a clip and of no other, in Paddle and as ONNX."""

from pathlib import Path

import numpy as np
import paddle

from convert.export import canonicalise, export_paddle, paddle_to_onnx
from convert.parity import measure_parity
from edge_kit.core.clips import ClipPreprocess
from edge_kit.train.inference import layer_run
from edge_kit.zoo import MODELS, load_all
from edge_kit.zoo.video.tsm import TemporalShift
from runtimes.registry import get_runtime

load_all()
ENTRY = MODELS.get("tsm")


def test_an_eighth_comes_from_the_frame_before_and_an_eighth_from_the_one_after() -> None:
    """What the operator of Paddle does is written out by slices."""
    x = np.random.default_rng(0).normal(0, 1, (6, 16, 3, 3)).astype(np.float32)  # two clips of three frames
    clips = x.reshape(2, 3, 16, 3, 3)
    wanted = np.zeros_like(clips)
    wanted[:, 1:, :2] = clips[:, :-1, :2]
    wanted[:, :-1, 2:4] = clips[:, 1:, 2:4]
    wanted[:, :, 4:] = clips[:, :, 4:]
    got = TemporalShift(3)(paddle.to_tensor(x)).numpy()
    np.testing.assert_array_equal(got, wanted.reshape(x.shape))


def lively_tsm() -> paddle.nn.Layer:
    """A small head over the published backbone, with running statistics of one batch."""
    from paddle.nn.layer.norm import _BatchNormBase

    paddle.seed(2)
    net = ENTRY.build(num_classes=5, segments=4)
    norms = [layer for layer in net.sublayers() if isinstance(layer, _BatchNormBase)]
    for layer in norms:
        layer._momentum = 0.0
    with paddle.no_grad():
        net(paddle.randn([4, 4, 3, 32, 32]))
    net.eval()
    return net


def test_time_is_seen_and_the_graph_equals_paddle(tmp_path: Path) -> None:
    net = lively_tsm()
    (spec,) = ENTRY.graphs(ClipPreprocess(4, 32, 32)).values()
    run = layer_run(net, spec)
    clips = np.random.default_rng(1).normal(0, 1, (2, 4, 3, 32, 32)).astype(np.float32)
    forth, back = (run({"clip": given})["logits"] for given in (clips, np.ascontiguousarray(clips[:, ::-1])))
    assert np.abs(forth - back).max() > 1e-2 * np.abs(forth).max(), "a clip played backwards is another one"
    alone = run({"clip": clips[1:]})["logits"]
    np.testing.assert_allclose(alone, forth[1:], rtol=1e-4, atol=1e-5, err_msg="clips of a batch do not mix")
    export_paddle(net, spec, tmp_path / "main")
    paddle_to_onnx(tmp_path / "main", tmp_path / "converted.onnx", spec)
    canonicalise(tmp_path / "converted.onnx", tmp_path / "main.onnx")
    session = get_runtime("onnx").load(tmp_path / "main.onnx")
    (parity,) = measure_parity(run, session.run, [{"clip": clips}])
    assert parity.max_rel <= 1e-4


def test_the_shortcut_sees_what_is_not_shifted_and_every_bottleneck_shifts() -> None:
    net = ENTRY.build(num_classes=5, segments=4)
    assert [type(block.before) for block in net.backbone.blocks] == [TemporalShift] * 16
    block = net.backbone.blocks[1]
    block.eval()
    for name in ("conv0", "conv1", "conv2"):
        getattr(block, name).conv.weight.set_value(paddle.zeros(getattr(block, name).conv.weight.shape))
    x = paddle.randn([4, 256, 2, 2])
    np.testing.assert_allclose(block(x).numpy(), np.maximum(x.numpy(), 0), atol=1e-6)


def test_the_bias_of_the_head_learns_twice_as_fast_without_decay_and_starts_at_zero() -> None:
    bias = ENTRY.build(num_classes=5, segments=4).fc.bias
    assert bias.optimize_attr["learning_rate"] == 2.0
    assert bias.regularizer is not None and bias.regularizer._coeff == 0.0
    assert not bias.numpy().any()
