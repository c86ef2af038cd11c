"""Training gives the same weights whether or not it was interrupted."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import paddle
import pytest
from paddle import nn

from compress.quantize.qat import Quantizers
from edge_kit.core.errors import BadData, EdgeKitError, UsageError
from edge_kit.tasks import TASKS
from edge_kit.train import trainer
from edge_kit.train.compute import Compute
from edge_kit.train.depthwise import fast_depthwise
from edge_kit.train.recipe import OPTIMIZERS, Recipe
from edge_kit.train.soft_labels import soften
from edge_kit.train.trainer import CHECKPOINT, fit
from edge_kit.train.watch import Watch


class Stripes:
    """Pictures of three kinds of stripes; easy to learn, made on the spot."""

    name, published, labels, sizes = "stripes", False, (), {"num_classes": 3}

    def __init__(self, count: int = 96) -> None:
        self.count = count

    def train_size(self) -> int:
        return self.count

    def train_batches(self, batch: int, epoch: int, seed: int, start: int = 0):
        for i in range(start, self.count // batch):
            rng = np.random.default_rng([seed, epoch, i])
            labels = rng.integers(0, 3, batch)
            images = rng.normal(0, 0.3, (batch, 3, 8, 8)).astype(np.float32)
            for image, label in zip(images, labels, strict=True):
                image[label, :: 1 + label] += 1
            yield {"image": images, "label": labels}


def small_net() -> nn.Layer:
    paddle.seed(5)
    return nn.Sequential(
        nn.Conv2D(3, 8, 3, padding=1, bias_attr=False),
        nn.BatchNorm2D(8),
        nn.ReLU6(),
        nn.Conv2D(8, 8, 3, padding=1, groups=8),
        nn.AdaptiveAvgPool2D(1),
        nn.Flatten(),
        nn.Linear(8, 3),
    )


def ignore(done: int, total: int, note: str = "") -> None:
    pass


RECIPE = Recipe(epochs=3, batch_size=8, learning_rate=0.1, warmup_steps=2, weight_decay=1e-4)


def weights_of(net: nn.Layer) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in net.state_dict().items()}


def test_the_loss_falls(tmp_path: Path) -> None:
    report = fit(small_net(), TASKS.get("classify"), Stripes(), RECIPE, tmp_path, ignore)
    assert report.steps == 36
    assert report.last_loss < 0.5 * report.first_loss


def test_adagrad_divides_by_the_root_of_all_squared_gradients_and_tables_may_learn_faster(tmp_path: Path) -> None:
    class Line:
        name, published, sizes = "line", False, {}

        def train_size(self) -> int:
            return 2

        def train_batches(self, batch: int, epoch: int, seed: int, start: int = 0):
            for _ in range(start, 2):
                yield {"x": np.ones(1, np.float32)}

    class Slope:
        def loss(self, net, batch):
            return (3 * net.slow + 3 * net.fast).sum()

    class Two(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            zero = nn.initializer.Constant(0.0)
            self.slow = self.create_parameter([1], paddle.ParamAttr(initializer=zero))
            self.fast = self.create_parameter([1], paddle.ParamAttr(initializer=zero, learning_rate=30.0))

    net = Two()
    fit(net, Slope(), Line(), Recipe(1, 1, 0.1, "constant", optimizer="adagrad"), tmp_path, ignore)
    expected = -0.1 * (1 + 1 / 2**0.5)  # gradient 3, then 3 again: 3 / sqrt(9) and 3 / sqrt(18)
    assert float(net.slow) == pytest.approx(expected, rel=1e-5)
    assert float(net.fast) == pytest.approx(30 * expected, rel=1e-5)


def test_the_result_is_the_average_of_the_weights_of_all_steps_the_late_ones_counting_more(tmp_path: Path) -> None:
    net, seen = small_net(), []

    def look(done: int, total: int, note: str = "") -> None:
        seen.append(net[0].weight.numpy())

    fit(net, TASKS.get("classify"), Stripes(), replace(RECIPE, ema=0.9), tmp_path, look)
    shares = 0.9 ** np.arange(len(seen))[::-1]
    expected = np.average(np.stack(seen).astype(np.float64), axis=0, weights=shares)
    np.testing.assert_allclose(net[0].weight.numpy(), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("rate", [0.0, -0.1, float("nan")])
def test_a_learning_rate_is_above_nothing(rate: float) -> None:
    with pytest.raises(UsageError, match="the learning rate must be above 0"):
        Recipe(1, 1, rate)


@pytest.mark.parametrize("ema", [-0.1, 1.0])
def test_an_average_keeps_less_than_all(ema: float) -> None:
    with pytest.raises(UsageError, match="ema must be in 0..1"):
        Recipe(1, 1, 0.1, ema=ema)


def test_mixed_precision_on_a_cpu_is_refused_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--amp needs a GPU"):
        fit(small_net(), TASKS.get("classify"), Stripes(), RECIPE, tmp_path, ignore, Compute(amp=True))


def test_parameters_that_a_recipe_names_learn_at_their_own_rate(tmp_path: Path) -> None:
    trained = {}
    for rates in ((), (("*.weight", 0.0),)):
        net = small_net()
        before = weights_of(net)
        fit(
            net,
            TASKS.get("classify"),
            Stripes(),
            replace(RECIPE, weight_decay=0.0, rates=rates),
            tmp_path / str(rates),
            ignore,
        )
        trained[rates] = {name for name, value in weights_of(net).items() if not np.array_equal(value, before[name])}
    weights = {name for name, _ in small_net().named_parameters() if name.endswith(".weight")}
    assert weights <= trained[()]
    assert not weights & trained[(("*.weight", 0.0),)]
    assert trained[(("*.weight", 0.0),)], "the others go on"


def test_an_unknown_optimizer_names_those_there_are() -> None:
    with pytest.raises(UsageError, match="optimizer must be one of momentum, adagrad, adam, rmsprop, got 'lion'"):
        Recipe(1, 1, 0.1, optimizer="lion")


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("stop_at", [1, 12, 17, 35])
def test_a_stopped_run_goes_on_to_the_same_weights(stop_at: int, optimizer: str, tmp_path: Path, monkeypatch) -> None:
    recipe = replace(RECIPE, optimizer=optimizer)
    undisturbed = small_net()
    fit(undisturbed, TASKS.get("classify"), Stripes(), recipe, tmp_path / "none", ignore)

    monkeypatch.setattr(trainer, "CHECKPOINT_SECONDS", 0.0)
    scratch = tmp_path / "scratch"
    scratch.mkdir()

    def stop(done: int, total: int, note: str = "") -> None:
        if done == stop_at + 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(small_net(), TASKS.get("classify"), Stripes(), recipe, scratch, stop)
    assert (scratch / CHECKPOINT).exists()
    resumed = small_net()
    report = fit(resumed, TASKS.get("classify"), Stripes(), recipe, scratch, ignore)
    assert report.resumed_at == stop_at
    wanted, got = weights_of(undisturbed), weights_of(resumed)
    assert all(np.array_equal(wanted[name], got[name]) for name in wanted)


def test_a_stopped_run_with_dropout_and_an_average_goes_on_to_the_same_weights(tmp_path: Path, monkeypatch) -> None:
    def dropping() -> nn.Layer:
        net = small_net()
        net.insert(5, nn.Dropout(0.5))
        return net

    recipe = replace(RECIPE, ema=0.9)
    undisturbed, plain = dropping(), small_net()
    fit(undisturbed, TASKS.get("classify"), Stripes(), recipe, tmp_path / "none", ignore)
    fit(plain, TASKS.get("classify"), Stripes(), recipe, tmp_path / "none", ignore)
    monkeypatch.setattr(trainer, "CHECKPOINT_SECONDS", 0.0)

    def stop(done: int, total: int, note: str = "") -> None:
        if done == 18:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(dropping(), TASKS.get("classify"), Stripes(), recipe, tmp_path, stop)
    resumed = dropping()
    assert fit(resumed, TASKS.get("classify"), Stripes(), recipe, tmp_path, ignore).resumed_at == 17
    wanted, got = weights_of(undisturbed), weights_of(resumed)
    assert all(np.array_equal(wanted[name], got[name]) for name in wanted)
    assert not np.array_equal(wanted["0.weight"], weights_of(plain)["0.weight"]), "nothing was dropped"


def test_a_recipe_without_dropout_drops_nothing_before_and_after_a_look_at_the_network(tmp_path: Path) -> None:
    drops: list[bool] = []

    class Drop(nn.Dropout):
        def forward(self, x: Any) -> Any:
            drops.append(self.training)
            return super().forward(x)

    def dropping() -> nn.Layer:
        net = small_net()
        net.insert(5, Drop(0.5, mode="downscale_in_infer"))
        return net

    net, looks = dropping(), Watch(lambda step: {}, every=5)
    fit(net, TASKS.get("classify"), Stripes(), replace(RECIPE, dropout=False), tmp_path, ignore, watch=looks)
    assert drops
    assert not any(drops)
    assert not any(layer.training for layer in net.sublayers())
    drops.clear()
    fit(dropping(), TASKS.get("classify"), Stripes(), RECIPE, tmp_path / "with", ignore)
    assert all(drops)


@pytest.mark.parametrize(("takes", "saves"), [(0.0, 5), (0.5, 5), (2.0, 2)])
def test_checkpoints_that_take_long_are_made_less_often(
    takes: float, saves: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    made: list[float] = []

    def save(path: Path, *_: Any) -> None:
        nonlocal now
        made.append(now)
        now += takes

    def pass_time(done: int, total: int, note: str = "") -> None:
        nonlocal now
        now += 1.0

    monkeypatch.setattr(trainer, "save_weights", save)
    monkeypatch.setattr(trainer, "time", SimpleNamespace(monotonic=lambda: now))
    fit(small_net(), TASKS.get("classify"), Stripes(56 * 8), replace(RECIPE, epochs=1), tmp_path, pass_time)
    assert len(made) == saves, made


def test_a_stopped_run_with_quantizers_goes_on_to_the_same_weights_and_ranges(tmp_path: Path, monkeypatch) -> None:
    def rounding() -> nn.Layer:
        net = small_net()
        Quantizers(net)
        return net

    undisturbed = rounding()
    fit(undisturbed, TASKS.get("classify"), Stripes(), RECIPE, tmp_path / "none", ignore)
    monkeypatch.setattr(trainer, "CHECKPOINT_SECONDS", 0.0)

    def stop(done: int, total: int, note: str = "") -> None:
        if done == 18:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(rounding(), TASKS.get("classify"), Stripes(), RECIPE, tmp_path, stop)
    resumed = rounding()
    assert fit(resumed, TASKS.get("classify"), Stripes(), RECIPE, tmp_path, ignore).resumed_at == 17
    wanted, got = weights_of(undisturbed), weights_of(resumed)
    assert any(name.endswith("_fake_quant_input._scale") for name in wanted)
    assert all(np.array_equal(wanted[name], got[name]) for name in wanted)


def test_too_few_samples_for_one_batch_are_an_error_of_one_line(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="5 training samples do not fill one batch of 8"):
        fit(small_net(), TASKS.get("classify"), Stripes(5), RECIPE, tmp_path, ignore)


def test_a_loss_that_explodes_stops_the_run(tmp_path: Path) -> None:
    wild = Recipe(epochs=3, batch_size=8, learning_rate=1e30)
    with pytest.raises(EdgeKitError, match="the loss became .* lower the learning rate"):
        fit(small_net(), TASKS.get("classify"), Stripes(), wild, tmp_path, ignore)


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(2, 2), (7, 4), (8, 8)])
@pytest.mark.parametrize("bias", [False, None])
def test_fast_depthwise_equals_the_kernel_it_replaces(kernel: int, stride: int, size: tuple[int, int], bias) -> None:
    paddle.seed(1)
    net = nn.Sequential(nn.Conv2D(6, 6, kernel, stride, kernel // 2, groups=6, bias_attr=bias))
    image = paddle.randn([3, 6, *size])
    image.stop_gradient = False
    slow = net(image)
    slow.sum().backward()
    gradients = [net[0].weight.grad.numpy().copy(), image.grad.numpy().copy()]
    net.clear_gradients()
    image.clear_grad()
    with fast_depthwise(net):
        fast = net(image)
        fast.sum().backward()
    # float32 sums of up to 25 products, in another order
    np.testing.assert_allclose(fast.numpy(), slow.numpy(), atol=1e-5)
    np.testing.assert_allclose(net[0].weight.grad.numpy(), gradients[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(image.grad.numpy(), gradients[1], rtol=1e-4, atol=1e-5)


def test_fast_depthwise_rounds_as_the_quantized_kernel_that_it_replaces_does() -> None:
    paddle.seed(1)
    net = nn.Sequential(nn.Conv2D(6, 6, 3, 2, 1, groups=6))
    Quantizers(net)
    image = paddle.randn([3, 6, 8, 8])
    net.train()
    for _ in range(30):
        net(image)
    net.eval()
    slow = net(image).numpy()
    rounded = net[0]._fake_quant_weight(net[0].weight).numpy()
    assert not np.array_equal(rounded, net[0].weight.numpy())
    with fast_depthwise(net):
        assert "forward" in vars(net[0])
        fast = net(image)
        fast.sum().backward()
    np.testing.assert_allclose(fast.numpy(), slow, atol=1e-5)
    assert np.abs(net[0].weight.grad.numpy()).max() > 0


def test_fast_depthwise_leaves_no_trace() -> None:
    net = small_net()
    before = net[3].forward
    with fast_depthwise(net):
        assert net[3].forward != before
    assert net[3].forward == before


def test_the_schedule_warms_up_and_falls_to_nothing() -> None:
    recipe = Recipe(epochs=1, batch_size=1, learning_rate=0.4, warmup_steps=4)
    rates = [recipe.rate_at(step, 100) for step in range(100)]
    assert rates[:4] == [0.1, 0.2, pytest.approx(0.3), 0.4]
    assert rates[4] == 0.4
    assert rates[52] == pytest.approx(0.2)
    assert 0 < rates[99] < 0.001


def test_the_step_schedule_falls_to_a_tenth_at_each_milestone() -> None:
    recipe = Recipe(epochs=4, batch_size=1, learning_rate=1.0, schedule="step", milestones=(1, 3))
    rates = [recipe.rate_at(step, 40) for step in range(40)]
    assert rates == [1.0] * 10 + [pytest.approx(0.1)] * 20 + [pytest.approx(0.01)] * 10


def test_the_published_cosines_step_at_each_epoch_or_end_above_nothing() -> None:
    by_epoch = Recipe(epochs=4, batch_size=1, learning_rate=1.0, schedule="epoch_cosine")
    rates = [by_epoch.rate_at(step, 8) for step in range(8)]
    assert rates == pytest.approx([1, 1, 0.853553, 0.853553, 0.5, 0.5, 0.146447, 0.146447], abs=1e-6)
    late = Recipe(epochs=4, batch_size=1, learning_rate=1.0, schedule="late_cosine", warmup_steps=2)
    rates = [late.rate_at(step, 8) for step in range(8)]
    assert rates == pytest.approx([0.5, 1, 1, 0.961940, 0.853553, 0.691342, 0.5, 0.308658], abs=1e-6)


def test_the_step_schedule_may_be_told_what_it_falls_to() -> None:
    told = {"schedule": "step", "milestones": (1, 3), "factors": (0.5, 0.25)}
    recipe = Recipe(epochs=4, batch_size=1, learning_rate=2.0, **told)
    rates = [recipe.rate_at(step, 40) for step in range(40)]
    assert rates == [2.0] * 10 + [1.0] * 20 + [0.5] * 10
    with pytest.raises(UsageError, match=r"factors are as many as milestones or none, got \(0.5,\) for \(1, 3\)"):
        Recipe(epochs=4, batch_size=1, learning_rate=2.0, **{**told, "factors": (0.5,)})


def test_the_poly_schedule_falls_by_the_power_of_nine_tenths() -> None:
    recipe = Recipe(epochs=1, batch_size=1, learning_rate=0.003, schedule="poly")
    assert recipe.rate_at(0, 60_000) == 0.003
    assert recipe.rate_at(30_000, 60_000) == pytest.approx(0.003 * 0.5**0.9)
    assert 0 < recipe.rate_at(59_999, 60_000) < 1e-6


@pytest.mark.parametrize("knobs", [{"milestones": (1,)}, {"schedule": "step"}])
def test_milestones_and_the_step_schedule_need_each_other(knobs: dict) -> None:
    with pytest.raises(UsageError, match="milestones go with schedule 'step'"):
        Recipe(epochs=4, batch_size=1, learning_rate=1.0, **knobs)


def test_smoothing_spreads_a_share_of_the_label_over_all_classes() -> None:
    batch = {"image": np.ones((2, 3, 4, 4), np.float32), "label": np.array([1, 0])}
    soft = soften(batch, 5, Recipe(1, 2, 0.1, label_smoothing=0.1), step=0)
    np.testing.assert_allclose(
        soft["label"], [[0.02, 0.92, 0.02, 0.02, 0.02], [0.92, 0.02, 0.02, 0.02, 0.02]], rtol=1e-6
    )
    assert soft["image"] is batch["image"]


def test_mixup_mixes_labels_in_the_share_of_the_pictures() -> None:
    labels = np.arange(6)
    batch = {"image": np.eye(6, dtype=np.float32).reshape(6, 6, 1, 1), "label": labels}  # picture i is one-hot i
    recipe = Recipe(1, 6, 0.1, mixup=0.2)
    mixed = soften(batch, 6, recipe, step=4)
    np.testing.assert_array_equal(mixed["image"].reshape(6, 6), mixed["label"])
    np.testing.assert_allclose(mixed["label"].sum(axis=1), 1, rtol=1e-6)
    assert not np.array_equal(mixed["label"], np.eye(6))
    np.testing.assert_array_equal(soften(batch, 6, recipe, step=4)["label"], mixed["label"])
    assert not np.array_equal(soften(batch, 6, recipe, step=5)["label"], mixed["label"])


def test_half_a_batch_is_mixed_as_it_is_in_the_whole() -> None:
    images = np.random.default_rng(0).normal(size=(8, 3, 2, 2)).astype(np.float32)
    batch = {"image": images, "label": np.arange(8)}
    recipe = Recipe(1, 8, 0.1, mixup=0.2, label_smoothing=0.1)
    whole = soften(batch, 8, recipe, step=3)
    half = soften({name: value[4:] for name, value in batch.items()}, 8, recipe, step=3)
    assert all(np.array_equal(half[name], whole[name][4:]) for name in whole)
    odd = soften({name: value[:3] for name, value in batch.items()}, 8, recipe, step=3)
    np.testing.assert_array_equal(odd["image"][2], images[2])


def test_training_with_soft_labels_learns(tmp_path: Path) -> None:
    recipe = replace(RECIPE, label_smoothing=0.1, mixup=0.2)
    report = fit(small_net(), TASKS.get("classify"), Stripes(), recipe, tmp_path, ignore)
    # The entropy of a smoothed label, 0.29, cannot be gone below.
    assert 0.29 < report.last_loss < 0.8 * report.first_loss
