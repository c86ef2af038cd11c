"""Scales that float16 holds exactly, so that a file needs two bytes for each."""

from __future__ import annotations

import numpy as np

from convert.graph import Array

LEAST = np.finfo(np.float16).smallest_subnormal
MOST_SHORT = 2.0**-11  # of a scale: half a step of float16; a weight of 127 steps still rounds to 127 then


def to_half(scale: Array) -> Array:
    """The nearest numbers that float16 holds, float32; larger ones where the nearest is too small by more than that.

    Below 6e-5 float16 has fewer bits. A scale beyond what it holds stays as it is.

    Args:
        scale: Above 0, float32, of any shape.
    """
    with np.errstate(over="ignore"):
        half = np.maximum(scale.astype(np.float16), LEAST)
    half = np.where(half < scale * (1 - MOST_SHORT), np.nextafter(half, np.float16(np.inf)), half)
    return np.where(np.isfinite(half), half, scale).astype(np.float32)


def as_half(scale: Array) -> Array | None:
    """The same numbers in float16; None where it does not hold them all."""
    with np.errstate(over="ignore"):
        half = scale.astype(np.float16)
    return half if np.array_equal(half.astype(np.float32), scale) else None
