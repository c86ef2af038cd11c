"""Holds a bundle to what it says of itself."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from edge_kit.core.bundle import Bundle
from edge_kit.core.errors import EdgeKitError
from edge_kit.core.records import Check
from edge_kit.core.tensors import random_inputs
from runtimes.deploy import load_bundle
from runtimes.targets import TARGETS, Target, this_machine

SEED = 0


def verify_bundle(bundle: Bundle) -> dict[str, Any]:
    """Check integrity, answers and target on this machine, and repeat what the receipt recorded.

    Returns:
        JSON: `bundle`, `digest` and `checks`; those from the receipt say when and where they were made.
    """
    checks = [_integrity(bundle)]
    if checks[0].ok:
        checks += [_answers(bundle, precision) for precision in bundle.manifest.graphs]
        checks.append(_target(bundle))
        recorded = bundle.receipt()
        where = f"recorded on {recorded['machine']['cpu']}"
        for one in recorded["checks"]:
            checks.append(Check(**{**one, "note": f"{one['note']}; {where}"}))
    return {
        "bundle": str(bundle.path),
        "digest": bundle.digest,
        "checks": [asdict(check) for check in checks],
    }


def _integrity(bundle: Bundle) -> Check:
    try:
        bundle.verify()
    except EdgeKitError as error:
        return Check("files unchanged", None, None, False, note=str(error))
    return Check("files unchanged", None, None, True, note="SHA-256 of every file")


def _answers(bundle: Bundle, precision: str) -> Check:
    """Every graph loads and gives finite numbers of the right names."""
    name = f"{precision} graphs answer"
    try:
        sessions = load_bundle(bundle, precision=precision)
        for graph, session in sessions.items():
            outputs = session.run(random_inputs(bundle.manifest.inputs[graph], 1, SEED))
            if set(outputs) != set(bundle.manifest.outputs[graph]):
                return Check(name, None, None, False, note=f"{graph} gives {sorted(outputs)}")
            if not all(np.isfinite(value).all() for value in outputs.values()):
                return Check(name, None, None, False, note=f"{graph} gives numbers that are not finite")
    except EdgeKitError as error:
        return Check(name, None, None, False, note=str(error))
    return Check(name, None, None, True, note="finite, by name, random input")


def _target(bundle: Bundle) -> Check:
    """Whether the INT8 graphs compute the same on this machine as where they were checked."""
    made_for, here = TARGETS[bundle.manifest.target], this_machine()
    note = f"made for {made_for.name}, this machine is {here.name}"
    return Check("int8 arithmetic", None, None, _safe(made_for, here), note=note)


def _safe(made_for: Target, here: Target) -> bool:
    """A graph kept from saturating runs anywhere; one that is not needs kernels that cannot saturate."""
    return made_for.saturating_pairs or not (here.saturating_pairs and made_for.unsigned_activations)
