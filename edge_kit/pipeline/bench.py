"""What `bench` measures: the graphs of bundles, and plain `.onnx` files."""

from __future__ import annotations

from pathlib import Path

from edge_kit.core.bundle import Bundle
from edge_kit.core.errors import BadData, UsageError
from edge_kit.core.workspace import Workspace
from edge_kit.pipeline.bundles import find_bundles
from runtimes.bench import BenchTarget
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


def bench_targets(workspace: Workspace, names: list[str]) -> list[BenchTarget]:
    """Every graph of the named bundles and files; of all bundles where nothing is named.

    Raises:
        UsageError: A name is neither a file nor a bundle.
        BadData: A named `.onnx` file does not exist.
    """
    files = [Path(name) for name in names if name.endswith(".onnx")]
    for path in files:
        if not path.is_file():
            raise BadData(f"model file {str(path)!r} does not exist")
    others = [name for name in names if not name.endswith(".onnx")]
    bundles = find_bundles(workspace, others) if others or not names else []
    targets = [target for bundle in bundles for target in _bundle_targets(bundle)]
    return targets + [BenchTarget(str(path), path) for path in files]


def _bundle_targets(bundle: Bundle) -> list[BenchTarget]:
    """The graphs of a bundle, the precisions of one graph side by side."""
    targets = []
    for graph, inputs in bundle.manifest.inputs.items():
        name = bundle.path.name if len(bundle.manifest.inputs) == 1 else f"{bundle.path.name}/{graph}"
        for precision in bundle.manifest.graphs:
            path = bundle.graph(precision, graph)
            targets.append(BenchTarget(f"{name} {precision}", path, inputs, group=name, precision=precision))
    return targets


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
