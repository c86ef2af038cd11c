"""The training loop: deterministic, and resumable at any step with the same result."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from edge_kit.core.errors import BadData, EdgeKitError, UsageError
from edge_kit.core.progress import Progress
from edge_kit.core.tensors import Tensors
from edge_kit.core.weights import load_weights, read_metadata, save_weights
from edge_kit.data.dataset import Dataset
from edge_kit.tasks.task import Alternating, Explorer, Objective
from edge_kit.train.average import Average
from edge_kit.train.compute import CPU, Compute
from edge_kit.train.depthwise import fast_depthwise
from edge_kit.train.dropout import train_mode
from edge_kit.train.loader import batch_at, loader_threads, prefetched
from edge_kit.train.optimizers import STATES, build_optimizer, set_rates
from edge_kit.train.peers import ALONE, Peers
from edge_kit.train.recipe import Recipe
from edge_kit.train.soft_labels import soften
from edge_kit.train.statistics import shared_statistics
from edge_kit.train.watch import Watch

CHECKPOINT = "checkpoint.safetensors"
CHECKPOINT_SECONDS = 10.0  # from one to the next
CHECKPOINT_TAKES = 0.5  # seconds; after one that took n times as long, n times as many pass
NET, STATE, MEMORY, AVERAGE, SCALER = "net/", "optimizer/", "task/", "average/", "scaler"
SCALED = ("scale", "incr_count", "decr_count")  # what a loss scaler changes as it goes


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


def fit(
    net: Any,
    task: Objective,
    dataset: Dataset,
    recipe: Recipe,
    scratch: Path,
    report: Progress,
    compute: Compute | None = None,
    peers: Peers = ALONE,
    watch: Watch | None = None,
    curve: list[float] | None = None,
) -> TrainReport:
    """Train `net` in place.

    Args:
        net: Paddle layer; its present weights are where training starts.
        scratch: Folder for checkpoints. A run that finds one there goes on from it.
        peers: The processes that train it together; each is given the same arguments.
        watch: Told of every step; of one process only.
        curve: Takes the loss of every step.

    Raises:
        BadData: The set has fewer training samples than one batch.
        UsageError: The batch does not divide among the processes, or this device lacks mixed precision.
        EdgeKitError: The loss is no longer finite.
    """
    compute = compute or Compute()
    steps_in_epoch = dataset.train_size() // recipe.batch_size
    if not steps_in_epoch:
        raise BadData(f"{dataset.train_size()} training samples do not fill one batch of {recipe.batch_size}")
    if isinstance(task, Explorer) and peers.count > 1:
        raise UsageError("what learns by acting is trained by one process: leave out --devices and --hosts")
    run = _Run(net, task, recipe, steps_in_epoch * recipe.epochs, scratch, compute, peers)
    run.resume()
    resumed_at = run.step
    train_mode(net, recipe)
    with ExitStack() as stack:
        stack.enter_context(fast_depthwise(net) if _on_cpu() else nullcontext())
        stack.enter_context(shared_statistics(net, peers))
        for pieces in stack.enter_context(closing(_pieces(run, dataset, compute, steps_in_epoch))):
            run.train_on(pieces)
            report(run.step, run.total, f"loss {run.recent_loss():.3f}")
            run.save_now_and_then()
            if watch and watch.after(run.step, run.losses[-1], run.rate, recipe.batch_size, steps_in_epoch):
                with run.as_result():
                    watch.look(run.step)
    run.finish()
    net.eval()
    if curve is not None:
        curve.extend(run.losses)
    tenth = max(len(run.losses) // 10, 1)
    first, last = (float(np.mean(losses)) for losses in (run.losses[:tenth], run.losses[-tenth:]))
    return TrainReport(run.total, run.total * recipe.batch_size, first, last, resumed_at)


def _pieces(run: _Run, dataset: Dataset, compute: Compute, steps_in_epoch: int) -> Generator[list[Tensors], None, None]:
    """The batches of every step that is left; an explorer makes those of an epoch before its first step."""
    recipe, task, peers = run.recipe, run.task, run.peers
    size = compute.pieces(recipe.batch_size, peers.count)

    def pieces_of(step: int) -> list[Tensors]:
        epoch, place = divmod(step, steps_in_epoch)
        first = (place * peers.count + peers.rank) * compute.accumulate
        places = range(first, first + compute.accumulate)
        batches = (batch_at(dataset, size, epoch, recipe.seed, one) for one in places)
        return [soften(batch, dataset.sizes.get("num_classes", 0), recipe, step) for batch in batches]

    threads = loader_threads(_on_cpu(), peers.here)
    while run.step < run.total:
        end = run.total
        if isinstance(task, Explorer):
            epoch, place = divmod(run.step, steps_in_epoch)
            task.explore(run.net, dataset, epoch, recipe.seed, run.scratch, begins=place == 0)
            end = (epoch + 1) * steps_in_epoch  # what comes after is not there yet
        with closing(prefetched(pieces_of, run.step, end, threads)) as batches:
            yield from batches


def _on_cpu() -> bool:
    return bool(paddle.device.get_device() == CPU)


def run_through(net: Any, task: Objective, dataset: Dataset, recipe: Recipe, batches: int) -> None:
    """Show `net` the first training batches in training mode, without learning anything but running statistics."""
    train_mode(net, recipe)
    with paddle.no_grad():
        for batch in islice(dataset.train_batches(recipe.batch_size, 0, recipe.seed), batches):
            task.loss(net, {name: paddle.to_tensor(value) for name, value in batch.items()})
    net.eval()


class _Run:
    """A training run in progress: all that a checkpoint must hold."""

    def __init__(
        self, net: Any, task: Objective, recipe: Recipe, total: int, scratch: Path, compute: Compute, peers: Peers
    ) -> None:
        self.net, self.task, self.recipe, self.total = net, task, recipe, total
        self.step = 0
        self.losses: list[float] = []
        self.peers, self.scratch = peers, scratch
        self._path = scratch / CHECKPOINT
        self._saved_at, self._save_takes = time.monotonic(), 0.0
        self._named = [(name, p) for name, p in net.named_parameters() if not p.stop_gradient]
        self._states = STATES[recipe.optimizer]
        set_rates(recipe, self._named)
        self._memory: dict[str, Any] = {}
        self._groups = {
            group: (parameters, build_optimizer(recipe, parameters))
            for group, parameters in _grouped(task, net, [p for _, p in self._named]).items()
        }
        self._average = Average(dict(self._named), recipe.ema) if recipe.ema else None
        self._scaler = _scaler() if compute.amp else None
        peers.share_weights(net)

    @property
    def rate(self) -> float:
        """The learning rate of the step before."""
        return self.recipe.rate_at(self.step - 1, self.total)

    def train_on(self, pieces: Sequence[Tensors]) -> None:
        """One step, on the share of a batch that is this process's."""
        loss = sum(self._train_group(group, pieces) for group in self._groups)
        if self._average:
            self._average.take()
        self.step += 1
        self.losses.append(self.peers.mean(loss))
        if not np.isfinite(self.losses[-1]):
            raise EdgeKitError(
                f"the loss became {self.losses[-1]} at step {self.step} of {self.total}; lower the learning rate "
                f"({self.recipe.learning_rate}) or look at the data"
            )

    def _train_group(self, group: str, pieces: Sequence[Tensors]) -> float:
        """One step of the parameters of one group; returns its loss."""
        parameters, optimizer = self._groups[group]
        optimizer.set_lr(self.recipe.rate_at(self.step, self.total))
        with self._only(parameters):
            loss = sum(self._learn(group, batch, place, len(pieces)) for place, batch in enumerate(pieces))
        self.peers.mean_gradients(parameters)
        if self._scaler:
            self._scaler.step(optimizer)
            self._scaler.update()
        else:
            optimizer.step()
        optimizer.clear_grad()
        return loss

    def _learn(self, group: str, batch: Tensors, place: int, pieces: int) -> float:
        """Add the gradients of one piece; returns its share of the loss."""
        # Of each piece and not of the run, so that one that goes on drops the same values out.
        drawn = np.random.SeedSequence([self.recipe.seed, self.step, self.peers.rank, place])
        paddle.seed(int(drawn.generate_state(1)[0]))
        tensors = {name: paddle.to_tensor(value) for name, value in batch.items()}
        with _half_precision() if self._scaler else nullcontext():
            loss = self._loss(group, tensors)
        loss = loss / pieces if pieces > 1 else loss
        (self._scaler.scale(loss) if self._scaler else loss).backward()
        return float(loss)

    def _loss(self, group: str, tensors: Any) -> Any:
        if isinstance(self.task, Alternating):
            return self.task.group_loss(group, self.net, tensors, self._memory)
        return self.task.loss(self.net, tensors)

    @contextmanager
    def _only(self, parameters: list[Any]) -> Iterator[None]:
        """Within the context, all other parameters are constants: no gradient is computed for them."""
        chosen = {id(p) for p in parameters}
        others = [p for _, p in self._named if id(p) not in chosen]
        for p in others:
            p.stop_gradient = True
        try:
            yield
        finally:
            for p in others:
                p.stop_gradient = False

    def recent_loss(self) -> float:
        return float(np.mean(self.losses[-20:]))

    @contextmanager
    def as_result(self) -> Iterator[None]:
        """Within the context, the network is what it would be if the run ended here."""
        self.net.eval()
        with self._average.applied() if self._average else nullcontext():
            yield
        train_mode(self.net, self.recipe)

    def finish(self) -> None:
        if self._average:
            self._average.apply()

    def save_now_and_then(self) -> None:
        now = time.monotonic()
        due = self._saved_at + CHECKPOINT_SECONDS * max(1.0, self._save_takes / CHECKPOINT_TAKES)
        if self.peers.rank == 0 and now >= due:
            self.save()
            self._saved_at = time.monotonic()
            self._save_takes = self._saved_at - now

    def save(self) -> None:
        arrays = {NET + name: value.numpy() for name, value in self.net.state_dict().items()}
        arrays |= {MEMORY + name: value for name, value in self._memory.items()}
        state = {name: value for _, one in self._groups.values() for name, value in one.state_dict().items()}
        arrays |= {STATE + own: state[theirs].numpy() for own, theirs in self._remembered()}
        if self._average:
            arrays |= {AVERAGE + name: value for name, value in self._average.state().items()}
        if self._scaler:
            scaler = self._scaler.state_dict()
            arrays[SCALER] = np.array([float(scaler[name]) for name in SCALED], np.float64)
        arrays["losses"] = np.array(self.losses, np.float64)
        save_weights(self._path, arrays, {"step": str(self.step)})

    def resume(self) -> None:
        path = self.peers.file_of_first(self._path)
        if path is None:
            return
        arrays = load_weights(path)
        self.step = int(read_metadata(path)["step"])
        self.losses = [float(loss) for loss in arrays["losses"]]
        self.net.set_state_dict({name: paddle.to_tensor(value) for name, value in _below(NET, arrays).items()})
        state = {theirs: paddle.to_tensor(arrays[STATE + own]) for own, theirs in self._remembered()}
        for _, optimizer in self._groups.values():
            optimizer.set_state_dict(state)
        self._memory = _below(MEMORY, arrays)
        if self._average:
            self._average.restore(_below(AVERAGE, arrays), self.step)
        if self._scaler:
            scale, *counts = arrays[SCALER]
            changed = dict(zip(SCALED, (np.array([scale], np.float32), *map(int, counts)), strict=True))
            self._scaler.load_state_dict({**self._scaler.state_dict(), **changed})

    def _remembered(self) -> list[tuple[str, str]]:
        """What the optimizer keeps of each parameter: our name, which a new process finds again, and Paddle's."""
        return [(f"{name}/{kind}", f"{one.name}_{kind}") for name, one in self._named for kind in self._states]


def _below(prefix: str, arrays: Tensors) -> dict[str, Any]:
    return {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}


def _scaler() -> Any:
    if _on_cpu():
        raise UsageError("--amp needs a GPU: on a CPU Paddle computes in float32 all the same; leave it out")
    return paddle.amp.GradScaler(init_loss_scaling=2.0**15)


def _half_precision() -> AbstractContextManager[Any]:
    guard: AbstractContextManager[Any] = paddle.amp.auto_cast(level="O1", dtype="float16")
    return guard


def _grouped(task: Objective, net: Any, parameters: list[Any]) -> dict[str, list[Any]]:
    """The parameters that are trained together, by group; all of them where the task names no groups."""
    if not isinstance(task, Alternating):
        return {"": parameters}
    trained = {id(p) for p in parameters}
    return {
        group: [p for layer in layers for p in layer.parameters() if id(p) in trained]
        for group, layers in task.groups(net).items()
    }
