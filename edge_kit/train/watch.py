"""Looking on while a network is trained: what it can by now, and curves for TensorBoard."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edge_kit.core.errors import MissingDependency


class Scalars:
    """Curves in a folder, in the event format that TensorBoard and VisualDL show.

    tensorboardX writes it: NumPy and protobuf are all it takes, where the viewers bring a web server each.

    Raises:
        MissingDependency: tensorboardX is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ImportError:
            raise MissingDependency("--logs", "tensorboardX", "logs") from None
        self._writer: Any = SummaryWriter(str(folder))

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Points of several curves, by name."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def flush(self) -> None:
        """Let viewers see what was written so far; a thread may have the newest points still before it."""
        self._writer.flush()

    def close(self) -> None:
        """See every point onto the disk."""
        self._writer.close()


class Watch:
    """Hears of every step, and says when to look at the network itself.

    Args:
        evaluate: Looks at the network as it is, after so many steps; gives metrics by name.
        every: Steps between two looks; 0 for none but those of `scalars`.
        scalars: Where curves go; with it there is a look at the end of every epoch.
    """

    def __init__(
        self, evaluate: Callable[[int], Mapping[str, float]], every: int = 0, scalars: Scalars | None = None
    ) -> None:
        self._evaluate, self._every, self._scalars = evaluate, every, scalars
        self._before: float | None = None

    def after(self, step: int, loss: float, rate: float, samples: int, epoch: int) -> bool:
        """Hear of a step that is done; whether to `look` now.

        Args:
            step: Steps done.
            samples: In one step.
            epoch: Steps in one.
        """
        now = time.monotonic()
        if self._scalars:
            self._scalars.add(step, {"train/loss": loss, "train/rate": rate})
            if self._before is not None:
                self._scalars.add(step, {"train/samples_per_second": samples / max(now - self._before, 1e-9)})
        self._before = now
        return bool((self._every and step % self._every == 0) or (self._scalars and step % epoch == 0))

    def close(self) -> None:
        """See the curves onto the disk; no more is heard."""
        if self._scalars:
            self._scalars.close()

    def look(self, step: int) -> None:
        """Look at the network, which is in evaluation mode; the time it takes is not the training's."""
        metrics = self._evaluate(step)
        if self._scalars:
            self._scalars.add(step, {f"evaluation/{name}": value for name, value in metrics.items()})
            self._scalars.flush()
        self._before = None
