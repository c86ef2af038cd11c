"""Training alone: for a user's own data, and to make the weights that ship in the package."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge_kit.core.files import read_json
from edge_kit.core.weights import load_weights, read_metadata, save_weights
from edge_kit.pipeline.inputs import DataRequest, base_settings, model_data, packaged_input
from edge_kit.pipeline.networks import WEIGHTS
from edge_kit.pipeline.runner import Runner
from edge_kit.pipeline.sources import setup_of


@dataclass(frozen=True, slots=True)
class TrainRequest:
    """What the user asked for.

    Attributes:
        data: Folder in the model's published format; None for the mini set.
        from_scratch: Random weights and the long schedule instead of the packaged weights and the short one.
    """

    id: str
    data: Path | None = None
    from_scratch: bool = False
    max_bad: int = 0


def train_model(request: TrainRequest, runner: Runner, out: Path | None, *, half: bool = False) -> dict[str, Any]:
    """Train, score, and copy the weights to `out` where one is given, in half precision if asked."""
    name = "published" if request.data else "pretraining" if request.from_scratch else "mini"
    base = base_settings(request.id, name, request.max_bad)
    data = model_data(DataRequest(base, request.data), runner)
    start = packaged_input(base) if name == "mini" else None
    inputs = {"data": data, **({"weights": start} if start else {})}
    trained = runner.run("train", {**base, "recipe": asdict(setup_of(base).recipe)}, inputs)
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


def _copy_weights(source: Path, out: Path, half: bool) -> None:
    weights = load_weights(source)
    if half:
        weights = {n: w.astype(np.float16) if w.dtype == np.float32 else w for n, w in weights.items()}
    save_weights(out, weights, read_metadata(source))
