"""The Q networks: worths by hand, a target that follows, training that goes on to the same weights."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import paddle
import pytest

from convert.export import canonicalise, export_paddle, paddle_to_onnx
from convert.graph import Graph
from convert.parity import measure_parity
from edge_kit.core.frames import FrameStack
from edge_kit.data import MiniSettings, OpenOptions
from edge_kit.data.replay import Exploration, ReplayFolder, make_mini
from edge_kit.tasks import TASKS
from edge_kit.train import trainer
from edge_kit.train.inference import layer_run
from edge_kit.train.trainer import fit
from edge_kit.zoo import MODELS, load_all
from runtimes.registry import get_runtime

load_all()
IDS = ("dqn", "double_dqn", "dueling_dqn")


def ignore(done: int, total: int, note: str = "") -> None:
    pass


def frames(*shape: int) -> paddle.Tensor:
    return paddle.to_tensor(np.random.default_rng(1).integers(0, 256, shape).astype(np.float32))


def test_published_counts_follow_from_the_layers() -> None:
    convolutions = 4 * 25 * 32 + 32 + 32 * 25 * 32 + 32 + 32 * 16 * 64 + 64 + 64 * 9 * 64 + 64
    assert MODELS.get("dqn").parameters == convolutions + 6400 * 6 + 6
    assert MODELS.get("dueling_dqn").parameters == convolutions + 6400 * 7 + 7
    assert MODELS.get("double_dqn").parameters == MODELS.get("dqn").parameters


@pytest.mark.parametrize("name", IDS)
def test_the_onnx_graph_equals_paddle_at_the_published_size_and_begins_with_a_convolution(
    name: str, tmp_path: Path
) -> None:
    entry = MODELS.get(name)
    paddle.seed(2)
    net = entry.build(**entry.published_sizes)
    (spec,) = entry.graphs(entry.published.preprocess).values()
    export_paddle(net, spec, tmp_path / "main")
    paddle_to_onnx(tmp_path / "main", tmp_path / "converted.onnx", spec)
    canonicalise(tmp_path / "converted.onnx", tmp_path / "main.onnx")
    batch = {"frames": frames(2, 4, 84, 84).numpy()}
    session = get_runtime("onnx").load(tmp_path / "main.onnx")
    (parity,) = measure_parity(layer_run(net, spec), session.run, [batch])
    assert parity.max_rel <= 1e-4
    assert Graph.load(tmp_path / "main.onnx").nodes[0].op_type == "Conv"


def test_dueling_worths_are_the_value_and_advantages_around_their_mean() -> None:
    net = MODELS.get("dueling_dqn").build(num_actions=3, side=36).policy
    x = frames(2, 4, 36, 36)
    with paddle.no_grad():
        q = net(x).numpy()
        features = net.features(x / 255).flatten(1)
        value, advantage = net.value(features).numpy(), net.advantage(features).numpy()
    np.testing.assert_allclose(q.mean(axis=1, keepdims=True), value, atol=1e-5)
    np.testing.assert_allclose(q - q[:, :1], advantage - advantage[:, :1], atol=1e-5)


def test_the_target_tells_the_future_and_double_dqn_lets_the_policy_choose() -> None:
    for name in ("dqn", "double_dqn"):
        paddle.seed(6)
        agent = MODELS.get(name).build(num_actions=5, side=36)
        x = frames(8, 4, 36, 36)
        agent.target.advantage.bias.set_value(paddle.to_tensor([5.0, 0.0, 0.0, 0.0, 0.0]))
        with paddle.no_grad():
            worth, chosen = agent.target(x).numpy(), agent(x).numpy().argmax(axis=1)
            future = agent.future(x).numpy()
        wanted = worth.max(axis=1) if name == "dqn" else worth[np.arange(8), chosen]
        np.testing.assert_allclose(future, wanted, rtol=1e-6)
        agent.follow()
        with paddle.no_grad():
            np.testing.assert_array_equal(agent.target(x).numpy(), agent(x).numpy())


RECIPE = replace(MODELS.get("dqn").mini.recipe, epochs=3, batch_size=8)
PLAY = Exploration(samples=24, steps=16, capacity=500, start=1.0, fall=0.02)


def play_folder(root: Path) -> ReplayFolder:
    if not root.is_dir():
        make_mini(root, MiniSettings(train=80, evaluation=8, side=20), ignore)
    return ReplayFolder(root, FrameStack(20), OpenOptions("mini-replay", False, 0, PLAY))


def agent() -> paddle.nn.Layer:
    paddle.seed(5)
    return MODELS.get("dqn").build(num_actions=3, side=20)


@pytest.mark.parametrize("stop_at", [1, 3, 5, 8])
def test_a_stopped_run_goes_on_to_the_same_weights(stop_at: int, tmp_path: Path, monkeypatch) -> None:
    task = TASKS.get("control")
    undisturbed = agent()
    (tmp_path / "none").mkdir()
    fit(undisturbed, task, play_folder(tmp_path / "play"), RECIPE, tmp_path / "none", ignore)
    monkeypatch.setattr(trainer, "CHECKPOINT_SECONDS", 0.0)
    scratch = tmp_path / "scratch"
    scratch.mkdir()

    def stop(done: int, total: int, note: str = "") -> None:
        if done == stop_at + 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(agent(), task, play_folder(tmp_path / "play"), RECIPE, scratch, stop)
    resumed = agent()
    assert fit(resumed, task, play_folder(tmp_path / "play"), RECIPE, scratch, ignore).resumed_at == stop_at
    wanted, got = undisturbed.state_dict(), resumed.state_dict()
    assert all(np.array_equal(wanted[name].numpy(), got[name].numpy()) for name in wanted)


def test_the_target_is_not_trained_and_follows_before_each_epoch(tmp_path: Path) -> None:
    net, task = agent(), TASKS.get("control")
    before = {name: value.numpy() for name, value in net.policy.state_dict().items()}
    fit(net, task, play_folder(tmp_path / "play"), replace(RECIPE, epochs=1), tmp_path, ignore)
    for name, value in net.target.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[name])
        assert not np.array_equal(net.policy.state_dict()[name].numpy(), before[name])
