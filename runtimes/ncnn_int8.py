"""INT8 in ncnn: signed and around zero, one scale a tensor and one an output channel; a scale is steps a unit.

Quantizers become no layers. A kernel with INT8 weights rounds what it reads by itself, so a quantizer in front of one
is a number of that layer; what it gives stays INT8 where kernels of that kind alone read it. In front of a layer that
has no INT8 kernel the rounding is written out in float.

Source: Tencent/ncnn, src/layer/convolution.cpp, convolutiondepthwise.cpp, innerproduct.cpp (order of the weights).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge_kit.core.errors import BadData
from edge_kit.core.tensors import Array
from runtimes.ncnn_graph import Node
from runtimes.ncnn_model import Parameter, Weight
from runtimes.ncnn_translate import Rounded, Translation, Value, rule

MOST = 127  # ncnn clips to this on both sides


@dataclass(frozen=True, slots=True)
class Int8:
    """What an INT8 kernel is given.

    Attributes:
        value: The float tensor that it rounds.
        weight: int8, output channels first.
        scales: Steps of `weight` a unit, (out,) float32.
        scale: Steps of `value` a unit.
    """

    value: Value
    weight: Array
    scales: Array
    scale: float

    def weights(self, bias: Sequence[Weight]) -> list[Weight]:
        """As the layer reads them; its bias is float."""
        return [Weight(self.weight, tagged=True), *bias, Weight(self.scales), Weight(np.array([self.scale]))]


INT8_TERM: dict[int, Parameter] = {8: 1}
"""The parameter of a layer with INT8 weights, by ncnn's number."""


def int8_operands(t: Translation, node: Node, axis: int = 0) -> Int8 | None:
    """Give what an INT8 kernel of this node reads; None where it is not quantized, or not as ncnn's kernels want it.

    Args:
        axis: Of the weight's output channels.
    """
    rounded, stored = t.rounded.get(node.inputs[0]), t.graph.stored.get(node.inputs[1])
    if rounded is None or stored is None or stored.values.ndim < 2 or stored.values.min() < -MOST:
        return None
    weight = np.moveaxis(stored.values, axis, 0)
    if stored.step.size > 1 and stored.axis % weight.ndim != axis:
        return None
    scales = np.broadcast_to(1 / stored.step, len(weight)).astype(np.float32)
    return Int8(rounded.value, weight, scales, 1 / rounded.step)


@rule("QuantizeLinear")
def quantize(t: Translation, node: Node) -> None:
    """Remember the grid; who reads it decides what becomes of it."""
    step, zero = t.weight(node, 1), t.constant(node, 2)
    if step.size != 1 or zero is None or zero.dtype != np.int8 or zero.any():
        kind = "uint8" if zero is None else zero.dtype.name
        number = 0 if zero is None else int(zero.reshape(-1)[0])
        found = "a scale a channel" if step.size != 1 else f"{kind}, zero point {number}"
        raise BadData(
            f"ncnn's INT8 is signed and around zero, and activation {node.inputs[0]!r} is quantized otherwise "
            f"({found}); lower the model with --target ncnn"
        )
    t.codes[node.outputs[0]] = Rounded(t.value(node, 0), float(step.reshape(())))


@rule("DequantizeLinear")
def dequantize(t: Translation, node: Node) -> None:
    """The other half of a pair; weights are known before the graph runs and come by here never."""
    codes, step, zero = t.codes.get(node.inputs[0]), t.weight(node, 1), t.constant(node, 2)
    if codes is None or (zero is not None and zero.any()) or step.size != 1 or float(step.reshape(())) != codes.step:
        raise node.refuse("it is not the other half of a QuantizeLinear")
    t.rounded[node.outputs[0]] = codes
