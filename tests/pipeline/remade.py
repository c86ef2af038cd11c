"""A bundle made again with one thing changed, all its records in order: what a regression looks like."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from edge_kit.core.bundle import SEAL, SENTINEL, Bundle, write_bundle
from edge_kit.core.tensors import Array


def remade(bundle: Bundle, folder: Path, graphs: Mapping[str, Path] | None = None, **manifest: Any) -> Bundle:
    """Write it to a folder of the same name below `folder`.

    Args:
        graphs: Other files by precision.
    """
    out = folder / bundle.path.name
    out.mkdir(parents=True)
    files = {
        precision: {name: (graphs or {}).get(precision, bundle.graph(precision, name)) for name in named}
        for precision, named in bundle.manifest.graphs.items()
    }
    paddle = {name: bundle.paddle_graph(name) for name in bundle.manifest.paddle}
    receipt = {key: value for key, value in bundle.receipt().items() if key not in ("bundle", SEAL)}
    write_bundle(out, replace(bundle.manifest, **manifest), files, receipt, paddle, bundle.path / SENTINEL)
    return Bundle(out)


def with_weights(graph: Path, out: Path, change: Callable[[int, Array], Array]) -> Path:
    """A copy of an INT8 graph with other weights; `change` gets the place of each among them, and its values."""
    model = onnx.load(str(graph))
    held = [(one, numpy_helper.to_array(one)) for one in model.graph.initializer]
    weights = [(one, value) for one, value in held if value.dtype == np.int8 and value.ndim >= 2]
    for i, (one, value) in enumerate(weights):
        changed = np.clip(np.rint(change(i, value.astype(np.float64))), -128, 127).astype(np.int8)
        one.CopyFrom(numpy_helper.from_array(changed, one.name))
    out.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(out))
    return out
