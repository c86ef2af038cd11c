"""DQN, Double DQN and Dueling DQN. PaddlePaddle/models develop-align-v1.7.0, legacy/PaddleRL/DeepQNetwork.

The network is not the one of Nature 518 but a deeper one with max pooling. Differs from what was published in one
place: an agent plays before each epoch of 2,500 updates, not between updates, and its target network follows then, as
often as published; a run that is killed can so go on to the same weights.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from paddle import ParamAttr, Tensor, nn
from paddle.nn import functional
from paddle.nn.initializer import XavierUniform

from compress.prune.reshape import fit_to_weights
from edge_kit.core.frames import FRAMES, FrameStack
from edge_kit.core.tensors import MAIN, GraphSpec, TensorSpec
from edge_kit.data.dataset import MiniSettings
from edge_kit.data.replay import Exploration
from edge_kit.tasks.control import OUTPUT
from edge_kit.train.recipe import Recipe
from edge_kit.zoo.entry import Reference, Setup, ZooEntry, register

STACK = 4
CONVOLUTIONS = [(32, 5, 2), (32, 5, 2), (64, 4, 1), (64, 3, 1)]  # (channels out, kernel, padding)
PLOT = "PaddlePaddle/models develop-align-v1.7.0, legacy/PaddleRL/DeepQNetwork/assets/dqn.png, read off the plot"


class QNetwork(nn.Layer):
    """Frames (N, 4, side, side) float32 in 0..255 -> what each action is worth, (N, actions)."""

    def __init__(self, num_actions: int, side: int, dueling: bool) -> None:
        super().__init__()
        layers, channels = [], STACK
        for filters, kernel, padding in CONVOLUTIONS:
            layers += [nn.Conv2D(channels, filters, kernel, padding=padding), nn.ReLU(), nn.MaxPool2D(2)]
            channels = filters
        self.features = nn.Sequential(*layers[:-1])  # nothing is pooled behind the last one
        width = channels * ((side // 4 - 1) // 2) ** 2
        self.advantage = _linear(width, num_actions)
        self.value = _linear(width, 1) if dueling else None

    def forward(self, frames: Tensor) -> Tensor:
        features = self.features(frames * (1 / 255)).flatten(1)
        advantage = self.advantage(features)
        if self.value is None:
            return advantage
        return advantage + (self.value(features) - advantage.mean(1, keepdim=True))


class Agent(nn.Layer):
    """A Q network and the copy of it that tells the worth of what comes next while it is trained."""

    def __init__(self, num_actions: int, side: int, dueling: bool = False, double: bool = False) -> None:
        super().__init__()
        self.policy, self.target = QNetwork(num_actions, side, dueling), QNetwork(num_actions, side, dueling)
        self._double = double
        for parameter in self.target.parameters():
            parameter.stop_gradient = True
        self.follow()

    def forward(self, frames: Tensor) -> Tensor:
        return self.policy(frames)

    def follow(self) -> None:
        """Make the target network equal to the other one, which may have been pruned."""
        fit_to_weights(self.target, {name: value.numpy() for name, value in self.policy.state_dict().items()})

    def future(self, frames: Tensor) -> Tensor:
        """What states are worth to whoever chooses best in them, (N,); Double DQN lets the policy choose."""
        worth = self.target(frames)
        if not self._double:
            return worth.max(1)
        chosen = functional.one_hot(self.policy(frames).argmax(1), worth.shape[1])
        return (worth * chosen).sum(1)


def _linear(width: int, out: int) -> nn.Linear:
    return nn.Linear(width, out, weight_attr=ParamAttr(initializer=XavierUniform()))


def _policy(net: Agent) -> nn.Layer:
    return net.policy


def graphs(preprocess: FrameStack) -> dict[str, GraphSpec]:
    """The one graph: `frames` (N, 4, side, side) -> `q` (N, actions)."""
    side = preprocess.side
    frames = TensorSpec(FRAMES, ("N", preprocess.stack, side, side), layout="NCHW")
    return {MAIN: GraphSpec((frames,), (OUTPUT,), _policy)}


PUBLISHED = Recipe(1000, 64, 5e-4, "constant", optimizer="adam", epsilon=1e-3)
# A small game on small pictures: 700 updates instead of 2,500,000.
MINI = replace(PUBLISHED, epochs=14, batch_size=32)
PLAY = Exploration(samples=1600, steps=400, capacity=20_000, start=1.0, fall=2.5e-4)
MADE = MiniSettings(train=2000, evaluation=1000, side=36)


def _add(name: str, title: str, paper: str, parameters: int, macs: int, *, dueling: bool, double: bool) -> None:
    register(
        ZooEntry(
            id=name,
            title=title,
            family="reinforcement_learning",
            task="control",
            paper=paper,
            licence="Apache-2.0",
            source="PaddlePaddle/models develop-align-v1.7.0, legacy/PaddleRL/DeepQNetwork; plays between epochs",
            data="replay",
            parameters=parameters,
            macs=macs,
            published_sizes={"num_actions": 6, "side": 84},
            build=partial(Agent, dueling=dueling, double=double),
            graphs=graphs,
            references=(Reference("Pong, 30 episodes", "return", 20.0, "points", PLOT),),
            published=Setup(FrameStack(84), PUBLISHED, PUBLISHED, Exploration()),
            mini=Setup(FrameStack(MADE.side), MINI, replace(MINI, epochs=4), PLAY, MADE),
        )
    )


_add("dqn", "DQN", "10.1038/nature14236", 137_030, 84_569_600, dueling=False, double=False)
_add("double_dqn", "Double DQN", "arXiv:1509.06461", 137_030, 84_569_600, dueling=False, double=True)
_add("dueling_dqn", "Dueling DQN", "arXiv:1511.06581", 143_431, 84_576_000, dueling=True, double=False)
