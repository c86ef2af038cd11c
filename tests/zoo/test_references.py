"""Networks written here equal Paddle's own, given the same weights; where Paddle has none, one put together from it."""

import paddle
import pytest
from paddle import nn
from paddle.vision import models
from paddle.vision.models.mobilenetv3 import SqueezeExcitation
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


def assert_equal_outputs(ours: nn.Layer, theirs: nn.Layer, side: int = 64) -> None:
    ours.eval()
    theirs.eval()
    image = paddle.randn([2, 3, side, side])
    with paddle.no_grad():
        got, wanted = ours(image), theirs(image)
    difference = float((got - wanted).abs().max() / wanted.abs().max())
    assert difference < 1e-5  # float32 sums in another order, where at all
    assert differs(wanted.numpy())


@pytest.mark.parametrize("depth", [50, 101])
def test_resnet_equals_paddles(depth: int) -> None:
    paddle.seed(3)
    theirs = lively(getattr(models, f"resnet{depth}")(num_classes=7))
    ours = MODELS.get(f"resnet{depth}").build(num_classes=7)
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


def test_resnet_vd_equals_paddles_with_a_deep_stem_and_pooled_shortcuts() -> None:
    paddle.seed(3)
    theirs = models.resnet50(num_classes=7)
    theirs.conv1 = nn.Sequential(
        nn.Conv2D(3, 32, 3, 2, 1, bias_attr=False),
        nn.BatchNorm2D(32),
        nn.ReLU(),
        nn.Conv2D(32, 32, 3, 1, 1, bias_attr=False),
        nn.BatchNorm2D(32),
        nn.ReLU(),
        nn.Conv2D(32, 64, 3, 1, 1, bias_attr=False),
    )
    for stage, (channels, filters) in {2: (256, 512), 3: (512, 1024), 4: (1024, 2048)}.items():
        getattr(theirs, f"layer{stage}")[0].downsample = nn.Sequential(
            nn.AvgPool2D(2), nn.Conv2D(channels, filters, 1, bias_attr=False), nn.BatchNorm2D(filters)
        )
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


@pytest.mark.parametrize(("depth", "column"), [(11, "A"), (19, "E")])
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
