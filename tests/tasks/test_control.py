"""Q-learning's loss by hand, and what is scored of an agent."""

import numpy as np
import paddle
import pytest

from edge_kit.core.errors import BadData
from edge_kit.core.frames import FrameStack
from edge_kit.data import MiniSettings, OpenOptions
from edge_kit.data.replay import ReplayFolder, make_mini
from edge_kit.tasks.control import Control


def ignore(done: int, total: int, note: str = "") -> None:
    pass


class Told:
    """An agent whose worths are told."""

    def __call__(self, frames: paddle.Tensor) -> paddle.Tensor:
        return paddle.to_tensor([[0.5, 2.0], [1.0, -1.0]])

    def future(self, frames: paddle.Tensor) -> paddle.Tensor:
        return paddle.to_tensor([10.0, 10.0])


def test_the_loss_is_the_squared_distance_to_reward_and_discounted_future() -> None:
    batch = {
        "frames": None, "next": None, "action": paddle.to_tensor([1, 0]),
        "reward": paddle.to_tensor([3.0, -0.5]), "done": paddle.to_tensor([0.0, 1.0]),
    }  # fmt: skip
    wanted = ((2.0 - (1.0 + 0.99 * 10)) ** 2 + (1.0 - -0.5) ** 2) / 2  # a reward of 3 counts 1; the end has no future
    assert float(Control().loss(Told(), batch)) == pytest.approx(wanted, rel=1e-6)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> ReplayFolder:
    root = tmp_path_factory.mktemp("play")
    make_mini(root, MiniSettings(train=80, evaluation=120, side=24), ignore)
    return ReplayFolder(root, FrameStack(24), OpenOptions("mini-replay", False))


def chases(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Worths by which side of the paddle the ball is on."""
    rows = []
    for stack in inputs["frames"]:
        ball, paddle_at = (np.flatnonzero((stack[-1] == grey).any(axis=0)).mean() for grey in (235, 150))
        rows.append([1.5, paddle_at - ball, ball - paddle_at])
    return {"q": np.array(rows, np.float32)}


def stands(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {"q": np.tile(np.array([[1.0, 0.0, 0.0]], np.float32), (len(inputs["frames"]), 1))}


def test_the_metric_is_the_mean_return_of_the_games_that_are_played(data: ReplayFolder) -> None:
    (metric,) = Control().evaluate({"main": chases}, data, ignore)
    assert (metric.name, metric.value, metric.unit, metric.samples) == ("return", 10.0, "points", 30)
    assert metric.dataset == "mini-replay episodes"
    (worse,) = Control().evaluate({"main": stands}, data, ignore)
    assert worse.value < 0


def test_agreement_counts_equal_actions_on_recorded_states(data: ReplayFolder) -> None:
    task = Control()
    assert task.agreement({"main": chases}, {"main": chases}, data, 120).value == 100
    some = task.agreement({"main": chases}, {"main": stands}, data, 120)
    assert (some.name, some.samples) == ("same action", 120)
    assert 5 < some.value < 60


def test_worths_that_are_not_finite_are_no_action(data: ReplayFolder) -> None:
    def broken(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {"q": np.full((len(inputs["frames"]), 3), np.nan, np.float32)}

    assert Control().agreement({"main": stands}, {"main": broken}, data, 120).value == 0
    with pytest.raises(BadData, match="the graph chose action -1 of 3"):
        Control().evaluate({"main": broken}, data, ignore)


def test_a_part_of_the_states_has_no_return() -> None:
    class Part:
        name = "part"

    assert Control().evaluate({"main": stands}, Part(), ignore) == ()  # type: ignore[arg-type]
