"""What x86 kernels without VNNI do to U8 x S8: `vpmaddubsw` adds two products in int16, and saturates.

Source: microsoft/onnxruntime, onnxruntime/core/mlas/lib. On AVX2 and AVX-512 without VNNI, U8 x S8 is multiplied by
x86_64/QgemmU8X8KernelAvx2.S and ConvSymKernelAvx2.S (both vpmaddubsw, then vpmaddwd with ones, then vpaddd) and
QgemvU8S8KernelAvx2.S, or their Avx512Core twins. All take four adjacent k at a time, so that a pair is k = 2j, 2j + 1;
for a convolution k counts kernel positions and, within each, the input channels of the group (ReorderFilter in
core/providers/cpu/quantization/qlinearconv.cc; MlasConvSymPackW in convsym.cpp). Activations enter as stored, with
their zero point. Depthwise kernels widen before they multiply, and U8 x U8 is added in int32 (vpmaddwd): both exact.

oneDNN, which OpenVINO computes with, does the same (oneapi-src/oneDNN, doc, "Nuances of int8 Computations"), but fills
up the channels to four at every place of the kernel: with an odd number of channels other weights are neighbours.
"""

from __future__ import annotations

import numpy as np

from convert.graph import Array
from convert.halves import to_half

LOWEST, HIGHEST = -(2**15), 2**15 - 1
TOP = 255  # what an activation's code is clipped to; our grids end at the largest calibrated value, and this is it


def is_depthwise(weight: Array, group: int) -> bool:
    """Whether a convolution's kernel is one that never adds pairs in int16.

    Args:
        weight: (O, I, ...).
    """
    return group == len(weight) and weight.shape[1] == 1


def in_kernel_order(weight: Array) -> Array:
    """Weights as the kernels walk them: (O, I, kh, kw) -> (O, kh*kw*I), (O, K) stays; K made even with a zero."""
    rows = np.moveaxis(weight, 1, -1).reshape(len(weight), -1)  # (O, I, kh, kw) -> (O, kh*kw*I)
    return np.pad(rows, ((0, 0), (0, rows.shape[1] % 2)))


def pair_load(rows: Array) -> Array:
    """The largest sum that each channel's pairs can reach, over what int16 holds: above 1 it can saturate, (O,).

    Two weights of opposite sign never saturate: activations are not negative, so one product takes from the other.

    Args:
        rows: (O, K) from `in_kernel_order`, in steps of the weight's grid.
    """
    pairs = rows.reshape(len(rows), -1, 2).astype(np.float64)  # (O, K) -> (O, K/2, 2)
    above = TOP * np.maximum(pairs, 0).sum(axis=2).max(axis=1, initial=0)
    below = TOP * np.minimum(pairs, 0).sum(axis=2).min(axis=1, initial=0)
    load: Array = np.maximum(above / HIGHEST, below / LOWEST)
    return load


def fit_channels(weight: Array, scale: Array) -> tuple[Array, Array]:
    """Weights on a grid of 8 bits a channel: int8 of the same shape, and the scale as given.

    Args:
        weight: (O, ...) float32.
        scale: (O,) float32.
    """
    steps = weight / scale.reshape(-1, *[1] * (weight.ndim - 1))
    return np.clip(np.rint(steps), -127, 127).astype(np.int8), scale


def fit_pairs(weight: Array, scale: Array) -> tuple[Array, Array]:
    """As `fit_channels`, but no pair sum can saturate, whatever the activations are.

    The scale of a channel is raised by as much as its fullest pair asks for, and not where none can saturate. What
    rounding then adds is trimmed off the pair.

    Args:
        weight: (O, I, kh, kw) or (O, K) float32.
        scale: (O,) float32.
    """
    rows = in_kernel_order(weight)
    load = pair_load(fit_channels(rows, scale)[0])
    raised = _raise(scale, load)
    return _from_kernel_order(_trim(fit_channels(rows, raised)[0]), weight), raised


def fit_any_pairs(weight: Array, scale: Array) -> tuple[Array, Array]:
    """As `fit_pairs`, whichever two weights of a channel a kernel adds.

    Args:
        weight: (O, ...) float32.
        scale: (O,) float32.
    """
    rows = np.abs(weight.reshape(len(weight), -1) / scale.reshape(-1, 1))
    signs = weight.reshape(rows.shape) > 0
    pairs = [np.sort(np.where(side, np.minimum(rows, 127), 0), axis=1)[:, -2:].sum(axis=1) for side in (signs, ~signs)]
    room = HIGHEST // TOP - 1  # rounding may add half a step to either
    raised = _raise(scale, np.maximum(*pairs) / room)
    return fit_channels(weight, raised)


def _raise(scale: Array, load: Array) -> Array:
    """The scales of channels that are loaded above 1, times that; those of the others stay as they are."""
    return np.where(load > 1, to_half(scale * load), scale).astype(np.float32)


def _trim(rows: Array) -> Array:
    """Bring every pair of one sign to at most what int16 holds, at the expense of both."""
    pairs = rows.astype(np.int32).reshape(len(rows), -1, 2)
    same = (pairs > 0).all(axis=2) | (pairs < 0).all(axis=2)
    excess = np.where(same, np.maximum(np.abs(pairs.sum(axis=2)) - HIGHEST // TOP, 0), 0)
    half = np.stack([excess - excess // 2, excess // 2], axis=2)
    trimmed: Array = pairs - np.sign(pairs) * half
    return trimmed.astype(np.int8).reshape(rows.shape)


def _from_kernel_order(rows: Array, weight: Array) -> Array:
    outputs, inputs, *kernel = weight.shape
    filled = rows[:, : weight[0].size].reshape(outputs, *kernel, inputs)  # the padding goes
    restored: Array = np.moveaxis(filled, -1, 1)
    return restored


def saturation(activations: Array, rows: Array) -> tuple[Array, int]:
    """What int16 pair sums add to the exact int32 ones, (M, O) int32, and how many pair sums saturated.

    Only pairs that the largest activations seen could saturate are looked at; the others are exact.

    Args:
        activations: (M, K) uint8, K in kernel order.
        rows: (O, K) int8 from `in_kernel_order`, K even.
    """
    missing = rows.shape[1] - activations.shape[1]
    columns = np.pad(activations.T, ((0, missing), (0, 0))).astype(np.int32).reshape(-1, 2, len(activations))
    pairs = rows.astype(np.int32).reshape(len(rows), -1, 2)
    reach = pairs * columns.max(axis=2, initial=0)  # (O, K/2, 2)
    above, below = np.maximum(reach, 0).sum(axis=2), np.minimum(reach, 0).sum(axis=2)
    risky = (above > HIGHEST) | (below < LOWEST)  # (O, K/2)
    excess = np.zeros((len(rows), len(activations)), np.int32)
    count = 0
    for j in np.flatnonzero(risky.any(axis=0)):
        channels = np.flatnonzero(risky[:, j])
        sums = pairs[channels, j] @ columns[j]  # (O', 2) @ (2, M)
        lost = np.clip(sums, LOWEST, HIGHEST) - sums
        excess[channels] += lost
        count += int(np.count_nonzero(lost))
    return excess.T, count
