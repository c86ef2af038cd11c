"""An exponential moving average of the weights: the published result of some recipes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import paddle

from edge_kit.core.tensors import Array


class Average:
    """Of trained parameters, over the steps so far; what is not trained, as running statistics, has none.

    Starts at zero and is divided by the share that zero still has, as Adam's moments are.

    Args:
        parameters: By name.
        decay: Share of the average that a step keeps.

    Source: Kingma and Ba 2015, arXiv:1412.6980, sections 3 and 7.2 (the average and its correction).
    """

    def __init__(self, parameters: Mapping[str, Any], decay: float) -> None:
        self._parameters, self._decay, self._steps = parameters, decay, 0
        self._sums = {name: paddle.zeros_like(one) for name, one in parameters.items()}

    def take(self) -> None:
        """Count the parameters as they are now in."""
        self._steps += 1
        with paddle.no_grad():
            for name, one in self._parameters.items():
                self._sums[name] = self._decay * self._sums[name] + (1 - self._decay) * one

    def apply(self) -> None:
        """Give the parameters their average for good; without any step they stay."""
        if self._steps:
            correction = 1 - self._decay**self._steps
            for name, one in self._parameters.items():
                one.set_value(self._sums[name] / correction)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within the context, the parameters are their average."""
        before = {name: one.clone() for name, one in self._parameters.items()}
        self.apply()
        try:
            yield
        finally:
            for name, one in self._parameters.items():
                one.set_value(before[name])

    def state(self) -> dict[str, Array]:
        """For a checkpoint, by name of the parameter."""
        return {name: value.numpy() for name, value in self._sums.items()}

    def restore(self, state: Mapping[str, Array], steps: int) -> None:
        """Go on from what `state` gave after so many steps."""
        self._sums = {name: paddle.to_tensor(state[name]) for name in self._sums}
        self._steps = steps
