"""How a network is trained, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edge_kit.core.errors import UsageError
from edge_kit.train.schedule import SCHEDULES, WITH_MILESTONES, Moment

OPTIMIZERS = ("momentum", "adagrad", "adam", "rmsprop")


@dataclass(frozen=True, slots=True)
class Recipe:
    """Stochastic gradient descent and a schedule of the learning rate.

    Attributes:
        epochs: Passes over the training samples.
        batch_size: Samples a step.
        learning_rate: At the top of the schedule.
        schedule: `cosine` falls to 0 over the whole run; `epoch_cosine` likewise, in a step at each epoch;
            `late_cosine` counts the whole run from the end of the warm-up, and so ends above 0; `trapezoid` stays and
            falls to 0 in the last quarter; `step` falls at each of `milestones`; `constant` stays; `plateau_linear`
            stays until its one milestone and falls in a straight line from there, an epoch a step, to the last epoch
            but one; `poly` falls to 0 as (1 - share) ** 0.9.
        warmup_steps: Steps of linear rise from 0 before the schedule counts.
        momentum: Of the plain, not Nesterov, kind; the others have none.
        weight_decay: L2, on every parameter, as the published recipes have it.
        seed: Of initial weights, order and augmentation.
        milestones: Epochs, for `step` and `plateau_linear`.
        label_smoothing: Share of a label that is spread over all classes; of classification only.
        mixup: Alpha of the Beta distribution that pictures are mixed by (arXiv:1710.09412), 0 for none; likewise.
        optimizer: `momentum`, or `adagrad`, which divides each step by the root of the squares of all before, or
            `adam` (arXiv:1412.6980), or `rmsprop`, which divides by the root of a moving average of the squares, 0.95
            of it kept.
        ema: Share that an exponential moving average of the weights keeps at each step; the average is the result.
            0 for none: the last weights are.
        beta1: Of Adam: share of the mean gradient that is kept at each step.
        epsilon: Of Adam: added to the root that a step is divided by.
        factors: Of the learning rate from each milestone of `step` on; none for a tenth more at each.
        rates: Patterns of parameters' names, as of files, and what the learning rate of those is multiplied by.
        starts: Likewise, and what those are in the beginning, where weights are random: a value of all elements, or
            `identity`, the kernel of a convolution that changes nothing.
        settled: Whether random weights are fitted to a batch first, so that what every layer gives out has mean 0 and
            deviation 1, but for layers that `starts` names; for networks without batch norm.
        dropout: Whether dropout drops; where not, it does while training what it does afterwards. A run too short to
            learn its pictures by heart needs none, and learns sooner without.
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
    ema: float = 0.0
    beta1: float = 0.9
    epsilon: float = 1e-8
    factors: tuple[float, ...] = ()
    rates: tuple[tuple[str, float], ...] = ()
    starts: tuple[tuple[str, float | Literal["identity"]], ...] = ()
    settled: bool = False
    dropout: bool = True

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1:
            raise UsageError(f"epochs and batch_size must be at least 1, got {self.epochs} and {self.batch_size}")
        if not self.learning_rate > 0:
            raise UsageError(f"the learning rate must be above 0, got {self.learning_rate}")
        if self.schedule not in SCHEDULES:
            raise UsageError(f"schedule must be one of {', '.join(SCHEDULES)}, got {self.schedule!r}")
        if self.optimizer not in OPTIMIZERS:
            raise UsageError(f"optimizer must be one of {', '.join(OPTIMIZERS)}, got {self.optimizer!r}")
        if bool(self.milestones) != (self.schedule in WITH_MILESTONES):
            raise UsageError(
                f"milestones go with schedule {' or '.join(map(repr, WITH_MILESTONES))} and no other, "
                f"got {self.milestones} with {self.schedule!r}"
            )
        if self.factors and len(self.factors) != len(self.milestones):
            raise UsageError(f"factors are as many as milestones or none, got {self.factors} for {self.milestones}")
        if not 0 <= self.label_smoothing < 1 or self.mixup < 0:
            raise UsageError(
                f"label_smoothing must be in 0..1 and mixup at least 0, got {self.label_smoothing} and {self.mixup}"
            )
        if not 0 <= self.ema < 1:
            raise UsageError(f"ema must be in 0..1, got {self.ema}")

    def rate_at(self, step: int, total: int) -> float:
        """The learning rate of one step.

        Args:
            step: From 0.
            total: Steps of the whole run.
        """
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        now = Moment(step, total, self.epochs, self.warmup_steps, self.milestones, self.factors)
        return self.learning_rate * SCHEDULES[self.schedule](now)
