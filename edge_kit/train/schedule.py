"""How the learning rate goes over a run: a share of its top for every step."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

DECAY_SHARE = 0.25
STEP_FACTOR = 0.1
POLY_POWER = 0.9


@dataclass(frozen=True, slots=True)
class Moment:
    """Where a run stands.

    Attributes:
        step: From 0.
        total: Steps of the whole run.
        epochs: Of the whole run.
        warmup_steps: That passed before the schedule counts.
        milestones: Epochs at which something happens.
        factors: What share is left from each milestone on; none for a tenth at each.
    """

    step: int
    total: int
    epochs: int
    warmup_steps: int
    milestones: tuple[int, ...]
    factors: tuple[float, ...]

    @property
    def epoch(self) -> int:
        """From 0."""
        return self.step * self.epochs // self.total

    @property
    def passed(self) -> int:
        """How many milestones lie behind."""
        return sum(self.step * self.epochs >= epoch * self.total for epoch in self.milestones)


def _half_wave(share: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * share))


def _falling(now: Moment, begin: float) -> float:
    return _half_wave(max(now.step - begin, 0) / max(now.total - begin, 1))


def _step(now: Moment) -> float:
    factors = now.factors or tuple(STEP_FACTOR ** (i + 1) for i in range(len(now.milestones)))
    return (1.0, *factors)[now.passed]


def _plateau_linear(now: Moment) -> float:
    late = min(now.epoch, now.epochs - 2) - now.milestones[0] + 1
    return 1 - max(late, 0) / (now.epochs - now.milestones[0])


SCHEDULES: Mapping[str, Callable[[Moment], float]] = {
    "cosine": lambda now: _falling(now, now.warmup_steps),
    "epoch_cosine": lambda now: _half_wave(now.epoch / now.epochs),
    "late_cosine": lambda now: _half_wave((now.step - now.warmup_steps) / now.total),
    "trapezoid": lambda now: _falling(now, now.total * (1 - DECAY_SHARE)),
    "step": _step,
    "constant": lambda now: 1.0,
    "plateau_linear": _plateau_linear,
    "poly": lambda now: math.pow(1 - now.step / now.total, POLY_POWER),
}
"""By name; `Recipe.schedule` says in words what each does.

Source of `epoch_cosine` and `late_cosine`: PaddlePaddle/models release/1.6, PaddleCV/image_classification.
"""

WITH_MILESTONES = ("step", "plateau_linear")
