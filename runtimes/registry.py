"""Runtimes by name: ours, and those that other distributions bring by an entry point."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from edge_kit.core.errors import EdgeKitError, MissingDependency
from edge_kit.core.registry import Registry
from runtimes.faults import one_line
from runtimes.protocol import Runtime

GROUP = "edge_kit.runtimes"
ONNX = ".onnx"


@dataclass(frozen=True, slots=True)
class Reference:
    """Where a runtime's class is, so that knowing its name imports no engine.

    Attributes:
        target: `module:Class`.
        origin: The distribution that brings it.
        resolve: Imports the module and gives the class.
    """

    target: str
    origin: str
    resolve: Callable[[], Any] = field(repr=False, compare=False)

    @classmethod
    def ours(cls, target: str) -> Reference:
        """Refer to a runtime of this package."""
        module, _, attribute = target.partition(":")
        return cls(target, "edge-kit", lambda: getattr(import_module(module), attribute))

    @classmethod
    def theirs(cls, point: EntryPoint) -> Reference:
        """Refer to a runtime that another distribution declares."""
        origin = point.dist.name if point.dist else "an unnamed distribution"
        return cls(point.value, origin, point.load)


RUNTIMES: Registry[Reference] = Registry("runtime")
RUNTIMES.add("mnn", Reference.ours("runtimes.mnn:MnnRuntime"))
RUNTIMES.add("ncnn", Reference.ours("runtimes.ncnn:NcnnRuntime"))
RUNTIMES.add("null", Reference.ours("runtimes.null:NullRuntime"))
RUNTIMES.add("onnx", Reference.ours("runtimes.ort:OnnxRuntime"))
RUNTIMES.add("paddle", Reference.ours("runtimes.paddle:PaddleRuntime"))
RUNTIMES.add("openvino", Reference.ours("runtimes.openvino:OpenVinoRuntime"))


def runtime_names() -> list[str]:
    """All names, sorted, whether or not the engine is installed.

    Raises:
        EdgeKitError: Two distributions claim one name.
    """
    return _all().names()


def get_runtime(name: str) -> Runtime:
    """Import an engine and give its runtime.

    Raises:
        UsageError: No runtime has that name.
        MissingDependency: Its engine is not installed.
        EdgeKitError: It is installed and broken, or two distributions claim one name.
    """
    reference = _all().get(name)
    try:
        runtime = reference.resolve()()
    except EdgeKitError:
        raise
    except Exception as fault:  # the code of others: any fault of it is one line here
        raise _broken(name, reference, f"{type(fault).__name__}: {one_line(fault)}") from fault
    if not isinstance(runtime, Runtime):
        raise _broken(name, reference, "it has no name, version and load")
    if runtime.name != name:
        raise _broken(name, reference, f"it calls itself {runtime.name!r}")
    return runtime


def reads(name: str) -> tuple[str, ...]:
    """Suffixes of the files that a runtime takes, the one it likes best first.

    Raises:
        UsageError: No runtime has that name.
    """
    return tuple(getattr(_runtime_class(name), "reads", (ONNX,)))


def converts(name: str) -> bool:
    """Whether a runtime's engine reads a form of its own; see `runtimes.protocol.Converting`.

    Raises:
        UsageError: No runtime has that name.
    """
    return hasattr(_runtime_class(name), "convert")


def _runtime_class(name: str) -> Any:
    """The class of a runtime; its engine is not imported."""
    reference = _all().get(name)
    try:
        return reference.resolve()
    except Exception as fault:  # the code of others: any fault of it is one line here
        raise _broken(name, reference, f"{type(fault).__name__}: {one_line(fault)}") from fault


def installed_runtimes() -> list[Runtime]:
    """Give the runtimes whose engine is installed, in the order of their names.

    Raises:
        EdgeKitError: One is installed and broken; leaving it out silently would hide that.
    """
    installed = []
    for name in runtime_names():
        try:
            installed.append(get_runtime(name))
        except MissingDependency:
            continue
    return installed


def _all() -> Registry[Reference]:
    """Ours and theirs; read anew each time, as a package may be installed meanwhile."""
    registry: Registry[Reference] = Registry(RUNTIMES.kind)
    for name in RUNTIMES.names():
        registry.add(name, RUNTIMES.get(name))
    for point in entry_points(group=GROUP):
        reference = Reference.theirs(point)
        if point.name in registry:
            first = registry.get(point.name).origin
            raise EdgeKitError(
                f"runtime {point.name!r} of {reference.origin} is already registered by {first}; uninstall one of them"
            )
        registry.add(point.name, reference)
    return registry


def _broken(name: str, reference: Reference, fault: str) -> EdgeKitError:
    return EdgeKitError(f"runtime {name!r} of {reference.origin} ({reference.target}) is broken: {fault}")
