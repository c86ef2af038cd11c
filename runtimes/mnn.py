"""MNN. It reads a form of its own, made by the converter that its wheel ships."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from edge_kit.core.errors import BadData, UsageError
from edge_kit.core.tensors import Array, Tensors
from runtimes.faults import check_form, check_load, import_engine, one_line
from runtimes.inputs import InputCheck, show
from runtimes.interface import Interface, read_interface
from runtimes.mnn_int8 import split_quantized
from runtimes.protocol import OperatorTime
from runtimes.quiet import native_output

GPU_BACKENDS = ("CUDA", "OPENCL", "VULKAN", "METAL")
CPU_TYPES = (0, 13)  # MNNForwardType: plain, and with the kernels of one instruction set
WINOGRAD = 3  # Interpreter::HintMode: how large Winograd's transforms may be
SMALL_TRANSFORMS = 1  # 4e-7 off at 64 channels of 56 x 56; by default 1e-3, and a tenth faster
BACKENDS = 2  # Interpreter::SessionInfoCode
CONVERT_SECONDS = 600

# `mnnconvert` of the wheel reports every conversion to a server and installs a package for that, so it is not used;
# the native function below it does neither. It may abort, and it tells nothing of a failure but what it prints.
# What it made is run once there too: a graph that it took without a word can crash the engine.
CONVERTER = """
import sys
import MNN
import _tools
_tools.mnnconvert(
    ["mnnconvert", "-f", "ONNX", "--modelFile", sys.argv[1], "--MNNModel", sys.argv[2], "--bizCode", "edge-kit"]
    + sys.argv[4:]
)
if sys.argv[3] == "run":
    kinds = []
    net = MNN.Interpreter(sys.argv[2])
    session = net.createSession({"backend": "CPU", "numThread": 1, "precision": "high"})
    note = lambda tensors, info: kinds.append(info.getType()) or True
    code = net.runSessionWithCallBackInfo(session, note, lambda tensors, info: True)
    print("INT8 convolutions:", sum(kind.startswith("Convolution") and "DT_INT8" in kind for kind in kinds))
    sys.exit(code)
