"""Arrays by name, and what an array means: the language all rooms speak."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Tensors = Mapping[str, Array]

Run = Callable[[Tensors], Tensors]
"""One exported graph as a function: named inputs in, named outputs out, on the host."""

Graphs = Mapping[str, Run]
"""Every graph of a model by its name. Most models have one, `main`; an encoder with a decoder step has two."""

MAIN = "main"


class Reader(Protocol):
    """Reads answers from what a model gives; every demo does."""

    def infer(self, graphs: Graphs, inputs: Tensors) -> Tensors:
        """Run the graphs on one sample, whatever runs them."""
        ...

    def read(self, outputs: Tensors) -> Mapping[str, Any]:
        """What the outputs say, as JSON holds it."""
        ...


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output of a graph.

    Attributes:
        name: As in the graph.
        shape: A number for a fixed axis, a letter for one the caller chooses: `("N", 3, 224, 224)`.
        dtype: NumPy's name of the element type.
        layout: One letter an axis, `NCHW`; empty where the axes have no such names.
    """

    name: str
    shape: tuple[int | str, ...]
    dtype: str = "float32"
    layout: str = ""

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> TensorSpec:
        """Read back what `dataclasses.asdict` gave, from JSON too."""
        return cls(row["name"], tuple(row["shape"]), row["dtype"], row["layout"])

    def with_batch(self, batch: int) -> tuple[int, ...]:
        """The shape with every symbolic axis named `N` set to `batch`.

        Raises:
            ValueError: Another symbolic axis remains.
        """
        sizes = tuple(batch if axis == "N" else axis for axis in self.shape)
        if not all(isinstance(size, int) for size in sizes):
            raise ValueError(f"input {self.name!r} has open axes besides N: {self.shape}")
        return tuple(int(size) for size in sizes)


def _whole(net: Any) -> Any:
    return net


@dataclass(frozen=True, slots=True)
class GraphSpec:
    """One graph to export from a network.

    Attributes:
        inputs: In the order that the part's forward takes them.
        outputs: Names, in the order that it returns them.
        part: The layer of the network that the graph is of; the whole where there is one graph.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[str, ...]
    part: Callable[[Any], Any] = _whole


def random_inputs(specs: tuple[TensorSpec, ...], batch: int, seed: int) -> dict[str, Array]:
    """Inputs to time a graph with; floats are standard normal, pixels of any value, other integers zero."""
    rng = np.random.default_rng(seed)
    made: dict[str, Array] = {}
    for spec in specs:
        shape, dtype = spec.with_batch(batch), np.dtype(spec.dtype)
        if dtype.kind == "f":
            made[spec.name] = rng.standard_normal(shape).astype(dtype)
        elif dtype == np.uint8 and spec.layout == "NHWC":
            made[spec.name] = rng.integers(0, 256, shape, np.uint8)
        else:
            made[spec.name] = np.zeros(shape, dtype)
    return made
