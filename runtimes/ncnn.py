"""ncnn. It reads layers of its own, written here from ONNX; pnnx, which also does that, asks for torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edge_kit.core.errors import BadData, UsageError
from edge_kit.core.tensors import Array, Tensors, TensorSpec
from runtimes.faults import check_form, check_load, import_engine, one_line
from runtimes.inputs import BatchCheck, InputCheck
from runtimes.interface import Interface, read_interface
from runtimes.ncnn_graph import read_static
from runtimes.ncnn_model import INPUT, OUTPUT, read_kinds
from runtimes.ncnn_translate import translate, without_batch
from runtimes.quiet import native_output


class NcnnSession:
    """One graph in ncnn. It has no batch axis: a batch of N is run as N samples, one after another."""

    def __init__(self, engine: Any, net: Any, interface: Interface) -> None:
        self.inputs = interface.inputs
        self.outputs = tuple(spec.name for spec in interface.outputs)
        self._check, self._batch = InputCheck(self.inputs), BatchCheck(self.inputs)
        self._engine, self._net, self._exits = engine, net, interface.outputs

    def run(self, inputs: Tensors) -> dict[str, Array]:
        """Run one batch, sample by sample, and wait for it."""
        self._check(inputs)
        rows = [self._sample(inputs, i) for i in range(self._batch(inputs))]
        results = {}
        for place, spec in enumerate(self._exits):
            batch = spec.shape.index("N") if "N" in spec.shape else None
            if batch is None:
                results[spec.name] = rows[0][place].reshape([int(size) for size in spec.shape])
            else:
                sizes = [int(size) for size in spec.shape if size != "N"]
                results[spec.name] = np.stack([row[place].reshape(sizes) for row in rows], batch)
        return results

    def _sample(self, inputs: Tensors, i: int) -> Sequence[Array]:
        extractor = self._net.create_extractor()
        for place, spec in enumerate(self.inputs):
            sample = _mat_array(spec, inputs[spec.name], i)  # it must outlive the Mat, which only looks into it
            # Copied: a layer that works in place crashes on memory that is not ncnn's own.
            extractor.input(INPUT.format(place), self._engine.Mat(sample).clone())
        rows = []
        for place, spec in enumerate(self._exits):
            code, mat = extractor.extract(OUTPUT.format(place))
            if code != 0:
                raise BadData(f"ncnn cannot run these inputs: {spec.name!r} ended with error {code}")
            rows.append(np.array(mat))  # copied: the blob ends with the extractor
        return rows


class NcnnRuntime:
    """ncnn, in FP32 and INT8: nothing is kept in half precision, which it does when left alone.

    INT8 is what the graph says: layers that are quantized there around zero, and no others.
    """

    name = "ncnn"
    form = "model.param"

    def __init__(self) -> None:
        self._ncnn = import_engine("ncnn", "ncnn", "ncnn")

    def version(self) -> str:
        """Version of ncnn."""
        return str(self._ncnn.__version__)

    def convert(self, graph: Path, folder: Path) -> None:
        """Write the layers of an ONNX file and their weights; needs the onnx package."""
        interface = read_interface(graph)
        for spec in interface.inputs:
            if spec.dtype != "float32":
                raise BadData(f"ncnn computes in float32, and input {spec.name!r} is {spec.dtype}")
        model, found = translate(read_static(graph, interface), interface)
        made = folder / self.form
        model.save(made)
        found.save(made)

    def load(self, graph: Path, *, threads: int = 1, device: str = "cpu") -> NcnnSession:
        """Load what `convert` wrote; `gpu` means Vulkan."""
        check_load(self.name, graph, threads, device, ("cpu", "gpu"))
        check_form(self.name, self.form, graph)
        if device == "gpu" and not self._gpus():
            raise UsageError(
                f"runtime 'ncnn' has no device 'gpu' here; ncnn {self.version()} offers: CPU; "
                "a GPU needs a Vulkan driver"
            )
        weights = graph.with_suffix(".bin")
        if not weights.is_file():
            raise BadData(f"{str(graph)!r} has no {weights.name} beside it")
        interface = Interface.beside(graph)
        # Older versions of ncnn crash on a layer that they do not know (measured, 1.0.20250503).
        unknown = [kind for kind in sorted(read_kinds(graph)) if self._ncnn.layer_to_index(kind) < 0]
        if unknown:
            raise BadData(f"ncnn {self.version()} has no layer {unknown[0]!r}, which {str(graph)!r} holds")
        net = self._net(threads, device)
        if interface.is_quantized:
            # Its sums run over int32 from some 32 channels on and the answers are garbage (measured, 1.0.20261020).
            net.opt.use_winograd43_convolution = False
        with native_output() as said:
            if net.load_param(str(graph)) != 0 or net.load_model(str(weights)) != 0:
                raise BadData(f"ncnn cannot load {str(graph)!r}: {one_line(said() or 'it does not say why')}")
        wanted = {OUTPUT.format(place) for place in range(len(interface.outputs))}
        if len(net.input_names()) != len(interface.inputs) or not wanted <= set(net.output_names()):
            raise BadData(f"{str(graph)!r} and its {graph.stem}.json do not belong together")
        return NcnnSession(self._ncnn, net, interface)

    def _gpus(self) -> int:
        with native_output():
            return int(self._ncnn.get_gpu_count())

    def _net(self, threads: int, device: str) -> Any:
        net = self._ncnn.Net()
        options = net.opt
        options.num_threads = threads
        options.use_vulkan_compute = device == "gpu"
        for kind in ("fp16", "bf16", "int8"):  # of int8 what the GPU would keep by itself, not INT8 inference
            for use in ("packed", "storage", "arithmetic"):
                if hasattr(options, f"use_{kind}_{use}"):
                    setattr(options, f"use_{kind}_{use}", False)
        return net


def _mat_array(spec: TensorSpec, array: Array, i: int) -> Array:
    """The i-th sample in the shape that ncnn holds, in memory of its own order."""
    if "N" in spec.shape:
        sample = array[(slice(None),) * spec.shape.index("N") + (i,)]  # a view: `take` would copy it
        return np.ascontiguousarray(sample.reshape(sample.shape or (1,)))
    return np.ascontiguousarray(array.reshape(without_batch(array.shape, 0 if array.shape[:1] == (1,) else None)))
