"""Networks written here equal Paddle's own, given the same weights; where Paddle has none, one put together from it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import paddle
import pytest
from paddle import nn
from paddle.nn import functional
from paddle.vision import models
from paddle.vision.models.mobilenetv3 import SqueezeExcitation
from paddle.vision.models.resnet import BottleneckBlock
from paddle.vision.models.vgg import cfgs, make_layers

from edge_kit.zoo import MODELS, load_all
from edge_kit.zoo.classification import vgg
from tests.zoo.liveliness import differs, lively

load_all()


def take_in_order(ours: nn.Layer, theirs: nn.Layer) -> None:
    """Load the weights of a network that defines the same layers in the same order under other names."""
    values = list(theirs.state_dict().values())
    names = list(ours.state_dict())
    assert [list(value.shape) for value in values] == [value.shape for value in ours.state_dict().values()]
    ours.set_state_dict(dict(zip(names, values, strict=True)))


def assert_equal_outputs(
    ours: nn.Layer,
    theirs: Callable[[paddle.Tensor], paddle.Tensor],
    side: int = 64,
    dtype: str = "float32",
) -> None:
    for net in (ours, theirs):
        if isinstance(net, nn.Layer):
            net.eval()
            net.to(dtype=dtype)
    image = paddle.randn([2, 3, side, side]).astype(dtype)
    with paddle.no_grad():
        got, wanted = ours(image), theirs(image)
    difference = float((got - wanted).abs().max() / wanted.abs().max())
    # Sums in another order, where at all, of 24 bits or of 53; a few constants of Paddle's have 24 in both.
    assert difference < (1e-5 if dtype == "float32" else 1e-9)
    assert differs(wanted.numpy())


def test_resnet_equals_paddles() -> None:
    paddle.seed(3)
    theirs = lively(models.resnet50(num_classes=7))
    ours = MODELS.get("resnet50").build(num_classes=7)
    take_in_order(ours, theirs)
    assert_equal_outputs(ours, theirs)


def test_resnet18_equals_paddles_with_a_first_shortcut_that_projects() -> None:
    paddle.seed(3)
    theirs = models.resnet18(num_classes=7)
    theirs.layer1[0].downsample = nn.Sequential(nn.Conv2D(64, 64, 1, bias_attr=False), nn.BatchNorm2D(64))
    lively(theirs)
    ours = MODELS.get("resnet18").build(num_classes=7)
    take_in_order(ours, theirs)
    assert_equal_outputs(ours, theirs)


def make_deep(theirs: nn.Layer, stem: tuple[int, int, int]) -> None:
    """Turn a ResNet of Paddle's into ResNet-D: three convolutions first, shortcuts that average."""
    first, second, third = stem
    theirs.conv1 = nn.Sequential(
        nn.Conv2D(3, first, 3, 2, 1, bias_attr=False),
        nn.BatchNorm2D(first),
        nn.ReLU(),
        nn.Conv2D(first, second, 3, 1, 1, bias_attr=False),
        nn.BatchNorm2D(second),
        nn.ReLU(),
        nn.Conv2D(second, third, 3, 1, 1, bias_attr=False),
    )
    if third != 64:
        theirs.bn1 = nn.BatchNorm2D(third)
        theirs.layer1[0].conv1 = nn.Conv2D(third, theirs.layer1[0].conv1.weight.shape[0], 1, bias_attr=False)
        theirs.layer1[0].downsample[0] = nn.Conv2D(third, 256, 1, bias_attr=False)
    for stage, (channels, filters) in {2: (256, 512), 3: (512, 1024), 4: (1024, 2048)}.items():
        getattr(theirs, f"layer{stage}")[0].downsample = nn.Sequential(
            nn.AvgPool2D(2), nn.Conv2D(channels, filters, 1, bias_attr=False), nn.BatchNorm2D(filters)
        )


def squeeze(theirs: nn.Layer) -> None:
    """End every unit of a ResNet of Paddle's in the squeeze and excite of its MobileNetV3."""
    for stage in range(1, 5):
        for unit in getattr(theirs, f"layer{stage}"):
            filters = unit.bn3.weight.shape[0]
            unit.bn3 = nn.Sequential(unit.bn3, SqueezeExcitation(filters, filters // 16))


def take_squeezed(ours: nn.Layer, theirs: nn.Layer) -> None:
    """The same as `take_in_order`, where their squeezes are convolutions and ours linear."""
    state = {}
    for (name, own), value in zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True):
        state[name] = value.squeeze([2, 3]).t() if ".scale." in name and name.endswith("weight") else value
        assert state[name].shape == own.shape
    ours.set_state_dict(state)


@dataclass(frozen=True)
class Grouped:
    """How a network of `resnext.py` is put together from Paddle's."""

    model: str
    depth: int
    groups: int
    width: int  # of a group in the first stage
    stem: tuple[int, int, int] | None
    squeezed: bool


GROUPED = [
    Grouped("resnext50_vd_32x4d", 50, 32, 4, (32, 32, 64), False),
    Grouped("se_resnet50_vd", 50, 1, 64, (32, 32, 64), True),
    Grouped("se_resnext50_32x4d", 50, 32, 4, None, True),
    Grouped("senet154_vd", 152, 64, 4, (64, 64, 128), True),
]


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=case.model, marks=pytest.mark.slow if case.depth > 50 else ()) for case in GROUPED],
)
def test_resnext_and_senet_equal_paddles_resnet_with_their_changes_made(case: Grouped) -> None:
    paddle.seed(3)
    theirs = models.ResNet(BottleneckBlock, case.depth, case.width, 7, groups=case.groups)
    if case.stem:
        make_deep(theirs, case.stem)
    if case.squeezed:
        squeeze(theirs)
    lively(theirs)
    ours = MODELS.get(case.model).build(num_classes=7)
    take_squeezed(ours, theirs)
    # 50 squeezes in another order grow to 9e-5 in float32.
    assert_equal_outputs(ours, theirs, dtype="float64")


