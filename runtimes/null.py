"""A runtime that needs no engine and computes nothing: for tests, and what the harness costs."""

from __future__ import annotations

from pathlib import Path

from edge_kit.core.tensors import Array, Tensors, TensorSpec
from runtimes.faults import check_load


class NullSession:
    """Gives its inputs back; takes anything, so it names no input and no output."""

    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[str, ...] = ()

    def run(self, inputs: Tensors) -> dict[str, Array]:
        """Give the inputs back by their names."""
        return dict(inputs)


class NullRuntime:
    """Loads any file without reading it."""

    name = "null"

    def version(self) -> str:
        """Give the version of what it does, which is nothing."""
        return "1"

    def load(self, graph: Path, *, threads: int = 1, device: str = "cpu") -> NullSession:
        """Check that the file is there."""
        check_load(self.name, graph, threads, device, ("cpu",))
        return NullSession()
