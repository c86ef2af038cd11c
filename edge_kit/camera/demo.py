"""What a demo is, and those there are: one file each, in `demos/` or in a distribution of somebody else."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from typing import Protocol, runtime_checkable

from edge_kit.camera.frame import Answer
from edge_kit.camera.sources import Source
from edge_kit.core.bundle import Bundle
from edge_kit.core.errors import BadData
from edge_kit.core.images import Image
from edge_kit.core.registry import Registry
from edge_kit.core.tensors import Reader, Tensors

PACKAGE = "demos"  # by name: it stands on the floor above, which imports from here
GROUP = "edge_kit.demos"  # an entry point names a module that registers demos when imported


class Answering(Reader, Protocol):
    """One kind of answer, over any bundle that gives it; each method is a stage."""

    def same(self, first: Answer, second: Answer) -> bool:
        """Whether two models say the same."""
        ...


class Demo(Answering, Protocol):
    """Answers to pictures; each stage has a thread of its own."""

    def prepare(self, image: Image) -> Tensors:
        """A picture as the network takes it, a batch of one.

        Args:
            image: (H, W, 3) uint8, BGR.
        """
        ...

    def draw(self, image: Image, answer: Answer) -> None:
        """Draw the answer on a picture, in place."""
        ...


@runtime_checkable
class TextDemo(Answering, Protocol):
    """Answers to lines of text, in a terminal."""

    def parse(self, text: str) -> Tensors:
        """A line as the network takes it.

        Raises:
            BadData: It is none that the network takes.
        """
        ...

    def write(self, text: str, answer: Answer) -> str:
        """The answer beside its line, for people."""
        ...


@runtime_checkable
class Acting(Protocol):
    """A demo whose next picture depends on what the model says of this one, as in a game."""

    def source(self, frames: int) -> Source:
        """Its own pictures; each but the first waits for `act`.

        Args:
            frames: How many; 0 does not end.
        """
        ...

    def act(self, answer: Answer) -> None:
        """Do what an answer says; called once a frame, with that of the chosen model."""
        ...


@runtime_checkable
class Enrolling(Protocol):
    """A demo that is shown things, and finds them again."""

    def enrol(self, name: str) -> None:
        """Keep what is read next, once; from any thread.

        Args:
            name: To find it by; empty for a number.
        """
        ...


@dataclass(frozen=True, slots=True)
class DemoKind:
    """A demo by its name.

    Attributes:
        name: As `edge-kit demo` takes it.
        title: What it does, for people.
        tasks: Of the bundles that it is looked for among.
        make: A demo over one bundle; fails with `BadData` where the bundle cannot give such answers.
        example: A model of the zoo whose bundle it takes.
    """

    name: str
    title: str
    tasks: tuple[str, ...]
    make: Callable[[Bundle], Demo | TextDemo]
    example: str = "mobilenetv2"


DEMOS: Registry[DemoKind] = Registry("demo")


def register(kind: DemoKind) -> DemoKind:
    """Register a demo by its name."""
    return DEMOS.add(kind.name, kind)


def demo_of(bundle: Bundle) -> Demo | TextDemo | None:
    """The demo over a bundle, one of its task; None where there is none that takes it."""
    load_demos()
    for kind in DEMOS:
        if bundle.manifest.task in kind.tasks:
            try:
                return kind.make(bundle)
            except BadData:
                continue
    return None


def load_demos() -> None:
    """Fill the registry: every file of `demos/`, and what other distributions declare."""
    package = import_module(PACKAGE)
    for module in pkgutil.iter_modules(package.__path__, f"{PACKAGE}."):
        import_module(module.name)
    for point in entry_points(group=GROUP):
        point.load()
