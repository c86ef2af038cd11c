"""Looks for what is known to go wrong with an installation; each finding says what to type."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import asdict, dataclass
from importlib.metadata import packages_distributions
from typing import Any

from edge_kit.core.errors import EdgeKitError
from edge_kit.core.workspace import Workspace
from edge_kit.pipeline.runner import installed_version
from runtimes.registry import runtime_names
from runtimes.targets import cpu_name, this_machine

OURS = ("edge_kit", "compress", "convert", "runtimes", "demos")
TWINS = (("paddlepaddle", "paddlepaddle-gpu"), ("onnxruntime", "onnxruntime-gpu"))
OTHER_ENGINES = ("openvino", "ncnn", "MNN")


@dataclass(frozen=True, slots=True)
class Measured:
    """Versions of a package that were measured to work; `docs/versions.md` says where.

    Attributes:
        good: How they start; what ends in a `+` means that one and all later ones.
        why: What the others do.
    """

    package: str
    good: tuple[str, ...]
    why: str

    def allows(self, number: str) -> bool:
        """Whether a version is one of them."""
        later = (one[:-1] for one in self.good if one.endswith("+"))
        return number.startswith(self.good) or any(_parts(number) >= _parts(least) for least in later)


OTHER_PROGRAMS = "3.2 and 3.3 fail in the program format that PaddleSlim reads, 2.6 crashes beside Pillow"
MEASURED = (
    Measured("paddlepaddle", ("3.1.",), OTHER_PROGRAMS),
    Measured("paddlepaddle-gpu", ("3.1.",), OTHER_PROGRAMS),
    Measured("paddleslim", ("2.6.",), "others were not tried with this Paddle"),
    Measured("paddle2onnx", ("1.3.",), "2.x aborts on INT8 graphs"),
    Measured("numpy", ("1.",), "OpenCV 4.6, which PaddleSlim pins, is built against NumPy 1"),
    Measured("onnx", ("1.16.", "1.17."), "what paddle2onnx writes was not checked with others"),
    Measured("onnxruntime", ("1.18+",), "older ones leave a Gemm with a scale a channel in float"),
    Measured("onnxruntime-gpu", ("1.18+",), "older ones leave a Gemm with a scale a channel in float"),
)
UNDECLARED = {"paddleslim": ("six", "requests", "decorator")}
IMPORT_SECONDS = 120
MISSING = 4  # exit code of the process below
START = f"""
import sys
from edge_kit.core.errors import EdgeKitError, MissingDependency
from runtimes.registry import get_runtime
try:
    print(get_runtime(sys.argv[1]).version())
except MissingDependency as error:
    print(error)
    sys.exit({MISSING})
except EdgeKitError as error:
    sys.exit(str(error))
"""


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
    for one in MEASURED:
        number = installed_version(one.package)
        if number is not None:
            ok = one.allows(number)
            found.append(Finding(one.package, ok, number if ok else f"{number}: {one.why}; {_install(one)}"))
    for package in OTHER_ENGINES:
        number = installed_version(package)
        if number is not None:
            found.append(Finding(package, None, number))
    if not any(installed_version(name) for name in TWINS[0]):
        found.append(
            Finding(
                "paddle",
                None,
                "not installed; needed to train and compress: pip install 'edge-kit[cpu]'",
            )
        )
    return found


def _install(one: Measured) -> str:
    best = one.good[-1]
    wanted = f">={best[:-1]}" if best.endswith("+") else f"=={best}*"
    return f"pip install '{one.package}{wanted}'"


def _parts(number: str) -> tuple[int, ...]:
    """The first two numbers of a version, which is all that a bound here needs."""
    return tuple(int(digits) for digits in re.findall(r"\d+", number)[:2])


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
    """Each engine is imported in a process of its own, as a broken one can crash there."""
    try:
        found = [_starts(name) for name in runtime_names()]
    except EdgeKitError as error:
        found = [Finding("runtimes", False, str(error))]
    if installed_version("paddleslim"):
        done = _fresh("from compress.slim import check_installation; check_installation()")
        detail = _last(done.stderr, done.returncode)
        found.append(
            Finding("import paddleslim", not done.returncode, detail if done.returncode else "works in a fresh process")
        )
    return found


def _starts(name: str) -> Finding:
    """The version of a runtime's engine, or what to install."""
    done = _fresh(START, name)
    if done.returncode in (0, MISSING):
        return Finding(f"runtime {name}", None if done.returncode else True, _last(done.stdout, done.returncode))
    return Finding(f"runtime {name}", False, _last(done.stderr, done.returncode))


def _fresh(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=IMPORT_SECONDS)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"did not end within {IMPORT_SECONDS} s")


def _last(text: str, code: int) -> str:
    if code < 0:
        return f"its import ended the process with signal {-code}"
    return (text.strip().splitlines() or [f"exit code {code}"])[-1]
