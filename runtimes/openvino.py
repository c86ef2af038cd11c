"""OpenVINO. It reads ONNX itself, and its own IR (`.xml`); `gpu` means a graphics processor of Intel's."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from edge_kit.core.errors import BadData, EdgeKitError, UsageError
from edge_kit.core.tensors import Array, Tensors, TensorSpec
from runtimes.faults import check_load, import_engine, one_line
from runtimes.inputs import InputCheck, name_axes
from runtimes.interface import Interface, read_interface
from runtimes.protocol import OperatorTime

PRECISIONS = {"f32": "fp32", "f16": "fp16", "bf16": "bf16", "i8": "int8", "u8": "int8"}
TELEMETRY = "openvino_telemetry"
IR = ".xml"
"""The suffix of OpenVINO's own form of a graph; its weights lie beside it in a `.bin`."""

DTYPES = {"boolean": "bool", "f16": "float16", "f32": "float32", "f64": "float64"} | {
    f"{short}{bits}": f"{kind}{bits}" for short, kind in (("i", "int"), ("u", "uint")) for bits in (8, 16, 32, 64)
}
"""NumPy's names of OpenVINO's element types; NumPy has none for the others."""


class Compiled:
    """One ONNX graph, compiled for one device.

    Attributes:
        network: The engine's own object.
        request: Runs it.
        tensor: Makes the engine's own tensor of an array.
    """

    def __init__(self, network: Any, outputs: tuple[str, ...], tensor: Callable[..., Any]) -> None:
        self.network = network
        self.request: Any = network.create_infer_request()
        self._fed = {name: index for index, port in enumerate(network.inputs) for name in port.names}
        given = {name: index for index, port in enumerate(network.outputs) for name in port.names}
        self._given = [(name, given[name]) for name in outputs]
        self.tensor = tensor

    def __call__(self, inputs: Tensors) -> dict[str, Array]:
        # Tensors set by hand, and no infer(): that and its dicts of arrays take 0.15 ms more a call (measured).
        for name, given in inputs.items():
            if name in self._fed:  # an input that the graph does not read has no port
                array = np.asarray(given, order="C")
                # The engine shares no array that it may not write to: of such it takes a copy.
                tensor = self.tensor(array, shared_memory=array.flags.writeable)
                self.request.set_input_tensor(self._fed[name], tensor)
        self.request.start_async()
        self.request.wait()
        # What the engine holds is overwritten by the next run.
        return {name: self.request.get_output_tensor(index).data.copy() for name, index in self._given}


class OpenVinoSession:
    """One ONNX graph, compiled for a batch of one; for other batches a second time, when one comes.

    With a batch left open the engine infers every shape anew at each call: a tenth of MobileNetV2's time.
    """

    def __init__(self, model: Any, interface: Interface, compile: Callable[[Any], Compiled]) -> None:
        self.inputs = interface.inputs
        self.outputs = tuple(spec.name for spec in interface.outputs)
        self._check = InputCheck(self.inputs)
        self._model, self._compile = model, compile
        self._read = {name for port in model.inputs for name in port.names}
        named = [axis for spec in self.inputs for axis in spec.shape if isinstance(axis, str)]
        self._any: Compiled | None = None
        self.single: Compiled | None = None
        if set(named) == {"N"}:
            self.single = self._for_one()
            self._of_one = [(spec.name, spec.with_batch(1)) for spec in self.inputs]
        if self.single is None:
            self._any = compile(model)
        # A batch alone fits whatever it is, and inferring the shapes takes longer than a run.
        self._may_not_fit = named not in ([], ["N"])
        self._shapes: dict[str, tuple[int, ...]] = {}

    def compiled_for(self, inputs: Tensors) -> Compiled:
        """What runs inputs of these shapes, which are checked."""
        self._check(inputs)
        if self.single and all(inputs[name].shape == shape for name, shape in self._of_one):
            return self.single
        if self._any is None:
            self._any = self._compile(self._model)
        if self._may_not_fit:
            self._settle({name: array.shape for name, array in inputs.items() if name in self._read})
        return self._any

    def run(self, inputs: Tensors) -> dict[str, Array]:
        """Run one batch and wait for it."""
        try:
            return self.compiled_for(inputs)(inputs)
        except EdgeKitError:
            raise
        except Exception as fault:  # its exceptions share no base class of their own
            raise BadData(f"openvino cannot run these inputs: {_reason(fault)}") from fault

    def _for_one(self) -> Compiled | None:
        """Compiled for a batch of one; None where the graph's insides do not allow that."""
        fixed = self._model.clone()
        try:
            fixed.reshape({spec.name: spec.with_batch(1) for spec in self.inputs if spec.name in self._read})
        except Exception:  # its exceptions share no base class of their own
            return None
        return self._compile(fixed)

    def _settle(self, shapes: dict[str, tuple[int, ...]]) -> None:
        """Infer every shape from new ones of the inputs: run at once, it reads past the end where two do not fit."""
        if shapes != self._shapes:
            self._model.reshape(shapes)
            self._shapes = shapes


