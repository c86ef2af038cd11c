"""What every runtime refuses to load, and how it says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_kit.core.errors import BadData, MissingDependency, UsageError
from runtimes.protocol import Converting, Runtime
from runtimes.registry import get_runtime, runtime_names


@pytest.fixture(params=runtime_names())
def runtime(request: pytest.FixtureRequest) -> Runtime:
    try:
        return get_runtime(request.param)
    except MissingDependency as fault:
        pytest.skip(str(fault))


def test_a_missing_file_is_named(runtime: Runtime, tmp_path: Path) -> None:
    with pytest.raises(BadData) as caught:
        runtime.load(tmp_path / "none.onnx")
    assert str(caught.value) == f"no such file: '{tmp_path}/none.onnx'"


def test_a_folder_is_no_graph(runtime: Runtime, tmp_path: Path) -> None:
    with pytest.raises(BadData, match="is not a file$"):
        runtime.load(tmp_path)


def test_an_empty_file_is_no_graph(runtime: Runtime, tmp_path: Path) -> None:
    (tmp_path / "empty.onnx").touch()
    with pytest.raises(BadData, match="is empty$"):
        runtime.load(tmp_path / "empty.onnx")


def test_a_graph_that_is_not_yet_converted_says_so(runtime: Runtime, tmp_path: Path) -> None:
    if not isinstance(runtime, Converting):
        pytest.skip("it reads ONNX itself")
    (tmp_path / "graph.onnx").write_bytes(b"1")
    with pytest.raises(
        BadData, match=r"^runtime '\w+' loads \.\w+ files, and '.*graph\.onnx' is to be converted first$"
    ):
        runtime.load(tmp_path / "graph.onnx")


def test_an_unknown_device_lists_the_known(runtime: Runtime, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"has no device 'tpu'; it has: cpu"):
        runtime.load(tmp_path / "any", device="tpu")


def test_at_least_one_thread_is_needed(runtime: Runtime, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="^threads must be at least 1, got 0$"):
        runtime.load(tmp_path / "any", threads=0)
