"""Which models run on a frame: the chosen one, and beside it the one it is held against; changed while frames run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

from edge_kit.camera.demo import Demo
from edge_kit.camera.frame import Run
from edge_kit.camera.model import Model
from edge_kit.core.errors import unknown_name
from edge_kit.core.tensors import Tensors

OTHER = {"int8": "fp32", "fp32": "int8"}


class Lineup:
    """One or two models, and how often two of them differed.

    Args:
        load: Gives the model of a runtime and a precision; each is loaded once.
    """

    def __init__(self, load: Callable[[str, str], Model]) -> None:
        self._load = load
        self._loaded: dict[tuple[str, str], Model] = {}
        self._models: tuple[Model, ...] = ()
        self._changing, self._counting = threading.Lock(), threading.Lock()
        self._frames = self._differing = 0

    def choose(self, runtime: str, precision: str, *, compare: bool) -> None:
        """Run another from the next frame on, and count anew; from any thread.

        Raises:
            EdgeKitError: It cannot be loaded; those that ran go on.
        """
        if precision not in OTHER:
            raise unknown_name("precision", precision, OTHER)
        with self._changing:
            wanted = [precision, OTHER[precision]] if compare else [precision]
            models = tuple(self._model(runtime, one) for one in wanted)
            with self._counting:
                self._models, self._frames, self._differing = models, 0, 0

    def chosen(self) -> dict[str, object]:
        """What `choose` was last given."""
        models = self._models
        return {**models[0].about, "compare": len(models) == 2}

    def run(self, demo: Demo, inputs: Tensors) -> list[Run]:
        """Run a frame through all of them, one after the other."""
        runs = []
        for model in self._models:
            began = time.perf_counter()
            outputs = demo.infer(model.graphs, inputs)
            runs.append(Run(model.about, outputs, 1000 * (time.perf_counter() - began)))
        return runs

    def count(self, demo: Demo, runs: list[Run]) -> None:
        """Count a frame whose answers are there; those of models that were changed meanwhile no longer count."""
        with self._counting:
            if len(runs) == 2 and [run.model for run in runs] == [model.about for model in self._models]:
                self._frames += 1
                self._differing += not demo.same(runs[0].answer, runs[1].answer)

    def differing(self) -> Mapping[str, int]:
        """`frames` that two models answered, and on how many they were `differing`."""
        with self._counting:
            return {"frames": self._frames, "differing": self._differing}

    def notes(self) -> tuple[str, ...]:
        """The same for people; nothing where no two models were compared."""
        count = self.differing()
        if not count["frames"]:
            return ()
        names = " and ".join(model.about["precision"] for model in self._models)
        return (f"{names} differ on {count['differing']:,} of {count['frames']:,} frames",)

    def _model(self, runtime: str, precision: str) -> Model:
        key = (runtime, precision)
        if key not in self._loaded:
            self._loaded[key] = self._load(runtime, precision)
        return self._loaded[key]
