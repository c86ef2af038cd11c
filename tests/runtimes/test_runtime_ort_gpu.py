"""ONNX Runtime on a GPU, which is not here: its module is real, what it starts and binds is written down."""

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


class Value:
    """An array on a device that is the host."""

    def __init__(self, array: np.ndarray, log: Log) -> None:
        self.array, self._log = array.copy(), log

    def shape(self) -> list[int]:
        return list(self.array.shape)

    def update_inplace(self, array: np.ndarray) -> None:
        self._log.append(("update", array.shape))
        self.array[...] = array


class Binding:
    def __init__(self, log: Log) -> None:
        self._log, self.inputs = log, dict[str, Value]()

    def bind_output(self, name: str, device: str) -> None:
        self._log.append(("output", (name, device)))

    def bind_ortvalue_input(self, name: str, value: Value) -> None:
        self._log.append(("input", name))
        self.inputs[name] = value

    def synchronize_inputs(self) -> None:
        self._log.append(("synchronize", "inputs"))

    def synchronize_outputs(self) -> None:
        self._log.append(("synchronize", "outputs"))

    def copy_outputs_to_cpu(self) -> list[np.ndarray]:
        return [np.maximum(self.inputs["x"].array, 0)]


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Log:
    """Everything that a session on the GPU was asked for; the graph itself is read by the real engine."""
    log: Log = []
    start = onnxruntime.InferenceSession

    def begin(path: str, options: Any, providers: list[str], provider_options: list[dict[str, str]]) -> object:
        log.append(("providers", dict(zip(providers, provider_options, strict=True))))
        real = start(path, options, providers=[CPU])
        nodes = {CUDA: ["conv", "relu"], CPU: ["shape"]}
        return SimpleNamespace(
            get_inputs=real.get_inputs,
            get_outputs=real.get_outputs,
            get_providers=lambda: [*providers, CPU],
            io_binding=lambda: Binding(log),
            run_with_iobinding=lambda binding: log.append(("run", sorted(binding.inputs))),
            get_provider_graph_assignment_info=lambda: [
                SimpleNamespace(ep_name=name, get_nodes=lambda held=held: held) for name, held in nodes.items()
            ],
        )

    def value(array: np.ndarray, device: str, number: int) -> Value:
        log.append(("allocate", (array.shape, device, number)))
        return Value(array, log)

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
    for rows, sign in ((2, 1), (2, -1), (4, 1)):
        x = np.full((3, rows), sign, np.float32).T  # not contiguous
        np.testing.assert_array_equal(session.run({"x": x})["y"], np.maximum(x, 0))
    assert [what for what in gpu if what[0] in ("output", "allocate", "update")] == [
        ("output", ("y", "cuda")),
        ("allocate", ((2, 3), "cuda", 0)),
        ("update", (2, 3)),
        ("allocate", ((4, 3), "cuda", 0)),
    ]
    assert [what for what in gpu if what[0] in ("synchronize", "run")][:3] == [
        ("synchronize", "inputs"),
        ("run", ["x"]),
        ("synchronize", "outputs"),
    ]


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
