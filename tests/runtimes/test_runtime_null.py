"""The runtime that computes nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_kit.core.errors import UsageError
from runtimes.null import NullRuntime


def test_it_gives_its_inputs_back(tmp_path: Path) -> None:
    graph = tmp_path / "graph"
    graph.write_text("anything")
    session = NullRuntime().load(graph, threads=3)
    x = np.arange(6.0).reshape(2, 3)
    outputs = session.run({"x": x})
    assert list(outputs) == ["x"]
    np.testing.assert_array_equal(outputs["x"], x)
    assert session.inputs == ()


def test_it_does_not_pretend_to_be_on_a_gpu(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="^runtime 'null' has no device 'gpu'; it has: cpu$"):
        NullRuntime().load(tmp_path, device="gpu")
