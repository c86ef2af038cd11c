"""Small ONNX graphs and made-up distributions for the tests of the runtimes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

Axes = Sequence[int | str | None] | None
WriteGraph = Callable[..., Path]
Install = Callable[..., Path]


@pytest.fixture
def write_graph(tmp_path: Path) -> WriteGraph:
    """Write `y = relu(x)` for an `x` of the given axes, and give its path."""

    def write(name: str = "relu.onnx", axes: Axes = ("batch", 3), dtype: int = TensorProto.FLOAT) -> Path:
        values = [helper.make_tensor_value_info(label, dtype, axes) for label in ("x", "y")]
        node = helper.make_node("Relu", ["x"], ["y"])
        return save_graph(helper.make_graph([node], "g", values[:1], values[1:]), tmp_path / name)

    return write


def save_graph(graph: onnx.GraphProto, path: Path) -> Path:
    """Write a graph as a model that any onnxruntime since 2022 reads."""
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture
def save(tmp_path: Path) -> Callable[[onnx.GraphProto], Path]:
    """Write any graph, and give its path."""
    return lambda graph: save_graph(graph, tmp_path / "graph.onnx")


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Put a distribution on the path: a module, and an entry point that names a runtime in it."""

    def put(distribution: str, runtime: str, source: str, target: str = "Engine") -> Path:
        site = tmp_path / f"site-{distribution}"
        module = f"{distribution.replace('-', '_')}_module"
        info = site / f"{distribution.replace('-', '_')}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[edge_kit.runtimes]\n{runtime} = {module}:{target}\n")
        (site / f"{module}.py").write_text(source)
        monkeypatch.syspath_prepend(str(site))
        return site

    return put


@pytest.fixture
def engine_source() -> Callable[..., str]:
    """Source of a runtime module: the null runtime with a body of its own for `load`."""

    def source(name: str, load: str = "pass", head: str = "") -> str:
        return f"""
import os, sys
from runtimes.null import NullSession
{head}

class Engine:
    name = {name!r}

    def version(self):
        return "7.1"

    def load(self, graph, *, threads=1, device="cpu"):
        {load}
        return NullSession()
"""

    return source
