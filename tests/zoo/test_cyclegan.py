"""CycleGAN's networks: counts from the layers, sizes, what is exported."""

from pathlib import Path

import numpy as np
import paddle
from paddle import nn

from compress.quantize.qat import Quantizers
from convert.export import canonicalise, export_paddle, paddle_to_onnx
from convert.parity import measure_parity
from edge_kit.core.images import ImagePreprocess
from edge_kit.train.inference import layer_run
from edge_kit.zoo import MODELS, load_all
from edge_kit.zoo.gan import cyclegan
from runtimes.registry import get_runtime

load_all()
ENTRY = MODELS.get("cyclegan")


def test_published_counts_follow_from_the_layers() -> None:
    block = 2 * (128 * 128 * 9 + 2 * 128)
    ends = 3 * 32 * 49 + 2 * 32 + 32 * 3 * 49 + 3
    down = 32 * 64 * 9 + 2 * 64 + 64 * 128 * 9 + 2 * 128
    up = 128 * 64 * 9 + 2 * 64 + 64 * 32 * 9 + 2 * 32
    judge = 16 * (3 * 64 + 64 * 128 + 128 * 256 + 256 * 512 + 512) + 64 + 2 * (128 + 256 + 512) + 1
    assert ends + down + 9 * block + up == 2_853_187
    assert judge == 2_765_633
    assert ENTRY.parameters == 2 * 2_853_187, "what is exported"


def test_discriminators_judge_patches_and_generators_keep_the_size() -> None:
    net = ENTRY.build()
    with paddle.no_grad():
        made = net.a_to_b(paddle.randn([1, 3, 16, 24]))
        judged = net.judge_a(paddle.randn([1, 3, 64, 96]))
    assert made.shape == [1, 3, 16, 24]
    assert judged.shape == [1, 1, 6, 10]
    assert float(made.abs().max()) <= 1


def test_instance_norm_is_batch_norm_over_the_one_picture_of_a_batch() -> None:
    """Published is batch norm with the statistics of its batch, which is one picture, in training and afterwards."""
    ours, theirs = cyclegan._norm(8), nn.BatchNorm2D(8)
    theirs.weight.set_value(ours.scale)
    picture = paddle.randn([1, 8, 12, 12])
    np.testing.assert_allclose(ours(picture).numpy(), theirs(picture).numpy(), atol=1e-5)


def test_both_onnx_graphs_equal_paddle(tmp_path: Path) -> None:
    paddle.seed(2)
    net = ENTRY.build()
    specs = ENTRY.graphs(ImagePreprocess(32, 32))
    assert set(specs) == {"a_to_b", "b_to_a"}
    for name, spec in specs.items():
        export_paddle(net, spec, tmp_path / name)
        paddle_to_onnx(tmp_path / name, tmp_path / "converted.onnx", spec)
        canonicalise(tmp_path / "converted.onnx", tmp_path / f"{name}.onnx")
        batch = {spec.inputs[0].name: np.random.default_rng(1).uniform(-1, 1, (2, 3, 32, 32)).astype(np.float32)}
        session = get_runtime("onnx").load(tmp_path / f"{name}.onnx")
        (parity,) = measure_parity(layer_run(net, spec), session.run, [batch])
        assert parity.max_rel <= 1e-4


def test_quantizers_go_into_what_is_exported_only() -> None:
    net = ENTRY.build()
    quantizers = Quantizers(net.a_to_b, net.b_to_a)
    layers = [layer for part in (net.a_to_b, net.b_to_a) for layer in part.sublayers()]
    convolutions = [layer for layer in layers if hasattr(layer, "_fake_quant_input")]
    assert len(quantizers.ranges()) == len(convolutions) == 2 * 22
    assert not any(hasattr(layer, "_fake_quant_input") for layer in net.judge_a.sublayers())