def test_resnet_vd_equals_paddles_with_a_deep_stem_and_pooled_shortcuts() -> None:
    paddle.seed(3)
    theirs = models.resnet50(num_classes=7)
    make_deep(theirs, (32, 32, 64))
    lively(theirs)
    ours = MODELS.get("resnet50_vd").build(num_classes=7)
    take_in_order(ours, theirs)
    assert_equal_outputs(ours, theirs)


def test_googlenet_gives_paddles_main_logits_and_in_training_its_auxiliary_ones() -> None:
    paddle.seed(3)
    theirs = models.googlenet(num_classes=7)
    ours = MODELS.get("googlenet").build(num_classes=7)
    take_in_order(ours, theirs)
    for layer in (*ours.sublayers(), *theirs.sublayers()):
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0  # so that training gives what it gives again
    image = paddle.randn([2, 3, 224, 224])
    wanted, first, _ = theirs(image)
    for got, reference in zip(ours(image), (wanted, first), strict=False):
        assert paddle.allclose(got, reference, rtol=1e-5, atol=1e-6)
    ours.eval()
    assert paddle.allclose(ours(image), wanted, rtol=1e-5, atol=1e-6)


def test_googlenets_parameters_without_auxiliary_heads_are_those_it_names() -> None:
    net = MODELS.get("googlenet").build(num_classes=1000)
    auxiliary = ("_conv_o", "_fc_o1", "_fc_o2", "_out")
    left = sum(value.size for name, value in net.named_parameters() if not name.startswith(auxiliary))
    assert f"{left:,} without" in MODELS.get("googlenet").source


