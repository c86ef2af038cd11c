"""Networks written here equal Paddle's own, given the same weights; where Paddle has none, one put together from it."""

import paddle
import pytest
from paddle import nn
from paddle.vision import models

from edge_kit.zoo import MODELS, load_all
from tests.zoo.test_classifiers import with_statistics

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
    # float32 sums in another order, where at all
    assert difference < 1e-5
    assert float((wanted[0] - wanted[1]).abs().max() / wanted.abs().max()) > 1e-3  # the pictures make a difference


@pytest.mark.parametrize("depth", [50, 101])
def test_resnet_equals_paddles(depth: int) -> None:
    paddle.seed(3)
    theirs = with_statistics(getattr(models, f"resnet{depth}")(num_classes=7))
    ours = MODELS.get(f"resnet{depth}").build(num_classes=7)
    take_in_order(ours, theirs)
    assert_equal_outputs(ours, theirs)


def test_resnet18_equals_paddles_with_a_first_shortcut_that_projects() -> None:
    paddle.seed(3)
    theirs = models.resnet18(num_classes=7)
    theirs.layer1[0].downsample = nn.Sequential(nn.Conv2D(64, 64, 1, bias_attr=False), nn.BatchNorm2D(64))
    with_statistics(theirs)
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
    with_statistics(theirs)
    ours = MODELS.get("resnet50_vd").build(num_classes=7)
    take_in_order(ours, theirs)
    assert_equal_outputs(ours, theirs)
