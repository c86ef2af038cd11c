import importlib
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import paddle
import pytest
from paddle import nn
from paddle.vision.models import mobilenet_v1
from safetensors.numpy import save_file

from compress.prune.macs import count_macs
from compress.prune.reshape import fit_to_weights
from compress.prune.structured import PruneReport, PruneSettings, prune_filters
from edge_kit.core.errors import BadData, EdgeKitError, MissingDependency, UsageError
from tests.compress.inverted_residual_net import CLASSES, SHAPES, Block, SmallNet

HALF = PruneSettings(0.5)


@dataclass(frozen=True)
class Case:
    name: str
    build: Callable[[], nn.Layer]
    classifier: str  # key of its weight, (in, out)


CASES = [
    Case("inverted residual", SmallNet, "classifier.weight"),
    Case("mobilenet_v1", lambda: mobilenet_v1(scale=0.25, num_classes=CLASSES), "fc.weight"),
]
each_net = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def numpy_state(net: nn.Layer) -> dict[str, np.ndarray]:
    return {key: tensor.numpy() for key, tensor in net.state_dict().items()}


def built(case: Case) -> nn.Layer:
    paddle.seed(7)
    return case.build()


def logits(net: nn.Layer) -> np.ndarray:
    images = np.random.default_rng(0).standard_normal((4, 3, 32, 32)).astype("float32")
    net.eval()
    with paddle.no_grad():
        return net(paddle.to_tensor(images)).numpy()


def test_macs_of_known_layers_are_exact() -> None:
    net = nn.Sequential(
        nn.Conv2D(3, 8, 3, stride=2, padding=1),
        nn.Conv2D(8, 8, 3, padding=1, groups=8),
        nn.Conv2DTranspose(8, 4, 2, stride=2),
        nn.Flatten(),
        nn.Linear(4 * 8 * 8, 10),
    )
    convolution, depthwise = 4 * 4 * 8 * 3 * 9, 4 * 4 * 8 * 9
    transposed, linear = 4 * 4 * 8 * 4 * 4, 256 * 10
    assert count_macs(net, {"x": (1, 3, 8, 8)}) == convolution + depthwise + transposed + linear


@each_net
@pytest.mark.parametrize("criterion", ["l1", "fpgm"])
def test_half_of_the_macs_go(case: Case, criterion: str) -> None:
    net = built(case)
    before = count_macs(net, SHAPES)

    report = prune_filters(net, SHAPES, PruneSettings(0.5, criterion))

    assert report.macs_before == before
    assert report.macs_after == count_macs(net, SHAPES)
    assert report.macs_after == pytest.approx(before / 2, rel=0.02)
    assert report.parameters_after < report.parameters_before


@each_net
def test_every_cut_parameter_has_a_new_shape_and_the_report_its_filters(case: Case) -> None:
    net = built(case)
    before = {key: value.shape for key, value in numpy_state(net).items()}

    report = prune_filters(net, SHAPES, HALF)

    after = numpy_state(net)
    assert before.keys() == after.keys()  # no mask and no backup is left behind
    filters = {key: value.shape[0] for key, value in after.items() if value.ndim == 4}
    cut = {key: left for key, left in filters.items() if left < before[key][0]}
    assert report.channels == cut
    assert all(left % report.multiple == 0 for left in cut.values())
    # Only what is no wider than one block of channels may stay whole.
    assert all(before[key][0] <= report.multiple for key in filters.keys() - cut.keys())
    for key, left in filters.items():
        norm = key.replace(".0.weight", ".1.")
        assert {after[norm + name].shape for name in ("weight", "bias", "_mean", "_variance")} == {(left,)}


@each_net
def test_the_classifier_keeps_every_class(case: Case) -> None:
    net = built(case)
    weight, bias = (numpy_state(net)[case.classifier.replace("weight", end)] for end in ("weight", "bias"))

    prune_filters(net, SHAPES, HALF)

    after = numpy_state(net)
    kept = after[case.classifier]
    assert kept.shape[1] == CLASSES
    rows = [int(np.flatnonzero((weight == row).all(axis=1))[0]) for row in kept]
    assert rows == sorted(set(rows))
    assert np.array_equal(after[case.classifier.replace("weight", "bias")], bias)


