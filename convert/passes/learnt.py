"""Puts the ranges that training learnt where lifting finds them.

paddle2onnx 1.3.1 drops most quantizers of a network that was trained with them: it wants a range for every output too,
and training learns those of inputs only. What is left is taken off, and the learnt ranges are put back.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from convert.graph import Graph
from convert.passes.lift import lift_quantization
from convert.passes.place import DEQUANTIZED, quantizer_pair

TOP = 127


def place_ranges_in(path: Path, ranges: Mapping[str, float]) -> set[str]:
    """Do `place_learnt_ranges` to a file, in place."""
    graph = Graph.load(path)
    found = place_learnt_ranges(graph, ranges)
    graph.save(path)
    return found


def place_learnt_ranges(graph: Graph, ranges: Mapping[str, float]) -> set[str]:
    """Put a quantizer in front of every layer whose range is known, and no other; returns the names it found.

    Weights keep the values that they have in eight bits, as floats.

    Args:
        ranges: Largest magnitude that a layer reads, by the name of its weight.
    """
    lift_quantization(graph)
    largest: dict[str, float] = {}
    found = set()
    for node in graph.nodes:
        for weight in node.input[1:2]:
            if weight in ranges:
                found.add(weight)
                largest[node.input[0]] = max(largest.get(node.input[0], 0.0), ranges[weight])
    for name, value in largest.items():
        _quantize(graph, name, value)
    return found


def _quantize(graph: Graph, name: str, largest: float) -> None:
    grid = [f"{name}.learnt_scale", f"{name}.learnt_zero"]
    graph.constants[grid[0]], graph.constants[grid[1]] = np.array(largest / TOP, np.float32), np.array(0, np.int8)
    readers = graph.consumers(name)
    for node in quantizer_pair(name, *grid):
        graph.insert_before(readers[0], node)
    for reader in readers:
        for place, read in enumerate(reader.input):
            if read == name:
                reader.input[place] = f"{name}{DEQUANTIZED}"
