"""Acting in a game by what each action is worth: Q-learning, scored by the mean return of seeded episodes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from edge_kit.core.frames import FRAMES
from edge_kit.core.progress import Progress
from edge_kit.core.records import Metric
from edge_kit.core.tensors import MAIN, Array, Graphs, Tensors
from edge_kit.data.dataset import Dataset
from edge_kit.data.play import Choose, Picture
from edge_kit.data.replay import NEXT
from edge_kit.tasks.task import TASKS

BATCH = 50
DISCOUNT = 0.99
OUTPUT = "q"


@runtime_checkable
class Playable(Protocol):
    """A data set with a game to play; parts of one have none."""

    def explore(self, choose: Choose, epoch: int, seed: int, memory: Path) -> None:
        """Play before an epoch."""
        ...

    def score(self, choose: Choose) -> Array:
        """Returns of seeded episodes, (episodes,)."""
        ...


class Control:
    """Graph `main`: `frames` (N, 4, side, side) float32 in 0..255 -> `q` (N, actions), what each action is worth.

    The network is an agent (`edge_kit.zoo.control.dqn.Agent`): called it gives `q`, `future` what states are worth by
    its target network, which `follow` makes equal to the other one. An epoch is the time between two of these.
    """

    name = "control"

    def loss(self, net: Any, batch: Any) -> Any:
        import paddle
        from paddle.nn import functional

        with paddle.no_grad():
            future = net.future(batch[NEXT]) * (1 - batch["done"])
            target = paddle.clip(batch["reward"], -1.0, 1.0) + DISCOUNT * future
        q = net(batch[FRAMES])
        taken = functional.one_hot(batch["action"], q.shape[1])
        return functional.mse_loss((q * taken).sum(1), target)

    def explore(self, net: Any, dataset: Dataset, epoch: int, seed: int, memory: Path, *, begins: bool) -> None:
        import paddle

        if begins:
            net.follow()

        def choose(histories: Sequence[Sequence[Picture]]) -> Array:
            with paddle.no_grad():
                q = net(paddle.to_tensor(dataset.preprocess(histories)[FRAMES])).numpy()
            best: Array = q.argmax(axis=1)
            return best

        assert isinstance(dataset, Playable)
        dataset.explore(choose, epoch, seed, memory)

    def feeds(self, graphs: Graphs, batch: Tensors) -> dict[str, Tensors]:
        return {MAIN: {FRAMES: batch[FRAMES]}}

    def evaluate(self, graphs: Graphs, dataset: Dataset, progress: Progress) -> tuple[Metric, ...]:
        """Nothing of a part of a data set, which has states and no game."""
        if not isinstance(dataset, Playable):
            return ()

        def choose(histories: Sequence[Sequence[Picture]]) -> Array:
            return self._actions(graphs, dataset.preprocess(histories))

        returns = dataset.score(choose)
        progress(dataset.eval_size(), dataset.eval_size())
        return (Metric("return", float(returns.mean()), "points", f"{dataset.name} episodes", len(returns)),)

    def agreement(self, reference: Graphs, candidate: Graphs, dataset: Dataset, samples: int) -> Metric:
        same = seen = 0
        for batch in dataset.eval_batches(BATCH):
            first, second = (self._actions(graphs, batch) for graphs in (reference, candidate))
            same += int((first == second).sum())
            seen += len(first)
            if seen >= samples:
                break
        return Metric("same action", 100 * same / seen, "%", f"{dataset.name} test", seen)

    def _actions(self, graphs: Graphs, batch: Tensors) -> Array:
        """(N,); -1 where a worth is not finite."""
        q = np.asarray(graphs[MAIN](self.feeds(graphs, batch)[MAIN])[OUTPUT])
        actions: Array = np.where(np.isfinite(q).all(axis=1), q.argmax(axis=1), -1)
        return actions


TASKS.add("control", Control())
