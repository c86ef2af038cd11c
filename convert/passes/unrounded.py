"""Puts back the weights that PaddleSlim rounded.

It folds batch norms, rounds each weight to one grid, and paddle2onnx writes the rounded ones as floats. Lowering
chooses grids by the target, and lets biases take up what rounding shifts on the mean: it needs what was there before.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from convert.graph import Array, Graph
from convert.passes.canonical import FOLDED

ROUNDING = 0.51  # steps of the grid


def unround_weights_in(fake_quantized: Path, floats: Path) -> int:
    """Do `unround_weights` to a file, in place.

    Args:
        floats: The float graph, with batch norms folded.
    """
    graph = Graph.load(fake_quantized)
    done = unround_weights(graph, Graph.load(floats))
    graph.save(fake_quantized)
    return done


def unround_weights(graph: Graph, floats: Graph) -> int:
    """Give every weight that a quantizer reads the values that it has in a float graph; returns how many.

    One that is not there under its name, or further from it than rounding takes it, stays as it is.
    """
    done = 0
    for node in graph.nodes:
        rounded = graph.constants.get(node.input[0]) if node.op_type == "QuantizeLinear" else None
        if rounded is None:
            continue
        step = float(graph.constants[node.input[1]].max())
        for name in (f"{node.input[0]}{FOLDED}", node.input[0]):
            given = floats.constants.get(name)
            if given is not None and _is_rounded(rounded, given, step):
                graph.constants[node.input[0]] = given
                done += 1
                break
    return done


def _is_rounded(rounded: Array, given: Array, step: float) -> bool:
    return rounded.shape == given.shape and bool(np.abs(rounded - given).max() <= ROUNDING * step)
