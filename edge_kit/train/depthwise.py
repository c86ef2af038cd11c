"""Depthwise convolution as one batched matrix product, for training on a CPU.

Paddle's CPU kernel for it runs one small matrix product a picture and channel, on one core: at 2x2 pixels and 960
channels it takes longer than all other layers together. On small maps the convolution of a channel is a matrix from
input pixels to output pixels that depends on nine weights only, and all channels go through one batched product.
MobileNetV2 at 64x64 pixels trains 2.4 times as fast. Only how training computes is changed: weights keep their names
and shapes, and nothing of this is exported.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import paddle
from paddle import Tensor, nn
from paddle.nn.quant.quant_layers import QuantizedConv2D

LARGEST_MAP = 64  # pixels; above it the matrix grows past what the slow kernel costs


@contextmanager
def fast_depthwise(net: nn.Layer) -> Iterator[None]:
    """Within the context, the depthwise convolutions of `net` compute small maps as matrix products.

    Those too that round what they read, for quantization-aware training.
    """
    convolutions = (nn.Conv2D, QuantizedConv2D)
    changed = [layer for layer in net.sublayers() if isinstance(layer, convolutions) and _is_plain_depthwise(layer)]
    for layer in changed:
        layer.forward = _Forward(layer, layer.forward)
    try:
        yield
    finally:
        for layer in changed:
            del layer.forward  # the class's own shows again


class _Forward:
    def __init__(self, layer: Any, original: Any) -> None:
        self._layer, self._original = layer, original

    def __call__(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        if height * width > LARGEST_MAP:
            return self._original(x)
        layer = self._layer
        if isinstance(layer, QuantizedConv2D):
            return _as_matrix_product(layer, layer._fake_quant_input(x), layer._fake_quant_weight(layer.weight))
        return _as_matrix_product(layer, x, layer.weight)


def _is_plain_depthwise(layer: Any) -> bool:
    return (
        layer._groups == layer.weight.shape[0] > 1
        and layer.weight.shape[1] == 1
        and isinstance(_padding(layer), list | tuple | int)
        and layer._padding_mode == "zeros"
        and list(layer._dilation) == [1, 1]
        and layer._data_format == "NCHW"
    )


def _padding(layer: Any) -> Any:
    return getattr(layer, "_updated_padding", layer._padding)


def _as_matrix_product(layer: Any, x: Tensor, weight: Tensor) -> Tensor:
    batch, channels, height, width = x.shape
    kernel, stride = tuple(weight.shape[2:]), tuple(layer._stride)
    padding = _padding(layer)
    pads = (padding, padding) if isinstance(padding, int) else tuple(padding)[:2]
    taps, out_height, out_width = _taps(height, width, kernel, stride, pads)
    rows = weight.reshape([channels, kernel[0] * kernel[1]])
    matrix = paddle.matmul(rows, taps).reshape([channels, height * width, out_height * out_width])
    pixels = x.reshape([batch, channels, height * width]).transpose([1, 0, 2])  # (N, C, P) -> (C, N, P)
    out = paddle.bmm(pixels, matrix).transpose([1, 0, 2])
    out = out.reshape([batch, channels, out_height, out_width])
    return out if layer.bias is None else out + layer.bias.reshape([1, channels, 1, 1])


@cache
def _taps(
    height: int, width: int, kernel: tuple[int, int], stride: tuple[int, int], pads: tuple[int, int]
) -> tuple[Tensor, int, int]:
    """Which weight leads from which input pixel to which output pixel: (taps, pixels in * pixels out), 0 or 1."""
    out_height = (height + 2 * pads[0] - kernel[0]) // stride[0] + 1
    out_width = (width + 2 * pads[1] - kernel[1]) // stride[1] + 1
    taps = np.zeros((*kernel, height, width, out_height, out_width), np.float32)
    for i, j, row, column in np.ndindex(*kernel, out_height, out_width):
        y, x = row * stride[0] + i - pads[0], column * stride[1] + j - pads[1]
        if 0 <= y < height and 0 <= x < width:
            taps[i, j, y, x, row, column] = 1
    return paddle.to_tensor(taps.reshape(kernel[0] * kernel[1], -1)), out_height, out_width
