"""What a runtime is: two methods, and a session of one."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, runtime_checkable

from edge_kit.core.tensors import Array, Tensors, TensorSpec


class Session(Protocol):
    """One graph, loaded and ready to run."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What the graph takes; the axis the caller chooses first is called `N`."""
        ...

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of what the graph gives, in its order."""
        ...

    def run(self, inputs: Tensors) -> dict[str, Array]:
        """Run one batch and wait for it.

        Args:
            inputs: By input name, on the host; all inputs of the graph and no others.

        Raises:
            UsageError: A name is missing or unknown.
            BadData: An array does not fit the graph.
        """
        ...


@runtime_checkable
class Runtime(Protocol):
    """One engine. It is imported when the class is instantiated, and only then."""

    @property
    def name(self) -> str:
        """The name it is registered by."""
        ...

    def version(self) -> str:
        """Version of the engine, for the record beside every number."""
        ...

    def load(self, graph: Path, *, threads: int = 1, device: str = "cpu") -> Session:
        """Load one graph.

        Args:
            threads: That may work on one call.
            device: `cpu` or `gpu`; a device that is not there is an error, never replaced.

        Raises:
            BadData: The file is missing, broken or holds what this engine cannot run.
            UsageError: The device is not there.
        """
        ...
