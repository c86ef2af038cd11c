"""How far a tensor may be off: what float arithmetic, or 8 bits done right, would leave of it.

Whether an error is a fault is a question of its size against the noise that is due. Over a whole network noise piles
up until it hides faults; in one piece fed with right inputs (`convert.segments`) it can be told beforehand. The same
piece of the reference is run with weights rounded to 8 bits and, where the suspect's rounds what it reads, with inputs
rounded to 8 bits; one rounding of the result is added. No grid of the suspect's excuses its own error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from onnx import NodeProto

from convert.graph import Array, Graph, attribute
from convert.quantization import STEPS, Range

LIMIT = 5.0
"""Largest error of a channel, in units of its noise, that passes; few values may lie further off (`allowance`).

Measured on healthy networks, worst channel of all tensors: 2.9 with 32 pictures, 3.7 with PaddleSlim's ranges and 16;
with one picture 5.3, in a tensor with one value a channel, where 10 passes. MobileNetV2 and ResNet18 at 64 x 64, two
targets, four calibrations. Planted faults lay at 22 to 180.
"""
CLIPPED = 0.05
"""Largest share of a tensor's root mean square that may lie outside its grid.

A range found on other samples misses the rare large value: measured up to 0.03 on healthy networks.
"""
FLOAT_ERROR = 1e-3
"""Largest error of a float piece that passes, in units of its tensor's root mean square.

ONNX Runtime and OpenVINO in float32 were measured to differ by 2.2e-6 at most, OpenVINO in bfloat16 by 1.3e-2
(MobileNetV2 and ResNet18 at 64 x 64, worst channel of all tensors).
"""
WEIGHTS: Mapping[str, Mapping[int, tuple[int, ...]]] = {
    "Conv": {1: (0,)},
    "ConvTranspose": {1: (1,)},
    "Gemm": {1: (1,)},
    "MatMul": {1: (-1,)},
    "Gather": {0: (1,)},
    **dict.fromkeys(("LSTM", "GRU", "RNN"), {1: (0, 1), 2: (0, 1)}),
}
"""By operator, the inputs that hold weights, and the axes along which each of these has scales of its own."""
WEIGHT_LEVELS = 63  # either side of zero: weights kept from saturating in pairs use half of their 127


@dataclass(frozen=True, slots=True)
class Grid:
    """The values between which a quantized tensor lies."""

    low: float
    high: float

    def clip(self, values: Array) -> Array:
        """Values as a right grid of this range would hold them, unrounded."""
        return np.clip(values, self.low, self.high)

    def show(self) -> str:
        """For people."""
        return f"{self.low:.4g} to {self.high:.4g}"


NO_GRID = Grid(-np.inf, np.inf)


def by_channel(values: Array) -> Array:
    """Mean over all but axis 1, (C,); over everything where there is no such axis, (1,)."""
    if values.ndim < 2:
        return np.array([values.mean()])
    return np.asarray(values.mean(axis=tuple(i for i in range(values.ndim) if i != 1)))


@dataclass(slots=True)
class Evidence:
    """What is known about one tensor after some batches.

    Attributes:
        grid: The suspect's own; values beyond are judged as clipped, not as wrong.
        quantized: Whether the suspect holds quantizers.
        float_error: What passes where it holds none.
        fault: What ends all comparing: another shape, a piece that cannot run; empty while there is none.
        shape: Of the last batch.
    """

    grid: Grid
    quantized: bool
    float_error: float = FLOAT_ERROR
    fault: str = ""
    shape: tuple[int, ...] = ()
    _error: list[Array] = field(default_factory=list)
    _noise: list[Array] = field(default_factory=list)
    _signal: list[float] = field(default_factory=list)
    _lost: list[float] = field(default_factory=list)
    _values: int = 0  # in a channel

    def add(self, wanted: Array, got: Array | str, rounded: Array | None) -> None:
        """Take in one batch.

        Args:
            got: What the piece made, or why it made nothing.
            rounded: What the reference's piece computes in 8 bits; None where it computes nothing.
        """
        self.shape = tuple(wanted.shape)
        if isinstance(got, str):
            self.fault = self.fault or got
            return
        if got.shape != wanted.shape:
            self.fault = self.fault or f"its shape is {tuple(got.shape)}, not {self.shape}"
            return
        if not np.isfinite(got).all():
            self.fault = self.fault or f"{int((~np.isfinite(got)).sum())} values are not finite"
            return
        exact = wanted.astype(np.float64)
        held = self.grid.clip(exact)
        self._error.append(by_channel((got - held) ** 2))
        self._noise.append(by_channel((rounded - exact) ** 2) if rounded is not None else np.zeros(1))
        self._values += exact.size // len(self._error[-1])
        self._signal.append(float((exact**2).mean()))
        self._lost.append(float(((exact - held) ** 2).mean()))

    def signal(self) -> float:
        """Root mean square of the right values."""
        return max(float(np.sqrt(np.mean(self._signal))), 1e-30) if self._signal else 1.0

    def errors(self) -> Array:
        """Root mean square error of each channel, (C,); where nothing could be compared, one zero."""
        if not self._error:
            return np.zeros(1)
        error: Array = np.sqrt(np.mean(self._error, axis=0))
        return error

    def noise(self, span: Range) -> Array:
        """Root mean square of the error that each channel may be expected to have, (C,).

        Args:
            span: Of the right values.
        """
        unit = self.float_error / LIMIT * self.signal()
        if not self.quantized or not self._noise:
            return np.full_like(self.errors(), unit)
        step = max(span.width / STEPS, unit)
        rounded = np.mean(self._noise, axis=0)
        # A channel may be lucky in its roundings, and the suspect's not be: none is held to less than the mean.
        noise: Array = np.sqrt(np.maximum(rounded, rounded.mean()) + step**2 / 12)  # 1/12: variance of one rounding
        return np.asarray(noise + np.zeros_like(self.errors()))

    def is_wrong(self, span: Range) -> bool:
        """Whether more is off than noise of right values in `span`."""
        if self.fault or self.clipped() > CLIPPED:
            return True
        return bool((self.errors() > self.allowance() * self.noise(span)).any())

    def allowance(self) -> float:
        """`LIMIT`, and more where a channel's error is known from few values."""
        return float(LIMIT * (1 + 1 / np.sqrt(max(self._values, 1))))

    def clipped(self) -> float:
        """Root mean square of what lies outside the grid, as a share of the signal's."""
        return float(np.sqrt(np.mean(self._lost))) / self.signal() if self._lost else 0.0


