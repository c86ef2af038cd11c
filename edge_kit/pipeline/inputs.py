"""What a pipeline starts from: data on disk and weights in the package, each with its digest."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from edge_kit.core.errors import BadData, UsageError
from edge_kit.core.files import sha256_file, sha256_tree
from edge_kit.pipeline.runner import Input, Line, Runner
from edge_kit.pipeline.sources import model_of, open_folder, packaged_weights, setup_of
from edge_kit.tasks.own import OWN
from edge_kit.zoo import Setup, ZooEntry

PRETRAINED = "pretrained"
HTTPS = "https://"


def base_settings(model: str, setup: str, max_bad: int) -> dict[str, Any]:
    """What every stage of a model is given; its file is part of it, as a model may come from anywhere."""
    settings: dict[str, Any] = {"id": model, "setup": setup, "max_bad": max_bad}
    return {**settings, "code": code_digest(model_of(settings).build)}


def code_digest(build: Callable[..., Any]) -> str:
    """Changes when the network may change.

    It covers the file that defines `build`, the files of its package that this one takes something from by name, and
    the arguments of a `functools.partial`.
    """
    function: Any = build
    given = ""
    if isinstance(build, partial):
        arguments = (*build.args, *(part for pair in sorted(build.keywords.items()) for part in pair))
        # A function's own text holds its address, which is another in every process.
        function, given = build.func, repr([getattr(one, "__qualname__", one) for one in arguments])
    module = sys.modules[function.__module__]
    taken = {str(getattr(value, "__module__", "")) for value in vars(module).values()}
    beside = f"{module.__package__}."  # "." for a lone file, which no module's name starts with
    names = {module.__name__, *(name for name in taken if name.startswith(beside))}
    digest = hashlib.sha256(given.encode())
    for name in sorted(names):
        source = getattr(sys.modules.get(name), "__file__", None)
        digest.update(sha256_file(Path(source)).encode() if source else b"")
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class DataRequest:
    """Which data.

    Attributes:
        base: Settings that name the model and its setup.
        folder: The user's; None for the mini set of that setup.
        recovery: Whether it is for training again after pruning, which may use a larger mini set.
        most: Samples of either half of a mini set, at most; 0 for all.
    """

    base: Mapping[str, Any]
    folder: Path | None
    recovery: bool = False
    most: int = 0


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
    if request.most:
        made = replace(made, train=min(made.train, request.most), evaluation=min(made.evaluation, request.most))
    return runner.run("data", {"format": model_of(request.base).data, **asdict(made)}, {})


def check_prunable(entry: ZooEntry, setup: Setup) -> None:
    """Refuse to cut filters of a network that is not traced by them.

    Raises:
        UsageError: It takes whole numbers, such as ids of words.
    """
    for spec in entry.graphs(setup.preprocess).values():
        for tensor in spec.inputs:
            if not tensor.dtype.startswith("float"):
                raise UsageError(f"{entry.id!r} takes {tensor.dtype} ({tensor.name!r}); leave out --prune")


def starting_weights(base: Mapping[str, Any]) -> dict[str, Input]:
    """What training starts from, as an input of its stage: `weights` of the network or of a `part`; else nothing."""
    given = _packaged(base)
    return {"part" if setup_of(base).part else "weights": given} if given else {}


def _packaged(base: Mapping[str, Any]) -> Input | None:
    """The checkpoint that ships for a model in its setup, with us or another package; None where there is none."""
    name = setup_of(base).weights
    path = packaged_weights(name) if name else None
    return Input(path, sha256_tree(path)) if path else None


def take_weights(source: str, base: Mapping[str, Any], data: Input, runner: Runner) -> Input:
    """Weights as they are: a file's, or those that were released or ship for this data set.

    Args:
        source: A file, or `pretrained`.

    Raises:
        BadData: There are none, or they do not fit.
    """
    if source != PRETRAINED:
        path = Path(source)
        if not path.exists():
            raise BadData(f"weights file {source!r} does not exist")
        return runner.run("weights", base, {"data": data, "weights": Input(path.resolve(), sha256_tree(path))})
    given = starting_weights(base).get("weights") or _released(base, runner)
    if given is None:
        raise BadData(f"no pretrained weights of {base['id']!r} for this data set; pass --weights FILE")
    return runner.run("weights", base, {"data": data, "weights": given})


def mini_weights(line: Line) -> Input:
    """Weights for the mini set: finished ones as they ship, else trained by its recipe."""
    setup = setup_of(line.base)
    if setup.finished:
        return take_weights(PRETRAINED, line.base, line.data, line.runner)
    return line.run("train", {"recipe": asdict(setup.recipe)}, starting_weights(line.base))


def _released(base: Mapping[str, Any], runner: Runner) -> Input | None:
    url = setup_of(base).weights
    if not url or not url.startswith(HTTPS):
        return None
    made = runner.run("download", {"url": url}, {})
    return Input(made.path / "released.pdparams", made.digest)
