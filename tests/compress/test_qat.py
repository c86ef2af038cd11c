"""What is learnt in training with the rounding in it is what the INT8 file holds."""

from pathlib import Path

import numpy as np
import paddle
import pytest
from paddle import nn
from paddle.nn.layer.norm import _BatchNormBase
from paddle.nn.quant import quant_layers

from compress.quantize.qat import Quantizers
from convert.export import input_specs, paddle_to_onnx
from convert.graph import Graph
from convert.lower import LowerReport, lower
from convert.passes.learnt import place_ranges_in
from edge_kit.core.errors import EdgeKitError
from edge_kit.core.tensors import GraphSpec, TensorSpec
from edge_kit.train.statistics import frozen_statistics
from runtimes.registry import get_runtime
from runtimes.targets import TARGETS
from tests.compress.inverted_residual_net import SmallNet

RNG = np.random.default_rng(2)
IMAGES = RNG.standard_normal((48, 3, 32, 32)).astype(np.float32)
BATCHES = [{"image": IMAGES[:24]}, {"image": IMAGES[24:]}]
SPEC = GraphSpec((TensorSpec("image", ("N", 3, 32, 32)),), ("logits",))


@pytest.fixture(scope="module")
def net() -> nn.Layer:
    """Settled statistics, then a few steps of training with quantizers."""
    paddle.seed(3)
    net = SmallNet()
    with paddle.no_grad():
        for _ in range(30):
            net(paddle.to_tensor(IMAGES[:16]))
    return net


@pytest.fixture(scope="module")
def quantizers(net: nn.Layer) -> Quantizers:
    before = set(net.state_dict())
    quantizers = Quantizers(net)
    assert before < set(net.state_dict())
    optimizer = paddle.optimizer.Momentum(0.01, parameters=[p for p in net.parameters() if not p.stop_gradient])
    with frozen_statistics(net), quantizers.growing():
        net.train()
        for _ in range(25):
            loss = net(paddle.to_tensor(IMAGES[:24])).square().mean()
            loss.backward()
            optimizer.step()
            optimizer.clear_grad()
    net.eval()
    return quantizers


@pytest.fixture(scope="module")
def int8(net: nn.Layer, quantizers: Quantizers, tmp_path_factory: pytest.TempPathFactory) -> tuple[Graph, LowerReport]:
    folder = tmp_path_factory.mktemp("qat")
    quantizers.save(net, folder / "trained", input_specs(SPEC))
    paddle_to_onnx(folder / "trained", folder / "fake.onnx", SPEC)
    assert place_ranges_in(folder / "fake.onnx", quantizers.ranges()) == set(quantizers.ranges())
    report = lower(folder / "fake.onnx", folder / "int8.onnx", TARGETS["x86-vnni"], BATCHES)
    return Graph.load(folder / "int8.onnx"), report


def layers_of(net: nn.Layer) -> list[nn.Layer]:
    return [layer for layer in net.sublayers() if hasattr(layer, "_fake_quant_input")]


def test_only_what_a_layer_reads_is_observed(net: nn.Layer, quantizers: Quantizers) -> None:
    """PaddleSlim alone would also round what a convolution gives to its batch norm."""
    observers = (quant_layers.MAOutputScaleLayer, quant_layers.FakeQuantMAOutputScaleLayer)
    assert not [layer for layer in net.sublayers() if isinstance(layer, observers)]
    assert len(quantizers.ranges()) == 14  # stem, four blocks of three, classifier


def test_every_layer_is_in_int8(int8: tuple[Graph, LowerReport]) -> None:
    assert int8[1].quantized == {"Conv": 13, "Add": 2, "GlobalAveragePool": 1, "Flatten": 1, "Gemm": 1}
    assert int8[1].left_float == {}
    assert int8[1].passes["lift_quantization"] == 14


def test_the_ranges_that_were_learnt_are_those_of_the_file(
    quantizers: Quantizers, int8: tuple[Graph, LowerReport]
) -> None:
    """The classifier reads what Flatten moves; that keeps the grid of the pool, which has what calibration saw."""
    graph, _ = int8
    *learnt, _ = quantizers.ranges().values()
    reached = []
    for node in graph.nodes:
        if node.op_type == "Conv":
            reader = graph.producer(node.input[0])
            assert reader is not None
            scale, zero = (float(graph.constants[name]) for name in reader.input[1:3])
            reached.append(max((255 - zero) * scale, zero * scale))
    # A zero point is a whole number, so that one end of a grid with two sides moves by half a step at most
    np.testing.assert_allclose(sorted(reached), sorted(learnt), rtol=0.5 / 127)


