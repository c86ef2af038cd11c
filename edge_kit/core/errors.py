"""The errors a caller may catch; the command line turns each into one line and an exit code.

EdgeKitError            1  something failed
├── UsageError          2  asked for something that does not exist or does not fit
├── CheckError          3  everything ran, and a check fell short
├── BadData             1  a file the user handed in is missing, broken or of the wrong shape
├── MissingDependency   1  a package is not installed
└── StageFailed         1  a stage of a pipeline failed or its process crashed; names the log file
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class EdgeKitError(Exception):
    """Base of all: lower case, no full stop, names the fault, the value and the next step."""

    exit_code = 1


class UsageError(EdgeKitError):
    """The request itself is wrong."""

    exit_code = 2


class CheckError(EdgeKitError):
    """A measured value is outside its limit."""

    exit_code = 3


class BadData(EdgeKitError):
    """A file from outside is missing, broken or of the wrong shape."""


class MissingDependency(EdgeKitError):
    """A package that this needs is not installed."""

    def __init__(self, what: str, package: str, extra: str) -> None:
        super().__init__(f"{what} needs the {package} package: pip install 'edge-kit[{extra}]'")


class StageFailed(EdgeKitError):
    """A stage failed; the message names its log."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """The error for a name that no registry holds; suggests the nearest."""
    names = sorted(known)
    near = get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names)}"
    return UsageError(f"unknown {kind} {name!r}; {hint}")
