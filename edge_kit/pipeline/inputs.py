"""What a pipeline starts from: data on disk and weights in the package, each with its digest."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edge_kit.core.errors import BadData, UsageError
from edge_kit.core.files import sha256_file
from edge_kit.pipeline.runner import Input, Runner
from edge_kit.pipeline.sources import model_of, open_folder, packaged_weights, setup_of
from edge_kit.tasks.own import OWN


def base_settings(model: str, setup: str, max_bad: int) -> dict[str, Any]:
    """What every stage of a model is given; its file is part of it, as a model may come from anywhere."""
    settings: dict[str, Any] = {"id": model, "setup": setup, "max_bad": max_bad}
    source = inspect.getsourcefile(model_of(settings).build)
    return {**settings, "code": sha256_file(Path(source)) if source else ""}


@dataclass(frozen=True, slots=True)
class DataRequest:
    """Which data.

    Attributes:
        base: Settings that name the model and its setup.
        folder: The user's; None for the mini set of that setup.
        recovery: Whether it is for training again after pruning, which may use a larger mini set.
    """

    base: Mapping[str, Any]
    folder: Path | None
    recovery: bool = False


def model_data(request: DataRequest, runner: Runner) -> Input:
    """The user's folder, looked through, or the mini set, made now or before.

    Raises:
        BadData: The folder is not of the model's format, or too much of it is broken.
    """
    if request.folder is not None:
        if not request.folder.is_dir() and OWN not in request.base:
            raise BadData(f"data folder {str(request.folder)!r} is not a folder")
        folder = request.folder.resolve()
        return Input(folder, open_folder(request.base, folder).digest())
    setup = setup_of(request.base)
    made = (setup.made_for_recovery if request.recovery else None) or setup.made
    if made is None:
        raise UsageError(f"{request.base['id']!r} has no mini set for setup {request.base['setup']!r}; pass --data DIR")
    return runner.run("data", {"format": model_of(request.base).data, **asdict(made)}, {})


def packaged_input(base: Mapping[str, Any]) -> Input | None:
    """The checkpoint that ships for a model on the mini set; None where there is none."""
    name = setup_of(base).weights
    path = packaged_weights(name) if name else None
    return Input(path, sha256_file(path)) if path else None
