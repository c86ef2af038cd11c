"""Gives a freshly built network the smaller shapes of a pruned one; needs no PaddleSlim."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import paddle
from paddle import nn
from paddle.nn.layer.conv import _ConvNd
from paddle.nn.layer.norm import _BatchNormBase

from compress.prune.macs import TRANSPOSED
from edge_kit.core.errors import BadData
from edge_kit.core.tensors import Array


def fit_to_weights(net: nn.Layer, weights: Mapping[str, Array]) -> None:
    """Shrink (or grow) the layers of `net` to hold `weights`, and load them.

    Parameters stay the objects they were, so tied weights, regularizers and names survive; make the
    optimizer afterwards. When this raises, `net` is unchanged.

    Args:
        weights: By state-dict key, as saved from the pruned network.

    Raises:
        BadData: The keys differ, or a shape cannot belong to its layer.
    """
    state = net.state_dict()
    _check_keys(state, weights)
    keys = {id(tensor): key for key, tensor in state.items()}
    changes: list[tuple[nn.Layer, dict[str, int]]] = []
    for layer in net.sublayers(include_self=True):
        for name, tensor in {**layer._parameters, **layer._buffers}.items():
            key = keys.get(id(tensor))
            if key is not None and tuple(tensor.shape) != weights[key].shape:
                changes.append((layer, _new_attributes(key, name, layer, tensor, weights[key])))
    for key, tensor in state.items():
        _put(tensor, weights[key])
    for layer, attributes in changes:
        for name, value in attributes.items():
            setattr(layer, name, value)


def _check_keys(state: Mapping[str, Any], weights: Mapping[str, Array]) -> None:
    missing = [key for key in state if key not in weights]
    if missing:
        raise BadData(f"the weights lack {missing[0]!r} ({len(missing)} keys missing)")
    extra = [key for key in weights if key not in state]
    if extra:
        raise BadData(f"the network has no {extra[0]!r} ({len(extra)} keys too many)")


def _new_attributes(key: str, name: str, layer: nn.Layer, tensor: paddle.Tensor, value: Array) -> dict[str, int]:
    """Find what a layer must be told when one of its tensors changes its shape."""
    old, new = list(tensor.shape), list(value.shape)
    built = f"a {type(layer).__name__} built with {tuple(old)}"
    fault = BadData(f"{key!r} has shape {tuple(new)}; {built} cannot take it")
    if len(old) != len(new) or 0 in new:
        raise fault
    if isinstance(layer, _ConvNd):
        if name != "weight":
            return {}
        if new[2:] != old[2:]:
            raise fault
        return _conv_attributes(layer, old, new, fault)
    if isinstance(layer, _BatchNormBase):
        return {"_num_features": new[0]}
    if isinstance(layer, (nn.Linear, nn.BatchNorm)):  # both read their size from the weight
        return {}
    raise fault


def _conv_attributes(conv: nn.Layer, old: list[int], new: list[int], fault: BadData) -> dict[str, int]:
    groups = conv._groups
    if groups > 1:
        per_group = old[0] // groups
        if new[0] % per_group or new[1] != old[1]:
            raise fault
        groups = new[0] // per_group  # whole groups go; a depthwise one keeps a channel in each
    first, second = new[0], new[1] * groups
    inside, outside = (first, second) if isinstance(conv, TRANSPOSED) else (second, first)
    return {"_in_channels": inside, "_out_channels": outside, "_groups": groups}


def _put(tensor: paddle.Tensor, value: Array) -> None:
    dtype = str(tensor.dtype).rpartition(".")[2]
    fresh = paddle.to_tensor(np.ascontiguousarray(value), dtype=dtype, place=tensor.place)
    # `set_value` refuses another shape; `tensor.data = ...` takes it and loses name and gradient.
    tensor.get_tensor()._share_data_with(fresh.get_tensor())
    tensor.clear_gradient(False)
