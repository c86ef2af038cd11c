"""What x86 kernels without VNNI do to U8 x S8: `vpmaddubsw` adds two products in int16, and saturates.

Source: microsoft/onnxruntime, onnxruntime/core/mlas/lib. On AVX2 and AVX-512 without VNNI, U8 x S8 is multiplied by
x86_64/QgemmU8X8KernelAvx2.S and ConvSymKernelAvx2.S (both vpmaddubsw, then vpmaddwd with ones, then vpaddd) and
QgemvU8S8KernelAvx2.S, or their Avx512Core twins. All take four adjacent k at a time, so that a pair is k = 2j, 2j + 1;
for a convolution k counts kernel positions and, within each, the input channels of the group (ReorderFilter in
core/providers/cpu/quantization/qlinearconv.cc; MlasConvSymPackW in convsym.cpp). Activations enter as stored, with
their zero point. Depthwise kernels widen before they multiply, and U8 x U8 is added in int32 (vpmaddwd): both exact.
"""

from __future__ import annotations

import numpy as np

from convert.graph import Array

LOWEST, HIGHEST = -(2**15), 2**15 - 1
TOP = 255  # the largest code of an activation


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


def pair_load(rows: Array, top: Array | int = TOP) -> Array:
    """The largest sum that each channel's pairs can reach, over what int16 holds: above 1 it can saturate, (O,).

    It is also the factor by which the channel's weights would have to shrink. Two weights of opposite sign never
    saturate: activations are not negative, so one product takes from the other.

    Args:
        rows: (O, K) from `in_kernel_order`, in steps of the weight's grid.
        top: Largest code of the activation that meets each weight, (K,), or of all.
    """
    largest = rows * np.broadcast_to(np.asarray(top, np.float64), rows.shape[1:])
    pairs = largest.reshape(len(rows), -1, 2)  # (O, K) -> (O, K/2, 2)
    above = np.maximum(pairs, 0).sum(axis=2).max(axis=1, initial=0)
    below = np.minimum(pairs, 0).sum(axis=2).min(axis=1, initial=0)
    load: Array = np.maximum(above / HIGHEST, below / LOWEST)
    return load


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
