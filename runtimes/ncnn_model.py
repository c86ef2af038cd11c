"""ncnn's own form of a graph: a `.param` of layers in words, and a `.bin` of their weights one after another.

Source: Tencent/ncnn, docs/developer-guide/param-and-model-file-structure.md and operators.md.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from edge_kit.core.errors import BadData
from edge_kit.core.tensors import Array

INPUT, OUTPUT = "in{}", "out{}"
"""Names of the blobs that go in and come out, by their place in the graph; as pnnx names them."""
MAGIC = 7767517
ARRAY = -23300  # the key of an array is this less its number
LARGEST = float(np.finfo(np.float32).max)
FLOAT32, INT8 = 0, 0x000D4B38
"""The word before a tagged block of weights, by what it holds."""

Parameter = int | float | Sequence[int] | Sequence[float]

FUSED = {"ReLU": 1, "Clip": 3, "Sigmoid": 4, "HardSwish": 6}
"""Activations that a layer with weights can compute on the way out, by ncnn's number."""
LEAKY = 2
REQUANTIZED = 101
"""The INT8 parameter of a layer that also gives INT8."""
FUSING = (
    "Convolution",
    "ConvolutionDepthWise",
    "Convolution1D",
    "ConvolutionDepthWise1D",
    "Deconvolution",
    "DeconvolutionDepthWise",
    "InnerProduct",
)


@dataclass(frozen=True, slots=True)
class Weight:
    """One block of the `.bin`.

    Attributes:
        tagged: Whether a word that tells the storage type comes before it; each layer fixes that.
    """

    array: Array
    tagged: bool = False


@dataclass(slots=True)
class Layer:
    """One layer.

    Attributes:
        parameters: By ncnn's number; integers and floats are told apart by their Python type.
        scale: By which a layer with INT8 weights rounds what it reads, in steps a unit; None for the others.
    """

    kind: str
    name: str
    inputs: list[str]
    outputs: list[str]
    parameters: dict[int, Parameter] = field(default_factory=dict)
    weights: tuple[Weight, ...] = ()
    scale: float | None = None

    @property
    def takes_int8(self) -> bool:
        """Whether it reads INT8 as well as what it rounds itself, and can give it."""
        return self.scale is not None and self.kind in ("Convolution", "ConvolutionDepthWise")


class Model:
    """Layers in the order of their execution. A blob is written once and may be read often."""

    def __init__(self) -> None:
        self.layers: list[Layer] = []
        self._names: set[str] = set()
        self._blobs = 0

    def add(
        self,
        kind: str,
        name: str,
        inputs: Sequence[str],
        outputs: int | Sequence[str] = 1,
        parameters: dict[int, Parameter] | None = None,
        weights: Iterable[Weight] = (),
        scale: float | None = None,
    ) -> list[str]:
        """Append a layer and give the names of its outputs, which are made up where only their number is given."""
        names = [self._blob() for _ in range(outputs)] if isinstance(outputs, int) else list(outputs)
        self.layers.append(Layer(kind, self._name(name), list(inputs), names, parameters or {}, tuple(weights), scale))
        return names

    def save(self, param: Path) -> None:
        """Write `param` and the `.bin` beside it."""
        self._fuse_activations()
        self._keep_int8()
        layers = self._with_splits()
        blobs = sum(len(layer.outputs) for layer in layers)
        lines = [str(MAGIC), f"{len(layers)} {blobs}", *map(_line, layers)]
        param.write_text("\n".join(lines) + "\n")
        with param.with_suffix(".bin").open("wb") as file:
            for weight in (weight for layer in layers for weight in layer.weights):
                file.write(_block(weight))

    def _fuse_activations(self) -> None:
        """Let layers with weights compute the activation that alone reads them."""
        readers = Counter(blob for layer in self.layers for blob in layer.inputs)
        makers = {blob: layer for layer in self.layers for blob in layer.outputs}
        kept = []
        for layer in self.layers:
            maker = makers.get(layer.inputs[0]) if layer.kind in FUSED else None
            if maker is None or maker.kind not in FUSING or 9 in maker.parameters or readers[layer.inputs[0]] > 1:
                kept.append(layer)
                continue
            maker.parameters |= _activation(layer)
            maker.outputs = layer.outputs
            makers[layer.outputs[0]] = maker
        self.layers = kept

    def _keep_int8(self) -> None:
        """Let a convolution give INT8 where convolutions alone read it, and all by one scale."""
        readers: dict[str, list[Layer]] = {}
        for layer in self.layers:
            for blob in layer.inputs:
                readers.setdefault(blob, []).append(layer)
        for layer in self.layers:
            after = readers.get(layer.outputs[0], []) if layer.takes_int8 and layer.outputs else []
            scales = {reader.scale for reader in after}
            if len(scales) == 1 and all(reader.takes_int8 for reader in after):
                layer.parameters[8] = REQUANTIZED
                layer.weights += (Weight(np.array(list(scales))),)

    def _with_splits(self) -> list[Layer]:
        """Put a Split behind each blob with several readers: in ncnn a blob has one."""
        readers = Counter(blob for layer in self.layers for blob in layer.inputs)
        copies: dict[str, list[str]] = {}
        layers: list[Layer] = []
        for layer in self.layers:
            inputs = [copies[blob].pop(0) if blob in copies else blob for blob in layer.inputs]
            layers.append(replace(layer, inputs=inputs))
            for blob in layer.outputs:
                if readers[blob] > 1:
                    copies[blob] = [f"{blob}_{i}" for i in range(readers[blob])]
                    layers.append(Layer("Split", self._name(f"split_{blob}"), [blob], list(copies[blob])))
        return layers

    def _blob(self) -> str:
        self._blobs += 1
        return f"b{self._blobs}"

    def _name(self, wanted: str) -> str:
        """A name that no other layer has, without what separates words in the file."""
        name = clean = re.sub(r"[^\x21-\x7e]", "_", wanted)[:200] or "layer"
        tries = 1
        while name in self._names:
            tries += 1
            name = f"{clean}_{tries}"
        self._names.add(name)
        return name


