"""The GRU of Paddle 1.x, `dynamic_gru`: the reset gate cuts the state before it is multiplied, not what comes of it.

    u, r = sigmoid(x W + a + h U + b)    update and reset gate
    c = tanh(x W + a + (r h) U + b)
    h = (1 - u) h + u c

`paddle.nn.GRU` computes r (h U + b) instead, so that weights trained in one mean nothing in the other. Paddle 3 has no
layer of this kind that can be exported: it is written out step by step, and `convert.passes.rolled` makes a GRU of it.
"""

from __future__ import annotations

import paddle
from paddle import ParamAttr, Tensor, nn
from paddle.nn import functional

FILL, SHUT = 200.0, -0.3
"""Where a sequence is filled up, FILL is an input whose weight is SHUT: sigmoid(-60) leaves the state as it is, so that
what fills up is not read. A weight of -60 would take the whole scale of its row in INT8."""


class ResetFirstGRU(nn.Layer):
    """Vectors (N, T, width) and what fills up (N, T, 1) -> states (N, T, hidden), in the order of the vectors.

    Biases are of the projection, 3 * hidden, and once more as many of the recurrent products, as published.

    Args:
        reverse: Whether the last vector is read first.
        attr: Of the weights.
    """

    def __init__(self, width: int, hidden: int, reverse: bool, attr: ParamAttr) -> None:
        super().__init__()
        self.hidden, self.reverse = hidden, reverse
        self.project = nn.Linear(width, 3 * hidden, weight_attr=attr)
        self.gates = nn.Linear(hidden, 2 * hidden, weight_attr=attr)
        self.candidate = nn.Linear(hidden, hidden, weight_attr=attr)

    def forward(self, x: Tensor, fill: Tensor) -> Tensor:
        length, hidden = x.shape[1], self.hidden
        shut = paddle.concat([paddle.full([1, 1, hidden], SHUT), paddle.zeros([1, 1, 2 * hidden])], axis=2)
        projected = self.project(x) + fill * shut
        with paddle.static.name_scope("skip_quant"):  # a state is fed back: no range found before fits all of it
            gated = paddle.split(projected[:, :, : 2 * hidden], length, axis=1)
            offered = paddle.split(projected[:, :, 2 * hidden :], length, axis=1)
            state = paddle.zeros_like(offered[0])
            states = [state] * length
            for t in reversed(range(length)) if self.reverse else range(length):
                opened = functional.sigmoid(gated[t] + self.gates(state))
                update, reset = paddle.split(opened, 2, axis=2)
                fresh = paddle.tanh(offered[t] + self.candidate(reset * state))
                state = state + update * (fresh - state)
                states[t] = state
            return paddle.concat(states, axis=1)
