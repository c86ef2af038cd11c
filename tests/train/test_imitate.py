"""Training by the answers of another network."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from paddle import nn

from edge_kit.core.words import IDS, LENGTHS
from edge_kit.tasks import TASKS
from edge_kit.tasks.task import Imitable
from edge_kit.train.imitate import imitating

RNG = np.random.default_rng(0)
CLASSES = 5
BATCHES = {
    "classify": {"image": RNG.normal(0, 1, (8, 3, 6, 6)).astype(np.float32)},
    "classify_clip": {"clip": RNG.normal(0, 1, (8, 2, 3, 6, 6)).astype(np.float32)},
    "segment": {"image": RNG.normal(0, 1, (4, 3, 6, 6)).astype(np.float32)},
    "classify_text": {IDS: RNG.integers(0, 9, (8, 4)), LENGTHS: np.full(8, 4)},
}


class OfWords(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.out = nn.Embedding(9, 6), nn.Linear(6, CLASSES)

    def forward(self, ids: paddle.Tensor, lengths: paddle.Tensor) -> paddle.Tensor:
        return self.out(self.table(ids).sum(1) / lengths.astype("float32").unsqueeze(1))


def network(task: str, seed: int) -> nn.Layer:
    paddle.seed(seed)
    if task == "classify_text":
        return OfWords()
    if task == "segment":
        return nn.Conv2D(3, CLASSES, 3, padding=1)
    size = int(np.prod(next(iter(BATCHES[task].values())).shape[1:]))
    return nn.Sequential(nn.Flatten(), nn.Linear(size, CLASSES))


def gradient(objective: object, net: nn.Layer, batch: dict[str, paddle.Tensor]) -> float:
    loss = objective.loss(net, batch)
    loss.backward()
    largest = max(float(p.grad.abs().max()) for p in net.parameters())
    net.clear_gradients()
    return largest


IMITABLE = sorted(name for name in TASKS.names() if isinstance(TASKS.get(name), Imitable))


def test_the_tasks_with_labels_that_a_network_gives_are_those_here() -> None:
    assert sorted(BATCHES) == IMITABLE


@pytest.mark.parametrize("name", IMITABLE)
def test_who_answers_as_the_teacher_has_nothing_to_learn_and_who_does_not_has(name: str) -> None:
    teacher, same, other = (network(name, seed) for seed in (1, 1, 2))
    teacher.eval()
    task, batch = TASKS.get(name), {key: paddle.to_tensor(value) for key, value in BATCHES[name].items()}
    wrong = {**batch, "label": paddle.to_tensor((task.answers(teacher, batch).argmax(1) + 1) % CLASSES)}
    objective = imitating(task, lambda: teacher)
    assert gradient(objective, same, wrong) < 1e-6 < 0.01 < gradient(task, same, wrong)
    assert gradient(objective, other, wrong) > 0.01
    assert all(p.grad is None for p in teacher.parameters())


def test_a_task_with_other_labels_keeps_its_own() -> None:
    task = TASKS.get("detect_ssd")
    assert imitating(task, lambda: pytest.fail("a teacher is made for nothing")) is task
