"""Trained classifiers on their mini sets, for scripts that hold INT8 forms of them to something."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np
import typer

from edge_kit.cli.options import make_runner
from edge_kit.core.errors import CheckError, UsageError
from edge_kit.core.progress import silent
from edge_kit.core.tensors import MAIN, Array, Run, Tensors
from edge_kit.data import Dataset
from edge_kit.pipeline.checks import Limits
from edge_kit.pipeline.compress import CompressRequest, compress
from edge_kit.pipeline.feeds import training_feeds
from edge_kit.pipeline.inputs import DataRequest, base_settings, model_data
from edge_kit.pipeline.runner import Runner
from edge_kit.pipeline.sources import open_folder
from edge_kit.pipeline.subject import subject_of
from edge_kit.pipeline.train import TrainRequest, train_model
from edge_kit.report.progress import ConsoleReporter
from edge_kit.tasks import TASKS, Task
from edge_kit.tasks.classify import BATCH, are_top
from runtimes.registry import get_runtime

NETWORKS = ("mobilenetv1", "mobilenetv2", "shufflenetv2", "mobilenetv3_small_x1_0", "senta_bilstm")
ANY = Limits(max_latency_ratio=100.0, max_size_ratio=100.0)  # these are about answers

NetworksArgument = Annotated[
    list[str] | None, typer.Argument(help="Classifiers of the zoo.", show_default=", ".join(NETWORKS))
]
CalibrationOption = Annotated[int, typer.Option(help="Training samples that every quantizer is given.")]
TrainingsOption = Annotated[
    int,
    typer.Option(help="How often each network is trained, from other random weights; intervals are of these.", min=1),
]
WeightsOption = Annotated[Path | None, typer.Option(help="Of a network that is named alone.", show_default="trained")]


R = TypeVar("R", bound=Any)  # a row


@dataclass(frozen=True, slots=True)
class Answers:
    """What one form says of every sample: its class, and whether that is right, (N,) each."""

    classes: Array
    right: Array


@dataclass(frozen=True, slots=True)
class Trained:
    """One network, its set, and how to come by forms of it."""

    network: str
    dataset: Dataset
    task: Task
    request: CompressRequest
    runner: Runner

    @classmethod
    def find(cls, network: str, calibration: int, weights: Path | None, runner: Runner) -> Trained:
        """A network of the zoo on its mini set, which is made if need be."""
        base = base_settings(network, "mini", 0)
        dataset = open_folder(base, model_data(DataRequest(base, None), runner).path)
        given = str(weights) if weights else None
        request = CompressRequest(network, weights=given, calibration=calibration, limits=ANY)
        return cls(network, dataset, TASKS.get(subject_of(base).task), request, runner)

    def compressed(self, request: CompressRequest) -> Path:
        """The folder of a bundle made by a request like `request`."""
        return Path(compress(request, self.runner).bundle)

    def calibration(self, full: Path) -> Sequence[Tensors]:
        """What ours was calibrated on, for another's quantizer of the same float graph."""
        run = get_runtime("onnx").load(full).run
        return training_feeds(self.task, self.dataset, {MAIN: run}, self.request.calibration, silent)[MAIN]

    def answers(self, run: Run) -> Answers:
        """What a form says of every evaluation sample."""
        classes, right = [], []
        for batch in self.dataset.eval_batches(BATCH):
            logits = run(self.task.feeds({}, batch)[MAIN])["logits"]
            classes.append(logits.argmax(axis=1))
            right.append(are_top(logits, batch["label"], 1))
        return Answers(np.concatenate(classes), np.concatenate(right))


def measure_each(
    name: str,
    networks: Sequence[str],
    calibration: int,
    weights: Path | None,
    workspace: Path | None,
    measure: Callable[[Sequence[Trained]], list[R]],
    trainings: int = 1,
) -> list[R]:
    """The rows of one network after the other.

    Args:
        name: Of the script, for its log.
        weights: Of the only network.
        measure: Is given a network as each training left it.

    Raises:
        UsageError: Weights for more than one, or for several trainings.
    """
    if weights is not None and len(networks) != 1:
        raise UsageError("--weights are of one network; name it")
    if weights is not None and trainings > 1:
        raise UsageError("--trainings makes weights and --weights gives them; leave one out")
    rows: list[R] = []
    for network in networks:
        with ConsoleReporter() as reporter:
            runner = make_runner(workspace, name, reporter)
            given = [weights] if trainings == 1 else [_train(network, seed, runner) for seed in range(trainings)]
            rows += measure([Trained.find(network, calibration, one, runner) for one in given])
    return rows


def _train(network: str, seed: int, runner: Runner) -> Path:
    return Path(train_model(TrainRequest(network, seed=seed), runner, None)["weights"])


def conclude(rows: list[R], show: Callable[[list[R]], None], as_json: bool) -> None:
    """Print rows, as a table or as JSON.

    Args:
        rows: Dataclasses whose `ok` is False where a claim is short.

    Raises:
        CheckError: One is.
    """
    if as_json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
    else:
        show(rows)
    if any(row.ok is False for row in rows):
        raise CheckError("a claim is short of its limit; see the table")
