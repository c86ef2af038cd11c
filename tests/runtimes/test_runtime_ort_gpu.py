"""ONNX Runtime on a GPU that is made up: what it is started with is written down, what it binds is real."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edge_kit.core.errors import UsageError

onnxruntime = pytest.importorskip("onnxruntime")

from runtimes.ort import GpuSession, OnnxRuntime  # noqa: E402  # after the engine is known to be there

WriteGraph = Callable[..., Path]
CUDA, TENSORRT, CPU = "CUDAExecutionProvider", "TensorrtExecutionProvider", "CPUExecutionProvider"
Log = list[tuple[str, Any]]


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Log:
    """What a session on the GPU was asked for: the engine and its bindings are real, and their memory is the host's."""
    log: Log = []
    start, make = onnxruntime.InferenceSession, onnxruntime.OrtValue.ortvalue_from_numpy

    def begin(path: str, options: Any, providers: list[str], provider_options: list[dict[str, str]]) -> object:
        log.append(("providers", dict(zip(providers, provider_options, strict=True))))
        real = start(path, options, providers=[CPU])
        nodes = {CUDA: ["conv", "relu"], CPU: ["shape"]}
        real.get_providers = lambda: [*providers, CPU]
        real.get_provider_graph_assignment_info = lambda: [
            SimpleNamespace(ep_name=name, get_nodes=lambda held=held: held) for name, held in nodes.items()
        ]
        return real

    def value(array: np.ndarray, device: str, number: int) -> Any:
        log.append(("allocate", array.shape))
        return make(array, device, number)

    monkeypatch.setattr("runtimes.ort.GPU_MEMORY", "cpu")
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [TENSORRT, CUDA, CPU])
    monkeypatch.setattr(onnxruntime, "InferenceSession", begin)
    monkeypatch.setattr(onnxruntime.OrtValue, "ortvalue_from_numpy", value)
    return log


@pytest.mark.parametrize(("device", "asked"), [("gpu", [CUDA]), ("gpu:tensorrt", [TENSORRT, CUDA])])
def test_a_device_is_a_list_of_providers(gpu: Log, write_graph: WriteGraph, device: str, asked: list[str]) -> None:
    OnnxRuntime().load(write_graph(), device=device)
    (told,) = (what for name, what in gpu if name == "providers")
    assert list(told) == asked
    assert told[CUDA] == {"use_tf32": "0"}  # float32 in float32, as on every engine


def test_what_pip_installed_of_cuda_is_loaded_first(
    gpu: Log, write_graph: WriteGraph, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: gpu.append(("preload", None)))
    OnnxRuntime().load(write_graph())
    OnnxRuntime().load(write_graph(), device="gpu")
    assert [name for name, _ in gpu if name in ("preload", "providers")] == ["providers", "preload", "providers"]


def test_inputs_keep_their_memory_until_their_shape_changes(gpu: Log, write_graph: WriteGraph) -> None:
    session = OnnxRuntime().load(write_graph(), device="gpu")
    for rows, sign in ((2, 1), (2, -1), (4, 1), (1, 1)):
        x = np.full((3, rows), sign, np.float32).T  # not contiguous
        np.testing.assert_array_equal(session.run({"x": x})["y"], np.maximum(x, 0))
    assert [what for name, what in gpu if name == "allocate"] == [(2, 3), (4, 3), (1, 3)]


def test_outputs_stay_as_they_are_when_it_runs_again(gpu: Log, write_graph: WriteGraph) -> None:
    session = OnnxRuntime().load(write_graph(), device="gpu")
    first = session.run({"x": np.array([[1, 2, 3]], np.float32)})["y"]
    session.run({"x": np.array([[7, 8, 9]], np.float32)})
    assert first.tolist() == [[1, 2, 3]]


def test_nodes_that_fell_back_to_the_cpu_are_counted(gpu: Log, write_graph: WriteGraph) -> None:
    session = OnnxRuntime().load(write_graph(), device="gpu")
    assert isinstance(session, GpuSession)
    assert session.cpu_nodes == 1


def test_on_the_cpu_nothing_is_bound_and_nothing_fell_back(write_graph: WriteGraph) -> None:
    session = OnnxRuntime().load(write_graph())
    assert not isinstance(session, GpuSession)
    assert session.cpu_nodes == 0


def test_tensorrt_that_is_not_built_in_lists_what_is(write_graph: WriteGraph, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, CPU])
    with pytest.raises(UsageError, match=r"no device 'gpu:tensorrt' here; .* offers: CUDAExecutionProvider, CPUExec"):
        OnnxRuntime().load(write_graph(), device="gpu:tensorrt")
