"""Looks for what is known to go wrong with an installation; each finding says what to type."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import asdict, dataclass
from importlib.metadata import packages_distributions
from typing import Any

from edge_kit.core.errors import EdgeKitError
from edge_kit.core.workspace import Workspace
from edge_kit.pipeline.runner import installed_version
from runtimes.registry import get_runtime, runtime_names
from runtimes.targets import cpu_name, this_machine

OURS = ("edge_kit", "compress", "convert", "runtimes", "demos")
TWINS = (("paddlepaddle", "paddlepaddle-gpu"), ("onnxruntime", "onnxruntime-gpu"))
# Measured: other versions of these fail; `docs/versions.md` says how.
MEASURED = {
    "paddlepaddle": "3.1.",
    "paddlepaddle-gpu": "3.1.",
    "paddleslim": "2.6.",
    "paddle2onnx": "1.3.",
    "numpy": "1.",
}
UNDECLARED = {"paddleslim": ("six", "requests", "decorator")}
IMPORT_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at.

    Attributes:
        ok: None where it is a fact and not a verdict.
        detail: What was found, and what to do where it is not ok.
    """

    name: str
    ok: bool | None
    detail: str


def examine(workspace: Workspace | None, fault: str = "") -> list[dict[str, Any]]:
    """Every finding, as JSON.

    Args:
        workspace: None where it could not be opened; `fault` then says why.
    """
    findings = [
        Finding(
            "machine",
            None,
            f"{cpu_name()}, INT8 target {this_machine().name}: {this_machine().why}",
        ),
        Finding("python", None, sys.version.split()[0]),
        *_versions(),
        *_twins(),
        *_owners(),
        *_undeclared(),
        *_engines(),
    ]
    if workspace is None:
        findings.append(Finding("workspace", False, fault))
    else:
        size = workspace.size_bytes() / 1e6
        findings.append(
            Finding(
                "workspace",
                True,
                f"{workspace.root}, {size:.0f} MB; EDGE_KIT_HOME or --workspace moves it",
            )
        )
    return [asdict(finding) for finding in findings]


def _versions() -> list[Finding]:
    found = []
    for package, prefix in MEASURED.items():
        number = installed_version(package)
        if number is None:
            continue
        ok = number.startswith(prefix)
        advice = "" if ok else f"; known to work: {prefix}x: pip install '{package}=={prefix}*'"
        found.append(Finding(package, ok, number + advice))
    if not any(installed_version(name) for name in TWINS[0]):
        found.append(
            Finding(
                "paddle",
                None,
                "not installed; needed to train and compress: pip install 'edge-kit[cpu]'",
            )
        )
    return found


def _twins() -> list[Finding]:
    """Pairs of distributions that own the same files: installed together, whichever came last wins."""
    both = [pair for pair in TWINS if all(installed_version(name) for name in pair)]
    return [
        Finding(
            " and ".join(pair),
            False,
            f"own the same files: pip uninstall {pair[0]} {pair[1]}, then install one",
        )
        for pair in both
    ]


def _owners() -> list[Finding]:
    """Top-level names of ours that another distribution owns as well."""
    owners = packages_distributions()
    found = []
    for name in OURS:
        others = sorted({other for other in owners.get(name, []) if other.lower().replace("_", "-") != "edge-kit"})
        if others:
            found.append(
                Finding(
                    f"package {name!r}",
                    False,
                    f"also owned by {', '.join(others)}: pip uninstall {' '.join(others)}",
                )
            )
    return found or [Finding("package names", True, f"{', '.join(OURS)} are ours alone")]


def _undeclared() -> list[Finding]:
    found = []
    for package, needs in UNDECLARED.items():
        missing = [need for need in needs if installed_version(package) and not installed_version(need)]
        if missing:
            found.append(
                Finding(
                    f"{package} needs",
                    False,
                    f"{', '.join(missing)}: pip install {' '.join(missing)}",
                )
            )
    return found


def _engines() -> list[Finding]:
    """Runtimes in this process; Paddle in one of its own, as a broken one can crash at import."""
    found = []
    for name in runtime_names():
        try:
            found.append(Finding(f"runtime {name}", True, get_runtime(name).version()))
        except EdgeKitError as error:
            found.append(Finding(f"runtime {name}", None, str(error)))
    if any(installed_version(name) for name in TWINS[0]):
        found.append(_imports("paddle", "import edge_kit, paddle; print(paddle.__version__)"))
    if installed_version("paddleslim"):
        found.append(_imports("paddleslim", "from compress.slim import check_installation; check_installation()"))
    return found


def _imports(name: str, code: str) -> Finding:
    try:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=IMPORT_SECONDS)
    except subprocess.TimeoutExpired:
        return Finding(f"import {name}", False, f"did not end within {IMPORT_SECONDS} s")
    if done.returncode == 0:
        return Finding(f"import {name}", True, "works in a fresh process")
    last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    return Finding(f"import {name}", False, last)
