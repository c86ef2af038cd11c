"""`edge-kit.toml`: what the user's models must keep to, by model and runtime.

[defaults]                      of every model
max_drop = 0.5
[models.mobilenetv2]            by the name of the bundle, or of its model
max_size_mb = 2.6
[models.mobilenetv2.openvino]   on one runtime
max_latency_ratio = 0.7
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from edge_kit.core.errors import BadData, UsageError, unknown_name
from runtimes.registry import runtime_names

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LIMITS_FILE = "edge-kit.toml"
DEFAULTS, MODELS = "defaults", "models"


@dataclass(frozen=True, slots=True)
class GateLimits:
    """What `verify` holds a bundle to; None where nothing is asked.

    Attributes:
        max_drop: Of the metric, INT8 against FP32, in its unit.
        max_latency_ratio: INT8 p50 over FP32 p50, both measured in turn.
        max_p95_ms: Of INT8, in milliseconds, on the machine that measures.
        max_size_ratio: INT8 bytes over FP32 bytes.
        max_size_mb: Of the INT8 graphs, in millions of bytes.
        min_agreement: Of INT8 with FP32, in the unit of the task: % of same answers, or dB.
        max_flips: Of the answers to the sentinel, in %.
        max_cut_off: Of the activations for the sentinel, the share beyond INT8's grids, in %.
    """

    max_drop: float | None = None
    max_latency_ratio: float | None = None
    max_p95_ms: float | None = None
    max_size_ratio: float | None = None
    max_size_mb: float | None = None
    min_agreement: float | None = None
    max_flips: float | None = None
    max_cut_off: float | None = None

    def over(self, others: GateLimits) -> GateLimits:
        """These, and the others where these say nothing."""
        mine = {key: value for key, value in asdict(self).items() if value is not None}
        return GateLimits(**{**asdict(others), **mine})

    @classmethod
    def recorded(cls, limits: Mapping[str, Any]) -> GateLimits:
        """Those that a bundle was made under; its receipt has some more."""
        return cls(**{name: limits[name] for name in KEYS if name in limits})


KEYS = tuple(one.name for one in fields(GateLimits))


@dataclass(frozen=True, slots=True)
class LimitsFile:
    """What `edge-kit.toml` says.

    Attributes:
        models: model -> its limits on every runtime.
        runtimes: model -> runtime -> limits there.
    """

    defaults: GateLimits = GateLimits()
    models: Mapping[str, GateLimits] = field(default_factory=dict)
    runtimes: Mapping[str, Mapping[str, GateLimits]] = field(default_factory=dict)

    def of(self, names: Iterable[str], runtime: str) -> GateLimits:
        """The limits of a model on a runtime.

        Args:
            names: What it may be called in the file; the first has precedence.
        """
        found = self.defaults
        for name in reversed(list(names)):
            found = self.models.get(name, GateLimits()).over(found)
            found = self.runtimes.get(name, {}).get(runtime, GateLimits()).over(found)
        return found


def find_limits(explicit: Path | None) -> Path | None:
    """The file to read: the one named, else `edge-kit.toml` of the current folder, if there is one.

    Raises:
        BadData: The one named does not exist.
    """
    if explicit is not None and not explicit.is_file():
        raise BadData(f"limits file {str(explicit)!r} does not exist")
    place = explicit or Path(LIMITS_FILE)
    return place if place.is_file() else None


def read_limits(path: Path) -> LimitsFile:
    """Read and check a file of limits.

    Raises:
        BadData: It is no TOML, or a limit is not a number.
        UsageError: A key, a section or a runtime has a name that there is not; the nearest is told.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadData(f"limits file {str(path)!r} cannot be read: {error}") from None
    for section in document:
        if section not in (DEFAULTS, MODELS):
            raise _unknown(path, "section", section, (DEFAULTS, MODELS))
    models, runtimes = {}, {}
    for model, section in _table(path, MODELS, document.get(MODELS, {})).items():
        name = f"{MODELS}.{model}"
        table = _table(path, name, section)
        there = {key: one for key, one in table.items() if isinstance(one, dict)}
        for runtime in there:
            if runtime not in runtime_names():
                raise _unknown(path, f"runtime in [{name}]", runtime, runtime_names())
        models[model] = _limits(path, name, {key: one for key, one in table.items() if key not in there})
        runtimes[model] = {key: _limits(path, f"{name}.{key}", one) for key, one in there.items()}
    return LimitsFile(_limits(path, DEFAULTS, document.get(DEFAULTS, {})), models, runtimes)


def check_models(path: Path, limits: LimitsFile, bundles: Iterable[str], zoo: Callable[[], Iterable[str]]) -> None:
    """Refuse a model that there is not: its limits would hold nothing.

    Args:
        bundles: What bundles here, and their models, are called.
        zoo: Names the models of the zoo; called only where a name is not among the bundles.

    Raises:
        UsageError: The nearest name is told.
    """
    known = set(bundles)
    if set(limits.models) - known:
        known |= set(zoo())
    for model in limits.models:
        if model not in known:
            raise _unknown(path, "model", model, known)


def _limits(path: Path, section: str, table: Any) -> GateLimits:
    values = {}
    for key, value in _table(path, section, table).items():
        if key not in KEYS:
            raise _unknown(path, f"limit in [{section}]", key, KEYS)
        if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
            raise BadData(f"{key} of [{section}] in {str(path)!r} must be a number, got {value!r}")
        values[key] = float(value)
    return GateLimits(**values)


def _table(path: Path, name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadData(f"{name} in {str(path)!r} must be a section, [{name}], got {value!r}")
    return value


def _unknown(path: Path, kind: str, name: str, known: Iterable[str]) -> UsageError:
    return UsageError(f"{str(path)!r}: {unknown_name(kind, name, known)}")
