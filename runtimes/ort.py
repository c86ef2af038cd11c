"""ONNX Runtime. `gpu` means its CUDA or TensorRT execution provider."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edge_kit.core.errors import BadData, EdgeKitError, UsageError
from edge_kit.core.tensors import Array, Tensors, TensorSpec
from runtimes.faults import check_load, import_engine, one_line
from runtimes.inputs import InputCheck, name_axes

GPU_PROVIDERS = ("CUDAExecutionProvider", "TensorrtExecutionProvider")  # the first that is there
CPU_PROVIDER = "CPUExecutionProvider"

DTYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
    "tensor(bool)": "bool",
    **{f"tensor({kind}{bits})": f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)},
}
"""NumPy's names of the element types; NumPy has none for bfloat16 and the 4- and 8-bit floats."""


class OnnxSession:
    """One ONNX graph in ONNX Runtime."""

    def __init__(self, session: Any) -> None:
        self.inputs = tuple(_spec(node) for node in session.get_inputs())
        self.outputs = tuple(_tensor_name(node) for node in session.get_outputs())
        self._check = InputCheck(self.inputs)
        self._names = list(self.outputs)
        self._session = session

    def run(self, inputs: Tensors) -> dict[str, Array]:
        """Run one batch and wait for it."""
        self._check(inputs)
        try:
            results = self._session.run(self._names, dict(inputs))
        except Exception as fault:  # its exceptions share no base class of their own
            raise BadData(f"onnxruntime cannot run these inputs: {one_line(fault)}") from fault
        return dict(zip(self._names, results, strict=True))


class OnnxRuntime:
    """ONNX Runtime, one call at a time, with all its graph optimizations."""

    name = "onnx"

    def __init__(self) -> None:
        self._ort = import_engine("onnx", "onnxruntime", "onnx")

    def version(self) -> str:
        """Version of onnxruntime."""
        return str(self._ort.__version__)

    def load(self, graph: Path, *, threads: int = 1, device: str = "cpu") -> OnnxSession:
        """Load one ONNX file."""
        check_load(self.name, graph, threads, device, ("cpu", "gpu"))
        provider = self._provider(device)
        try:
            session = self._ort.InferenceSession(str(graph), self._options(threads), providers=[provider])
        except Exception as fault:  # its exceptions share no base class of their own
            raise BadData(f"onnxruntime cannot load {str(graph)!r}: {one_line(fault)}") from fault
        if provider not in session.get_providers():
            # It falls back by itself when the provider's libraries do not load.
            got = ", ".join(session.get_providers())
            raise EdgeKitError(f"onnxruntime could not start {provider} and fell back to {got}")
        return OnnxSession(session)

    def _provider(self, device: str) -> str:
        if device == "cpu":
            return CPU_PROVIDER
        available = self._ort.get_available_providers()
        for provider in GPU_PROVIDERS:
            if provider in available:
                return provider
        raise UsageError(
            f"runtime 'onnx' has no device 'gpu' here; onnxruntime {self.version()} offers: "
            f"{', '.join(available)}; pip install 'edge-kit[gpu]'"
        )

    def _options(self, threads: int) -> Any:
        options = self._ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = self._ort.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = self._ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3  # errors
        # Left alone, workers spin on for 13 ms of processor time after each call (measured, 1.32):
        # they would slow down the model that is timed in turn with this one.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        return options


def _tensor_name(node: Any) -> str:
    if not node.type.startswith("tensor("):
        raise BadData(f"{node.name!r} is a {node.type}; only tensors can go in and out of a graph")
    return str(node.name)


def _spec(node: Any) -> TensorSpec:
    name = _tensor_name(node)
    if node.type not in DTYPES:
        raise BadData(f"input {name!r} is a {node.type}, a type NumPy does not have")
    return TensorSpec(name, name_axes(name, node.shape), DTYPES[node.type])
