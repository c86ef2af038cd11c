"""Structured pruning: whole filters go, and with them everything that read or followed them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from paddle import nn
from paddle.nn.layer.norm import _BatchNormBase

from compress import slim
from compress.prune.macs import Shapes, count_macs, evaluating, positions_by_weight
from compress.prune.reshape import fit_to_weights
from edge_kit.core.errors import EdgeKitError, UsageError, unknown_name
from edge_kit.core.tensors import Array

CRITERIA = ("l1", "fpgm")
MULTIPLES = (16, 8, 4, 2, 1)  # channels in a block of AVX-512, AVX2 and NEON kernels, then anything

_TOLERANCE = 0.02  # of the share that stays; filters are whole, so no cut is exact
_HALVINGS = 20  # finer than one filter of any layer


@dataclass(frozen=True, slots=True)
class PruneSettings:
    """How much goes, and by what measure.

    Attributes:
        flops_share: Share of the multiply-accumulates to remove, in (0, 1).
        criterion: `l1` removes filters of small magnitude (arXiv:1608.08710), `fpgm` those nearest
            to all others (arXiv:1811.00250).
    """

    flops_share: float
    criterion: str = "l1"

    def __post_init__(self) -> None:
        if not 0 < self.flops_share < 1:
            raise UsageError(f"flops_share must be between 0 and 1, got {self.flops_share!r}")
        if self.criterion not in CRITERIA:
            raise unknown_name("pruning criterion", self.criterion, CRITERIA)


@dataclass(frozen=True, slots=True)
class PruneReport:
    """What was cut, counted.

    Attributes:
        macs_before: Multiply-accumulates of one run at the given input shapes.
        macs_after: The same, of the pruned network.
        parameters_before: Trainable by design: running statistics are not counted.
        parameters_after: The same, of the pruned network.
        multiple: What is left of each convolution is a multiple of this, or all of it.
        channels: Filters left, by state-dict key of each convolution weight that lost some.
    """

    macs_before: int
    macs_after: int
    parameters_before: int
    parameters_after: int
    multiple: int
    channels: dict[str, int]


def prune_filters(net: nn.Layer, inputs: Shapes, settings: PruneSettings) -> PruneReport:
    """Cut the same share of filters from every convolution of `net`, in place.

    What is left of each is rounded to the largest of `MULTIPLES` that the saving can be met with:
    vector kernels work on blocks of channels, and a network cut to odd widths can be slower than the
    whole one. Outputs of the network keep their shape. Make the optimizer afterwards. When this raises, `net`
    is unchanged.

    Args:
        inputs: Shapes by name, in the order of the network's arguments; every sample counts.

    Raises:
        UsageError: No ratio comes within 2 % of the saving.
        EdgeKitError: The network cannot be traced, or falls apart when cut.
    """
    positions = positions_by_weight(net, inputs)
    with evaluating(net):
        chooser = slim.trace_filters(net, list(inputs.values()), settings.criterion)
    shapes = {tensor.name: tuple(tensor.shape) for tensor in net.parameters()}

    def macs(ratio: float, multiple: int) -> int:
        sizes = chooser.sizes(ratio, multiple) if ratio else {}
        return _macs(positions, shapes, sizes)

    before, parameters = macs(0.0, 1), _parameters(net)
    ratio, multiple = _find_cut(macs, before, 1 - settings.flops_share)
    state = {key: tensor.numpy() for key, tensor in net.state_dict().items()}
    cuts = _by_key(net, chooser.cuts(ratio, multiple))
    fit_to_weights(net, {key: _cut(value, cuts.get(key, {})) for key, value in state.items()})
    after = _count_or_undo(net, inputs, macs(ratio, multiple), state)
    return PruneReport(before, after, parameters, _parameters(net), multiple, _channels(net, cuts))


def _macs(
    positions: Mapping[str, int],
    shapes: Mapping[str, tuple[int, ...]],
    sizes: Mapping[str, Mapping[int, int]],
) -> int:
    total = 0
    for name, count in positions.items():
        kept = sizes.get(name, {})
        for axis, size in enumerate(shapes[name]):
            count *= kept.get(axis, size)
        total += count
    return total


def _find_cut(macs: Callable[[float, int], int], before: int, keep: float) -> tuple[float, int]:
    """Find the ratio, and the coarsest rounding, whose saving is within tolerance of the one asked for."""
    nearest = 1.0
    for multiple in MULTIPLES:
        for ratio in _edges(macs, multiple, keep * before):
            reached = macs(ratio, multiple) / before if before else 1.0
            if abs(reached - keep) <= _TOLERANCE * keep:
                return ratio, multiple
            nearest = min(nearest, reached, key=lambda share: abs(share - keep))
    raise UsageError(
        f"cannot remove {1 - keep:.3f} of the multiply-accumulates by cutting filters evenly; "
        f"the nearest is {1 - nearest:.3f}"
    )


def _edges(macs: Callable[[float, int], int], multiple: int, budget: float) -> tuple[float, float]:
    """Find the ratios on either side of the step at the saving asked for, the one that saves enough first."""
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if macs(middle, multiple) > budget:
            low = middle
        else:
            high = middle
    return high, low


def _by_key(net: nn.Layer, cuts: slim.Cuts) -> slim.Cuts:
    """Rename cuts to state-dict keys; PaddleSlim goes by the names that Paddle made up."""
    return {key: cuts[tensor.name] for key, tensor in net.state_dict().items() if tensor.name in cuts}


def _cut(value: Array, axes: Mapping[int, Array]) -> Array:
    for axis, stays in axes.items():
        value = np.compress(stays, value, axis=axis)
    return value


def _count_or_undo(net: nn.Layer, inputs: Shapes, expected: int, state: Mapping[str, Array]) -> int:
    """Count the MACs of a run; put `state` back when they are not those planned."""
    try:
        counted = count_macs(net, inputs)
        reason = f"{counted} multiply-accumulates where {expected} were planned"
    except (
        ValueError,
        RuntimeError,
    ) as error:  # PaddleSlim lost a connection: two shapes do not meet
        counted, reason = -1, slim.reason_of(error)
    if counted != expected:
        fit_to_weights(net, state)
        raise EdgeKitError(f"{type(net).__name__} does not hold together when pruned: {reason}")
    return counted


def _parameters(net: nn.Layer) -> int:
    statistics = {
        id(tensor)
        for layer in net.sublayers(include_self=True)
        if isinstance(layer, (_BatchNormBase, nn.BatchNorm))
        for tensor in (layer._mean, layer._variance)
    }
    return sum(int(tensor.size) for tensor in net.parameters() if id(tensor) not in statistics)


def _channels(net: nn.Layer, cuts: slim.Cuts) -> dict[str, int]:
    filters = {f"{prefix}.weight" for prefix, layer in net.named_sublayers() if isinstance(layer, nn.Conv2D)}
    left = {key: axes[slim.FILTERS] for key, axes in cuts.items() if slim.FILTERS in axes}
    return {key: int(left[key].sum()) for key in sorted(filters & left.keys()) if not left[key].all()}
