"""Training a network to answer as another one does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import paddle

from edge_kit.tasks.task import Imitable, Objective


@dataclass(frozen=True, slots=True)
class Imitation:
    """The objective of a task, with the answers of a trained network in place of the labels.

    A network that already answers so has nothing to learn, whatever the labels say: what is learnt is to undo what was
    done to it, and not its training pictures by heart.

    Attributes:
        teacher: In evaluation mode.

    Source: Hinton et al. 2015, arXiv:1503.02531, at temperature 1.
    """

    task: Imitable
    teacher: Any

    def loss(self, net: Any, batch: Any) -> Any:
        """See `Objective.loss`."""
        with paddle.no_grad():
            label = self.task.answers(self.teacher, batch)
        return self.task.loss(net, {**batch, "label": label})


def imitating(task: Objective, make_teacher: Callable[[], Any]) -> Objective:
    """The task with a teacher, or as it is where its labels are not what a network gives; none is made then."""
    return Imitation(task, make_teacher()) if isinstance(task, Imitable) else task
