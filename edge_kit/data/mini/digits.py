"""Scikit-learn's 1,797 handwritten digits, split so that no image is shared between train and val.

Material: the test part of the UCI "Optical Recognition of Handwritten Digits" set (Alpaydin and Kaynak, 1998),
as scikit-learn ships it; it needs no download.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

VAL_SHARE = 0.25  # of each class, so both splits see every class
SPLIT_SEED = 20241  # fixed for good: changing it would leak digits seen by shipped checkpoints into val


@dataclass(frozen=True, slots=True)
class Digits:
    """One split of the digits.

    Attributes:
        images: (N, 8, 8) float32, 0 is paper and 1 is full ink.
        labels: (N,) int64, 0..9.
        indices: (N,) int64, position in scikit-learn's own order; tells digits apart across splits.
    """

    images: NDArray[np.float32]
    labels: NDArray[np.int64]
    indices: NDArray[np.int64]


@cache
def load_digits(split: str) -> Digits:
    """Load the `train` or `val` digits."""
    from sklearn.datasets import load_digits as sklearn_digits

    material = sklearn_digits()
    labels = material.target.astype(np.int64)
    rng = np.random.default_rng(SPLIT_SEED)
    chosen: list[NDArray[np.int64]] = []
    for label in range(10):
        order = rng.permutation(np.flatnonzero(labels == label))
        held_out = round(len(order) * VAL_SHARE)
        chosen.append(order[:held_out] if split == "val" else order[held_out:])
    indices = np.sort(np.concatenate(chosen))
    images = (material.images[indices] / 16.0).astype(np.float32)
    return Digits(images, labels[indices], indices)
