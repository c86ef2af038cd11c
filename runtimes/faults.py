"""Engines report faults over many lines and check little; these make them one line, and early."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from edge_kit.core.errors import BadData, EdgeKitError, MissingDependency, UsageError

LONGEST = 300


def one_line(fault: BaseException | str) -> str:
    """Put the message of a fault on one line, cut where an engine prints half a page."""
    text = " ".join(str(fault).split())
    if not text and isinstance(fault, BaseException):
        text = type(fault).__name__
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."


def check_load(runtime: str, graph: Path, threads: int, device: str, devices: tuple[str, ...]) -> None:
    """Refuse what no engine could load, before an engine sees it.

    Args:
        devices: What this runtime can run on here.

    Raises:
        UsageError: The device or the number of threads cannot be had.
        BadData: The graph is not a file, or holds nothing.
    """
    if device not in devices:
        known = ", ".join(devices)
        raise UsageError(f"runtime {runtime!r} has no device {device!r}; it has: {known}")
    if threads < 1:
        raise UsageError(f"threads must be at least 1, got {threads}")
    if not graph.exists():
        raise BadData(f"no such file: {str(graph)!r}")
    if not graph.is_file():
        raise BadData(f"{str(graph)!r} is not a file")
    if graph.stat().st_size == 0:
        raise BadData(f"{str(graph)!r} is empty")


def check_form(runtime: str, form: str, graph: Path) -> None:
    """Refuse a file that is not of the kind that a converting runtime loads.

    Raises:
        BadData: Its suffix is another; `runtimes.conversion.own_form` makes the right file of an ONNX graph.
    """
    if graph.suffix != Path(form).suffix:
        raise BadData(
            f"runtime {runtime!r} loads {Path(form).suffix} files, and {str(graph)!r} is to be converted first"
        )


def import_engine(runtime: str, package: str, extra: str) -> Any:
    """Import the package of an engine; as Any, since most engines ship no types.

    Raises:
        MissingDependency: It is not installed.
        EdgeKitError: It is installed and does not load.
    """
    try:
        return import_module(package)
    except ModuleNotFoundError as fault:
        if fault.name != package:  # it is there, and what it needs is not
            raise EdgeKitError(f"{package} is installed but broken: {one_line(fault)}") from fault
        raise MissingDependency(f"runtime {runtime!r}", package, extra) from None
    except ImportError as fault:
        raise EdgeKitError(f"{package} is installed but broken: {one_line(fault)}") from fault
