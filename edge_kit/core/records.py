"""The records that scripts may rely on: what `--json` prints and a receipt keeps. Extend, do not rename."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Metric:
    """One measured quality, with what it was measured on.

    Attributes:
        name: `top1`, `mAP`, `return`.
        value: In `unit`.
        unit: `%` or what the metric's field uses.
        dataset: Data set and split.
        samples: How many were scored.
        lower_is_better: As of an error rate; what INT8 loses is then what it has more.
    """

    name: str
    value: float
    unit: str
    dataset: str
    samples: int
    lower_is_better: bool = False

    def lost(self, candidate: Metric) -> float:
        """How much worse a candidate is than this, in `unit`; negative where it is better."""
        more, less = (candidate, self) if self.lower_is_better else (self, candidate)
        return more.value - less.value

    @property
    def loss_name(self) -> str:
        """What a check of `lost` is called."""
        return f"{self.name} {'rise' if self.lower_is_better else 'drop'}"


@dataclass(frozen=True, slots=True)
class Latency:
    """Times of single calls, with the whole plan they were taken by; milliseconds.

    Attributes:
        cpus: Processors asked for; empty for the last ones of the machine, as many as there are threads.
    """

    p50_ms: float
    p90_ms: float
    p99_ms: float
    runtime: str
    runtime_version: str
    device: str
    threads: int
    batch: int
    warmup: int
    repeats: int
    input_shape: dict[str, list[int]]
    cpus: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """One exported model. `metric` is None where its task has none or its weights are random."""

    path: str
    size_bytes: int
    metric: Metric | None
    latency: Latency


@dataclass(frozen=True, slots=True)
class Check:
    """One value held against its limit.

    Attributes:
        name: What is checked.
        value: As measured.
        limit: The bound; None where there is nothing to hold the value against.
        ok: None where the check cannot be made; `note` then says why.
        unit: Of value and limit.
        sense: `max` where the value must not exceed the limit, `min` where it must reach it.
        note: Conditions, or why it cannot be made.
    """

    name: str
    value: float | None
    limit: float | None
    ok: bool | None
    unit: str = ""
    sense: str = "max"
    note: str = ""

    @classmethod
    def at_most(cls, name: str, value: float, limit: float, unit: str = "", note: str = "") -> Check:
        """A check that holds while `value <= limit`; a NaN never does."""
        return cls(name, value, limit, value <= limit, unit, "max", note)

    @classmethod
    def at_least(cls, name: str, value: float, limit: float, unit: str = "", note: str = "") -> Check:
        """A check that holds while `value >= limit`; a NaN never does."""
        return cls(name, value, limit, value >= limit, unit, "min", note)


@dataclass(frozen=True, slots=True)
class StageRecord:
    """One stage of a run.

    Attributes:
        seconds: Wall time; of the run that did the work where `cached`.
        cached: The result was there already.
    """

    name: str
    seconds: float
    cached: bool


@dataclass(frozen=True, slots=True)
class CompressReport:
    """What `edge-kit compress` did and measured."""

    id: str
    bundle: str
    digest: str
    stages: tuple[StageRecord, ...]
    models: dict[str, ModelRecord]
    checks: tuple[Check, ...]
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether no check fell short; one that cannot be made does not fail."""
        return all(check.ok is not False for check in self.checks)

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)
