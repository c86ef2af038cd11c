"""What `bench` measures: bundles, model files, and zoo models that nobody has trained yet."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from edge_kit.core.bundle import FULL, MANIFEST, PADDLE_WEIGHTS, Bundle
from edge_kit.core.errors import BadData, EdgeKitError, UsageError, unknown_name
from edge_kit.core.files import sha256_file
from edge_kit.core.tensors import MAIN, Reader
from edge_kit.pipeline.inputs import base_settings
from edge_kit.pipeline.runner import Input, Runner
from edge_kit.pipeline.sentinel import read_pack
from runtimes.bench import BenchReport, BenchTarget, Reading, Skipped
from runtimes.endurance import Camera, Curve
from runtimes.registry import ONNX, installed_runtimes, reads
from runtimes.timing import TimingPlan

ALL, FIRST = "all", "onnx"
PADDLE_PROGRAMS = (".pdmodel", ".json")


@dataclass(frozen=True, slots=True)
class Matrix:
    """What to cross models with.

    Attributes:
        runtimes: Names of engines.
        threads: Numbers of threads.
    """

    runtimes: tuple[str, ...] = ("onnx",)
    threads: tuple[int, ...] = (1,)


def plan_of(
    *, warmup: int, repeats: int, batch: int, device: str, seconds: float = 0.0, cpus: tuple[int, ...] = ()
) -> TimingPlan:
    """A timing plan from what the user typed.

    Raises:
        UsageError: A number is out of range.
    """
    try:
        return TimingPlan(warmup, repeats, 1, batch, device, seconds, cpus)
    except ValueError as error:
        raise UsageError(str(error)) from None


def runtimes_of(text: str) -> tuple[str, ...]:
    """`onnx`, `onnx,ncnn` or `all`: those that are installed, without the one that computes nothing.

    The first is the one that the others are compared with: ONNX Runtime, where it is there.
    """
    if text == ALL:
        names = [runtime.name for runtime in installed_runtimes() if runtime.name != "null"]
        return tuple(sorted(names, key=lambda name: (name != FIRST, name)))
    return tuple(dict.fromkeys(name.strip() for name in text.split(",")))


def numbers_of(option: str, text: str, smallest: int) -> tuple[int, ...]:
    """`1,2,4` -> numbers, without repetition.

    Raises:
        UsageError: A part is not a number, or too small.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and int(part) >= smallest for part in parts):
        raise UsageError(f"{option} takes numbers from {smallest} on, as in {smallest},{smallest + 1}; got {text!r}")
    return tuple(dict.fromkeys(int(part) for part in parts))


def check_endurance(minutes: float, fps: float) -> None:
    """Refuse times and rates that make no sense.

    Raises:
        UsageError: One is negative, or not a number.
    """
    for option, value in (("--minutes", minutes), ("--fps", fps)):
        if not 0 <= value < math.inf:
            raise UsageError(f"{option} must not be negative, got {value}")


def refuse_empty(report: BenchReport) -> None:
    """A bench in which nothing ran has failed.

    Raises:
        EdgeKitError: Names the first reason.
    """
    if not report.rows:
        first = report.skipped[0]
        raise EdgeKitError(f"no runtime could run a model; {first.runtime} on {first.model}: {first.reason}")


def as_document(report: BenchReport, curves: Sequence[Curve], cameras: Sequence[Camera]) -> dict[str, Any]:
    """For `--json`."""
    longer = {"sustained": [asdict(one) for one in curves], "frames": [asdict(one) for one in cameras]}
    return {**report.as_dict(), **longer}


@dataclass(frozen=True, slots=True)
class _Model:
    """A model in the forms that it has, by suffix; each form of one file and what belongs to it."""

    target: BenchTarget
    forms: dict[str, dict[str, Path]]

    def on(self, runtime: str, threads: int) -> BenchTarget | Skipped:
        for suffix in reads(runtime):
            graphs = self.forms.get(suffix)
            if graphs:
                files = tuple(beside for path in graphs.values() for beside in _weights(path))
                return replace(self.target, graphs=graphs, files=files, runtime=runtime, threads=threads)
        reason = f"{runtime} reads {', '.join(reads(runtime))}; of {self.target.model} there is {', '.join(self.forms)}"
        return Skipped(self.target.model, runtime, reason)


def bench_targets(
    names: Sequence[str],
    matrix: Matrix,
    runner: Callable[[], Runner],
    workspace_bundles: Callable[[], list[Bundle]],
    reader_of: Callable[[Bundle], Reader | None] = lambda bundle: None,
) -> tuple[list[BenchTarget], list[Skipped]]:
    """Every named model on every runtime that reads it.

    Args:
        runner: Makes what must be made first; not called where nothing must be.
        workspace_bundles: All bundles there are.
        reader_of: What reads the answers of a bundle.

    Raises:
        UsageError: A name is neither a file, a bundle nor a zoo model.
        BadData: A named file does not exist.
    """
    models = [model for name in names for model in _models(name, runner, workspace_bundles, reader_of)]
    crossed = [model.on(runtime, n) for model in models for runtime in matrix.runtimes for n in matrix.threads]
    skipped = list(dict.fromkeys(one for one in crossed if isinstance(one, Skipped)))
    targets = [one for one in crossed if isinstance(one, BenchTarget)]
    labels = [target.label for target in targets]
    for target in targets:
        if labels.count(target.label) > 1:
            raise UsageError(f"{target.model!r} is named twice")
    return targets, skipped


