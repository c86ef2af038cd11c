"""PaddleSlim, mended: the only file that imports it.

Release 2.6.0 was written for Paddle 2.x. What it needs on 3.1 is done here: a renamed guard, a
process left in static mode after a failure, packages it uses and does not declare, histograms that
are slow and, away from zero, wrong, links between nodes that are looked for in lists of all nodes.
"""

from __future__ import annotations

import importlib
import io
import logging
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from numpy.typing import NDArray
from paddle import nn
from paddle.base.framework import IrGraph

from edge_kit.core.errors import EdgeKitError, MissingDependency
from edge_kit.core.tensors import Tensors

Cuts = dict[str, dict[int, NDArray[np.bool_]]]
"""Which entries stay, by parameter name and axis."""

FILTERS = 0  # axis of the output channels in a convolution weight, (out, in / groups, kh, kw)
KEPT_OF_RANGES = 0.999  # a batch
_PRUNERS = {"l1": "L1NormFilterPruner", "fpgm": "FPGMFilterPruner"}
_DISTRIBUTIONS = {"pkg_resources": "setuptools<81"}  # gone from setuptools 81


def check_installation() -> None:
    """Import what this file needs of PaddleSlim.

    Raises:
        MissingDependency: A package is missing, PaddleSlim or one that it uses and does not declare.
    """
    for module in ("paddleslim.quant", "paddleslim.dygraph.prune"):
        _load(module)


def quantize_weights_and_ranges(
    model: Path,
    out: Path,
    batches: Sequence[Tensors],
    op_types: Sequence[str],
    *,
    algorithm: str,
    hist_percent: float,
) -> None:
    """Run PaddleSlim's `quant_post_static` on an inference model.

    Args:
        model: Prefix of `.pdmodel` and `.pdiparams`; `out` is that of the quantized pair.
        op_types: Paddle operators whose inputs and outputs get ranges.
    """
    quanter = _load("paddleslim.quant.quanter")
    engine = quanter.PostTrainingQuantization
    with (
        _static_mode(),
        _replaced(engine, "_init_sampling_act_histogram", _start_at_zero),
        _replaced(engine, "_sample_histogram", _count_evenly),
        _replaced(IrGraph, "link_to", _link),
        _replaced(IrGraph, "update_input_link", _link_instead),
    ):
        quanter.quant_post_static(
            paddle.static.Executor(paddle.CPUPlace()),
            model_dir=str(model.parent),
            quantize_model_path=str(out.parent),
            data_loader=lambda: iter(batches),
            model_filename=f"{model.name}.pdmodel",
            params_filename=f"{model.name}.pdiparams",
            save_model_filename=f"{out.name}.pdmodel",
            save_params_filename=f"{out.name}.pdiparams",
            batch_nums=len(batches),
            algo=algorithm,
            hist_percent=hist_percent,
            quantizable_op_type=list(op_types),
            weight_quantize_type="channel_wise_abs_max",
            onnx_format=True,
        )
        _forget_call_stacks(out.with_name(f"{out.name}.pdmodel"))


def _link(graph: IrGraph, source: Any, reader: Any) -> None:
    """Stand in for Paddle's own, which lists all nodes of the graph twice for each link, to see that both are there."""
    source.append_output(reader)
    reader.append_input(source)


def _link_instead(graph: IrGraph, old: Any, new: Any, reader: Any) -> None:
    """Let an operator read another node; likewise."""
    old.remove_output(reader)
    reader.remove_input(old)
    _link(graph, new, reader)
    reader.rename_input(old.name(), new.name())


def insert_quantizers(net: nn.Layer) -> Any:
    """Let every convolution and linear layer of `net` round what it reads and its weights, in place.

    PaddleSlim would observe outputs too, those of a convolution before its batch norm, where no kernel rounds.

    Returns:
        PaddleSlim's handle, for `save_quantized`.
    """
    config = {
        "weight_quantize_type": "channel_wise_abs_max",
        "activation_quantize_type": "moving_average_abs_max",
        "quantizable_layer_type": ["Conv2D", "Linear"],
        "onnx_format": True,
    }
    quanter = _load("paddleslim.dygraph.quant").QAT(config)
    with _quiet(), _replaced(quanter.imperative_qat._quantize_outputs, "apply", _observe_nothing):
        quanter.quantize(net)
    return quanter


