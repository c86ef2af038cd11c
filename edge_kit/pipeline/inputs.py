"""What a pipeline starts from: data on disk and weights in the package, each with its digest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edge_kit.core.errors import BadData, UsageError
from edge_kit.core.files import sha256_file
from edge_kit.pipeline.runner import Input, Runner
from edge_kit.pipeline.sources import model_of, open_folder, packaged_weights, setup_of


@dataclass(frozen=True, slots=True)
class DataRequest:
    """Which data.

    Attributes:
        base: Settings that name the model and its setup.
        folder: The user's; None for the mini set of that setup.
    """

    base: Mapping[str, Any]
    folder: Path | None


def model_data(request: DataRequest, runner: Runner) -> Input:
    """The user's folder, looked through, or the mini set, made now or before.

    Raises:
        BadData: The folder is not of the model's format, or too much of it is broken.
    """
    if request.folder is not None:
        if not request.folder.is_dir():
            raise BadData(f"data folder {str(request.folder)!r} is not a folder")
        folder = request.folder.resolve()
        return Input(folder, open_folder(request.base, folder).digest())
    made = setup_of(request.base).made
    if made is None:
        raise UsageError(f"{request.base['id']!r} has no mini set for setup {request.base['setup']!r}; pass --data DIR")
    return runner.run("data", {"format": model_of(request.base).data, **asdict(made)}, {})


def packaged_input(base: Mapping[str, Any]) -> Input | None:
    """The checkpoint that ships for a model on the mini set; None where there is none."""
    name = setup_of(base).weights
    path = packaged_weights(name) if name else None
    return Input(path, sha256_file(path)) if path else None
