"""How many pictures a second training takes in, held against `paddle.Model.fit`; see `scripts/train-throughput`."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

import edge_kit  # before Paddle: it sets what Paddle reads when it is imported
from edge_kit.core.errors import CheckError, UsageError
from edge_kit.core.progress import silent
from edge_kit.core.tensors import Tensors
from edge_kit.data import FORMATS, Dataset, OpenOptions
from edge_kit.data.dataset import MiniSettings
from edge_kit.report.bench import bench_progress
from edge_kit.tasks import TASKS
from edge_kit.train.loader import batch_at
from edge_kit.train.recipe import Recipe
from edge_kit.zoo import MODELS, ZooEntry, load_all
from runtimes.bench import Progress
from runtimes.targets import cpu_name
from scripts.command import run_command

WARMUP = 3  # steps of a round that are not timed: loaders start, kernels are chosen
LEAST = 1.0  # ours over theirs
OURS = "edge-kit"
THEIRS = {"paddle.Model.fit": 0, "paddle.Model.fit, 2 readers": 2}  # processes that read for it
RATE = 0.05


@dataclass(frozen=True, slots=True)
class Work:
    """What is trained, and for how long.

    Attributes:
        batch: Pictures a step.
        steps: Of a round that are timed.
        side: Of a picture, in pixels.
    """

    model: str
    batch: int
    steps: int
    side: int

    @property
    def pictures(self) -> int:
        """That a round reads."""
        return self.batch * (self.steps + WARMUP)


class Clock:
    """Pictures a second between the end of the warm-up and the last step."""

    def __init__(self, work: Work) -> None:
        self._work, self._steps, self._began, self.rate = work, 0, 0.0, 0.0

    def step(self) -> None:
        """A step is done."""
        self._steps += 1
        if self._steps == WARMUP:
            self._began = time.perf_counter()
        elif self._steps == WARMUP + self._work.steps:
            self.rate = self._work.steps * self._work.batch / (time.perf_counter() - self._began)


def ours(entry: ZooEntry, dataset: Dataset, work: Work) -> float:
    """A round of our own trainer."""
    from edge_kit.train.trainer import fit

    clock, recipe = Clock(work), Recipe(1, work.batch, RATE, "constant")
    net = _network(entry, dataset)
    with tempfile.TemporaryDirectory() as scratch:
        fit(net, TASKS.get(entry.task), dataset, recipe, Path(scratch), lambda done, total, note="": clock.step())
    return clock.rate


def theirs(entry: ZooEntry, dataset: Dataset, work: Work, readers: int) -> float:
    """A round of `paddle.Model.fit`: the same layers, loss, optimizer and pictures."""
    import paddle

    clock = Clock(work)

    class Tick(paddle.callbacks.Callback):
        def on_train_batch_end(self, step: int, logs: Any = None) -> None:
            clock.step()

    class Pictures(paddle.io.Dataset):
        def __len__(self) -> int:
            return work.pictures

        def __getitem__(self, place: int) -> tuple[Any, Any]:
            one: Tensors = batch_at(dataset, 1, 0, 0, place)
            return one["image"][0], one["label"]

    model = paddle.Model(_network(entry, dataset))
    optimizer = paddle.optimizer.Momentum(RATE, 0.9, parameters=model.parameters())
    model.prepare(optimizer, paddle.nn.CrossEntropyLoss())
    model.fit(
        Pictures(), batch_size=work.batch, epochs=1, shuffle=False, num_workers=readers, verbose=0, callbacks=Tick()
    )
    return clock.rate


def _network(entry: ZooEntry, dataset: Dataset) -> Any:
    import paddle

    paddle.seed(0)
    return entry.build(**dataset.sizes)


def measure(work: Work, rounds: int, progress: Progress) -> dict[str, list[float]]:
    """Pictures a second of each kind, round by round, in turn."""
    load_all()
    entry = MODELS.get(work.model)
    if entry.data != "imagenet":
        raise UsageError(f"{work.model!r} is no image classifier; pass --model with one")
    with tempfile.TemporaryDirectory() as folder:
        form = FORMATS.get(entry.data)
        assert form.make_mini is not None  # ImageNet's has one
        form.make_mini(Path(folder), MiniSettings(work.pictures, 50, work.side), silent)
        preprocess = replace(entry.mini.preprocess, resize_short=work.side, crop=work.side)
        options = OpenOptions("mini", False, augment=entry.mini.augment)
        dataset = form.open(Path(folder), preprocess, options)
        kinds = {OURS: partial(ours, entry, dataset, work)}
        kinds |= {name: partial(theirs, entry, dataset, work, readers) for name, readers in THEIRS.items()}
        rates: dict[str, list[float]] = {name: [] for name in kinds}
        for i, (name, run) in enumerate([*kinds.items()] * rounds):
            progress(f"round {i // len(kinds) + 1}, {name}", i, rounds * len(kinds))
            rates[name].append(run())
    return rates


def main(
    model: Annotated[str, typer.Option(help="An image classifier of the zoo.")] = "mobilenetv2",
    batch: Annotated[int, typer.Option(help="Pictures a step.", min=1)] = 32,
    side: Annotated[int, typer.Option(help="Of a picture, in pixels.", min=32)] = 64,
    steps: Annotated[int, typer.Option(help="Timed steps of a round.", min=1)] = 20,
    rounds: Annotated[int, typer.Option(help="Of each kind, in turn.", min=1)] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout and nothing else.")] = False,
) -> None:
    """Train in turn with ours and with `paddle.Model.fit`; exit code 3 where ours takes in less than the better one."""
    work = Work(model, batch, steps, side)
    with bench_progress() as progress:
        rates = measure(work, rounds, progress)
    medians = {name: statistics.median(found) for name, found in rates.items()}
    rival = max(THEIRS, key=lambda name: medians[name])
    ratios = [own / other for own, other in zip(rates[OURS], rates[rival], strict=True)]
    ratio = statistics.median(ratios)
    document = {**asdict(work), "cpu": cpu_name(), "version": edge_kit.__version__, "pictures_per_second": rates}
    if as_json:
        typer.echo(json.dumps({**document, "rival": rival, "ratio": ratio}, indent=2))
    else:
        typer.echo(f"{model}, batch {batch}, {side} x {side}, {steps} steps a round, {rounds} rounds; {cpu_name()}")
        for name, found in rates.items():
            typer.echo(f"  {name:<28} {medians[name]:7.1f} pictures/s ({min(found):.1f} to {max(found):.1f})")
        typer.echo(f"  ours over the better of theirs {ratio:.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
    if ratio < LEAST:
        raise CheckError(f"training takes in {ratio:.2f} of the pictures that {rival} does; at least {LEAST}")


if __name__ == "__main__":
    run_command("train-throughput", main)
