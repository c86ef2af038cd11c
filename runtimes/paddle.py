"""Paddle Inference, on the models that Paddle itself writes. `gpu` means CUDA, `gpu:tensorrt` its TensorRT engine."""

from __future__ import annotations

import json
import warnings
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from edge_kit.core.errors import BadData, EdgeKitError, UsageError
from edge_kit.core.tensors import Array, Tensors, TensorSpec
from runtimes.faults import check_load, import_engine
from runtimes.inputs import InputCheck
from runtimes.paddle_profile import read_trace
from runtimes.paddle_program import NEW, OLD, read_program, say
from runtimes.protocol import OperatorTime

WEIGHTS = ".pdiparams"
# Paddle 3.1.1 does not load a Bi-LSTM with this pass: it meets a sum that oneDNN was not chosen for, and stops.
FUSION, FUSION_FAULT = "elementwise_act_onednn_fuse_pass", "oneDNN activation fuses require use_mkldnn"
DEVICES = ("cpu", "gpu", "gpu:tensorrt")
GPU_POOL_MB = 256  # taken at the start; it grows
TENSORRT_WORKSPACE = 1 << 30  # bytes


class PaddleSession:
    """One Paddle inference model in Paddle Inference."""

    def __init__(self, predictor: Any, inputs: tuple[TensorSpec, ...]) -> None:
        self.inputs = inputs
        self.outputs = tuple(predictor.get_output_names())
        self._check = InputCheck(inputs)
        self._feeds = {spec.name: predictor.get_input_handle(spec.name) for spec in inputs}
        self._fetches = {name: predictor.get_output_handle(name) for name in self.outputs}
        self._predictor = predictor

    def run(self, inputs: Tensors) -> dict[str, Array]:
        """Run one batch and wait for it: copying an output waits for the device."""
        self._check(inputs)
        try:
            for name, feed in self._feeds.items():
                feed.copy_from_cpu(np.ascontiguousarray(inputs[name]).reshape(inputs[name].shape))
            self._predictor.run()
            return {name: fetch.copy_to_cpu() for name, fetch in self._fetches.items()}
        except Exception as fault:  # pybind11 makes many types of C++'s
            raise BadData(f"paddle cannot run these inputs: {say(fault)}") from fault


class PaddleRuntime:
    """Paddle Inference with oneDNN on a processor, CUDA or TensorRT on a GPU, and all its graph optimizations.

    Attributes:
        reads: `.pdmodel` is the old program format, `.json` the new; the weights lie beside it in a `.pdiparams`.
    """

    name = "paddle"
    reads = (OLD, NEW)

    def __init__(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on import it complains about a missing ccache
            self._paddle = import_engine(self.name, "paddle", "cpu")
            self._inference = import_module("paddle.inference")
            self._core = import_module("paddle.base.core")

    def version(self) -> str:
        """Version of paddlepaddle."""
        return str(self._paddle.__version__)

    def load(self, graph: Path, *, threads: int = 1, device: str = "cpu") -> PaddleSession:
        """Load one Paddle inference model; its weights are read from the `.pdiparams` beside it."""
        check_load(self.name, graph, threads, device, DEVICES)
        if graph.suffix not in self.reads:
            raise BadData(f"runtime 'paddle' reads {' and '.join(self.reads)}, not {str(graph)!r}")
        if device != "cpu":
            self._require_gpu(device)
        program = read_program(graph, self._core)
        weights = graph.with_suffix(WEIGHTS)
        if program.has_weights:
            check_load(self.name, weights, threads, device, DEVICES)
        files = (str(graph), str(weights) if program.has_weights else "")
        try:
            predictor = self._predictor(files, threads, device)
        except Exception as fault:  # pybind11 makes many types of C++'s
            raise BadData(f"paddle cannot load {str(graph)!r}: {say(fault)}") from fault
        names = predictor.get_input_names()
        if set(names) != set(program.inputs):
            raise BadData(f"paddle cannot load {str(graph)!r}: it declares {sorted(program.inputs)}, not {names}")
        return PaddleSession(predictor, tuple(program.inputs[name] for name in names))

    def profile(
        self, graph: Path, inputs: Tensors, *, threads: int = 1, device: str = "cpu", calls: int = 20
    ) -> tuple[OperatorTime, ...]:
        """Time every operator as it is after fusion, on a processor.

        Raises:
            UsageError: On a GPU, where the profiler would time how long an operator takes to start.
        """
        if device != "cpu":
            raise UsageError(f"runtime 'paddle' times operators on 'cpu' alone, not on {device!r}")
        session = self.load(graph, threads=threads, device=device)
        session.run(inputs)
        profiler = import_module("paddle.profiler")
        with TemporaryDirectory() as folder:
            trace = Path(folder) / "trace.json"
            with profiler.Profiler(
                targets=[profiler.ProfilerTarget.CPU], on_trace_ready=lambda done: done.export(str(trace), "json")
            ):
                for _ in range(1 + calls):
                    session.run(inputs)
            return read_trace(json.loads(trace.read_bytes())["traceEvents"], calls)

    def _require_gpu(self, device: str) -> None:
        if not self._paddle.is_compiled_with_cuda():
            raise UsageError(
                f"runtime 'paddle' has no device {device!r} here; paddlepaddle {self.version()} is built for: cpu; "
                "pip install 'edge-kit[gpu]'"
            )
        if not self._paddle.device.cuda.device_count():
            raise UsageError(f"runtime 'paddle' has no device {device!r} here; CUDA finds no GPU; it has: cpu")
        if device == "gpu:tensorrt" and not any(self._inference.get_trt_compile_version()):
            raise UsageError(
                f"runtime 'paddle' has no device {device!r} here; paddlepaddle-gpu {self.version()} is built without "
                "TensorRT; it has: cpu, gpu"
            )

    def _predictor(self, files: tuple[str, str], threads: int, device: str) -> Any:
        config = self._config(files, threads, device)
        try:
            return self._inference.create_predictor(config)
        except Exception as fault:
            if FUSION_FAULT not in str(fault):
                raise
        config = self._config(files, threads, device)
        config.delete_pass(FUSION)
        return self._inference.create_predictor(config)

    def _config(self, files: tuple[str, str], threads: int, device: str) -> Any:
        config = self._inference.Config(*files)
        config.disable_glog_info()
        if files[0].endswith(OLD):  # the pass that this needs is not run on the new format (3.1)
            config.enable_memory_optim()
        if device == "cpu":
            config.enable_mkldnn()
            config.set_cpu_math_library_num_threads(threads)
            return config
        config.enable_use_gpu(GPU_POOL_MB, 0)
        if not config.use_gpu():  # it only prints that it cannot
            raise EdgeKitError("paddle could not start the GPU and fell back to cpu")
        if device == "gpu:tensorrt":
            config.enable_tensorrt_engine(workspace_size=TENSORRT_WORKSPACE, max_batch_size=1, min_subgraph_size=3)
            config.enable_tuned_tensorrt_dynamic_shape()  # engines are built for the shapes of the first calls
        return config
