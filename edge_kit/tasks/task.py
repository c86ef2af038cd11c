"""What a task is: a loss to train by, and one scoring function for every runtime and precision."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from edge_kit.core.progress import Progress
from edge_kit.core.records import Metric
from edge_kit.core.registry import Registry
from edge_kit.core.tensors import Array, Graphs, Tensors
from edge_kit.data.dataset import Dataset


class Objective(Protocol):
    """What training needs of a task."""

    def loss(self, net: Any, batch: Any) -> Any:
        """The scalar to minimise, as a Paddle tensor.

        Args:
            net: The network in training mode; a task with several networks gets their container.
            batch: Paddle tensors by name.
        """
        ...


class Task(Objective, Protocol):
    """One kind of problem.

    Attributes:
        name: As zoo entries name it.
    """

    name: str

    def feeds(self, graphs: Graphs, batch: Tensors) -> Mapping[str, Tensors]:
        """The inputs of every graph for one batch of the data set, by graph name.

        A graph that reads what another computes is fed by running that one; calibration and parity use this.
        """
        ...

    def evaluate(self, graphs: Graphs, dataset: Dataset, progress: Progress) -> tuple[Metric, ...]:
        """Score exported graphs, whatever runs them; the headline metric first, none where the task has no metric."""
        ...

    def agreement(self, reference: Graphs, candidate: Graphs, dataset: Dataset, samples: int) -> Metric:
        """How often two versions of a model give the same answer; needs no labels."""
        ...


@runtime_checkable
class Likening(Protocol):
    """A task that can tell more of how near two versions are than `Task.agreement`."""

    def likeness(self, reference: Graphs, candidate: Graphs, dataset: Dataset, samples: int) -> tuple[Metric, ...]:
        """Further numbers, shown beside the agreement and held to nothing."""
        ...


@runtime_checkable
class Imitable(Objective, Protocol):
    """A task whose labels a trained network can give in place of the data: what it is sure of, and how sure."""

    def answers(self, net: Any, batch: Any) -> Any:
        """What `net`, in evaluation mode, says of a batch, as `loss` takes it for `label`; Paddle tensors."""
        ...


@runtime_checkable
class Explorer(Protocol):
    """A task whose training samples come of what the network does."""

    def explore(self, net: Any, dataset: Dataset, epoch: int, seed: int, memory: Path, *, begins: bool) -> None:
        """Let the network act, before the batches of an epoch are asked for.

        Args:
            memory: Folder that outlives a kill. What it holds of an epoch counts, and is not done again: a run that
                goes on from a checkpoint must see the very same samples.
            begins: False where a checkpoint lets the run go on in the middle of the epoch.
        """
        ...


@runtime_checkable
class Alternating(Protocol):
    """A task whose networks are trained in turn at each step, each group by a loss of its own.

    `Task.loss` is then that of the first group.
    """

    def groups(self, net: Any) -> Mapping[str, tuple[Any, ...]]:
        """The layers of each group, in the order that they are trained in; a layer is of one group."""
        ...

    def group_loss(self, group: str, net: Any, batch: Any, memory: dict[str, Array]) -> Any:
        """The scalar that this group is to minimise; the weights of all others are constants meanwhile.

        Args:
            memory: What the task wants to find again at the next call, also where a run goes on from a checkpoint;
                empty at first.
        """
        ...


TASKS: Registry[Task] = Registry("task")
