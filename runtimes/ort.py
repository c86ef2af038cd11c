"""ONNX Runtime. `gpu` means its CUDA execution provider, `gpu:tensorrt` TensorRT with CUDA for what that cannot run."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from edge_kit.core.errors import BadData, EdgeKitError, UsageError
from edge_kit.core.tensors import Array, Tensors, TensorSpec
from runtimes.faults import check_load, import_engine, one_line
from runtimes.inputs import InputCheck, name_axes
from runtimes.ort_profile import CPU_PROVIDER, read_trace
from runtimes.protocol import OperatorTime

PROVIDERS = {
    "cpu": (CPU_PROVIDER,),
    "gpu": ("CUDAExecutionProvider",),
    "gpu:tensorrt": ("TensorrtExecutionProvider", "CUDAExecutionProvider"),
}
"""By device, the one that is asked first in front; ONNX Runtime itself adds the CPU at the end."""
OPTIONS = {"CUDAExecutionProvider": {"use_tf32": "0"}}  # else products of float32 keep ten bits of their factors
WARMUP = 3  # calls before a profile is read
GPU_MEMORY = "cuda"  # ONNX Runtime's name of it

DTYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
    "tensor(bool)": "bool",
    **{f"tensor({kind}{bits})": f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)},
}
"""NumPy's names of the element types; NumPy has none for bfloat16 and the 4- and 8-bit floats."""


class OnnxSession:
    """One ONNX graph in ONNX Runtime.

    Attributes:
        cpu_nodes: How many nodes of the graph run on the CPU although it was loaded for a GPU; None where
            this ONNX Runtime does not say; a profile tells it with any version.
    """

    def __init__(self, session: Any) -> None:
        self.inputs = tuple(_spec(node) for node in session.get_inputs())
        self.outputs = tuple(_tensor_name(node) for node in session.get_outputs())
        self.cpu_nodes: int | None = 0
        self._check = InputCheck(self.inputs)
        self._names = list(self.outputs)
        self._session = session

    def run(self, inputs: Tensors) -> dict[str, Array]:
        """Run one batch and wait for it."""
        self._check(inputs)
        try:
            results = self._results(inputs)
        except Exception as fault:  # its exceptions share no base class of their own
            raise BadData(f"onnxruntime cannot run these inputs: {one_line(fault)}") from fault
        return dict(zip(self._names, results, strict=True))

    def _results(self, inputs: Tensors) -> Any:
        return self._session.run(self._names, dict(inputs))


class GpuSession(OnnxSession):
    """One ONNX graph on a GPU, with memory for its inputs that is kept from call to call."""

    def __init__(self, session: Any, make_value: Callable[[Array, str, int], Any]) -> None:
        super().__init__(session)
        self.cpu_nodes = _cpu_nodes(session)
        self._make_value = make_value
        self._binding = session.io_binding()
        self._held: dict[str, Any] = {}

    def _results(self, inputs: Tensors) -> Any:
        for name in self._names:  # for every call anew: it would hold the next one to the shapes of this one
            self._binding.bind_output(name, GPU_MEMORY)
        for name, array in inputs.items():
            held, given = self._held.get(name), np.ascontiguousarray(array)
            if held is not None and tuple(held.shape()) == array.shape:
                held.update_inplace(given)
            else:
                self._held[name] = self._make_value(given, GPU_MEMORY, 0)
                self._binding.bind_ortvalue_input(name, self._held[name])
        self._binding.synchronize_inputs()
        self._session.run_with_iobinding(self._binding)
        self._binding.synchronize_outputs()
        return self._binding.copy_outputs_to_cpu()


class OnnxRuntime:
    """ONNX Runtime, one call at a time, with all its graph optimizations."""

    name = "onnx"

    def __init__(self) -> None:
        self._ort = import_engine("onnx", "onnxruntime", "onnx")
        self._ort.disable_telemetry_events()  # some builds report what they load

    def version(self) -> str:
        """Version of onnxruntime."""
        return str(self._ort.__version__)

    def load(self, graph: Path, *, threads: int = 1, device: str = "cpu") -> OnnxSession:
        """Load one ONNX file."""
        session = self._start(graph, device, self._options(threads))
        return OnnxSession(session) if device == "cpu" else GpuSession(session, self._ort.OrtValue.ortvalue_from_numpy)

    def profile(
        self, graph: Path, inputs: Tensors, *, threads: int = 1, device: str = "cpu", calls: int = 20
    ) -> tuple[OperatorTime, ...]:
        """Time every node as it is after fusion; `place` is its execution provider."""
        with TemporaryDirectory() as folder:
            options = self._options(threads)
            options.enable_profiling = True
            options.profile_file_prefix = str(Path(folder) / "trace")
            session = self._start(graph, device, options)
            runs = OnnxSession(session)
            for _ in range(WARMUP + calls):
                runs.run(inputs)
            trace = json.loads(Path(session.end_profiling()).read_bytes())
        return read_trace(trace, calls)

    def _start(self, graph: Path, device: str, options: Any) -> Any:
        check_load(self.name, graph, options.intra_op_num_threads, device, tuple(PROVIDERS))
        wanted, missing = self._providers(device), ""
        if device != "cpu":
            missing = self._load_cuda()
            options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")  # ignored by older ones
        try:
            settings = [OPTIONS.get(one, {}) for one in wanted]
            session = self._ort.InferenceSession(str(graph), options, providers=list(wanted), provider_options=settings)
        except Exception as fault:  # its exceptions share no base class of their own
            raise BadData(f"onnxruntime cannot load {str(graph)!r}: {one_line(fault)}") from fault
        for provider in wanted:
            if provider not in session.get_providers():
                # It falls back by itself when the provider's libraries do not load.
                got = ", ".join(session.get_providers())
                raise EdgeKitError(f"onnxruntime could not start {provider} and fell back to {got}{missing}")
        return session

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

    def _providers(self, device: str) -> tuple[str, ...]:
        available = self._ort.get_available_providers()
        wanted = PROVIDERS[device]
        if device == "cpu" or set(wanted) <= set(available):
            return wanted
        raise UsageError(
            f"runtime 'onnx' has no device {device!r} here; onnxruntime {self.version()} offers: "
            f"{', '.join(available)}; pip install 'edge-kit[gpu]'"
        )

    def _load_cuda(self) -> str:
        """Load what pip installed of CUDA, where the system's loader does not look; give what was not found, to print.

        ONNX Runtime itself finds only what is on the loader's path.
        """
        if not hasattr(self._ort, "preload_dlls"):  # there from 1.21 on
            return ""
        with redirect_stdout(StringIO()) as said:  # it prints its faults
            self._ort.preload_dlls()
        return f"; {one_line(said.getvalue())}" if said.getvalue() else ""

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


def _cpu_nodes(session: Any) -> int | None:
    try:
        parts = session.get_provider_graph_assignment_info()
    except Exception:  # older versions have no such method, and not every provider records it
        return None
    return sum(len(part.get_nodes()) for part in parts if part.ep_name == CPU_PROVIDER)


def _tensor_name(node: Any) -> str:
    if not node.type.startswith("tensor("):
        raise BadData(f"{node.name!r} is a {node.type}; only tensors can go in and out of a graph")
    return str(node.name)


def _spec(node: Any) -> TensorSpec:
    name = _tensor_name(node)
    if node.type not in DTYPES:
        raise BadData(f"input {name!r} is a {node.type}, a type NumPy does not have")
    return TensorSpec(name, name_axes(name, node.shape), DTYPES[node.type])