def read_kinds(param: Path) -> set[str]:
    """Give the kinds of layers in a `.param`.

    Raises:
        BadData: It is cut short, or not a `.param`.
    """
    try:
        magic, counts, *lines = param.read_text("ascii").splitlines()
        rows = [line.split() for line in lines]
        whole = int(magic) == MAGIC and int(counts.split()[0]) == len(rows) > 0
        if whole and all(len(row) >= 4 + int(row[2]) + int(row[3]) for row in rows):
            return {row[0] for row in rows}
    except (ValueError, IndexError):  # what UnicodeDecodeError is, too
        pass
    raise BadData(f"{str(param)!r} is not a .param of ncnn or is cut short")


def _block(weight: Weight) -> bytes:
    """Weights as they lie in the file; INT8 is filled up to whole words."""
    if weight.array.dtype == np.int8:
        return INT8.to_bytes(4, "little") + weight.array.tobytes() + bytes(-weight.array.size % 4)
    tag = FLOAT32.to_bytes(4, "little") if weight.tagged else b""
    return tag + np.ascontiguousarray(weight.array, "<f4").tobytes()


def _activation(layer: Layer) -> dict[int, Parameter]:
    kind = FUSED[layer.kind]
    given = [float(value) for value in layer.parameters.values() if isinstance(value, int | float)]
    if layer.kind == "ReLU" and any(given):
        kind = LEAKY
    return {9: kind, 10: given} if given else {9: kind}


def _line(layer: Layer) -> str:
    words = [layer.kind, layer.name, str(len(layer.inputs)), str(len(layer.outputs)), *layer.inputs, *layer.outputs]
    return " ".join(words + [_parameter(key, value) for key, value in sorted(layer.parameters.items())])


def _parameter(key: int, value: Parameter) -> str:
    if isinstance(value, int | float):
        return f"{key}={_number(value)}"
    return f"{ARRAY - key}={','.join([str(len(value)), *map(_number, value)])}"


def _number(value: int | float) -> str:
    """At most 15 characters, and 9 behind the point: older ncnn counts those in 32 bits."""
    if isinstance(value, int):
        return str(value)
    single = np.float32(min(max(value, -LARGEST), LARGEST))
    if single == 0 or 0.01 <= abs(single) < 1e6:
        return np.format_float_positional(single, trim="0")
    return np.format_float_scientific(single, trim="0")
