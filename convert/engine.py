"""Runs graphs, from a file or made on the fly, on any runtime that takes ONNX."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx
from onnx import ModelProto

from edge_kit.core.tensors import Array, Tensors
from runtimes.protocol import Converting, Runtime


def run_file(runtime: Runtime, graph: Path, batches: Sequence[Tensors]) -> list[dict[str, Array]]:
    """Load a graph and run it on some batches; what the engine converts it to is not kept.

    Args:
        batches: By name; of each the graph takes what it reads.

    Raises:
        BadData: The engine cannot run it.
        UsageError: A batch lacks an input.
    """
    with TemporaryDirectory() as folder:
        if isinstance(runtime, Converting):
            converter: Converting = runtime
            converter.convert(graph, Path(folder))
            session = runtime.load(Path(folder) / converter.form)
        else:
            session = runtime.load(graph)
        names = {spec.name for spec in session.inputs}
        return [session.run({name: value for name, value in batch.items() if name in names}) for batch in batches]


def run_model(runtime: Runtime, model: ModelProto, batches: Sequence[Tensors]) -> list[dict[str, Array]]:
    """Load a graph in memory and run it on some batches; see `run_file`."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "graph.onnx"
        onnx.save(model, str(path))
        return run_file(runtime, path, batches)