"""
INT8_CONVOLUTIONS = re.compile(r"INT8 convolutions: (\d+)$", re.MULTILINE)

CARRIED = {"float32": np.float32, "int32": np.int32, "int64": np.int32, "bool": np.int32, "uint8": np.uint8}
"""What MNN holds an ONNX element type in; it has none for the others."""


class MnnSession:
    """One graph in MNN; it is laid out anew when the shape of an input changes."""

    def __init__(self, engine: Any, net: Any, session: Any, interface: Interface) -> None:
        self.inputs = interface.inputs
        self.outputs = tuple(spec.name for spec in interface.outputs)
        self._check = InputCheck(self.inputs)
        self._engine, self._net, self._session = engine, net, session
        self._kinds = {
            np.float32: engine.Halide_Type_Float,
            np.int32: engine.Halide_Type_Int,
            np.uint8: engine.Halide_Type_Uint8,
        }
        held = net.getSessionInputAll(session)
        # An input that the graph does not read is not there.
        self._entries = [(spec, held[spec.name]) for spec in self.inputs if spec.name in held]
        self._exits = [(spec, net.getSessionOutput(session, spec.name)) for spec in interface.outputs]
        self._shapes: tuple[tuple[int, ...], ...] | None = None

    def run(self, inputs: Tensors) -> dict[str, Array]:
        """Run one batch and wait for it."""
        self._feed(inputs)
        self._ended(self._net.runSession(self._session))
        return self._results()

    def profile(self, inputs: Tensors, calls: int) -> tuple[OperatorTime, ...]:
        """Time each operator; the first call is thrown away."""
        watch = _Watch()
        for call in range(calls + 1):
            watch.restart(keep=call > 0)
            self._feed(inputs)
            self._ended(self._net.runSessionWithCallBackInfo(self._session, watch.before, watch.after))
        return watch.rows()

    def _feed(self, inputs: Tensors) -> None:
        self._check(inputs)
        shapes = tuple(inputs[spec.name].shape for spec, _ in self._entries)
        if shapes != self._shapes:
            self._lay_out(shapes)
        for spec, entry in self._entries:
            entry.copyFrom(self._host(_carried(spec.name, inputs[spec.name])))

    def _lay_out(self, shapes: tuple[tuple[int, ...], ...]) -> None:
        self._shapes = None
        with native_output() as said:
            for (_, entry), shape in zip(self._entries, shapes, strict=True):
                self._net.resizeTensor(entry, shape)
            self._net.resizeSession(self._session)
            complaint = said()
        if "Error" in complaint:  # it returns nothing of use
            named = ", ".join(
                f"{spec.name} {show(shape)}" for (spec, _), shape in zip(self._entries, shapes, strict=True)
            )
            raise BadData(f"MNN cannot run {named}: {one_line(complaint)}")
        self._shapes = shapes

    def _results(self) -> dict[str, Array]:
        results = {}
        for spec, exit_ in self._exits:
            shape = exit_.getShape()
            if min(shape, default=0) < 0:
                raise BadData(f"MNN cannot run these inputs: {spec.name!r} has no shape for them")
            host = self._host(np.empty(shape, CARRIED[spec.dtype]))
            exit_.copyToHostTensor(host)
            # Copied: the array that it gives looks into a tensor that ends with this call.
            results[spec.name] = host.getNumpyData().reshape(shape).astype(spec.dtype)
        return results

    def _host(self, array: Array) -> Any:
        kind = self._kinds[array.dtype.type]
        return self._engine.Tensor(array.shape, kind, array, self._engine.Tensor_DimensionType_Caffe)

    def _ended(self, code: int) -> None:
        if code != 0:
            raise BadData(f"MNN cannot run these inputs: it ended with error {code}")


class MnnRuntime:
    """MNN, one call at a time: FP32 graphs run in FP32, and convolutions of quantized ones in INT8."""

    name = "mnn"
    form = "model.mnn"

    def __init__(self) -> None:
        with native_output():
            self._mnn = import_engine("mnn", "MNN", "mnn")

    def version(self) -> str:
        """Version of MNN."""
        return str(self._mnn.version())

    def convert(self, graph: Path, folder: Path) -> None:
        """Convert an ONNX file in a process of its own."""
        interface = read_interface(graph)
        _check_interface(interface, graph)
        made = folder / self.form
        with tempfile.TemporaryDirectory() as place:
            if interface.is_quantized:
                source, table = Path(place) / "float.onnx", Path(place) / "table.json"
                wanted = split_quantized(graph, source, table)
                found = _run_converter(graph, interface, source, made, ["--compressionParamsFile", str(table)])
                if found is not None and found < wanted:  # what a grid clips would be lost
                    raise BadData(f"MNN runs {found} of {wanted} quantized convolutions of {str(graph)!r} in INT8")
            else:
                _run_converter(graph, interface, graph.absolute(), made)
        interface.save(made)

    def load(self, graph: Path, *, threads: int = 1, device: str = "cpu") -> MnnSession:
        """Load what `convert` wrote."""
        check_load(self.name, graph, threads, device, ("cpu", "gpu"))
        check_form(self.name, self.form, graph)
        with native_output() as said:
            try:
                net = self._mnn.Interpreter(str(graph))
            except Exception as fault:  # a bare Exception is what it raises
                raise BadData(f"MNN cannot load {str(graph)!r}: {_complaint(said(), 0)}") from fault
            interface = Interface.beside(graph)
            session = self._session(net, threads, device)
            try:
                return MnnSession(self._mnn, net, session, interface)
            except Exception as fault:
                raise BadData(f"{str(graph)!r} and its {graph.stem}.json do not belong together") from fault

    def profile(
        self, graph: Path, inputs: Tensors, *, threads: int = 1, device: str = "cpu", calls: int = 20
    ) -> tuple[OperatorTime, ...]:
        """Time each operator between two calls back into Python, which cost about a microsecond of it."""
        return self.load(graph, threads=threads, device=device).profile(inputs, calls)

    def _session(self, net: Any, threads: int, device: str) -> Any:
        net.setSessionHint(WINOGRAD, SMALL_TRANSFORMS)
        for backend in GPU_BACKENDS if device == "gpu" else ("CPU",):
            session = net.createSession({"backend": backend, "numThread": threads, "precision": "high"})
            # It falls back to the processor without an error.
            if (net.getSessionInfo(session, BACKENDS) in CPU_TYPES) == (device == "cpu"):
                return session
        raise UsageError(
            f"runtime 'mnn' has no device {device!r} here; MNN {self.version()} offers: CPU; "
            f"a GPU needs an MNN built with one of {', '.join(GPU_BACKENDS)}"
        )


@dataclass(slots=True)
class _Watch:
    """What the engine calls before and after each operator."""

    keep: bool = False
    times: dict[int, list[float]] = field(default_factory=dict)
    facts: dict[int, tuple[str, str]] = field(default_factory=dict)
    place: int = 0
    began: float = 0.0

    def restart(self, keep: bool) -> None:
        self.keep, self.place = keep, 0

    def before(self, tensors: Sequence[Any], info: Any) -> bool:
        self.facts.setdefault(self.place, (info.getName(), info.getType()))
        self.began = perf_counter()
        return True

    def after(self, tensors: Sequence[Any], info: Any) -> bool:
        spent = perf_counter() - self.began
        if self.keep:
            self.times.setdefault(self.place, []).append(spent * 1e3)
        self.place += 1
        return True

    def rows(self) -> tuple[OperatorTime, ...]:
        return tuple(OperatorTime(*self.facts[place], "", "", median(times)) for place, times in self.times.items())


def _run_converter(graph: Path, interface: Interface, source: Path, made: Path, more: Sequence[str] = ()) -> int | None:
    """Convert `source`, which is made of `graph`, and run it once; gives its INT8 convolutions, None where not run."""
    sizes = {axis for spec in interface.inputs for axis in spec.shape if isinstance(axis, str)}
    trial = "run" if sizes <= {"N"} else "skip"  # without sizes it takes 1 for each
    try:
        done = subprocess.run(
            [sys.executable, "-c", CONVERTER, str(source), str(made.absolute()), trial, *more],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=CONVERT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise BadData(f"MNN did not convert {str(graph)!r} within {CONVERT_SECONDS} s") from None
    if done.returncode != 0 or not made.is_file() or made.stat().st_size == 0:
        raise BadData(f"MNN cannot convert {str(graph)!r}: {_complaint(done.stdout, done.returncode)}")
    found = INT8_CONVOLUTIONS.search(done.stdout)
    return int(found[1]) if found else None


def _check_interface(interface: Interface, graph: Path) -> None:
    if b"SAME_LOWER" in graph.read_bytes():  # measured, 3.6.1
        raise BadData(f"MNN pads 'SAME_LOWER' as 'SAME_UPPER'; write out the pads of {str(graph)!r}")
    for spec in (*interface.inputs, *interface.outputs):
        if spec.dtype not in CARRIED:
            raise BadData(f"MNN has no tensors of {spec.dtype}, which {spec.name!r} is")


def _carried(name: str, array: Array) -> Array:
    kind = CARRIED[array.dtype.name]
    if array.dtype == np.int64 and array.size and np.abs(array).max() > np.iinfo(np.int32).max:
        raise BadData(f"input {name!r} holds a number over 2^31, and MNN computes in int32")
    return np.ascontiguousarray(array, kind)


def _complaint(printed: str, code: int) -> str:
    """What it printed, without greetings and time stamps; it has no other way to say what is wrong."""
    greetings = (
        "The device supports",
        "MNN use",
        "Start to",
        "inputTensors",
        "outputTensors",
        "[ERROR] Convert error",
        "INT8 convolutions",
    )
    lines = [line.strip() for line in printed.splitlines() if not line.startswith(greetings)]
    told = [line for line in lines if line and "ONNX Model" not in line]
    ending = f" (its process ended with {code})" if code else ""
    return one_line(" ".join(told) or "it does not say why") + ending
