"""What runs on a frame: a demo, the chosen model and the one it is held against; changed while frames run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Generic, TypeVar

from edge_kit.camera.demo import Answering, Enrolling
from edge_kit.camera.frame import Run
from edge_kit.camera.model import Model
from edge_kit.core.errors import UsageError, unknown_name
from edge_kit.core.tensors import Tensors

OTHER = {"int8": "fp32", "fp32": "int8"}
Kind = TypeVar("Kind", bound=Answering)


@dataclass(frozen=True, slots=True, eq=False)
class Cast(Generic[Kind]):
    """A demo over one bundle, and the models of that bundle that run: the chosen one, and at most one beside it."""

    demo: Kind
    models: tuple[Model, ...]

    def run(self, inputs: Tensors) -> list[Run]:
        """Run a frame through all of them, one after the other."""
        runs = []
        for model in self.models:
            began = time.perf_counter()
            outputs = self.demo.infer(model.graphs, inputs)
            runs.append(Run(model.about, outputs, 1000 * (time.perf_counter() - began)))
        return runs


class Lineup(Generic[Kind]):
    """One or two models of one of several bundles, and how often two of them differed.

    Args:
        demos: What makes the demo over a bundle, by the bundle's name; each is made once, when it is first chosen.
        load: Gives the model of a bundle, a runtime and a precision; each is loaded once.
    """

    def __init__(self, demos: Mapping[str, Callable[[], Kind]], load: Callable[[str, str, str], Model]) -> None:
        self.bundles = tuple(demos)
        self._demo: Callable[[str], Kind] = cache(lambda bundle: demos[bundle]())
        self._load = cache(load)
        self._cast: Cast[Kind] | None = None
        self._changing, self._counting = threading.Lock(), threading.Lock()
        self._frames = self._differing = 0

    def choose(self, bundle: str, runtime: str, precision: str, *, compare: bool) -> None:
        """Run another from the next frame on, and count anew; from any thread.

        Raises:
            EdgeKitError: It cannot be loaded; those that ran go on.
        """
        if bundle not in self.bundles:
            raise unknown_name("bundle", bundle, self.bundles)
        if precision not in OTHER:
            raise unknown_name("precision", precision, OTHER)
        with self._changing:
            wanted = [precision, OTHER[precision]] if compare else [precision]
            models = tuple(self._load(bundle, runtime, one) for one in wanted)
            cast = Cast(self._demo(bundle), models)
            with self._counting:
                self._cast, self._frames, self._differing = cast, 0, 0

    def now(self) -> Cast[Kind]:
        """What the next frame runs on."""
        assert self._cast is not None, "nothing was chosen yet"
        return self._cast

    def chosen(self) -> dict[str, object]:
        """What `choose` was last given."""
        models = self.now().models
        return {**models[0].about, "compare": len(models) == 2}

    def enrol(self, name: str = "") -> None:
        """Have the demo keep what it sees next, to find it again; from any thread.

        Raises:
            UsageError: The demo finds nothing again.
        """
        demo = self.now().demo
        if not isinstance(demo, Enrolling):
            raise UsageError("this demo finds nothing again; 'search' does")
        demo.enrol(name)

    def enrols(self) -> bool:
        """Whether the demo finds things again."""
        return isinstance(self.now().demo, Enrolling)

    def count(self, cast: Cast[Kind], runs: list[Run]) -> None:
        """Count a frame whose answers are there; those of models that were changed meanwhile no longer count."""
        with self._counting:
            if len(runs) == 2 and cast is self._cast:
                self._frames += 1
                self._differing += not cast.demo.same(runs[0].answer, runs[1].answer)

    def differing(self) -> Mapping[str, int]:
        """`frames` that two models answered, and on how many they were `differing`."""
        with self._counting:
            return {"frames": self._frames, "differing": self._differing}

    def notes(self) -> tuple[str, ...]:
        """The same for people; nothing where no two models were compared."""
        count = self.differing()
        if not count["frames"]:
            return ()
        names = " and ".join(model.about["precision"] for model in self.now().models)
        return (f"{names} differ on {count['differing']:,} of {count['frames']:,} frames",)
