"""ICNet is the published one: its size counted by hand, its branches where the paper has them."""

import numpy as np
import paddle
import pytest
from paddle.nn import functional

from edge_kit.zoo import MODELS, load_all
from edge_kit.zoo.segmentation.icnet import Pyramid, conv_norm, resize
from tests.zoo.counting import static_program

load_all()
ENTRY = MODELS.get("icnet")


def conv(channels: int, filters: int, kernel: int) -> int:
    """Weights of a convolution without bias, scale and shift of its batch norm."""
    return channels * filters * kernel**2 + 2 * filters


def bottleneck(channels: int, filters: int) -> int:
    width = filters // 4
    return conv(channels, width, 1) + conv(width, width, 3) + conv(width, filters, 1)


def residual(channels: int, filters: int, units: int) -> int:
    """The first unit has a projection where the number of channels changes."""
    projection = conv(channels, filters, 1) if channels != filters else 0
    return projection + bottleneck(channels, filters) + (units - 1) * bottleneck(filters, filters)


def test_the_parameters_are_those_of_the_table_added_up_by_hand() -> None:
    light = conv(3, 32, 3) + conv(32, 32, 3) + conv(32, 64, 3)
    shared = conv(3, 32, 3) + conv(32, 32, 3) + conv(32, 64, 3) + residual(64, 128, 3) + residual(128, 256, 1)
    heavy = residual(256, 256, 3) + residual(256, 512, 6) + residual(512, 1024, 3) + conv(1024, 256, 1)
    fusions = conv(256, 128, 3) + conv(256, 128, 1) + conv(128, 128, 3) + conv(64, 128, 1)
    main, aside = 128 * 19 + 19, (128 * 19 + 19) + (256 * 19 + 19)
    assert light + shared + heavy + fusions + main + aside == ENTRY.parameters == 6_707_321
    assert ENTRY.parameters - aside == 6_699_987, "6.700 million are left once it is trained"


def test_a_training_crop_gives_three_maps_at_a_quarter_an_eighth_and_a_sixteenth() -> None:
    with static_program():
        net = ENTRY.build(num_classes=19)
        image = paddle.static.data("image", [2, 3, 720, 720])
        assert [one.shape for one in net(image)] == [(2, 19, 180, 180), (2, 19, 90, 90), (2, 19, 45, 45)]
        net.eval()
        assert net(paddle.static.data("scene", [1, 3, 1024, 2048])).shape == (1, 19, 256, 512)


def test_the_pyramid_adds_means_over_whole_windows_and_leaves_the_border_out() -> None:
    """The published map is 32 high: three windows of 10, and two rows that none of them reads."""
    x = np.zeros((1, 1, 11, 11), np.float32)
    x[..., 10] = 1.0  # two windows are 5 wide, three are 3, and the least are 2: only that of the whole reads it
    given = Pyramid()(paddle.to_tensor(x)).numpy()[0, 0]
    assert given[:, :10] == pytest.approx(np.full((11, 10), 1 / 11), rel=1e-5)
    assert given[:, 10] == pytest.approx(np.full(11, 1 + 1 / 11), rel=1e-5)
    x = np.zeros((1, 1, 12, 12), np.float32)
    x[..., :3, :3] = 1.0
    given = Pyramid()(paddle.to_tensor(x)).numpy()[0, 0]
    assert given[0, 0] == pytest.approx(1 + 1 / 16 + 1 / 4 + 9 / 16 + 1)
    assert given[0, 11] == pytest.approx(1 / 16), "only the whole reaches the other end"


def test_a_strided_window_reads_beyond_the_lower_right_end_only() -> None:
    layer = conv_norm(1, 1, 3, 2)
    layer.eval()
    layer[0].weight.set_value(paddle.ones([1, 1, 3, 3]))
    x = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
    given = layer(paddle.to_tensor(x)).numpy()[0, 0] * np.sqrt(1 + 1e-5)
    assert given == pytest.approx(np.array([[45, 39], [66, 50]]))


def test_resizes_keep_the_corners() -> None:
    x = paddle.to_tensor(np.array([[[[0.0, 1.0, 4.0]]]], np.float32))
    assert resize(x, 1, 5).numpy().ravel().tolist() == [0.0, 0.5, 1.0, 2.5, 4.0]


def test_every_branch_has_a_say() -> None:
    paddle.seed(2)
    net = ENTRY.build(num_classes=5)
    net.eval()
    image = paddle.randn([1, 3, 64, 64])
    with paddle.no_grad():
        before = net(image)
        for layer in (net.light, net.shared, net.heavy):
            kept = [p.clone() for p in layer.parameters()]
            for p in layer.parameters():
                p.set_value(paddle.zeros_like(p))
            assert float((net(image) - before).abs().max()) > 1e-6, "every branch has a say"
            for p, value in zip(layer.parameters(), kept, strict=True):
                p.set_value(value)
    assert functional.mse_loss(net(image), before) < 1e-12