def test_the_weights_of_the_file_are_those_that_training_rounded_to(
    net: nn.Layer, int8: tuple[Graph, LowerReport]
) -> None:
    """A batch norm of negative gain turns the signs of a channel."""
    graph, _ = int8
    stored = [value for name, value in graph.constants.items() if name.endswith(".w.q") and value.ndim == 4]
    rounded = []
    for layer in layers_of(net)[:-1]:
        weight = layer.weight.numpy()
        largest = np.abs(weight).reshape(len(weight), -1).max(axis=1).reshape(-1, 1, 1, 1)
        rounded.append(np.rint(weight / largest * 127))
    assert len(stored) == len(rounded) == 13
    for ours, theirs in zip(stored, rounded, strict=True):
        same = np.abs(ours) == np.abs(theirs)
        assert same.mean() > 0.9999, same.mean()


def test_int8_answers_as_the_network_did_in_training(
    net: nn.Layer, int8: tuple[Graph, LowerReport], tmp_path: Path
) -> None:
    graph, _ = int8
    graph.save(tmp_path / "int8.onnx")
    got = get_runtime("onnx").load(tmp_path / "int8.onnx").run({"image": IMAGES})["logits"]
    with paddle.no_grad():
        wanted = net(paddle.to_tensor(IMAGES)).numpy()
    error = np.sqrt(((got - wanted) ** 2).mean()) / wanted.std()
    assert error < 0.1
    assert (got.argmax(axis=1) == wanted.argmax(axis=1)).mean() > 0.9


def test_frozen_statistics_train_what_will_run(net: nn.Layer) -> None:
    paddle.seed(3)
    fresh = SmallNet()
    image = paddle.to_tensor(IMAGES[:8])
    fresh(image)  # statistics that are not those of a batch
    fresh.eval()
    wanted = fresh(image).numpy()
    norms = [layer for layer in fresh.sublayers() if isinstance(layer, _BatchNormBase)]
    means = [norm._mean.numpy() for norm in norms]
    with frozen_statistics(fresh):
        fresh.train()
        trained = fresh(image)
        trained.mean().backward()
    np.testing.assert_allclose(trained.numpy(), wanted, rtol=1e-4, atol=1e-5)
    assert all(np.array_equal(norm._mean.numpy(), mean) for norm, mean in zip(norms, means, strict=True))
    assert np.abs(norms[-1].weight.grad.numpy()).max() > 0
    assert not np.allclose(fresh(image).numpy(), wanted)  # outside, batches have their own statistics again


def test_a_network_with_nothing_to_quantize_is_one_line() -> None:
    with pytest.raises(EdgeKitError, match="Sequential has no convolution and no linear layer to quantize"):
        Quantizers(nn.Sequential(nn.ReLU()))


def test_ranges_reach_the_largest_of_all_batches_and_forget_it_slowly() -> None:
    """A mean over batches, which PaddleSlim keeps, cuts off the top of every other one."""
    net = nn.Sequential(nn.Conv2D(3, 8, 1))
    quantizers = Quantizers(net)
    net.train()
    with quantizers.growing():
        for largest in (2.0, 5.0, 1.0, 1.0):
            net(paddle.to_tensor(IMAGES[:4] / np.abs(IMAGES[:4]).max() * np.float32(largest)))
        [grown] = quantizers.ranges().values()
        net.eval()
        net(paddle.to_tensor(9 * IMAGES[:4]))
        assert list(quantizers.ranges().values()) == [grown], "to evaluate changes nothing"
    np.testing.assert_allclose(grown, 5 * 0.999**2, rtol=1e-6)
    net.train()
    net(paddle.to_tensor(IMAGES[:4]))
    assert not net[0]._fake_quant_input._forward_pre_hooks, "outside, PaddleSlim's own rule holds again"


def test_heads_that_run_in_training_alone_are_not_missed(tmp_path: Path) -> None:
    class TwoHeads(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head, self.aid = nn.Conv2D(3, 8, 3), nn.Conv2D(8, 4, 1), nn.Conv2D(8, 4, 1)

        def forward(self, image: paddle.Tensor) -> object:
            x = self.body(image)
            return (self.head(x), self.aid(x)) if self.training else self.head(x)

    net = TwoHeads()
    quantizers = Quantizers(net)
    with quantizers.growing():
        net.train()
        net(paddle.to_tensor(IMAGES[:4]))
    held = quantizers.save(net, tmp_path / "trained", input_specs(SPEC))
    assert held.keys() == {net.body.weight.name, net.head.weight.name}
    paddle_to_onnx(tmp_path / "trained", tmp_path / "fake.onnx", SPEC)
    assert place_ranges_in(tmp_path / "fake.onnx", held) == held.keys()
    assert len(quantizers.ranges()) == 3
