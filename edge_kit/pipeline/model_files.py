"""The graphs of one model in several precisions, each in the forms that runtimes read, wherever they lie."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from edge_kit.core.bundle import FULL, Bundle
from edge_kit.core.errors import BadData
from edge_kit.core.tensors import GraphSpec, TensorSpec
from runtimes.isolated import Model
from runtimes.registry import reads
from runtimes.timing import TimingPlan

Find = Callable[[str, str, tuple[str, ...], str], Path]
"""A graph's file by precision, graph, suffixes that its reader takes and what that reader is called."""


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """One model.

    Attributes:
        inputs: By graph.
        precisions: Full precision first where it is there.
        find: Raises `BadData` where there is no such form.
    """

    inputs: Mapping[str, tuple[TensorSpec, ...]]
    precisions: tuple[str, ...]
    find: Find

    @classmethod
    def of_bundle(cls, bundle: Bundle) -> ModelFiles:
        """What a bundle holds."""
        return cls(bundle.manifest.inputs, tuple(bundle.manifest.graphs), bundle.graph_for)

    @classmethod
    def of_folders(cls, specs: Mapping[str, GraphSpec], folders: Mapping[str, Path]) -> ModelFiles:
        """What stages made: a folder of graphs each precision, the Paddle programs beside those of full precision."""

        def find(precision: str, graph: str, suffixes: tuple[str, ...], reader: str) -> Path:
            for suffix in suffixes:
                path = folders[precision] / f"{graph}{suffix}"
                if path.is_file():
                    return path
            raise BadData(f"there is no {precision} graph that {reader} reads ({', '.join(suffixes)})")

        return cls({name: spec.inputs for name, spec in specs.items()}, tuple(folders), find)

    @classmethod
    def of_file(cls, path: Path, spec: GraphSpec, graph: str) -> ModelFiles:
        """A lone graph."""

        def find(precision: str, name: str, suffixes: tuple[str, ...], reader: str) -> Path:
            if path.suffix not in suffixes:
                raise BadData(f"{reader} reads {', '.join(suffixes)}, not {path.name!r}; pass another --runtime")
            return path

        return cls({graph: spec.inputs}, (FULL,), find)

    def model(self, runtime: str, precision: str, workspace: Path, plan: TimingPlan | None = None) -> Model:
        """What a process is to load.

        Args:
            workspace: Where conversions are kept.

        Raises:
            BadData: There is no form of it that the runtime reads.
        """
        suffixes, reader = reads(runtime), f"runtime {runtime!r}"
        graphs = {name: self.find(precision, name, suffixes, reader) for name in self.inputs}
        return Model(runtime, graphs, self.inputs, plan or TimingPlan(), workspace=workspace)
