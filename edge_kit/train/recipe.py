"""How a network is trained, as data."""

from __future__ import annotations

import math
from dataclasses import dataclass

from edge_kit.core.errors import UsageError

SCHEDULES = ("cosine", "trapezoid", "step", "constant", "poly")
OPTIMIZERS = ("momentum", "adagrad", "adam")
DECAY_SHARE = 0.25
STEP_FACTOR = 0.1
POLY_POWER = 0.9


@dataclass(frozen=True, slots=True)
class Recipe:
    """Stochastic gradient descent and a schedule of the learning rate.

    Attributes:
        epochs: Passes over the training samples.
        batch_size: Samples a step.
        learning_rate: At the top of the schedule.
        schedule: `cosine` falls to 0 over the whole run; `trapezoid` stays and falls to 0 in the last quarter;
            `step` falls to a tenth at each of `milestones`; `constant` stays; `poly` falls to 0 as (1 - share) ** 0.9.
        warmup_steps: Steps of linear rise from 0 before the schedule counts.
        momentum: Of the plain, not Nesterov, kind; the others have none.
        weight_decay: L2, on every parameter, as the published recipes have it.
        seed: Of initial weights, order and augmentation.
        milestones: Epochs, for `step`.
        label_smoothing: Share of a label that is spread over all classes; of classification only.
        mixup: Alpha of the Beta distribution that pictures are mixed by (arXiv:1710.09412), 0 for none; likewise.
        optimizer: `momentum`, or `adagrad`, which divides each step by the root of the squares of all before, or
            `adam` (arXiv:1412.6980) with its usual constants.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    schedule: str = "cosine"
    warmup_steps: int = 0
    momentum: float = 0.9
    weight_decay: float = 0.0
    seed: int = 0
    milestones: tuple[int, ...] = ()
    label_smoothing: float = 0.0
    mixup: float = 0.0
    optimizer: str = "momentum"

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1:
            raise UsageError(f"epochs and batch_size must be at least 1, got {self.epochs} and {self.batch_size}")
        if self.schedule not in SCHEDULES:
            raise UsageError(f"schedule must be one of {', '.join(SCHEDULES)}, got {self.schedule!r}")
        if self.optimizer not in OPTIMIZERS:
            raise UsageError(f"optimizer must be one of {', '.join(OPTIMIZERS)}, got {self.optimizer!r}")
        if bool(self.milestones) != (self.schedule == "step"):
            raise UsageError(
                f"milestones go with schedule 'step' and no other, got {self.milestones} with {self.schedule!r}"
            )
        if not 0 <= self.label_smoothing < 1 or self.mixup < 0:
            raise UsageError(
                f"label_smoothing must be in 0..1 and mixup at least 0, got {self.label_smoothing} and {self.mixup}"
            )

    def rate_at(self, step: int, total: int) -> float:
        """The learning rate of one step.

        Args:
            step: From 0.
            total: Steps of the whole run.
        """
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        if self.schedule == "constant":
            return self.learning_rate
        if self.schedule == "step":
            passed = sum(step * self.epochs >= epoch * total for epoch in self.milestones)
            return self.learning_rate * STEP_FACTOR**passed
        if self.schedule == "poly":
            return self.learning_rate * math.pow(1 - step / total, POLY_POWER)
        falls_from = total * (1 - DECAY_SHARE) if self.schedule == "trapezoid" else self.warmup_steps
        share = max(step - falls_from, 0) / max(total - falls_from, 1)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * share))
