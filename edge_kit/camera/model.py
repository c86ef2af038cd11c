"""A bundle on a runtime, as the pipeline runs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edge_kit.core.bundle import Bundle
from edge_kit.core.tensors import Graphs
from runtimes.deploy import load_bundle


@dataclass(frozen=True, slots=True)
class Model:
    """Graphs that are loaded, and what they are.

    Attributes:
        about: `bundle`, `runtime` and `precision`; written on every frame and every line.
        graphs: By name.
    """

    about: Mapping[str, str]
    graphs: Graphs

    @classmethod
    def load(cls, bundle: Bundle, *, runtime: str, precision: str, threads: int = 1) -> Model:
        """Load every graph of one precision.

        Raises:
            BadData: The bundle has no such graphs, or the runtime does not read them.
        """
        sessions = load_bundle(bundle, precision=precision, runtime=runtime, threads=threads)
        graphs = {name: session.run for name, session in sessions.items()}
        return cls({"bundle": bundle.path.name, "runtime": runtime, "precision": precision}, graphs)