class OpenVinoRuntime:
    """OpenVINO, one stream, tuned for the latency of a single call.

    FP32 graphs run in FP32: left alone, it would round to bfloat16 where the processor has that.
    """

    name = "openvino"

    def __init__(self) -> None:
        with no_telemetry():
            self._ov = import_engine("openvino", "openvino", "openvino")

    def version(self) -> str:
        """Version of openvino, without its build."""
        return str(self._ov.get_version()).split("-")[0]

    def load(self, graph: Path, *, threads: int = 1, device: str = "cpu") -> OpenVinoSession:
        """Load one ONNX file, or an IR whose `.bin` lies beside it."""
        check_load(self.name, graph, threads, device, ("cpu", "gpu"))
        return self._open(graph, _options(threads, device), device)

    def profile(
        self, graph: Path, inputs: Tensors, *, threads: int = 1, device: str = "cpu", calls: int = 20
    ) -> tuple[OperatorTime, ...]:
        """Time each primitive that the compiled graph runs; the first call is thrown away."""
        check_load(self.name, graph, threads, device, ("cpu", "gpu"))
        session = self._open(graph, _options(threads, device) | {"PERF_COUNT": True}, device)
        compiled = session.compiled_for(inputs)
        times: dict[str, list[float]] = {}
        for call in range(calls + 1):
            session.run(inputs)
            if call:
                for info in compiled.request.profiling_info:
                    if info.status == info.Status.EXECUTED:
                        times.setdefault(info.node_name, []).append(info.real_time.total_seconds() * 1e3)
        return tuple(
            OperatorTime(name, told["layerType"], told["primitiveType"], _precision(told), median(times[name]))
            for name, told in _primitives(compiled.network)
            if name in times
        )

    def _open(self, graph: Path, options: dict[str, Any], device: str) -> OpenVinoSession:
        known = None if graph.suffix == IR else read_interface(graph)
        core = shared_core(self._ov)
        target = self._device(device)
        try:
            # Asked for by name: read_model tries every front-end in turn, and some print.
            frontend = self._ov.frontend.FrontEndManager().load_by_framework("onnx" if known else "ir")
            model = frontend.convert(frontend.load(str(graph)))
            interface = known or _interface(model)
            _refuse_wrong(model)
            outputs = tuple(spec.name for spec in interface.outputs)

            def compile(model: Any) -> Compiled:
                return Compiled(core.compile_model(model, target, options), outputs, self._ov.Tensor)

            return OpenVinoSession(model, interface, compile)
        except BadData:
            raise
        except Exception as fault:  # its exceptions share no base class of their own
            raise BadData(f"openvino cannot load {str(graph)!r}: {_reason(fault)}") from fault

    def _device(self, device: str) -> str:
        available = [str(name) for name in shared_core(self._ov).available_devices]
        for name in available:
            if name.split(".")[0] == device.upper():  # several of a kind are GPU.0, GPU.1
                return name
        raise UsageError(
            f"runtime 'openvino' has no device {device!r} here; openvino {self.version()} offers: "
            f"{', '.join(available)}; a GPU needs Intel's OpenCL driver"
        )


@cache
def shared_core(engine: Any) -> Any:
    """The one core of this process, made on first use, as it looks for devices.

    The first device that a core opens gives the thread another stack for signals, and the last of it takes that away.
    Of two cores that end in the order they began, the thread keeps a stack that is gone: the next signal, be it
    Ctrl-C, ends the process with a segmentation fault (measured, 2026.4.1). One that never ends cannot do that.
    """
    return engine.Core()


@contextmanager
def no_telemetry() -> Iterator[None]:
    """Hide the package through which `import openvino` sends an event to a server and writes to the home folder."""
    kept = sys.modules.get(TELEMETRY)
    sys.modules[TELEMETRY] = None  # type: ignore[assignment]  # so that importing it fails; openvino has a stub for that
    try:
        yield
    finally:
        if kept is None:
            del sys.modules[TELEMETRY]
        else:
            sys.modules[TELEMETRY] = kept


def _interface(model: Any) -> Interface:
    """What an IR takes and gives, which has no names for open axes."""
    if not model.outputs:
        raise BadData("an IR without outputs; nothing can be asked of it")
    operators = sorted({str(node.get_type_name()) for node in model.get_ops()})
    return Interface(
        tuple(_spec(port) for port in model.inputs), tuple(_spec(port) for port in model.outputs), tuple(operators)
    )


def _spec(port: Any) -> TensorSpec:
    name, kind = port.get_any_name(), port.get_element_type().get_type_name()
    if kind not in DTYPES:
        raise BadData(f"{name!r} is {kind} in OpenVINO, which NumPy does not have")
    rank = port.get_partial_shape()
    axes = [axis.get_length() if axis.is_static else None for axis in rank] if rank.rank.is_static else []
    return TensorSpec(name, name_axes(name, axes), DTYPES[kind])


def _refuse_wrong(model: Any) -> None:
    """Refuse what it is known to compute wrongly without a word (measured, 2026.4)."""
    for node in model.get_ops():
        if node.get_type_name() == "LRN" and node.get_attributes()["bias"] != 1:
            raise BadData(f"openvino takes the bias of LRN as 1, and node {node.friendly_name!r} has another")


def _options(threads: int, device: str) -> dict[str, Any]:
    options = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    if device == "cpu":
        # Not pinned: a thread could not move away from a core that something else keeps busy.
        options |= {"INFERENCE_NUM_THREADS": threads, "ENABLE_CPU_PINNING": False}
    return options


def _primitives(compiled: Any) -> list[tuple[str, dict[str, str]]]:
    """Name and facts of every node of the compiled graph, in the order of execution."""
    rows = []
    for node in compiled.get_runtime_model().get_ordered_ops():
        told = {key: str(node.rt_info[key].value) for key in node.get_rt_info()}
        rows.append((node.friendly_name, told))
    return sorted(rows, key=lambda row: int(row[1]["execOrder"]))


def _precision(told: dict[str, str]) -> str:
    """The precision it computes in, which is not always that of its outputs."""
    return PRECISIONS.get(told["runtimePrecision"].lower(), told["runtimePrecision"].lower())


def _reason(fault: Exception) -> str:
    """Leave out where in its sources it happened, which fills the first lines."""
    lines = [line for line in str(fault).splitlines() if not line.startswith(("Exception from ", "Check "))]
    return one_line(" ".join(lines) or fault)