@contextmanager
def growing_ranges(net: nn.Layer) -> Iterator[None]:
    """Within the context, ranges begin at nothing and reach to the largest magnitude seen in training.

    PaddleSlim's end at the mean of what batches have as their largest, and so cut off the top of every other batch. Of
    the largest, each batch forgets a thousandth.
    """
    hooks = []
    for layer in _quantized(net):
        quantizer = layer._fake_quant_input
        quantizer._scale.set_value(paddle.zeros_like(quantizer._scale))
        hooks.append(quantizer.register_forward_pre_hook(_reach_largest))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _reach_largest(quantizer: Any, inputs: tuple[paddle.Tensor, ...]) -> None:
    """Set what the kernel averages, so that its mean comes out as the largest; the kernel adds this batch's own."""
    if quantizer.training:
        with paddle.no_grad():
            largest = inputs[0].abs().max()
            reached = paddle.maximum(largest, KEPT_OF_RANGES * quantizer._scale)
            # (rate * accumulated + largest) / (rate * state + 1), with a state of 0
            quantizer._state.set_value(paddle.zeros_like(quantizer._state))
            quantizer._accum.set_value((reached - largest) / quantizer._moving_rate)


def learnt_ranges(net: nn.Layer) -> dict[str, float]:
    """The largest magnitude that each layer reads without clipping it, by the name of its weight."""
    return {layer.weight.name: float(layer._fake_quant_input._scale.item()) for layer in _quantized(net)}


def save_quantized(quanter: Any, layer: nn.Layer, out: Path, inputs: Sequence[Any]) -> None:
    """Write a layer behind `insert_quantizers` as an inference model, its weights stored in 8 bits.

    Args:
        out: Prefix of `.pdmodel` and `.pdiparams`.
        inputs: Paddle's `InputSpec`s.
    """
    with paddle.no_grad():
        for one in _quantized(layer):
            one._fake_quant_weight(one.weight)  # its grid is that of the weights before the last step
    with _quiet(), _replaced(layer, "forward", layer.forward):  # it leaves a traced one behind, which runs no more
        quanter.save_quantized_model(layer, str(out), list(inputs))


def _quantized(net: nn.Layer) -> list[Any]:
    return [layer for layer in net.sublayers(include_self=True) if hasattr(layer, "_fake_quant_input")]


def _observe_nothing(net: nn.Layer) -> None:
    """Stand in for PaddleSlim's observers of outputs."""


def input_names(model: Path) -> list[str]:
    """Read which inputs an inference model takes, in its order."""
    return [op.output("Out")[0] for op in _program_of(model).global_block().ops if op.type == "feed"]


def parameter_names(model: Path) -> set[str]:
    """Names of what an inference model holds; layers that run in training alone are not in it."""
    return {variable.name for variable in _program_of(model).list_vars() if variable.persistable}


def operator_count(model: Path) -> int:
    """How many operators an inference model has."""
    return len(_program_of(model).global_block().ops)


def _program_of(model: Path) -> Any:
    with _static_mode():
        return _read_program(model.with_name(f"{model.name}.pdmodel"))


