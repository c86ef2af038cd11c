"""Quantized operators in NumPy, bit for bit as ONNX Runtime's CPU kernels compute them on x86.

Every operator takes an ONNX node and the values of its inputs (None where one is left out) and gives its output.
Source: microsoft/onnxruntime, onnxruntime/core/providers/cpu/quantization/qlinearconv.cc,
onnxruntime/contrib_ops/cpu/quantization/*.cc and onnxruntime/core/mlas/lib (quantize.cpp, qladd.cpp, qlmul.cpp,
qlgavgpool.cpp).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from onnx import NodeProto

from convert.graph import Array, attribute
from convert.pairs import in_kernel_order, is_depthwise, saturation
from edge_kit.core.errors import BadData

Inputs = Sequence[Array | None]
FLOAT32_EXACT = 2**24  # every whole number up to here is a float32
PIECE = 2**23  # values that convolution windows are laid out for at a time, so that large pictures fit in memory


class Products:
    """How products of integers are summed.

    Attributes:
        pairs: In int16 pairs, which saturate, where U8 meets S8; else in int32.
        saturated: Pair sums that saturated, over all calls.
    """

    def __init__(self, *, pairs: bool) -> None:
        self.pairs = pairs
        self.saturated = 0

    def sums(self, activations: Array, zero: int, weight: Array, weight_zero: Array | int = 0) -> Array:
        """Sums of products, zero points taken off, (M, O) int32.

        Args:
            activations: (M, K) uint8 or int8 codes, K in kernel order.
            weight: (O, K) uint8 or int8 codes in kernel order.
            weight_zero: One, or (O, 1).
        """
        shifted = weight.astype(np.int32) - weight_zero
        reach = 255 * int(np.abs(shifted).sum(axis=1).max(initial=0))
        exact = np.float32 if reach < FLOAT32_EXACT else np.float64  # BLAS has no integers
        summed: Array = (activations.astype(exact) @ shifted.T.astype(exact)).astype(np.int32)
        if self.pairs and activations.dtype == np.uint8 and weight.dtype == np.int8:
            excess, count = saturation(activations, in_kernel_order(weight))
            self.saturated += count
            summed += excess
        summed -= zero * shifted.sum(axis=1, dtype=np.int32)
        return summed


class Operator(Protocol):
    """One operator."""

    def __call__(self, node: NodeProto, inputs: Inputs, products: Products) -> Array: ...


def requantize(sums: Array, scale: Array | np.float32, zero: Array) -> Array:
    """Int32 sums on the grid of the output: times `scale` in float32, cut to the grid, rounded half to even."""
    limits, offset = np.iinfo(zero.dtype), _zero(zero)
    scaled = np.clip(sums.astype(np.float32) * scale, limits.min - offset, limits.max - offset)
    return (np.rint(scaled) + offset).astype(zero.dtype)


def conv(node: NodeProto, inputs: Inputs, products: Products) -> Array:
    """QLinearConv of pictures, (N, C, H, W)."""
    x, x_scale, x_zero, weight, w_scale, w_zero, y_scale, y_zero, *bias = _present(inputs)
    if weight.ndim != 4 or attribute(node, "auto_pad", b"NOTSET") != b"NOTSET":
        raise BadData(f"cannot emulate convolution {node.name!r}: only two axes with their padding written out")
    strides, zero = attribute(node, "strides", [1, 1]), _zero(x_zero)
    column = np.broadcast_to(w_zero.astype(np.int32).reshape(-1, 1), (len(weight), 1))
    scale = _scale(x_scale) * w_scale / _scale(y_scale)
    windows = _windows(node, x, weight.shape[2:], strides, zero)  # (N, C, OH, OW, kh, kw)
    step = max(1, PIECE // max(1, windows[:1].size))
    done = []
    for i in range(0, len(x), step):
        sums = _sums(windows[i : i + step], zero, weight, column, products)
        done.append(requantize(sums + bias[0] if bias else sums, scale, y_zero).transpose(0, 3, 1, 2))
    return np.concatenate(done)


def _sums(windows: Array, zero: int, weight: Array, weight_zero: Array, products: Products) -> Array:
    """(N, OH, OW, O) int32."""
    group = windows.shape[1] // weight.shape[1]
    if is_depthwise(weight, group):
        return _depthwise(windows, zero, (weight.astype(np.int32) - weight_zero[..., None, None])[:, 0])
    parts = zip(np.split(windows, group, 1), np.split(weight, group), np.split(weight_zero, group), strict=True)
    return np.concatenate([_grouped(*part, zero, products) for part in parts], axis=3)


def _windows(node: NodeProto, x: Array, kernel: Sequence[int], strides: Sequence[int], fill: float) -> Array:
    """What each place of the kernel sees, a view, (N, C, OH, OW, kh, kw)."""
    top, left, bottom, right = attribute(node, "pads", [0, 0, 0, 0])
    dilations = attribute(node, "dilations", [1, 1])
    padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=fill)
    spans = tuple((size - 1) * step + 1 for size, step in zip(kernel, dilations, strict=True))
    every: Array = sliding_window_view(padded, spans, axis=(2, 3))  # type: ignore[call-overload]  # one span an axis
    return every[:, :, :: strides[0], :: strides[1], :: dilations[0], :: dilations[1]]


def _depthwise(windows: Array, zero: int, kernel: Array) -> Array:
    sums = np.zeros(windows.shape[:4], np.int32)
    for row, column in np.ndindex(*kernel.shape[1:]):
        sums += (windows[..., row, column].astype(np.int32) - zero) * kernel[:, row, column, None, None]
    return sums.transpose(0, 2, 3, 1)


def _grouped(windows: Array, weight: Array, weight_zero: Array, zero: int, products: Products) -> Array:
    n, _, height, width = windows.shape[:4]
    k = weight[0].size
    rows = windows.transpose(0, 2, 3, 4, 5, 1).reshape(n * height * width, k)
    kernel = np.moveaxis(weight, 1, -1).reshape(len(weight), k)
    return products.sums(rows, zero, kernel, weight_zero).reshape(n, height, width, len(weight))


def gemm(node: NodeProto, inputs: Inputs, products: Products) -> Array:
    """QGemm; its output is float32 where it is given no grid."""
    padded = [*inputs, None, None, None][:9]
    a, a_scale, a_zero, b, b_scale, b_zero, bias, y_scale, y_zero = padded
    assert a is not None and b is not None and b_scale is not None
    a = a.T if attribute(node, "transA", 0) else a
    weight = b if attribute(node, "transB", 0) else b.T
    column = 0 if b_zero is None else b_zero.astype(np.int32).reshape(-1, 1)
    sums = products.sums(a, _zero(a_zero), weight, column)
    if bias is not None:
        sums = sums + bias
    scale = np.float32(attribute(node, "alpha", 1.0)) * _scale(a_scale) * b_scale
    if y_zero is None:
        return sums.astype(np.float32) * scale
    return requantize(sums, scale / _scale(y_scale), y_zero)


def matmul(node: NodeProto, inputs: Inputs, products: Products) -> Array:
    """QLinearMatMul by one matrix."""
    a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero = _present(inputs)
    if b.ndim != 2:
        raise BadData(f"cannot emulate {node.name!r}: a product of {b.ndim} axes; only one matrix")
    rows = a.reshape(-1, len(b))
    sums = products.sums(rows, _zero(a_zero), b.T, b_zero.astype(np.int32).reshape(-1, 1))
    result = requantize(sums, _scale(a_scale) * b_scale.reshape(-1) / _scale(y_scale), y_zero)
    return result.reshape(*a.shape[:-1], b.shape[1])


def add(node: NodeProto, inputs: Inputs, products: Products) -> Array:
    """QLinearAdd, as the AVX2 kernel does it: fused multiply-adds in float32, whose products float64 holds whole."""
    a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero = inputs
    assert a is not None and b is not None
    of_a, of_b = _scale(a_scale) / _scale(y_scale), _scale(b_scale) / _scale(y_scale)
    zeros = np.float32(np.float64(of_a) * _zero(a_zero) + of_b * np.float32(_zero(b_zero)))  # compiled to one more
    fixed = np.float32(_zero(y_zero)) - zeros
    second = (b.astype(np.float64) * of_b + fixed).astype(np.float32)
    return _saturate((a.astype(np.float64) * of_a + second).astype(np.float32), a.dtype)


def mul(node: NodeProto, inputs: Inputs, products: Products) -> Array:
    """QLinearMul."""
    a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero = inputs
    assert a is not None and b is not None
    product = (a.astype(np.int32) - _zero(a_zero)) * (b.astype(np.int32) - _zero(b_zero))
    ratio = _scale(a_scale) * _scale(b_scale) / _scale(y_scale)
    return _saturate(product.astype(np.float32) * ratio + np.float32(_zero(y_zero)), a.dtype)


def global_average_pool(node: NodeProto, inputs: Inputs, products: Products) -> Array:
    """QLinearGlobalAveragePool, channels first."""
    x, x_scale, x_zero, y_scale, y_zero = [*inputs, None][:5]
    assert x is not None
    size = int(np.prod(x.shape[2:]))
    sums = x.sum(axis=tuple(range(2, x.ndim)), keepdims=True, dtype=np.int32) - _zero(x_zero) * size
    given = np.zeros((), x.dtype) if y_zero is None else y_zero
    return requantize(sums, _scale(x_scale) / (_scale(y_scale) * np.float32(size)), given)


def concat(node: NodeProto, inputs: Inputs, products: Products) -> Array:
    """QLinearConcat: each input is moved to the grid of the output through float32."""
    y_scale, y_zero, *rest = _present(inputs)
    moved = []
    for x, scale, zero in zip(rest[::3], rest[1::3], rest[2::3], strict=True):
        same = _scale(scale) == _scale(y_scale) and _zero(zero) == _zero(y_zero)
        moved.append(x if same else quantize_by(_dequantize(x, scale, zero), y_scale, y_zero))
    return np.concatenate(moved, axis=attribute(node, "axis", 1))


def max_pool(node: NodeProto, inputs: Inputs, products: Products) -> Array:
    """MaxPool of pictures, sizes rounded down; padding never wins."""
    [x] = _present(inputs)
    least = np.iinfo(x.dtype).min if x.dtype.kind in "iu" else -np.inf
    windows = _windows(node, x, attribute(node, "kernel_shape"), attribute(node, "strides", [1, 1]), least)
    largest: Array = windows.max(axis=(4, 5))
    return largest


def quantize(node: NodeProto, inputs: Inputs, products: Products) -> Array:
    """QuantizeLinear by one scale."""
    x, scale, *zero = _present(inputs)
    return quantize_by(x, scale, zero[0] if zero else np.zeros((), np.uint8))


def dequantize(node: NodeProto, inputs: Inputs, products: Products) -> Array:
    """DequantizeLinear, by one scale or one an output channel."""
    x, scale, *zero = _present(inputs)
    aligned = [scale, *zero]
    if scale.size > 1:
        shape = [1] * x.ndim
        shape[attribute(node, "axis", 1)] = -1
        aligned = [value.reshape(shape) for value in aligned]
    return _dequantize(x, *aligned)


def quantize_by(x: Array, scale: Array, zero: Array) -> Array:
    """Float32 values on a grid of one scale."""
    limits, offset = np.iinfo(zero.dtype), _zero(zero)
    steps = np.clip(x / _scale(scale), limits.min - offset, limits.max - offset)
    codes: Array = (np.rint(steps) + offset).astype(zero.dtype)
    return codes


def _dequantize(x: Array, scale: Array, zero: Array | None = None) -> Array:
    shifted = x.astype(np.int32) - (0 if zero is None else zero.astype(np.int32))
    return shifted.astype(np.float32) * scale


def _present(inputs: Inputs) -> list[Array]:
    return [value for value in inputs if value is not None]


def _zero(value: Array | None) -> int:
    return 0 if value is None else int(value.reshape(-1)[0])


def _scale(value: Array | None) -> np.float32:
    assert value is not None
    return np.float32(value.reshape(-1)[0])


def _saturate(values: Array, kind: np.dtype[Any]) -> Array:
    limits = np.iinfo(kind)
    return np.clip(np.rint(values), limits.min, limits.max).astype(kind)


OPERATORS: dict[str, Operator] = {
    "QLinearConv": conv,
    "QGemm": gemm,
    "QLinearMatMul": matmul,
    "QLinearAdd": add,
    "QLinearMul": mul,
    "QLinearGlobalAveragePool": global_average_pool,
    "QLinearConcat": concat,
    "MaxPool": max_pool,
    "QuantizeLinear": quantize,
    "DequantizeLinear": dequantize,
}
