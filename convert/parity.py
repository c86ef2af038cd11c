"""Whether two versions of a graph compute the same."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from edge_kit.core.tensors import Array, Run, Tensors


@dataclass(frozen=True, slots=True)
class Parity:
    """The largest difference between two versions of one output.

    Attributes:
        output: Its name.
        max_abs: Largest absolute difference; infinite where one side is not finite or shapes differ.
        max_rel: `max_abs` over the largest absolute value of the reference.
        at: Index of the largest difference in its batch.
        samples: How many were compared.
    """

    output: str
    max_abs: float
    max_rel: float
    at: tuple[int, ...]
    samples: int


def measure_parity(reference: Run, candidate: Run, batches: Iterable[Tensors]) -> list[Parity]:
    """Run both on the same inputs and compare every output of the reference, by name."""
    worst: dict[str, Parity] = {}
    for batch in batches:
        wanted, got = reference(batch), candidate(batch)
        for name, value in wanted.items():
            one = _compare(name, value, got[name])
            before = worst.get(name)
            samples = one.samples + (before.samples if before else 0)
            larger = before if before and before.max_rel >= one.max_rel else one
            worst[name] = Parity(name, larger.max_abs, larger.max_rel, larger.at, samples)
    return list(worst.values())


def _compare(name: str, wanted: Array, got: Array) -> Parity:
    if wanted.shape != got.shape or not (np.isfinite(wanted).all() and np.isfinite(got).all()):
        return Parity(name, float("inf"), float("inf"), (), _samples(wanted))
    if not wanted.size:
        return Parity(name, 0.0, 0.0, (), 0)
    difference = np.abs(wanted.astype(np.float64) - got)
    at = np.unravel_index(int(difference.argmax()), difference.shape)
    top = float(difference.max())
    return Parity(
        name,
        top,
        top / max(float(np.abs(wanted).max()), 1e-12),
        tuple(int(i) for i in at),
        _samples(wanted),
    )


def _samples(value: Array) -> int:
    return len(value) if value.ndim else 1
