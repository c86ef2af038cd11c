"""Layers that work element by element, on matrices, or on shapes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge_kit.core.tensors import Array
from runtimes.ncnn_graph import Node
from runtimes.ncnn_int8 import INT8_TERM, Int8, int8_operands
from runtimes.ncnn_model import LARGEST, Parameter, Weight
from runtimes.ncnn_translate import Shape, Translation, Value, numbers, rule

BINARY = {"Add": 0, "Sub": 1, "Mul": 2, "Div": 3, "Max": 4, "Min": 5}
REVERSED = {"Add": 0, "Sub": 7, "Mul": 2, "Div": 8, "Max": 4, "Min": 5}
POWERS = {2.0: 4, 0.5: 5, -0.5: 6, -1.0: 15}
UNARY = {
    **{"Abs": 0, "Neg": 1, "Floor": 2, "Ceil": 3, "Sqrt": 5, "Exp": 7, "Log": 8, "Sin": 9, "Cos": 10},
    **{"Reciprocal": 15, "Tanh": 16},
}
REDUCTIONS = {"ReduceSum": 0, "ReduceMean": 3, "ReduceMax": 4, "ReduceMin": 5}

# Axes of the output from w outwards, by `order_type`; without a d, ncnn counts only the orders of w, h and c.
ORDERS_3D = ("WHC", "HWC", "WCH", "CWH", "HCW", "CHW")
ORDERS_4D = (
    *("WHDC", "HWDC", "WDHC", "DWHC", "HDWC", "DHWC", "WHCD", "HWCD", "WCHD", "CWHD", "HCWD", "CHWD"),
    *("WDCH", "DWCH", "WCDH", "CWDH", "DCWH", "CDWH", "HDCW", "DHCW", "HCDW", "CHDW", "DCHW", "CDHW"),
)
ORDERS = {1: ("W",), 2: ("WH", "HW"), 3: ORDERS_3D, 4: ORDERS_4D}
AXES = {1: "W", 2: "HW", 3: "CHW", 4: "CDHW"}


@rule("Identity", "Dropout", "Cast")
def alias(t: Translation, node: Node) -> None:
    """What changes nothing: a cast is between floats, as all else is refused where it enters."""
    if node.kind == "Cast" and node.attributes["to"] != 1:
        raise node.refuse("ncnn computes in float32 only")
    t.give(node, t.value(node, 0))


@rule("Relu", "LeakyRelu", "Sigmoid", "HardSigmoid", "HardSwish", "Elu", "Erf", "Softplus", *UNARY)
def elementwise(t: Translation, node: Node) -> None:
    """One number in, one number out."""
    x, given = t.value(node, 0), node.attributes
    parameters: dict[int, Parameter] = {}
    kind = {"Relu": "ReLU", "LeakyRelu": "ReLU", "Elu": "ELU"}.get(node.kind, node.kind)
    if node.kind in UNARY:
        kind, parameters = "UnaryOp", {0: UNARY[node.kind]}
    elif node.kind == "LeakyRelu":
        parameters = {0: float(given.get("alpha", 0.01))}
    elif node.kind == "Elu":
        parameters = {0: float(given.get("alpha", 1.0))}
    elif node.kind == "HardSigmoid":
        parameters = {0: float(given.get("alpha", 0.2)), 1: float(given.get("beta", 0.5))}
    elif node.kind == "HardSwish":
        parameters = {0: 1 / 6, 1: 0.5}
    t.give(node, t.layer(node, kind, [x], x.shape, parameters))


@rule("Clip")
def clip(t: Translation, node: Node) -> None:
    """Bounds are attributes up to opset 10, inputs from 11."""
    x = t.value(node, 0)
    bounds = [float(node.attributes.get(key, limit)) for key, limit in (("min", -LARGEST), ("max", LARGEST))]
    for place in (1, 2):
        if len(node.inputs) > place and node.inputs[place]:
            bounds[place - 1] = float(t.weight(node, place).reshape(()))
    t.give(node, t.layer(node, "Clip", [x], x.shape, {0: bounds[0], 1: bounds[1]}))


@rule("PRelu")
def prelu(t: Translation, node: Node) -> None:
    """One slope, or one a channel."""
    x, slope = t.value(node, 0), t.weight(node, 1)
    if slope.size > 1 and np.squeeze(slope).shape != (x.mat[0],):
        raise node.refuse(f"slopes of shape {slope.shape}; ncnn has one, or one a channel")
    t.give(node, t.layer(node, "PReLU", [x], x.shape, {0: slope.size}, [Weight(slope)]))


@rule("Softmax")
def softmax(t: Translation, node: Node) -> None:
    """Along one axis; before opset 13 along that and all after it."""
    x = t.value(node, 0)
    axis = node.attributes.get("axis", -1 if t.graph.opset >= 13 else 1)
    if t.graph.opset < 13 and axis not in (-1, len(x.shape) - 1) and max(x.shape[axis + 1 :], default=1) > 1:
        raise node.refuse("over several axes, as before opset 13; export at opset 13")
    t.give(node, t.layer(node, "Softmax", [x], x.shape, {0: t.axis(node, x, axis), 1: 1}))


@rule(*BINARY)
def binary(t: Translation, node: Node) -> None:
    """Two tensors with broadcasting; a constant may stand on either side."""
    if len(node.inputs) != 2:
        raise node.refuse(f"{len(node.inputs)} inputs; ncnn takes 2")
    shape = t.shape(node)
    left, right = t.constant(node, 0), t.constant(node, 1)
    constant = right if left is None else left
    if constant is None:
        pair = [_spread(t, node, t.value(node, place), shape) for place in (0, 1)]
        if pair[0].batch != pair[1].batch and None not in (pair[0].batch, pair[1].batch):
            raise node.refuse("it has the batch in another place on either side")
        t.give(node, t.layer(node, "BinaryOp", pair, shape, {0: BINARY[node.kind]}))
        return
    kind = (BINARY if left is None else REVERSED)[node.kind]
    x = _spread(t, node, t.value(node, 0 if left is None else 1), shape)
    if constant.size == 1:
        t.give(node, t.layer(node, "BinaryOp", [x], shape, {0: kind, 1: 1, 2: float(constant.reshape(()))}))
        return
    held = t.hold(node, _without_batch(node, constant, x, len(shape)))
    t.give(node, t.layer(node, "BinaryOp", [x, held], shape, {0: kind}))


@rule("Pow")
def power(t: Translation, node: Node) -> None:
    """Powers that ncnn has a function for; its general one takes a logarithm, which ends at zero."""
    x, exponent = t.value(node, 0), t.weight(node, 1)
    if exponent.size != 1 or float(exponent.reshape(())) not in POWERS:
        raise node.refuse(f"exponents other than {', '.join(map(str, POWERS))}")
    t.give(node, t.layer(node, "UnaryOp", [x], t.shape(node), {0: POWERS[float(exponent.reshape(()))]}))


def _spread(t: Translation, node: Node, value: Value, shape: Shape) -> Value:
    """Give a tensor leading axes of one; ncnn's own rule for unlike ranks is another than ONNX's."""
    missing = len(shape) - len(value.shape)
    if not missing:
        return value
    batch = None if value.batch is None else value.batch + missing
    return t.view(node, value, (1,) * missing + value.shape, batch)


def _without_batch(node: Node, constant: Array, x: Value, rank: int) -> Array:
    full = constant.reshape((1,) * (rank - constant.ndim) + constant.shape)
    if x.batch is None:
        return full
    if full.shape[x.batch] != 1:
        raise node.refuse("a constant with a value for each sample of a batch")
    return full.reshape(x.mat and tuple(size for place, size in enumerate(full.shape) if place != x.batch) or (1,))


@rule("Gemm")
def gemm(t: Translation, node: Node) -> None:
    """A dense layer: the second factor and the summand are weights."""
    given, weight, turned = node.attributes, t.weight(node, 1), node.attributes.get("transB", 0)
    small = int8_operands(t, node, 0 if turned else 1) if given.get("alpha", 1.0) == 1 else None
    x = small.value if small else t.value(node, 0)
    if given.get("transA", 0) or x.batch != 0:
        raise node.refuse("its first factor is transposed")
    weight = (weight if turned else weight.T) * np.float32(given.get("alpha", 1.0))
    bias = None
    if len(node.inputs) > 2:
        full = np.broadcast_to(t.weight(node, 2), t.shape(node))
        bias = full.reshape(-1) * np.float32(given.get("beta", 1.0))
    t.give(node, _dense(t, node, x, weight, bias, small))


@rule("MatMul")
def matmul(t: Translation, node: Node) -> None:
    """By a constant matrix: a dense layer over the last axis; else a product of two tensors."""
    weight = t.constant(node, 1)
    if weight is not None and weight.ndim == 2:
        small = int8_operands(t, node, 1)
        x = small.value if small else t.value(node, 0)
        if x.batch == len(x.shape) - 1:
            raise node.refuse("it works across the batch, and ncnn computes sample by sample")
        t.give(node, _dense(t, node, x, weight.T, None, small))
        return
    pair, shape = [t.operand(node, place) for place in (0, 1)], t.shape(node)
    batches = {
        len(shape) - value.batch if len(value.shape) == len(shape) else 0 for value in pair if value.batch is not None
    }
    if len(batches) != 1 or batches & {0, 1, 2} or any(len(value.mat) < 2 for value in pair):
        raise node.refuse(
            "a product of tensors of these shapes; ncnn wants the batch before the two that are multiplied"
        )
    t.give(node, t.layer(node, "MatMul", pair, shape))


def _dense(t: Translation, node: Node, x: Value, weight: Array, bias: Array | None, small: Int8 | None = None) -> Value:
    """Multiply along the last axis by a weight of shape (out, in)."""
    out, size = weight.shape
    rows = int(np.prod(x.mat)) // size
    flat = t.view(node, x, (1, rows, size) if rows > 1 else (1, size), 0)
    added = [] if bias is None else [Weight(bias)]
    weights = small.weights(added) if small else [Weight(weight, tagged=True), *added]
    parameters: dict[int, Parameter] = {0: out, 1: len(added), 2: weight.size}
    parameters |= INT8_TERM if small else {}
    scale = small.scale if small else None
    made = t.layer(node, "InnerProduct", [flat], (*flat.shape[:-1], out), parameters, weights, scale)
    return t.view(node, made, t.shape(node), x.batch)


@rule("Concat")
def concat(t: Translation, node: Node) -> None:
    """Along one axis that is not the batch."""
    axis, shape = node.attributes["axis"], t.shape(node)
    axis += len(shape) if axis < 0 else 0
    values = [
        None if t.constant(node, place) is not None else t.value(node, place) for place in range(len(node.inputs))
    ]
    first = next(value for value in values if value is not None)
    place = t.axis(node, first, axis)
    joined = []
    for i, value in enumerate(values):
        if value is None:
            value = t.hold(node, _without_batch(node, t.weight(node, i), first, len(shape)))
        elif value.batch != first.batch:
            raise node.refuse("its inputs have the batch in different places")
        joined.append(value)
    t.give(node, t.layer(node, "Concat", joined, shape, {0: place}))


@rule("Split")
def split(t: Translation, node: Node) -> None:
    """Into parts along one axis; the sizes are those that the parts were found to have."""
    x, axis = t.value(node, 0), node.attributes.get("axis", 0)
    sizes = [t.shape(node, place)[axis] for place in range(len(node.outputs))]
    t.parts(node, "Slice", x, {0: sizes, 1: t.axis(node, x, axis)})


@rule("Slice")
def slice_(t: Translation, node: Node) -> None:
    """Ranges of axes, step 1; inputs from opset 10, attributes before."""
    x = t.value(node, 0)
    if t.graph.opset < 10:
        starts, ends = list(node.attributes["starts"]), list(node.attributes["ends"])
        axes, steps = list(node.attributes.get("axes", range(len(starts)))), [1]
    else:
        starts, ends = numbers(t.weight(node, 1)), numbers(t.weight(node, 2))
        axes = numbers(t.weight(node, 3)) if len(node.inputs) > 3 and node.inputs[3] else list(range(len(starts)))
        steps = numbers(t.weight(node, 4)) if len(node.inputs) > 4 else [1]
    if set(steps) != {1}:
        raise node.refuse(f"steps {steps}; ncnn takes each element")
    ranges = {axis % len(x.shape): (start, end) for axis, start, end in zip(axes, starts, ends, strict=True)}
    t.give(node, _crop(t, node, x, ranges))


def _crop(t: Translation, node: Node, x: Value, ranges: dict[int, tuple[int, int]]) -> Value:
    shape = list(x.shape)
    cut: list[tuple[int, int, int]] = []
    for axis, (start, end) in sorted(ranges.items()):
        first, last, _ = slice(start, end).indices(x.shape[axis])
        if last <= first:
            raise node.refuse(f"it leaves nothing of axis {axis}")
        shape[axis] = last - first
        if shape[axis] != x.shape[axis]:
            cut.append((first, last, t.axis(node, x, axis)))
    if not cut:
        return x
    starts, ends, axes = (list(column) for column in zip(*cut, strict=True))
    return t.layer(node, "Crop", [x], tuple(shape), {9: starts, 10: ends, 11: axes})


@rule("Gather")
def gather(t: Translation, node: Node) -> None:
    """One place of an axis, which ncnn can cut out; it has no general gather."""
    x, index, axis = t.value(node, 0), t.weight(node, 1), node.attributes.get("axis", 0) % len(t.value(node, 0).shape)
    if index.size != 1 or index.ndim > 1:
        raise node.refuse(f"{index.size} places; ncnn can take one")
    place = int(index.reshape(())) % x.shape[axis]
    cut = _crop(t, node, x, {axis: (place, place + 1)})
    _squeeze(t, node, cut, [axis] if index.ndim == 0 else [])


@rule("Flatten", "Reshape")
def reshape(t: Translation, node: Node) -> None:
    """The same numbers in another shape; the batch must stay an axis of its own."""
    x, shape = t.value(node, 0), t.shape(node)
    t.give(node, t.view(node, x, shape, _batch_after(node, x, shape)))


def _batch_after(node: Node, x: Value, shape: Shape) -> int | None:
    """Where the batch is after a reshape: behind as many elements as before."""
    if x.batch is None:
        return None
    before = int(np.prod(x.shape[: x.batch]))
    places = [
        place for place, size in enumerate(shape) if size == 1 and int(np.prod(shape[:place], dtype=np.int64)) == before
    ]
    if not places:
        raise node.refuse(f"from {x.shape} to {shape} it merges the batch with another axis")
    return x.batch if x.batch in places else places[0]


@rule("Squeeze", "Unsqueeze")
def squeeze(t: Translation, node: Node) -> None:
    """Axes of one off or on; named in an input from opset 13, in an attribute before."""
    x, shape = t.value(node, 0), t.shape(node)
    axes = t.constant(node, 1) if len(node.inputs) > 1 else node.attributes.get("axes")
    if node.kind == "Squeeze":
        places = [i for i, size in enumerate(x.shape) if size == 1] if axes is None else numbers(np.asarray(axes))
        _squeeze(t, node, x, [place % len(x.shape) for place in places])
        return
    added = {place % len(shape) for place in numbers(np.asarray(axes))}
    kept = [place for place in range(len(shape)) if place not in added]
    t.give(node, t.view(node, x, shape, None if x.batch is None else kept[x.batch]))


def _squeeze(t: Translation, node: Node, x: Value, axes: Sequence[int]) -> None:
    if x.batch in axes:
        raise node.refuse("it drops the batch axis")
    kept = [place for place in range(len(x.shape)) if place not in axes]
    batch = None if x.batch is None else kept.index(x.batch)
    t.give(node, t.view(node, x, tuple(x.shape[place] for place in kept), batch))


@rule("Transpose")
def transpose(t: Translation, node: Node) -> None:
    """Axes in another order; the batch may move too, which costs nothing."""
    x = t.value(node, 0)
    order = list(node.attributes.get("perm", reversed(range(len(x.shape)))))
    batch = None if x.batch is None else order.index(x.batch)
    places = [t.axis(node, x, axis) for axis in order if axis != x.batch]
    shape = tuple(x.shape[axis] for axis in order)
    if places == sorted(places):
        t.give(node, Value(x.blob, shape, batch))
        return
    names = AXES[len(places)]
    kind = ORDERS[len(places)].index("".join(names[place] for place in reversed(places)))
    (blob,) = t.model.add("Permute", node.name, [x.blob], 1, {0: kind})
    t.give(node, Value(blob, shape, batch))


@rule(*REDUCTIONS)
def reduce(t: Translation, node: Node) -> None:
    """Over some axes; ReduceSum names them in an input from opset 13."""
    x = t.value(node, 0)
    axes = t.constant(node, 1) if len(node.inputs) > 1 else node.attributes.get("axes")
    batch = [] if x.batch is None else [x.batch]
    named = [i for i in range(len(x.shape)) if i not in batch] if axes is None else numbers(np.asarray(axes))
    places = sorted(t.axis(node, x, axis) for axis in named)
    kept = tuple(1 if i in {axis % len(x.shape) for axis in named} else size for i, size in enumerate(x.shape))
    parameters: dict[int, Parameter] = {0: REDUCTIONS[node.kind], 1: 0, 3: places, 4: 1, 5: 1}
    made = t.layer(node, "Reduction", [x], kept, parameters)
    if node.attributes.get("keepdims", 1):
        t.give(node, made)
    else:
        _squeeze(t, node, made, [axis % len(x.shape) for axis in named])
