"""Quantization-aware training: layers round as INT8 kernels will, and weights and ranges learn to live with it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from paddle import nn

from compress import slim
from edge_kit.core.errors import EdgeKitError


class Quantizers:
    """The quantizers in a network, put there in place, or in those layers of it that are exported.

    Weights take the largest magnitude of each output channel, what a layer reads the largest that was seen; see
    `growing`. Parameters keep their names, so that the network is trained and saved as it was before.

    Raises:
        EdgeKitError: The network has nothing to quantize.
    """

    def __init__(self, *layers: nn.Layer) -> None:
        self._layers = tuple({id(layer): layer for layer in layers}.values())
        self._slim = [slim.insert_quantizers(layer) for layer in self._layers][-1]
        if not self.ranges():
            raise EdgeKitError(f"{type(layers[0]).__name__} has no convolution and no linear layer to quantize")

    def ranges(self) -> dict[str, float]:
        """The largest magnitude that each layer reads without clipping it, by the name of its weight."""
        return {name: value for layer in self._layers for name, value in slim.learnt_ranges(layer).items()}

    @contextmanager
    def growing(self) -> Iterator[None]:
        """Within the context, ranges reach to the largest magnitude seen in training; see `slim.growing_ranges`."""
        with ExitStack() as layers:
            for layer in self._layers:
                layers.enter_context(slim.growing_ranges(layer))
            yield

    def save(self, layer: nn.Layer, out: Path, inputs: list[Any]) -> dict[str, float]:
        """Write the network, or a layer of it, as an inference model with its quantizers; see `slim.save_quantized`.

        Returns:
            The ranges of what is in it; heads that a network has in training alone are not.
        """
        layer.eval()
        slim.save_quantized(self._slim, layer, out, inputs)
        held = slim.parameter_names(out)
        return {weight: value for weight, value in self.ranges().items() if weight in held}
