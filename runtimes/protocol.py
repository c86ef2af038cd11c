"""What a runtime is: two methods, and a session of one; and what it may offer besides."""

from __future__ import annotations

from dataclasses import dataclass
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
            device: `cpu`, `gpu` (CUDA) or `gpu:tensorrt`; a device that is not there is an error, never replaced.

        Raises:
            BadData: The file is missing, broken or holds what this engine cannot run.
            UsageError: The device is not there.
        """
        ...


@runtime_checkable
class Converting(Protocol):
    """A runtime whose engine reads a form of its own, made from ONNX; `runtimes.conversion` keeps it.

    Attributes:
        form: Name of the file that `convert` writes and `load` is given; only its suffix counts there.
    """

    form: str

    def convert(self, graph: Path, folder: Path) -> None:
        """Write `form`, and what belongs to it, into an empty folder.

        Raises:
            BadData: The graph is broken or holds what this engine cannot run; the message names the operator.
        """
        ...


@dataclass(frozen=True, slots=True)
class OperatorTime:
    """One operator as the engine runs it, after its own fusions.

    Attributes:
        name: Of the operator, as the engine gives it; it mostly holds that of an ONNX node.
        kind: `Conv`, `QLinearConv`, or the engine's own word.
        place: Where it ran: an execution provider, a device or a kernel; empty where the engine does not say.
        precision: `fp32`, `int8`, ...; `conversion` from one to another; empty where the engine does not say.
        ms: Median over the calls.
    """

    name: str
    kind: str
    place: str
    precision: str
    ms: float


@runtime_checkable
class Profiling(Protocol):
    """A runtime that can tell the time of each operator."""

    def profile(
        self, graph: Path, inputs: Tensors, *, threads: int = 1, device: str = "cpu", calls: int = 20
    ) -> tuple[OperatorTime, ...]:
        """Load a graph with the engine's profiler on and run it; in the order of execution.

        Raises:
            BadData: As `load` and `run` do.
        """
        ...
