"""ONNX Runtime's LSTM in INT8, in NumPy: its products of integers are exact, what is between them rounds its own way.

Source: microsoft/onnxruntime, onnxruntime/contrib_ops/cpu/quantization/dynamic_quantize_lstm.cc and
onnxruntime/core/providers/cpu/rnn (lstm_base.cc, uni_directional_lstm.cc, rnn_helpers.cc).
"""

from __future__ import annotations

import numpy as np
from onnx import NodeProto

from convert.graph import Array, attribute
from convert.integer import Inputs, Products, quantize_by
from edge_kit.core.errors import BadData

DYNAMIC_LSTM = "DynamicQuantizeLSTM"
PLAIN = (  # attributes that have to be as they are when left out
    ("clip", 0.0),
    ("input_forget", 0),
    ("layout", 0),
)
ACTIVATIONS = [b"Sigmoid", b"Tanh", b"Tanh"]


def dynamic_quantize_lstm(node: NodeProto, inputs: Inputs, products: Products) -> tuple[Array, Array, Array]:
    """DynamicQuantizeLSTM on one thread; its range is of all samples at once, so answers depend on the batch.

    Args:
        inputs: Sequence (steps, N, features), weights (directions, features, 4 * hidden) and (directions, hidden,
            4 * hidden) in gates i, o, f, c, and what else the operator has; lengths and peepholes are not among it.

    Returns:
        All states (steps, directions, N, hidden), and the last states and cells, (directions, N, hidden).

    Raises:
        BadData: It is of a kind that has no form here.
    """
    x, w, r, bias, lengths, state, cell, peepholes, w_scale, w_zero, r_scale, r_zero = inputs
    changed = [name for name, plain in PLAIN if attribute(node, name, plain) != plain]
    if changed or lengths is not None or peepholes is not None or _other_activations(node):
        raise BadData(f"cannot emulate {node.op_type} {node.name!r}: only a plain one, all sequences of one length")
    assert x is not None and w is not None and w_scale is not None and w_zero is not None
    assert r is not None and r_scale is not None and r_zero is not None
    begin: Array = np.zeros((len(w), x.shape[1], r.shape[1]), np.float32)
    found = []
    for i in range(len(w)):
        backwards = i == 1 or attribute(node, "direction", b"forward") == b"reverse"
        steps = x[::-1] if backwards else x
        fed = _product(steps.reshape(-1, x.shape[2]), w[i], w_scale[i], w_zero[i], products)
        fed = fed.reshape(*steps.shape[:2], -1)
        added = np.float32(0) if bias is None else np.add(*np.split(bias[i], 2))
        h, c = (begin[i] if given is None else given[i] for given in (state, cell))
        states = []
        for gates in fed:
            h, c = _step(gates + _product(h, r[i], r_scale[i], r_zero[i], products) + added, c)
            states.append(h)
        found.append((np.stack(states[::-1] if backwards else states), h, c))
    every, last, cells = zip(*found, strict=True)
    return np.stack(every, 1), np.stack(last), np.stack(cells)


def _step(gates: Array, cell: Array) -> tuple[Array, Array]:
    """State and cell after one step, (N, hidden) each, of what goes into the gates, (N, 4 * hidden)."""
    into, out, forget, new = np.split(gates, 4, axis=1)
    cell = _sigmoid(forget) * cell + _sigmoid(into) * np.tanh(new)
    return _sigmoid(out) * np.tanh(cell), cell


def _sigmoid(x: Array) -> Array:
    risen: Array = 0.5 * (1 + np.tanh(0.5 * x))
    return risen


def _product(rows: Array, weight: Array, scale: Array, zero: Array, products: Products) -> Array:
    """(M, K) float32 by (K, O) INT8, in INT8: what the rows span, zero among it, is cut into 255 steps."""
    low, high = min(rows.min(initial=0), np.float32(0)), max(rows.max(initial=0), np.float32(0))
    step = np.array((high - low) / 255 if high > low else 1, np.float32)
    middle = np.rint(np.clip(-low / step, 0, 255)).astype(np.uint8)
    column = zero.astype(np.int32).reshape(-1, 1)
    sums = products.sums(quantize_by(rows, step, middle), int(middle), weight.T, column)
    product: Array = sums.astype(np.float32) * (step * scale)
    return product


def _other_activations(node: NodeProto) -> bool:
    named = attribute(node, "activations", [])
    return bool(named) and named != ACTIVATIONS * (len(named) // len(ACTIVATIONS))
