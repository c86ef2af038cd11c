"""Runs a bundle on the device: NumPy, one engine and this are enough."""

from __future__ import annotations

from pathlib import Path

from edge_kit.core.bundle import Bundle
from runtimes.conversion import own_form
from runtimes.protocol import Session
from runtimes.registry import get_runtime, reads


def load_bundle(
    bundle: Bundle | Path,
    *,
    precision: str = "int8",
    runtime: str = "onnx",
    threads: int = 1,
    device: str = "cpu",
) -> dict[str, Session]:
    """Load every graph of one precision; by graph name, `main` where there is one.

    Raises:
        BadData: Not a bundle, or it has no graph of that precision that the runtime reads.
    """
    opened = bundle if isinstance(bundle, Bundle) else Bundle(bundle)
    engine = get_runtime(runtime)
    forms, reader = reads(runtime), f"runtime {engine.name!r}"
    graphs = {name: opened.graph_for(precision, name, forms, reader) for name in opened.manifest.inputs}
    return {
        name: engine.load(own_form(engine, graph), threads=threads, device=device) for name, graph in graphs.items()
    }