def test_l1_keeps_the_filters_of_largest_magnitude_in_order_and_their_statistics() -> None:
    paddle.seed(7)
    net = SmallNet()
    rng = np.random.default_rng(1)
    norm = net.blocks[0].expand[1]
    norm._mean.set_value(rng.standard_normal(norm._mean.shape).astype("float32"))
    before = numpy_state(net)

    report = prune_filters(net, SHAPES, HALF)

    filters = before["blocks.0.expand.0.weight"]
    count = report.channels["blocks.0.expand.0.weight"]
    best = np.sort(np.argsort(np.abs(filters).sum(axis=(1, 2, 3)))[-count:])
    after = numpy_state(net)
    assert np.array_equal(after["blocks.0.expand.1._mean"], before["blocks.0.expand.1._mean"][best])
    depthwise = "blocks.0.depthwise.0.weight"
    assert np.array_equal(after[depthwise], before[depthwise][best])


def test_layers_say_their_new_sizes() -> None:
    net = SmallNet()
    prune_filters(net, SHAPES, HALF)
    for layer in net.sublayers():
        if isinstance(layer, nn.Conv2D):
            outside, inside = layer.weight.shape[:2]
            assert layer._out_channels == outside
            assert layer._in_channels == inside * layer._groups
        if isinstance(layer, nn.BatchNorm2D):
            assert layer._num_features == layer.weight.shape[0]
    for block in net.blocks:
        convolution = block.depthwise[0]
        assert convolution._groups == convolution._in_channels == convolution._out_channels


def test_both_sides_of_a_residual_sum_keep_the_same_channels() -> None:
    net = SmallNet()
    prune_filters(net, SHAPES, HALF)
    for before, block in ((net.stem, net.blocks[0]), (net.blocks[1].project, net.blocks[2])):
        assert block.adds
        assert before[0].weight.shape[0] == block.project[0].weight.shape[0]


@each_net
def test_a_rebuilt_network_gives_the_same_bits(case: Case) -> None:
    pruned = built(case)
    prune_filters(pruned, SHAPES, HALF)

    paddle.seed(8)
    rebuilt = case.build()
    fit_to_weights(rebuilt, numpy_state(pruned))

    assert np.array_equal(logits(rebuilt), logits(pruned))


REBUILD = """
import sys
import compress
import numpy as np, paddle
from tests.compress.inverted_residual_net import SmallNet
from safetensors.numpy import load_file
from compress.prune.reshape import fit_to_weights

net = SmallNet()
fit_to_weights(net, load_file("pruned.safetensors"))
net.eval()
spec = [paddle.static.InputSpec([None, 3, 32, 32], "float32", name="image")]
paddle.jit.save(net, "exported", input_spec=spec)
images = np.random.default_rng(0).standard_normal((4, 3, 32, 32)).astype("float32")
np.save("logits.npy", paddle.jit.load("exported")(paddle.to_tensor(images)).numpy())
assert "paddleslim" not in sys.modules
"""


def test_a_fresh_process_without_paddleslim_rebuilds_and_exports(tmp_path: Path) -> None:
    net = SmallNet()
    prune_filters(net, SHAPES, HALF)
    save_file(numpy_state(net), tmp_path / "pruned.safetensors")

    root = Path(__file__).parents[2]
    path = f"import sys; sys.path[:0] = [{str(root)!r}, {str(Path(__file__).parent)!r}]"
    subprocess.run([sys.executable, "-c", path + REBUILD], cwd=tmp_path, check=True, timeout=60)

    # The exported graph may fuse; the same float32 sums in another order.
    np.testing.assert_allclose(np.load(tmp_path / "logits.npy"), logits(net), atol=1e-5)


@each_net
def test_a_pruned_network_learns(case: Case) -> None:
    net = built(case)
    prune_filters(net, SHAPES, HALF)
    net.train()
    rng = np.random.default_rng(0)
    images = paddle.to_tensor(rng.standard_normal((16, 3, 32, 32)).astype("float32"))
    labels = paddle.to_tensor(rng.integers(0, CLASSES, 16))
    optimizer = paddle.optimizer.Adam(2e-3, parameters=net.parameters())
    losses = []
    for _ in range(10):
        loss = nn.functional.cross_entropy(net(images), labels)
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
        losses.append(float(loss))
    assert losses[-1] < 0.8 * losses[0]


def test_a_network_that_was_training_still_is() -> None:
    net = SmallNet()
    net.classifier.eval()
    prune_filters(net, SHAPES, HALF)
    assert net.training
    assert net.stem[1].training
    assert not net.classifier.training
    assert paddle.in_dynamic_mode()


def test_two_cuts_of_the_same_weights_are_equal() -> None:
    reports: list[PruneReport] = []
    states = []
    for _ in range(2):
        net = built(CASES[0])
        reports.append(prune_filters(net, SHAPES, HALF))
        states.append(numpy_state(net))
    assert reports[0] == reports[1]
    assert all(np.array_equal(states[0][key], states[1][key]) for key in states[0])


