"""How a bundle came about, so that a stranger can hold it to what it claims."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from edge_kit.core.records import Check, StageRecord
from edge_kit.pipeline.subject import Subject

if TYPE_CHECKING:
    from edge_kit.pipeline.compress import CompressRequest


def make_receipt(
    subject: Subject,
    request: CompressRequest,
    facts: Mapping[str, Any],
    checks: tuple[Check, ...],
    machine: Mapping[str, str],
    stages: Sequence[StageRecord],
) -> dict[str, Any]:
    """Everything a number needs to be believed: versions, machine, data, plan, limits and published rows."""
    asked = {key: value for key, value in asdict(request).items() if key not in ("limits", "own")}
    return {
        "request": {**asked, "data": str(request.data) if request.data else "mini"},
        "limits": asdict(request.limits),
        "machine": dict(machine),
        "reference": [asdict(row) for row in subject.references],
        "source": subject.source,
        "licence": subject.licence,
        "checks": [asdict(check) for check in checks],
        "stages": [{"name": one.name, "seconds": one.seconds} for one in stages],  # whenever they were run
        **{key: facts[key] for key in ("camera", "mixed") if key in facts},
        **{
            key: facts[key]
            for key in (
                "versions",
                "models",
                "agreement",
                "likeness",
                "differences",
                "parity",
                "size",
                "lowering",
                "quantization",
                "notes",
            )
        },
    }
