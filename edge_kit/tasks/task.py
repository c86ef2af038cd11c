"""What a task is: a loss to train by, and one scoring function for every runtime and precision."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from edge_kit.core.progress import Progress
from edge_kit.core.records import Metric
from edge_kit.core.registry import Registry
from edge_kit.core.tensors import Graphs, Tensors
from edge_kit.data.dataset import Dataset


class Task(Protocol):
    """One kind of problem.

    Attributes:
        name: As zoo entries name it.
    """

    name: str

    def loss(self, net: Any, batch: Any) -> Any:
        """The scalar to minimise, as a Paddle tensor.

        Args:
            net: The network in training mode; a task with several networks gets their container.
            batch: Paddle tensors by name.
        """
        ...

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


TASKS: Registry[Task] = Registry("task")