def reason_of(error: Exception) -> str:
    """Take the one line out of a Paddle error that says what is wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # Between a C++ stack and hints stands "(InvalidArgument) input and filter ...".
    named = [line for line in lines if re.match(r"\([A-Z]\w+\) ", line)]
    return (named or lines[-1:] or [type(error).__name__])[0]


class FilterChooser:
    """Says which filters of a traced network stay at a ratio, and what else goes with them."""

    def __init__(self, pruner: Any, cheap: Any, masters: Mapping[str, int]) -> None:
        self._pruner, self._cheap, self._masters = pruner, cheap, masters

    def cuts(self, ratio: float, multiple: int) -> Cuts:
        """Choose what stays when `ratio` of the filters of every prunable convolution goes.

        Args:
            multiple: What stays of a convolution is rounded to a multiple of this, but never to none.
        """
        ratios = {name: 1 - _rounded(filters, ratio, multiple) / filters for name, filters in self._masters.items()}
        with _quiet():
            try:
                plan = self._pruner.prune_vars(ratios, FILTERS, apply=None)
            except AssertionError as error:  # a mask that does not fit its weight
                raise EdgeKitError(f"paddleslim cannot cut: {reason_of(error)}") from error
        return {
            name: {mask.dims: np.asarray(mask.mask).astype(np.bool_) for mask in masks}
            for name, masks in plan.masks.items()
        }

    def sizes(self, ratio: float, multiple: int) -> dict[str, dict[int, int]]:
        """Count what stays, by parameter name and axis."""
        # A criterion decides which filters go, never how many; FPGM's is slow, so L1's stands in.
        with _replaced(self._pruner, "cal_mask", partial(self._cheap, self._pruner)):
            cuts = self.cuts(ratio, multiple)
        return {name: {axis: int(stays.sum()) for axis, stays in axes.items()} for name, axes in cuts.items()}


def _rounded(filters: int, ratio: float, multiple: int) -> int:
    kept = max(round(filters * (1 - ratio) / multiple), 1) * multiple
    return min(kept, filters)


def trace_filters(net: nn.Layer, shapes: Sequence[Sequence[int]], criterion: str) -> FilterChooser:
    """Find which parameters must shrink together.

    Args:
        net: In evaluation mode.
        shapes: One per positional input of `net`.
        criterion: `l1` or `fpgm`.

    Raises:
        EdgeKitError: PaddleSlim cannot follow the network.
    """
    prune = _load("paddleslim.dygraph.prune")
    guards = paddle.base.dygraph.base
    if not hasattr(guards, "_to_static_mode_guard_"):
        guards._to_static_mode_guard_ = guards.to_static_mode_guard  # renamed in Paddle 3
    with _static_mode():
        try:
            pruner = getattr(prune, _PRUNERS[criterion])(net, [list(shape) for shape in shapes])
        except Exception as error:  # the forward of any network runs in here
            name = type(net).__name__
            raise EdgeKitError(f"paddleslim cannot trace {name!r}: {reason_of(error)}") from error
    return FilterChooser(pruner, prune.L1NormFilterPruner.cal_mask, _masters(net, pruner))


def _masters(net: nn.Layer, pruner: Any) -> dict[str, int]:
    """Count the filters of the weights whose filters may be chosen freely, by name."""
    convs = [layer for layer in net.sublayers() if isinstance(layer, nn.Conv2D)]
    grouped = {conv.weight.name for conv in convs if conv._groups > 1}
    # PaddleSlim cuts through the middle of a group; a depthwise one, one channel a group, is safe.
    uneven = {conv.weight.name for conv in convs if conv._groups > 1 and conv.weight.shape[1] > 1}
    chosen = {conv.weight.name for conv in convs} - grouped
    filters = {conv.weight.name: conv.weight.shape[FILTERS] for conv in convs}
    return {
        group.master_name: filters[group.master_name]
        for group in pruner.collections
        if group.master_name in chosen and uneven.isdisjoint(group.variables())
    }


def _read_program(file: Path) -> Any:
    return paddle.static.deserialize_program(file.read_bytes())


def _forget_call_stacks(file: Path) -> None:
    """Drop the source lines of whoever called: with them the bytes depend on the caller."""
    program = _read_program(file)
    for block in program.blocks:
        for op in block.ops:
            if op.has_attr("op_callstack"):
                op._remove_attr("op_callstack")
    file.write_bytes(program.desc.serialize_to_string())


def _start_at_zero(quantizer: Any) -> None:
    """Lay out the histograms; PaddleSlim starts at the least magnitude and forgets it."""
    for name, (_, largest) in quantizer._sampling_act_abs_min_max.items():
        edges = np.linspace(0.0, largest or 1.0, quantizer._histogram_bins + 1)
        counts = np.zeros(quantizer._histogram_bins, np.int64)
        quantizer._sampling_act_histogram[name] = [counts, edges]


def _count_evenly(quantizer: Any) -> None:
    """Add one batch to the histograms; NumPy, given edges as by PaddleSlim, sorts all."""
    for name in quantizer._quantized_act_var_name:
        tensor = quantizer._scope.find_var(name).get_tensor()
        values = np.abs(np.asarray(tensor).astype(np.float32, copy=False)).ravel()
        if values.size == 0 or name not in quantizer._sampling_act_histogram:
            quantizer._zero_size_var_names.add(name)
            continue
        counts, edges = quantizer._sampling_act_histogram[name]
        values *= len(counts) / float(edges[-1])
        np.minimum(values, len(counts) - 1, out=values)  # the largest belongs to the last bin
        counts += np.bincount(values.astype(np.intp), minlength=len(counts))


@contextmanager
def _static_mode() -> Iterator[None]:
    """Enter static mode with new variables and names; restore the mode, failed or not."""
    was_dynamic = paddle.in_dynamic_mode()
    paddle.enable_static()
    try:
        with (
            _quiet(),
            paddle.static.scope_guard(paddle.static.Scope()),
            paddle.utils.unique_name.guard(),  # names must not depend on what ran before
        ):
            yield
    finally:
        if was_dynamic:
            paddle.disable_static()


@contextmanager
def _quiet() -> Iterator[None]:
    was_disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)  # PaddleSlim's loggers print every step
    try:
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")  # invalid escapes, `np.product` and the like
            yield  # its progress bars go to stderr and have no switch
    finally:
        logging.disable(was_disabled)


@contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    own: Mapping[str, Any] = vars(owner)
    missing = object()
    before = own.get(name, missing)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if before is missing:
            delattr(owner, name)
        else:
            setattr(owner, name, before)


def _load(module: str) -> Any:
    try:
        with _quiet():
            return importlib.import_module(module)
    except ImportError as error:
        package = (error.name or "paddleslim").partition(".")[0]
        package = _DISTRIBUTIONS.get(package, package)
        raise MissingDependency("compression", package, "paddle-tools") from error
