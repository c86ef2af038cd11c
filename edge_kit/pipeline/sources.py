"""Where a stage's model, data and weights come from, by the names in its settings."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from edge_kit.core.errors import EdgeKitError
from edge_kit.core.files import installed_folder
from edge_kit.core.progress import Progress
from edge_kit.data import FORMATS, Dataset, OpenOptions
from edge_kit.pipeline.job import Context
from edge_kit.pipeline.subject import subject_of
from edge_kit.zoo import MODELS, Setup, ZooEntry, load_all

CHUNK = 1 << 20
TIMEOUT_SECONDS = 30
PACKAGE = "package:"


def model_of(settings: Mapping[str, Any]) -> ZooEntry:
    """The zoo entry that the settings name by `id`."""
    load_all()
    return MODELS.get(settings["id"])


def setup_of(settings: Mapping[str, Any]) -> Setup:
    """How that model is fed and trained, by the settings' `setup`."""
    return model_of(settings).setup(settings["setup"])


def open_dataset(context: Context, *, pixels: bool = False) -> Dataset:
    """The data set among a stage's inputs; see `open_folder`."""
    return open_folder(context.settings, context.inputs["data"], pixels=pixels)


def open_folder(settings: Mapping[str, Any], folder: Path, *, pixels: bool = False) -> Dataset:
    """Open a data set of the model's format.

    Args:
        pixels: Whether batches hold pictures as a graph that normalises by itself takes them.

    Raises:
        BadData: The folder is not of that format.
    """
    subject = subject_of(settings)
    options = OpenOptions(subject.data, subject.published, settings["max_bad"], subject.augment)
    preprocess = subject.preprocess.without_normalise() if pixels else subject.preprocess
    return FORMATS.get(subject.format).open(folder, preprocess, options)


def packaged_weights(name: str) -> Path | None:
    """A checkpoint that ships in the package, or in another one that is installed; None where it is not there."""
    if name.startswith(PACKAGE):
        package, _, inside = name.removeprefix(PACKAGE).partition("/")
        folder = installed_folder(package)
        path = folder / inside if folder else Path(inside)
        return path if folder and path.exists() else None
    path = Path(str(files("edge_kit.zoo"))) / "weights" / name
    return path if path.is_file() else None


def download_file(url: str, out: Path, progress: Progress) -> None:
    """Fetch one https file.

    Raises:
        EdgeKitError: It cannot be had.
    """
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer, out.open("wb") as file:
            total = int(answer.headers.get("Content-Length") or 0)
            while block := answer.read(CHUNK):
                file.write(block)
                progress(file.tell(), max(total, file.tell()), "bytes")
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", error)
        raise EdgeKitError(f"cannot download {url} ({reason}); download it elsewhere and pass --weights FILE") from None