@pytest.mark.parametrize(("depth", "column"), [(11, "A"), pytest.param(19, "E", marks=pytest.mark.slow)])
def test_vgg_equals_paddles_without_biases(depth: int, column: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With 16 hidden units instead of 4096, so that building the two does not take half a minute."""
    monkeypatch.setattr(vgg, "HIDDEN", 16)
    paddle.seed(3)
    theirs = models.VGG(make_layers(cfgs[column]), num_classes=0)
    theirs.num_classes = 7
    drops = [nn.Dropout(0.5, mode="downscale_in_infer") for _ in range(2)]
    hidden = [nn.Linear(512 * 7 * 7, 16), nn.ReLU(), drops[0], nn.Linear(16, 16), nn.ReLU(), drops[1]]
    theirs.classifier = nn.Sequential(*hidden, nn.Linear(16, 7))
    state = theirs.state_dict()
    for name in [name for name in state if name.startswith("features.") and name.endswith(".bias")]:
        state[name].set_value(paddle.zeros_like(state[name]))
        del state[name]
    ours = MODELS.get(f"vgg{depth}").build(num_classes=7)
    ours.set_state_dict(dict(zip(ours.state_dict(), state.values(), strict=True)))
    assert_equal_outputs(ours, theirs, side=224)


class SteeperHardsigmoid(nn.Layer):
    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return (0.2 * x + 0.5).clip(0, 1)


@pytest.mark.parametrize(("size", "network"), [("small", models.MobileNetV3Small), ("large", models.MobileNetV3Large)])
def test_mobilenetv3_equals_paddles_with_its_differences_taken_out(size: str, network: type[nn.Layer]) -> None:
    paddle.seed(3)
    theirs = network(num_classes=7)
    drop = nn.Dropout(0.2, mode="downscale_in_infer")
    hidden = nn.Linear(theirs.lastconv_out_channels, 1280, bias_attr=False)
    theirs.classifier = nn.Sequential(hidden, nn.Hardswish(), drop, nn.Linear(1280, 7))
    theirs.blocks[0].expand_conv = nn.Sequential(nn.Conv2D(16, 16, 1, bias_attr=False), nn.BatchNorm2D(16), nn.ReLU())
    theirs.blocks[0].expand = True
    for block in theirs.blocks:
        if block.use_se:
            channels = block.mid_se.fc1.weight.shape[1]
            block.mid_se = SqueezeExcitation(channels, channels // 4, scale_activation=SteeperHardsigmoid)
    for layer in theirs.sublayers():
        if isinstance(layer, nn.BatchNorm2D):
            layer._epsilon = 1e-5
    lively(theirs)
    ours = MODELS.get(f"mobilenetv3_{size}_x1_0").build(num_classes=7)
    state = {paddleclas_name(name): value for name, value in theirs.state_dict().items()}
    state["last_conv.weight"] = hidden.weight.t().reshape([1280, -1, 1, 1])
    assert set(state) == set(ours.state_dict())
    ours.set_state_dict(state)
    assert_equal_outputs(ours, theirs)


def paddleclas_name(name: str) -> str:
    """PaddleClas' name for a parameter of Paddle's MobileNetV3."""
    renamed = {"classifier.0.": "last_conv.", "classifier.3.": "fc.", "lastconv.": "last_second_conv."}
    for theirs, ours in (
        *renamed.items(),
        ("mid_se.fc", "mid_se.conv"),
        ("conv.0.", "conv.conv."),
        ("conv.1.", "conv.bn."),
    ):
        name = name.replace(theirs, ours)
    return name


def inception_v4(net: nn.Layer, x: paddle.Tensor) -> paddle.Tensor:
    """Figures 3 to 9 of the paper written out, reading the parameters of `net`."""
    state = net.state_dict()

    def conv(name: str, x: paddle.Tensor, stride: int = 1, padding: str = "SAME") -> paddle.Tensor:
        x = functional.conv2d(x, state[f"{name}._conv.weight"], stride=stride, padding=padding)
        mean, variance = (state[f"{name}._batch_norm.{key}"] for key in ("_mean", "_variance"))
        scale, shift = (state[f"{name}._batch_norm.{key}"] for key in ("weight", "bias"))
        factor = (scale / (variance + 1e-5).sqrt()).reshape([1, -1, 1, 1])
        return functional.relu((x - mean.reshape([1, -1, 1, 1])) * factor + shift.reshape([1, -1, 1, 1]))

    def chain(prefix: str, names: str, x: paddle.Tensor) -> paddle.Tensor:
        for name in names.split():
            x = conv(f"{prefix}._conv{name}", x)
        return x

    def half(name: str, x: paddle.Tensor) -> paddle.Tensor:
        return conv(name, x, 2, "VALID")

    def largest(x: paddle.Tensor) -> paddle.Tensor:
        return functional.max_pool2d(x, 3, 2)

    def average(x: paddle.Tensor) -> paddle.Tensor:
        return functional.avg_pool2d(x, 3, 1, 1, exclusive=True)

    stem = "_inception_stem"
    x = conv(f"{stem}._conv_2", half(f"{stem}._conv_1", x), padding="VALID")
    x = conv(f"{stem}._conv_3", x)
    x = paddle.concat([largest(x), half(f"{stem}._conv2", x)], 1)
    left = conv(f"{stem}._conv1_2", chain(stem, "1_1", x), padding="VALID")
    right = conv(f"{stem}._conv2_4", chain(stem, "2_1 2_2 2_3", x), padding="VALID")
    x = paddle.concat([left, right], 1)
    x = paddle.concat([half(f"{stem}._conv3", x), largest(x)], 1)
    for i in range(1, 5):
        a = f"_inceptionA_{i}"
        x = paddle.concat([chain(a, "1", average(x)), *(chain(a, n, x) for n in ("2", "3_1 3_2", "4_1 4_2 4_3"))], 1)
    a = "_reductionA"
    x = paddle.concat([largest(x), half(f"{a}._conv2", x), half(f"{a}._conv3_3", chain(a, "3_1 3_2", x))], 1)
    for i in range(1, 8):
        b = f"_inceptionB_{i}"
        paths = ("2", "3_1 3_2 3_3", "4_1 4_2 4_3 4_4 4_5")
        x = paddle.concat([chain(b, "1", average(x)), *(chain(b, names, x) for names in paths)], 1)
    b = "_reductionB"
    left, right = half(f"{b}._conv2_2", chain(b, "2_1", x)), half(f"{b}._conv3_4", chain(b, "3_1 3_2 3_3", x))
    x = paddle.concat([largest(x), left, right], 1)
    for i in range(1, 4):
        c = f"_inceptionC_{i}"
        third, fourth = chain(c, "3_0", x), chain(c, "4_0 4_00 4_000", x)
        ends = [chain(c, "3_1", third), chain(c, "3_2", third), chain(c, "4_1", fourth), chain(c, "4_2", fourth)]
        x = paddle.concat([chain(c, "1", average(x)), chain(c, "2", x), *ends], 1)
    kept = float(np.float32(1 - 0.2))  # dropout, as published, scales while evaluating; Paddle keeps the factor so
    pooled = kept * x.mean(axis=[2, 3])
    return pooled @ state["out.weight"] + state["out.bias"]


def test_inceptionv4_equals_the_papers_figures_written_out() -> None:
    paddle.seed(3)
    ours = lively(MODELS.get("inceptionv4").build(num_classes=7), side=107)
    # Rounding of float32 grows to 5e-5 here.
    assert_equal_outputs(ours, lambda image: inception_v4(ours, image), side=139, dtype="float64")
