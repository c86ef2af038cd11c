"""Graphs in the form that an engine reads, made on first use and kept in the workspace."""

from __future__ import annotations

import sys
from pathlib import Path

from edge_kit.core.files import sha256_file
from edge_kit.core.workspace import Workspace, stage_key
from runtimes.protocol import Converting, Runtime


def own_form(runtime: Runtime, graph: Path, workspace: Workspace | None = None) -> Path:
    """Give the file that the runtime loads for a graph: the graph itself, or what it converts it to.

    Args:
        workspace: Where conversions are kept; the user's own by default.

    Raises:
        BadData: The graph is missing or broken, or the engine cannot run it.
    """
    if not isinstance(runtime, Converting) or graph.suffix == Path(runtime.form).suffix or not graph.is_file():
        return graph  # a missing file is what `load` has the message for
    converter: Converting = runtime
    key = stage_key(
        "engine",
        {"runtime": runtime.name, "form": runtime.form},
        {"graph": sha256_file(graph)},
        {runtime.name: runtime.version(), **_code(runtime)},
    )
    store = workspace or Workspace.open()
    made = store.produce("engine", key, lambda folder, scratch: converter.convert(graph, folder))
    return made.path / runtime.form


def _code(runtime: Runtime) -> dict[str, str]:
    """Digests of the code that converts: all of this package for a runtime of ours, else its own module."""
    source = getattr(sys.modules.get(type(runtime).__module__), "__file__", None)
    if source is None:
        return {}
    module, ours = Path(source), Path(__file__).parent
    parts = sorted(ours.glob("*.py")) if module.parent == ours else [module]
    return {path.name: sha256_file(path) for path in parts}
