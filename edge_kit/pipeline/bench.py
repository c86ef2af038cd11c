"""What `bench` measures: the graphs of bundles, and plain model files."""

from __future__ import annotations

from pathlib import Path

from edge_kit.core.bundle import FULL, PADDLE_WEIGHTS, Bundle
from edge_kit.core.errors import BadData, UsageError
from edge_kit.core.workspace import Workspace
from edge_kit.pipeline.bundles import find_bundles
from runtimes.bench import BenchTarget
from runtimes.protocol import Runtime
from runtimes.registry import ONNX, reads
from runtimes.timing import TimingPlan


def plan_of(*, warmup: int, repeats: int, threads: int, batch: int, device: str) -> TimingPlan:
    """A timing plan from what the user typed.

    Raises:
        UsageError: A number is out of range.
    """
    try:
        return TimingPlan(warmup, repeats, threads, batch, device)
    except ValueError as error:
        raise UsageError(str(error)) from None


def bench_targets(workspace: Workspace, names: list[str], runtime: Runtime) -> list[BenchTarget]:
    """Every graph of the named bundles and files that the runtime reads; of all bundles where nothing is named.

    Raises:
        UsageError: A name is neither a file nor a bundle.
        BadData: A named model file does not exist, or a bundle holds nothing that the runtime reads.
    """
    suffixes = (ONNX, *reads(runtime))
    files = [Path(name) for name in names if name.endswith(suffixes)]
    for path in files:
        if not path.is_file():
            raise BadData(f"model file {str(path)!r} does not exist")
    others = [name for name in names if not name.endswith(suffixes)]
    bundles = find_bundles(workspace, others) if others or not names else []
    targets = [target for bundle in bundles for target in _bundle_targets(bundle, runtime)]
    return targets + [BenchTarget(str(path), path, files=_weights(path)) for path in files]


def _bundle_targets(bundle: Bundle, runtime: Runtime) -> list[BenchTarget]:
    """The graphs of a bundle, the precisions of one graph side by side; those alone that the runtime reads."""
    targets = []
    forms, reader = reads(runtime), f"runtime {runtime.name!r}"
    for graph, inputs in bundle.manifest.inputs.items():
        name = bundle.path.name if len(bundle.manifest.inputs) == 1 else f"{bundle.path.name}/{graph}"
        for precision in bundle.manifest.graphs:
            try:
                path = bundle.graph_for(precision, graph, forms, reader)
            except BadData:
                if precision == FULL:
                    raise
                continue  # there is no INT8 in the form that Paddle Inference reads
            model = f"{name} {precision}"
            targets.append(BenchTarget(model, path, inputs, _weights(path), group=name, precision=precision))
    return targets


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
