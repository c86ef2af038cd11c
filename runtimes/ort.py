"""ONNX Runtime. `gpu` means its CUDA or TensorRT execution provider."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from edge_kit.core.errors import BadData, EdgeKitError, MissingDependency, UsageError
from edge_kit.core.tensors import Array, Tensors, TensorSpec
from runtimes.faults import check_load, one_line
from runtimes.inputs import InputCheck

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
        try:
            # It ships no types; imported this way it is Any, with or without a mypy override.
            self._ort: Any = import_module("onnxruntime")
        except ModuleNotFoundError:
            raise MissingDependency("runtime 'onnx'", "onnxruntime", "onnx") from None
        except ImportError as fault:
            raise EdgeKitError(f"onnxruntime is installed but broken: {one_line(fault)}") from fault

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

    def fuse(self, graph: Path, out: Path) -> None:
        """Write the graph as it is after the fusions that do not depend on the processor.

        Raises:
            BadData: The file is missing, broken or holds what this engine cannot run.
        """
        check_load(self.name, graph, 1, "cpu", ("cpu",))
        options = self._options(1)
        options.graph_optimization_level = self._ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.optimized_model_filepath = str(out)
        # As on ARM: else S8 activations are made U8 on x86, and only in part.
        options.add_session_config_entry("session.qdqisint8allowed", "1")
        try:
            self._ort.InferenceSession(str(graph), options, providers=[CPU_PROVIDER])
        except Exception as fault:  # its exceptions share no base class of their own
            raise BadData(f"onnxruntime cannot load {str(graph)!r}: {one_line(fault)}") from fault

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
    return TensorSpec(name, _axes(name, node.shape), DTYPES[node.type])


def _axes(name: str, shape: list[int | str | None]) -> tuple[int | str, ...]:
    """Name the open axes: `N` the first, others as in the graph or after input and place."""
    first = shape[0] if shape else None
    axes: list[int | str] = []
    for place, axis in enumerate(shape):
        if isinstance(axis, int):
            axes.append(axis)
        elif place == 0 or (axis and axis == first):
            axes.append("N")
        elif not axis or axis == "N":  # no name, or one that would be taken for the batch
            axes.append(f"{name}_axis{place}")
        else:
            axes.append(axis)
    return tuple(axes)
