"""The training loop: deterministic, and resumable at any step with the same result."""

from __future__ import annotations

import time
from contextlib import nullcontext
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from edge_kit.core.errors import BadData, EdgeKitError
from edge_kit.core.progress import Progress
from edge_kit.core.weights import load_weights, read_metadata, save_weights
from edge_kit.data.dataset import Dataset
from edge_kit.tasks.task import Task
from edge_kit.train.depthwise import fast_depthwise
from edge_kit.train.recipe import Recipe
from edge_kit.train.soft_labels import soften

CHECKPOINT = "checkpoint.safetensors"
CHECKPOINT_SECONDS = 10.0
NET, STATE = "net/", "optimizer/"
STATES = {  # what Paddle calls what an optimizer remembers of a parameter
    "momentum": ("velocity_0",),
    "adagrad": ("moment_0",),
    "adam": ("moment1_0", "moment2_0", "beta1_pow_acc_0", "beta2_pow_acc_0"),
    "rmsprop": ("momentum_0", "mean_square_0", "mean_grad_0"),
}


@dataclass(frozen=True, slots=True)
class TrainReport:
    """What one training run did.

    Attributes:
        first_loss: Mean over the first tenth of the steps.
        last_loss: Mean over the last tenth.
        resumed_at: Step that a checkpoint let it go on from; 0 where there was none.
    """

    steps: int
    samples: int
    first_loss: float
    last_loss: float
    resumed_at: int


def fit(net: Any, task: Task, dataset: Dataset, recipe: Recipe, scratch: Path, report: Progress) -> TrainReport:
    """Train `net` in place.

    Args:
        net: Paddle layer; its present weights are where training starts.
        scratch: Folder for checkpoints. A run that finds one there goes on from it.

    Raises:
        BadData: The set has fewer training samples than one batch.
        EdgeKitError: The loss is no longer finite.
    """
    steps_in_epoch = dataset.train_size() // recipe.batch_size
    if not steps_in_epoch:
        raise BadData(f"{dataset.train_size()} training samples do not fill one batch of {recipe.batch_size}")
    run = _Run(net, task, recipe, steps_in_epoch * recipe.epochs, scratch)
    run.resume()
    resumed_at = run.step
    net.train()
    on_cpu = paddle.device.get_device() == "cpu"
    with fast_depthwise(net) if on_cpu else nullcontext():
        for epoch in range(run.step // steps_in_epoch, recipe.epochs):
            start = run.step - epoch * steps_in_epoch
            for batch in dataset.train_batches(recipe.batch_size, epoch, recipe.seed, start):
                run.train_on(soften(batch, dataset.sizes.get("num_classes", 0), recipe, run.step))
                report(run.step, run.total, f"loss {run.recent_loss():.3f}")
                run.save_now_and_then()
    net.eval()
    tenth = max(len(run.losses) // 10, 1)
    losses = run.losses
    samples = run.total * recipe.batch_size
    return TrainReport(
        run.total,
        samples,
        float(np.mean(losses[:tenth])),
        float(np.mean(losses[-tenth:])),
        resumed_at,
    )


def run_through(net: Any, task: Task, dataset: Dataset, recipe: Recipe, batches: int) -> None:
    """Show `net` the first training batches in training mode, without learning anything but running statistics."""
    net.train()
    with paddle.no_grad():
        for batch in islice(dataset.train_batches(recipe.batch_size, 0, recipe.seed), batches):
            task.loss(net, {name: paddle.to_tensor(value) for name, value in batch.items()})
    net.eval()


class _Run:
    """A training run in progress: all that a checkpoint must hold."""

    def __init__(self, net: Any, task: Task, recipe: Recipe, total: int, scratch: Path) -> None:
        self.net, self.task, self.recipe, self.total = net, task, recipe, total
        self.step = 0
        self.losses: list[float] = []
        self._path = scratch / CHECKPOINT
        self._saved_at = time.monotonic()
        self._named = [(name, p) for name, p in net.named_parameters() if not p.stop_gradient]
        self._states = STATES[recipe.optimizer]
        for pattern, rate in recipe.rates:
            for name, parameter in self._named:
                if fnmatchcase(name, pattern):
                    parameter.optimize_attr["learning_rate"] = rate
        self._optimizer = _optimizer(recipe, [p for _, p in self._named])

    def train_on(self, batch: Any) -> None:
        self._optimizer.set_lr(self.recipe.rate_at(self.step, self.total))
        tensors = {name: paddle.to_tensor(value) for name, value in batch.items()}
        loss = self.task.loss(self.net, tensors)
        loss.backward()
        self._optimizer.step()
        self._optimizer.clear_grad()
        self.step += 1
        self.losses.append(float(loss))
        if not np.isfinite(self.losses[-1]):
            raise EdgeKitError(
                f"the loss became {self.losses[-1]} at step {self.step} of {self.total}; lower the learning rate "
                f"({self.recipe.learning_rate}) or look at the data"
            )

    def recent_loss(self) -> float:
        return float(np.mean(self.losses[-20:]))

    def save_now_and_then(self) -> None:
        if time.monotonic() - self._saved_at >= CHECKPOINT_SECONDS:
            self.save()
            self._saved_at = time.monotonic()

    def save(self) -> None:
        arrays = {NET + name: value.numpy() for name, value in self.net.state_dict().items()}
        state = self._optimizer.state_dict()
        arrays |= {STATE + own: state[theirs].numpy() for own, theirs in self._remembered()}
        arrays["losses"] = np.array(self.losses, np.float64)
        save_weights(self._path, arrays, {"step": str(self.step)})

    def resume(self) -> None:
        if not self._path.exists():
            return
        arrays = load_weights(self._path)
        self.step = int(read_metadata(self._path)["step"])
        self.losses = [float(loss) for loss in arrays["losses"]]
        own = {name.removeprefix(NET): value for name, value in arrays.items() if name.startswith(NET)}
        self.net.set_state_dict({name: paddle.to_tensor(value) for name, value in own.items()})
        state = {theirs: paddle.to_tensor(arrays[STATE + own]) for own, theirs in self._remembered()}
        self._optimizer.set_state_dict(state)

    def _remembered(self) -> list[tuple[str, str]]:
        """What the optimizer keeps of each parameter: our name, which a new process finds again, and Paddle's."""
        return [(f"{name}/{kind}", f"{one.name}_{kind}") for name, one in self._named for kind in self._states]


def _optimizer(recipe: Recipe, parameters: list[Any]) -> Any:
    shared = {
        "learning_rate": recipe.learning_rate,
        "parameters": parameters,
        "weight_decay": recipe.weight_decay,
    }
    if recipe.optimizer == "adam":
        return paddle.optimizer.Adam(**shared)
    if recipe.optimizer == "adagrad":
        return paddle.optimizer.Adagrad(**shared)
    if recipe.optimizer == "rmsprop":
        return paddle.optimizer.RMSProp(rho=0.95, epsilon=1e-6, **shared)
    return paddle.optimizer.Momentum(momentum=recipe.momentum, **shared)