def _models(
    name: str,
    runner: Callable[[], Runner],
    workspace_bundles: Callable[[], list[Bundle]],
    reader_of: Callable[[Bundle], Reader | None],
) -> list[_Model]:
    path = Path(name)
    if path.suffix == ONNX:
        return [_Model(BenchTarget.of_graph(name, _existing(path)), {ONNX: {MAIN: path}})]
    if path.suffix in PADDLE_PROGRAMS:
        return [_of_paddle(name, _existing(path), runner)]
    if (path / MANIFEST).is_file():
        return _of_bundle(Bundle(path), reader_of)
    bundles = {bundle.path.name: bundle for bundle in workspace_bundles()}
    if name in bundles:
        return _of_bundle(bundles[name], reader_of)
    return [_untrained(name, list(bundles), runner)]


def _of_bundle(bundle: Bundle, reader_of: Callable[[Bundle], Reader | None]) -> list[_Model]:
    """The graphs of a bundle, the precisions of one graph side by side."""
    models, reading = [], _reading(bundle, reader_of)
    for graph, inputs in bundle.manifest.inputs.items():
        name = bundle.path.name if len(bundle.manifest.inputs) == 1 else f"{bundle.path.name}/{graph}"
        for precision in bundle.manifest.graphs:
            path = bundle.graph(precision, graph)
            target = BenchTarget(
                f"{name} {precision}",
                {graph: path},
                {graph: inputs},
                group=name,
                precision=precision,
                preprocess=bundle.manifest.preprocess,
                reading=reading,
            )
            forms = {ONNX: {graph: path}}
            if precision == FULL and graph in bundle.manifest.paddle:
                forms[PADDLE_PROGRAMS[0]] = {graph: bundle.paddle_graph(graph)}
            models.append(_Model(target, forms))
    return models


def _reading(bundle: Bundle, reader_of: Callable[[Bundle], Reader | None]) -> Reading | None:
    """How the answer to the first sample of the sentinel's pack is read; several graphs are timed one by one."""
    if list(bundle.manifest.inputs) != [MAIN]:
        return None
    try:
        reader, sample = reader_of(bundle), next(read_pack(bundle).feeds(MAIN))
    except BadData:  # no pack, as in bundles of models without samples
        return None
    return None if reader is None else Reading(reader, sample)


def _of_paddle(name: str, program: Path, runner: Callable[[], Runner]) -> _Model:
    """The user's Paddle inference model, and the ONNX that the old format converts to."""
    weights = program.with_suffix(PADDLE_WEIGHTS)
    forms = {program.suffix: {MAIN: program}}
    if program.suffix == PADDLE_PROGRAMS[0]:
        inputs = {"program": _input(program), "weights": _input(_existing(weights))}
        forms[ONNX] = {MAIN: runner().run("adopt", {}, inputs).path / "main.onnx"}
    return _Model(BenchTarget.of_graph(name, program, group=name), forms)


def _untrained(name: str, bundles: list[str], runner: Callable[[], Runner]) -> _Model:
    """A zoo model with random weights at its published size: its speed is that of the trained one."""
    from edge_kit.zoo import MODELS, load_all

    load_all()
    if name not in MODELS:
        raise unknown_name("bundle, file or zoo model", name, [*bundles, *MODELS.names()])
    made = runner().run("untrained", base_settings(name, "published", 0), {}).path
    graphs = sorted(path.stem for path in made.glob(f"*{ONNX}"))
    forms = {suffix: {graph: made / f"{graph}{suffix}" for graph in graphs} for suffix in (ONNX, PADDLE_PROGRAMS[0])}
    label = f"{name} fp32 (random weights)"
    return _Model(BenchTarget(label, forms[ONNX], group=name, precision="fp32"), forms)


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise BadData(f"model file {str(path)!r} does not exist")
    return path


def _input(path: Path) -> Input:
    return Input(path.resolve(), sha256_file(path))


def _weights(graph: Path) -> tuple[Path, ...]:
    """What a Paddle graph keeps beside it."""
    beside = graph.with_suffix(PADDLE_WEIGHTS)
    return (beside,) if graph.suffix != ONNX and beside.is_file() else ()


def parse_shapes(texts: list[str]) -> dict[str, tuple[int, ...]]:
    """`NAME=1,3,224,224` -> shape by input name.

    Raises:
        UsageError: A text is not of that form.
    """
    shapes = {}
    for text in texts:
        name, _, axes = text.partition("=")
        sizes = axes.split(",")
        if not name or not all(size.isascii() and size.isdigit() and int(size) > 0 for size in sizes):
            raise UsageError(f"--shape takes NAME=1,3,224,224, got {text!r}")
        shapes[name] = tuple(int(size) for size in sizes)
    return shapes
