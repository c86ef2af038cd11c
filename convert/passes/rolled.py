"""A GRU that was written out step by step becomes one GRU again, which engines have a kernel for.

`edge_kit/zoo/nlp/gru.py` says what is computed and why Paddle writes it out. ONNX knows this kind of GRU as
`linear_before_reset = 0`; its update gate is the share of the old state that stays, so it is negated here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from onnx import NodeProto, helper

from convert.graph import Array, Graph, attribute
from convert.passes.recurrent import is_zero, settle


@dataclass(frozen=True, slots=True)
class _Step:
    """One step: the tensors that it reads, and the constants."""

    before: str  # state
    gated: str
    offered: str
    constants: tuple[str, str, str, str]  # weight and bias of the gates, of the candidate


@dataclass(frozen=True, slots=True)
class _Written:
    """All steps of one direction."""

    inputs: tuple[str, ...]  # tensors (N, T, width) whose products are added
    weights: tuple[Array, ...]  # of each, (width, 3 hidden)
    bias: Array
    step: _Step
    reverse: bool


def roll_up_gru(graph: Graph) -> int:
    """Make one GRU of each that is written out step by step."""
    makers = {name: node for node in graph.nodes for name in node.output}
    done = 0
    for node in [n for n in graph.nodes if n.op_type == "Concat" and len(n.input) > 1]:
        if attribute(node, "axis") != 1:
            continue
        written = _read(graph, makers, list(node.input), False) or _read(graph, makers, list(node.input)[::-1], True)
        if written is not None:
            _write(graph, node, written)
            done += 1
    if done:
        graph.remove_dead()
    return done


def _read(graph: Graph, makers: dict[str, NodeProto], states: Sequence[str], reverse: bool) -> _Written | None:
    steps: list[_Step] = []
    for i, state in enumerate(states):
        step = _step(graph, makers, state)
        if step is None or (i and (step.before != states[i - 1] or step.constants != steps[0].constants)):
            return None
        steps.append(step)
    if not is_zero(graph, steps[0].before):
        return None
    hidden = len(graph.constants[steps[0].constants[2]])
    sources = []
    for names, start in (([s.gated for s in steps], 0), ([s.offered for s in steps], 2 * hidden)):
        sources.append(_parts_of(graph, makers, names[::-1] if reverse else names, start))
    if sources[0] is None or sources[0] != sources[1]:
        return None
    summed = _summed(graph, makers, sources[0], 3 * hidden)
    return None if summed is None else _Written(*summed, steps[0], reverse)


def _made(makers: dict[str, NodeProto], name: str, kind: str) -> list[str] | None:
    """What a node of that kind reads to make a tensor."""
    node = makers.get(name)
    return list(node.input) if node is not None and node.op_type == kind else None


def _step(graph: Graph, makers: dict[str, NodeProto], state: str) -> _Step | None:
    """State = before + update * (tanh(offered + (reset * before) C + c) - before)."""
    match _made(makers, state, "Add"):
        case [before, moved]:
            pass
        case _:
            return None
    match _made(makers, moved, "Mul"):
        case [update, distance] if (_made(makers, distance, "Sub") or ["", ""])[1] == before:
            fresh = makers[distance].input[0]
        case _:
            return None
    inner = _product(graph, makers, (_made(makers, fresh, "Tanh") or [""])[0])
    if inner is None or (cut := _made(makers, inner[1], "Mul")) is None or cut[1] != before:
        return None
    gates = makers.get(update)
    if gates is None or gates.op_type != "Split" or list(gates.output) != [update, cut[0]]:
        return None
    outer = _product(graph, makers, (_made(makers, gates.input[0], "Sigmoid") or [""])[0])
    if outer is None or outer[1] != before:
        return None
    return _Step(before, outer[0], inner[0], (*outer[2:], *inner[2:]))


def _product(graph: Graph, makers: dict[str, NodeProto], name: str) -> tuple[str, str, str, str] | None:
    """Given + (x W + b) -> given, x, W, b."""
    given, linear = _made(makers, name, "Add") or ["", ""]
    product, bias = _made(makers, linear, "Add") or ["", ""]
    x, weight = _made(makers, product, "MatMul") or ["", ""]
    return (given, x, weight, bias) if graph.is_constant(weight) and graph.is_constant(bias) else None


def _parts_of(graph: Graph, makers: dict[str, NodeProto], names: Sequence[str], start: int) -> str | None:
    """The tensor (N, T, ...) whose columns from `start` on `names` are, one step each, in order."""
    split = makers.get(names[0])
    if split is None or split.op_type != "Split" or attribute(split, "axis") != 1 or list(split.output) != list(names):
        return None
    match _made(makers, split.input[0], "Slice"):
        case [source, begin, _, axes, *_] if _number(graph, begin) == start and _number(graph, axes) == 2:
            return source
        case _:
            return None


def _number(graph: Graph, name: str) -> int | None:
    value = graph.constants.get(name)
    return int(value.reshape(-1)[0]) if value is not None and value.size == 1 else None


def _summed(
    graph: Graph, makers: dict[str, NodeProto], name: str, width: int
) -> tuple[tuple[str, ...], tuple[Array, ...], Array] | None:
    """X W + b, or x W + b + y w where y is one column -> (x, y), (W, w), b."""
    added = _made(makers, name, "Add") or ["", ""]
    product, bias = _made(makers, added[0], "MatMul"), graph.constants.get(added[1])
    if product is not None and graph.is_constant(product[1]) and bias is not None and bias.size == width:
        return (product[0],), (graph.constants[product[1]],), bias.reshape(-1)
    column, row = _made(makers, added[1], "Mul") or ["", ""]
    inner = _summed(graph, makers, added[0], width) if row and settle(graph, row) else None
    if inner is None or graph.constants[row].size != width:
        return None
    return (*inner[0], column), (*inner[1], graph.constants[row].reshape(1, width)), inner[2]


def _write(graph: Graph, concat: NodeProto, written: _Written) -> None:
    output = concat.output[0]
    gates, gates_bias, candidate, candidate_bias = (graph.constants[name] for name in written.step.constants)
    hidden = len(candidate)
    sign = np.repeat(np.array([-1, 1, 1], np.float32), hidden)  # ONNX's first gate is 1 - update
    weight, recurrent = np.concatenate(written.weights), np.concatenate([gates, candidate], axis=1)
    biases = [written.bias * sign, np.concatenate([gates_bias, candidate_bias]) * sign]
    graph.constants |= {
        f"{output}.W": (weight * sign).T[None].astype(np.float32),  # (width, 3H) -> (1, 3H, width)
        f"{output}.R": (recurrent * sign).T[None].astype(np.float32),
        f"{output}.B": np.concatenate(biases)[None].astype(np.float32),
        f"{output}.direction": np.array([2], np.int64),
    }
    nodes: list[NodeProto] = []
    read = written.inputs[0]
    if len(written.inputs) > 1:
        read = f"{output}.joined"
        nodes.append(helper.make_node("Concat", list(written.inputs), [read], axis=2))
    # What follows is not Squeeze, Transpose: OpenVINO 2026.4 makes a sequence of that which reads along a wrong axis.
    nodes += [
        helper.make_node("Transpose", [read], [f"{output}.steps"], perm=[1, 0, 2]),
        helper.make_node(
            "GRU",
            [f"{output}.steps", f"{output}.W", f"{output}.R", f"{output}.B"],
            [f"{output}.states"],
            name=f"{output}.gru",
            hidden_size=hidden,
            direction="reverse" if written.reverse else "forward",
            linear_before_reset=0,
        ),
        helper.make_node("Transpose", [f"{output}.states"], [f"{output}.ordered"], perm=[2, 0, 1, 3]),
        helper.make_node("Squeeze", [f"{output}.ordered", f"{output}.direction"], [output]),
    ]
    for node in nodes:
        graph.insert_before(concat, node)
    graph.remove(concat)