def to_levels(values: Array, span: Range) -> Array:
    """Values rounded to the 8-bit grid of their range."""
    step = max(span.width, 1e-12) / STEPS
    return np.asarray(np.rint(values / step) * step, values.dtype)


def with_rounded_weights(graph: Graph) -> Graph:
    """A copy whose weights lie on 8-bit grids, one a output channel, column of a table or row of a gate."""
    rounded = graph.copy()
    for node in rounded.nodes:
        for position, axes in _weights_of(node).items():
            name = node.input[position]
            weight = rounded.constants.get(name)
            if weight is None or weight.ndim < 2 or weight.dtype.kind != "f":
                continue
            others = tuple(set(range(weight.ndim)) - {axis % weight.ndim for axis in axes})
            step = np.maximum(np.abs(weight).max(axis=others, keepdims=True), 1e-12) / WEIGHT_LEVELS
            rounded.constants[f"{name}.rounded"] = (np.rint(weight / step) * step).astype(weight.dtype)
            node.input[position] = f"{name}.rounded"
    return rounded


def _weights_of(node: NodeProto) -> Mapping[int, tuple[int, ...]]:
    if node.op_type == "Gemm" and attribute(node, "transB", 0):
        return {1: (0,)}
    if node.op_type == "Gather" and attribute(node, "axis", 0):
        return {}
    return WEIGHTS.get(node.op_type, {})


def grids(graph: Graph, stored: Mapping[str, tuple[str, str]]) -> dict[str, Grid]:
    """Grids of the tensors that one scale and zero point store.

    Args:
        stored: By tensor, the names of scale and zero point; the latter may be empty.
    """
    found = {}
    for tensor, (scale, zero) in stored.items():
        if not graph.is_constant(scale) or graph.constants[scale].size != 1:
            continue
        offset = graph.constants.get(zero, np.zeros((), np.uint8))
        limits, step = np.iinfo(offset.dtype), float(graph.constants[scale].reshape(-1)[0])
        origin = int(offset.reshape(-1)[0])
        found[tensor] = Grid((limits.min - origin) * step, (limits.max - origin) * step)
    return found