class MeanNet(nn.Layer):
    """PaddleSlim loses the channels at `mean`: the classifier would keep its rows."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2D(3, 32, 3)
        self.second = nn.Conv2D(32, 64, 3)
        self.classifier = nn.Linear(64, CLASSES)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return self.classifier(self.second(self.first(x)).mean([2, 3]))


def test_a_network_that_falls_apart_is_put_back() -> None:
    net = MeanNet()
    before = numpy_state(net)
    with pytest.raises(EdgeKitError, match="'?MeanNet'? does not hold together when pruned"):
        prune_filters(net, SHAPES, HALF)
    after = numpy_state(net)
    assert all(np.array_equal(before[key], after[key]) for key in before)
    assert logits(net).shape == (4, CLASSES)


class BranchingNet(nn.Layer):
    """Decides by value, which a static trace cannot."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2D(3, 8, 3)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return self.body(x) if float(x.sum().numpy()) > 0 else self.body(-x)


def test_a_network_that_cannot_be_traced_leaves_dynamic_mode_on() -> None:
    with pytest.raises(EdgeKitError, match="paddleslim cannot trace 'BranchingNet'"):
        prune_filters(BranchingNet(), SHAPES, HALF)
    assert paddle.in_dynamic_mode()


def test_a_saving_that_whole_filters_cannot_reach_names_the_nearest() -> None:
    net = nn.Sequential(nn.Conv2D(3, 2, 3), nn.Conv2D(2, 4, 3))
    before = numpy_state(net)
    with pytest.raises(UsageError, match=r"cannot remove 0\.300 .* nearest is 0\.\d+"):
        prune_filters(net, SHAPES, PruneSettings(0.3))
    assert all(np.array_equal(before[key], value) for key, value in numpy_state(net).items())


def test_widths_are_multiples_of_a_kernel_block() -> None:
    net = mobilenet_v1(scale=1.0, num_classes=CLASSES)
    report = prune_filters(net, SHAPES, HALF)
    assert report.multiple == 16
    assert all(kept % 16 == 0 for kept in report.channels.values())
    assert 0.49 <= report.macs_after / report.macs_before <= 0.5


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, float("nan")])
def test_a_share_outside_its_range_is_refused(share: float) -> None:
    with pytest.raises(UsageError, match="flops_share must be between 0 and 1"):
        PruneSettings(share)


def test_an_unknown_criterion_suggests_the_nearest() -> None:
    with pytest.raises(UsageError, match="unknown pruning criterion 'fgpm'; did you mean 'fpgm'"):
        PruneSettings(0.5, "fgpm")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda weights: weights.pop("classifier.bias"), "weights lack 'classifier.bias'"),
        (lambda weights: weights.update(head=np.zeros(1)), "network has no 'head'"),
        (
            lambda weights: weights.update({"stem.0.weight": np.zeros((32, 3, 5, 5), "float32")}),
            r"'stem.0.weight' has shape \(32, 3, 5, 5\)",
        ),
        (
            lambda weights: weights.update({"classifier.bias": np.zeros((5, 1), "float32")}),
            r"'classifier.bias' has shape \(5, 1\)",
        ),
    ],
    ids=["missing key", "extra key", "other kernel", "other rank"],
)
def test_weights_of_another_network_are_refused_by_name(
    change: Callable[[dict[str, np.ndarray]], object], message: str
) -> None:
    net = SmallNet()
    before = numpy_state(net)
    weights = {key: np.zeros_like(value) for key, value in before.items()}
    change(weights)
    with pytest.raises(BadData, match=message) as caught:
        fit_to_weights(net, weights)
    assert "\n" not in str(caught.value)
    assert all(np.array_equal(before[key], value) for key, value in numpy_state(net).items())


def test_tied_layers_shrink_together() -> None:
    block = Block(16, 16, 1)
    net = nn.Sequential(block, block)
    weights = {
        key: np.zeros([size // 2 if size > 3 else size for size in value.shape], "float32")
        for key, value in numpy_state(net).items()
    }
    fit_to_weights(net, weights)
    assert block.depthwise[0]._groups == 32
    assert net(paddle.zeros([1, 8, 4, 4])).shape == [1, 8, 4, 4]


@pytest.mark.parametrize(("module", "package"), [("six", "six"), ("pkg_resources", "setuptools<81")])
def test_a_package_that_paddleslim_does_not_declare_is_named(
    monkeypatch: pytest.MonkeyPatch, module: str, package: str
) -> None:
    def fail(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)

    net = SmallNet()
    monkeypatch.setattr(importlib, "import_module", fail)
    with pytest.raises(MissingDependency, match=f"compression needs the {package} package"):
        prune_filters(net, SHAPES, HALF)
