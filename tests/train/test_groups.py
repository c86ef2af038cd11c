"""Networks that are trained in turn: a group's loss moves nothing else, and a run that goes on ends the same."""

from pathlib import Path

import numpy as np
import paddle
import pytest
from paddle import nn

from edge_kit.train import trainer
from edge_kit.train.recipe import Recipe
from edge_kit.train.trainer import CHECKPOINT, fit


class Points:
    name, published, sizes = "points", False, {}

    def train_size(self) -> int:
        return 24

    def train_batches(self, batch: int, epoch: int, seed: int, start: int = 0):
        for i in range(start, 24 // batch):
            yield {"x": np.random.default_rng([seed, epoch, i]).normal(0, 1, (batch, 4)).astype(np.float32)}


class Rivals:
    """One network makes numbers large, the other is to tell them from those before."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, np.ndarray]]] = []

    def groups(self, net):
        return {"maker": (net.maker,), "judge": (net.judge,)}

    def loss(self, net, batch):
        return self.group_loss("maker", net, batch, {})

    def group_loss(self, group, net, batch, memory):
        self.seen.append((group, weights_of(net)))
        if group == "maker":
            made = net.maker(batch["x"])
            memory["made"] = made.numpy()
            return (net.judge(made) - 1).square().mean()
        before = memory.get("before", np.zeros_like(memory["made"]))
        memory["before"] = before * np.float32(0.5) + memory.pop("made")
        return net.judge(paddle.to_tensor(before)).square().mean() + (net.judge(batch["x"]) - 1).square().mean()


class Pair(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        paddle.seed(4)
        self.maker, self.judge = nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 1))


def weights_of(net: nn.Layer) -> dict[str, np.ndarray]:
    return {name: value.numpy().copy() for name, value in net.state_dict().items()}


def ignore(done: int, total: int, note: str = "") -> None:
    pass


RECIPE = Recipe(epochs=2, batch_size=4, learning_rate=0.05, optimizer="adam", beta1=0.5)


def moved(before: dict[str, np.ndarray], after: dict[str, np.ndarray]) -> set[str]:
    return {name.split(".")[0] for name in before if not np.array_equal(before[name], after[name])}


def test_a_groups_loss_moves_its_own_weights_and_no_others(tmp_path: Path) -> None:
    task, net = Rivals(), Pair()
    fit(net, task, Points(), RECIPE, tmp_path, ignore)
    assert [group for group, _ in task.seen] == ["maker", "judge"] * 12
    states = [weights for _, weights in task.seen] + [weights_of(net)]
    for i, (group, _) in enumerate(task.seen):
        assert moved(states[i], states[i + 1]) == {group}


def test_two_groups_equal_two_optimizers_written_out(tmp_path: Path) -> None:
    net, by_hand, task, memory = Pair(), Pair(), Rivals(), {}
    fit(net, task, Points(), RECIPE, tmp_path, ignore)
    optimizers = {
        group: paddle.optimizer.Adam(0.05, beta1=0.5, parameters=layers[0].parameters())
        for group, layers in task.groups(by_hand).items()
    }
    total, step = 12, 0
    for epoch in range(2):
        for batch in Points().train_batches(4, epoch, 0):
            for group, optimizer in optimizers.items():
                optimizer.set_lr(RECIPE.rate_at(step, total))
                task.group_loss(group, by_hand, {"x": paddle.to_tensor(batch["x"])}, memory).backward()
                optimizer.step()
                by_hand.clear_gradients()
            step += 1
    for name, value in weights_of(by_hand).items():
        np.testing.assert_allclose(weights_of(net)[name], value, rtol=1e-6)


@pytest.mark.parametrize("stop_at", [1, 6, 11])
def test_a_stopped_run_goes_on_to_the_same_weights(stop_at: int, tmp_path: Path, monkeypatch) -> None:
    undisturbed = Pair()
    fit(undisturbed, Rivals(), Points(), RECIPE, tmp_path / "none", ignore)
    monkeypatch.setattr(trainer, "CHECKPOINT_SECONDS", 0.0)

    def stop(done: int, total: int, note: str = "") -> None:
        if done == stop_at + 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(Pair(), Rivals(), Points(), RECIPE, tmp_path, stop)
    assert (tmp_path / CHECKPOINT).exists()
    resumed = Pair()
    assert fit(resumed, Rivals(), Points(), RECIPE, tmp_path, ignore).resumed_at == stop_at
    wanted, got = weights_of(undisturbed), weights_of(resumed)
    assert all(np.array_equal(wanted[name], got[name]) for name in wanted)


def test_the_rate_stays_and_then_falls_an_epoch_a_step_as_cyclegan_publishes_it() -> None:
    recipe = Recipe(200, 1, 2e-4, "plateau_linear", milestones=(99,))
    rates = [recipe.rate_at(10 * epoch, 2000) for epoch in range(200)]
    assert set(rates[:99]) == {2e-4}
    assert rates[99] == pytest.approx(2e-4 * (1 - 1 / 101))
    assert rates[150] == pytest.approx(2e-4 * (1 - 52 / 101))
    assert rates[198] == rates[199] == pytest.approx(2e-4 * (1 - 100 / 101))
