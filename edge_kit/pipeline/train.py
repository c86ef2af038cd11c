"""Training alone: for a user's own data, and to make the weights that ship in the package."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edge_kit.core.errors import UsageError
from edge_kit.core.files import read_json
from edge_kit.core.weights import load_weights, read_metadata, save_weights
from edge_kit.pipeline.inputs import DataRequest, base_settings, model_data, starting_weights, take_weights
from edge_kit.pipeline.networks import WEIGHTS
from edge_kit.pipeline.runner import Input, Runner
from edge_kit.pipeline.sources import model_of, setup_of
from edge_kit.train.compute import Compute, Devices
from edge_kit.train.recipe import Recipe


@dataclass(frozen=True, slots=True)
class TrainRequest:
    """What the user asked for.

    Attributes:
        data: Folder in the model's published format; None for the mini set.
        from_scratch: Random weights and the long schedule instead of the packaged weights and the short one.
        weights: File of weights to go on from, or `pretrained`; on the mini set by the long schedule, if there is one.
        epochs: Instead of the recipe's; likewise `batch`, `learning_rate` and `seed`.
        preview: Steps between two previews; 0 for none.
        logs: Folder for curves that TensorBoard shows.
    """

    id: str
    data: Path | None = None
    from_scratch: bool = False
    weights: str | None = None
    max_bad: int = 0
    epochs: int | None = None
    batch: int | None = None
    learning_rate: float | None = None
    seed: int | None = None
    compute: Compute = Compute()
    devices: Devices = Devices()
    preview: int = 0
    logs: Path | None = None

    def __post_init__(self) -> None:
        if self.from_scratch and self.weights:
            raise UsageError("--from-scratch starts from random weights and --weights from given ones; leave one out")

    @property
    def setup(self) -> str:
        """How the model is fed and trained, by the name of its setup."""
        if self.data:
            return "published"
        goes_on = self.weights is not None and model_of({"id": self.id}).pretraining is not None
        return "pretraining" if self.from_scratch or goes_on else "mini"


def train_model(request: TrainRequest, runner: Runner, out: Path | None, *, half: bool = False) -> dict[str, Any]:
    """Train, score, and copy the weights to `out` where one is given, in half precision if asked."""
    base = base_settings(request.id, request.setup, request.max_bad)
    recipe = _recipe(setup_of(base).recipe, request)
    request.compute.pieces(recipe.batch_size, request.devices.processes)  # said before data are made
    data = model_data(DataRequest(base, request.data), runner)
    inputs = {"data": data, **_first_weights(request, base, data, runner)}
    settings = {**base, "recipe": asdict(recipe), **_means(request)}
    trained = runner.run("train", settings, inputs, aside=_aside(request, runner))
    scored = runner.run("score", base, {"data": data, "weights": trained})
    if out is not None:
        _copy_weights(trained.path / WEIGHTS, out, half)
    report = read_json(trained.path / "report.json")
    weights = str(out or trained.path / WEIGHTS)
    return {
        "id": request.id,
        **report,
        "metrics": read_json(scored.path / "metrics.json"),
        "weights": weights,
    }


def _first_weights(request: TrainRequest, base: Mapping[str, Any], data: Input, runner: Runner) -> dict[str, Input]:
    if request.weights:
        return {"weights": take_weights(request.weights, base, data, runner)}
    return starting_weights(base) if request.setup == "mini" else {}


def _recipe(recipe: Recipe, request: TrainRequest) -> Recipe:
    asked: dict[str, Any] = {
        "epochs": request.epochs,
        "batch_size": request.batch,
        "learning_rate": request.learning_rate,
        "seed": request.seed,
    }
    return replace(recipe, **{name: value for name, value in asked.items() if value is not None})


def _means(request: TrainRequest) -> dict[str, Any]:
    """What rounding depends on besides the recipe; nothing where it is the usual, so that `compress` finds the same."""
    usual = TrainRequest("")
    means = {} if request.compute == usual.compute else {"compute": asdict(request.compute)}
    return means if request.devices == usual.devices else {**means, "devices": request.devices.as_dict()}


def _aside(request: TrainRequest, runner: Runner) -> dict[str, Any]:
    if request.preview < 0:
        raise UsageError(f"--preview takes a number of steps, at least 1, got {request.preview}")
    aside: dict[str, Any] = {}
    if request.preview:
        place = runner.workspace.previews_dir / f"{request.id}.safetensors"
        aside |= {"every": request.preview, "preview": str(place)}
    if request.logs is not None:
        aside["logs"] = str(request.logs.absolute())
    return aside


def _copy_weights(source: Path, out: Path, half: bool) -> None:
    weights = load_weights(source)
    if half:
        weights = {n: w.astype(np.float16) if w.dtype == np.float32 else w for n, w in weights.items()}
    save_weights(out, weights, read_metadata(source))
