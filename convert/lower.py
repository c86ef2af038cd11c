"""Lowers a fake-quantized graph for a target: what PaddleSlim found, placed where the target's kernels want it."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from convert.graph import Graph, label
from convert.lstm import DYNAMIC_LSTM
from convert.observe import Observer, observe
from convert.parity import measure_parity
from convert.passes.camera import Pixels, read_stored_pixels, settle_constant_channel, take_pixels
from convert.passes.canonical import CANONICAL
from convert.passes.derive import derive_scales
from convert.passes.fours import read_pixels_in_fours
from convert.passes.gates import GATES, gate_from_hard_swish, hard_swish_stems, sum_from_hard_sigmoid
from convert.passes.identity import sum_with_identity
from convert.passes.keep_float import choose_float_nodes, keep_drowned_sums_float, keep_islands_float
from convert.passes.lift import lift_quantization
from convert.passes.pad import pad_integers
from convert.passes.place import (
    QUANTIZABLE,
    REGRID,
    SAME_GRID,
    WEIGHTED,
    absorb_activations,
    only_moves,
    place_quantizers,
    share_grids,
)
from convert.passes.recurrent import STORE, keep_sequences_float, quantize_lstm
from convert.passes.transposed import convolve_transposed
from convert.quantization import Quantization
from edge_kit.core.errors import EdgeKitError
from edge_kit.core.images import NormalisedPreprocess
from edge_kit.core.tensors import Tensors, TensorSpec
from runtimes.registry import get_runtime
from runtimes.targets import DEFAULT_ENGINE, Target

ALLOWED = 1e-5  # of an output's largest value: float32 sums in another order


@dataclass(frozen=True, slots=True)
class LowerReport:
    """What lowering did.

    Attributes:
        passes: Rewrites by pass, in order.
        quantized: Nodes given INT8 inputs, by operator.
        left_float: Nodes that stay float, by operator.
        silent: Activations that were 0 on all calibration data: what reads or gives them stays float.
        kept_float: Nodes that were to stay float, by label, in the order of the graph.
        mended: Tensors whose scale was zero or not a number; what was seen, or any harmless grid, took its place.
    """

    passes: dict[str, int]
    quantized: dict[str, int]
    left_float: dict[str, int]
    silent: tuple[str, ...] = ()
    kept_float: tuple[str, ...] = ()
    mended: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Camera:
    """An input that is to take pixels.

    Attributes:
        image: The input as the float graph takes it.
        preprocess: What the graph is to do by itself.
    """

    image: TensorSpec
    preprocess: NormalisedPreprocess


@dataclass(slots=True)
class Lowering:
    """A graph on its way down, and what is known about it.

    Attributes:
        batches: Calibration batches.
        observer: Of the activations that the quantizers of the graph say nothing about.
        camera: The input that is to take pixels; None where all stay as they are.
        pixels: What is known of it once it does.
        keep_float: Labels of nodes to leave in float.
    """

    graph: Graph
    target: Target
    batches: Sequence[Tensors]
    observer: Observer = Observer()
    known: Quantization = field(default_factory=Quantization)
    camera: Camera | None = None
    pixels: Pixels | None = None
    keep_float: Collection[str] = ()

    def copy(self) -> Lowering:
        """An independent copy, for another way down."""
        return replace(self, graph=self.graph.copy(), known=self.known.copy())


@dataclass(frozen=True, slots=True)
class Pass:
    """One step of lowering.

    Attributes:
        function: That does it; it gives the step its name and its description.
        apply: Calls it on a graph; returns how often it rewrote something.
        keeps_answers: Whether the float outputs must stay the same, which is then checked.
    """

    function: Callable[..., Any]
    apply: Callable[[Lowering], int]
    keeps_answers: bool = False

    @property
    def name(self) -> str:
        """As in `LowerReport.passes`."""
        return self.function.__name__

    @property
    def does(self) -> str:
        """One line for people."""
        return (self.function.__doc__ or "").splitlines()[0].removesuffix(".")


def lower(
    fake_quantized: Path,
    out: Path,
    target: Target,
    batches: Sequence[Tensors],
    observer: Observer | None = None,
    camera: Camera | None = None,
    keep_float: Collection[str] = (),
) -> LowerReport:
    """Write the INT8 graph that `target` runs fast.

    Args:
        fake_quantized: ONNX with the quantizers that PaddleSlim placed, or with none.
        batches: Calibration batches, the ones PaddleSlim saw; they give the ranges that it left out.
        observer: How they do; all values are kept where None.
        camera: An input that is to take pixels; calibration batches are of floats all the same.
        keep_float: Nodes to leave in float, by name, or by output where they have none.

    Raises:
        EdgeKitError: A pass that must keep the answers changed them, or the graph cannot take pixels.
        UsageError: `keep_float` names no node.
    """
    job = Lowering(
        Graph.load(fake_quantized), target, batches, observer or Observer(), camera=camera, keep_float=keep_float
    )
    passes = {step.name: apply_pass(step, job) for step in (PASSES if camera is None else CAMERA_PASSES)}
    job.graph.save(out)
    quantized, left = _placement(job.graph, job.keep_float)
    kept = tuple(label(node) for node in job.graph.nodes if label(node) in job.keep_float)
    return LowerReport(passes, quantized, left, tuple(job.known.silent), kept, tuple(job.known.mended))


def prepare(
    fake_quantized: Path, target: Target, batches: Sequence[Tensors], observer: Observer | None = None
) -> Lowering:
    """A float graph with all that is known about it, as it is before quantizers are placed; see `lower`."""
    job = Lowering(Graph.load(fake_quantized), target, batches, observer or Observer())
    for step in BEFORE_PLACING:
        apply_pass(step, job)
    return job


def apply_pass(step: Pass, job: Lowering) -> int:
    """Apply one pass; where it must keep the answers, hold it to that on the first calibration batch."""
    before = job.graph.copy() if step.keeps_answers else None
    done = step.apply(job)
    if before is not None and done:
        _check_answers(step, before, job)
    return done


def _check_answers(step: Pass, before: Graph, job: Lowering) -> None:
    sample = [{name: batch[name] for name in before.inputs} for batch in job.batches[:1]]
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / name for name in ("before.onnx", "after.onnx")]
        for path, graph in zip(paths, (before, job.graph), strict=True):
            graph.save(path)
        reference, candidate = (get_runtime("onnx").load(path).run for path in paths)
        for parity in measure_parity(reference, candidate, sample):
            if not parity.max_rel <= ALLOWED:
                raise EdgeKitError(
                    f"pass {step.name!r} changed output {parity.output!r} by {parity.max_rel:.2g} of its largest value "
                    f"at {parity.at}; allowed {ALLOWED:g}; it does not fit this graph: please report it"
                )


def _lift(job: Lowering) -> int:
    job.known = lift_quantization(job.graph)
    return len(job.known.ranges) + len(job.known.weight_scales)


def observe_activations(
    graph: Graph, known: Quantization, batches: Sequence[Tensors], observer: Observer | None = None
) -> int:
    """Give every activation a range, what PaddleSlim chose or what was seen, and find the means of what weights read.

    PaddleSlim's ranges are symmetric; what was seen tells where one side is never used. The side that reaches
    furthest is as chosen: training may have learnt to clip there. A grid over no range would have steps of 0, so
    an activation that never leaves 0 gets none.

    Rounding a weight must not shift the sum on the mean: placing the quantizers lets the bias take up that shift
    (arXiv:1906.04721, section 4.2); borders are not looked at.
    """
    seen = observe(graph, batches, observer, {node.input[0] for node in graph.nodes if node.op_type in WEIGHTED})
    known.means = seen.means
    for name, span in seen.ranges.items():
        chosen = known.ranges.get(name)
        known.ranges[name] = span if chosen is None else chosen.where_used(span)
        if span.low == span.high:
            known.silent.append(name)
            del known.ranges[name]
    return len(seen.ranges)


def _choose_float_nodes(job: Lowering) -> int:
    stems = [label(node) for node in hard_swish_stems(job.graph)] if _keeps_stems(job) else []
    job.keep_float = choose_float_nodes(job.graph, [*job.keep_float, *stems])
    return len(job.keep_float)


def _rewrite(function: Callable[[Graph], int], job: Lowering) -> int:
    return function(job.graph)


def _convolve_transposed(job: Lowering) -> int:
    """Other engines have kernels of their own."""
    return convolve_transposed(job.graph) if job.target.engine == DEFAULT_ENGINE else 0


def _gate_from_hard_swish(job: Lowering) -> int:
    return gate_from_hard_swish(job.graph, not _keeps_stems(job)) if job.target.engine == DEFAULT_ENGINE else 0


def _keeps_stems(job: Lowering) -> bool:
    """Whether a first convolution with HardSwish stays float.

    ONNX Runtime's float kernels on x86 take both at once, in half the time of its integer convolution of three
    channels. That of pixels has four, and no quantizer before it.
    """
    return job.target.engine == DEFAULT_ENGINE and job.target.unsigned_activations and job.camera is None


def _derive_scales(job: Lowering) -> int:
    """Engines that want zero points of 0 want constants as well."""
    return 0 if job.target.symmetric else derive_scales(job.graph)


def _take_pixels(job: Lowering) -> int:
    assert job.camera is not None
    job.pixels = take_pixels(job.graph, job.camera.image, job.camera.preprocess)
    job.known.ranges[job.pixels.tensor] = job.pixels.span
    return 1


def _settle_constant_channel(job: Lowering) -> int:
    return settle_constant_channel(job.graph, job.pixels) if job.pixels else 0


def _read_stored_pixels(job: Lowering) -> int:
    return read_stored_pixels(job.graph, job.pixels) if job.pixels else 0


def _read_pixels_in_fours(job: Lowering) -> int:
    """Only ONNX Runtime is known to be faster by it."""
    apt = job.target.engine == DEFAULT_ENGINE and job.target.unsigned_activations and not job.target.saturating_pairs
    return read_pixels_in_fours(job.graph, job.pixels) if job.pixels and apt else 0


BEFORE_PLACING: tuple[Pass, ...] = (
    Pass(lift_quantization, _lift),
    *(Pass(function, partial(_rewrite, function), keeps_answers=True) for function in CANONICAL),
    Pass(sum_with_identity, partial(_rewrite, sum_with_identity), keeps_answers=True),
    Pass(convolve_transposed, _convolve_transposed, keeps_answers=True),
    Pass(gate_from_hard_swish, _gate_from_hard_swish, keeps_answers=True),
    Pass(choose_float_nodes, _choose_float_nodes),
    Pass(observe_activations, lambda job: observe_activations(job.graph, job.known, job.batches, job.observer)),
)
"""The passes that find out what is to be known of a float graph."""

PLACING: tuple[Pass, ...] = (
    Pass(keep_drowned_sums_float, lambda job: keep_drowned_sums_float(job.graph, job.known)),
    Pass(keep_islands_float, lambda job: keep_islands_float(job.graph, job.known)),
    Pass(keep_sequences_float, lambda job: keep_sequences_float(job.graph, job.known)),
    Pass(absorb_activations, lambda job: absorb_activations(job.graph, job.known, job.target, job.keep_float)),
    Pass(share_grids, lambda job: share_grids(job.graph, job.known)),
    Pass(place_quantizers, lambda job: place_quantizers(job.graph, job.known, job.target, job.keep_float)),
)
"""The passes that put quantizers in; what they do depends on the nodes to leave in float."""

_STORING: tuple[Pass, ...] = (Pass(derive_scales, _derive_scales),)

_PLACED: tuple[Pass, ...] = (
    Pass(pad_integers, partial(_rewrite, pad_integers)),
    Pass(sum_from_hard_sigmoid, lambda job: sum_from_hard_sigmoid(job.graph, job.keep_float)),
    Pass(quantize_lstm, lambda job: quantize_lstm(job.graph, job.target)),
    *(Pass(function, partial(_rewrite, function)) for function in STORE),
)

PASSES: tuple[Pass, ...] = (*BEFORE_PLACING, *PLACING, *_PLACED, *_STORING)
"""Every pass of `lower`, in order."""

CAMERA_PASSES: tuple[Pass, ...] = (
    *BEFORE_PLACING,
    *PLACING[:-1],
    Pass(take_pixels, _take_pixels),
    *PLACING[-1:],
    *_PLACED,
    Pass(settle_constant_channel, _settle_constant_channel),
    Pass(read_stored_pixels, _read_stored_pixels),
    Pass(read_pixels_in_fours, _read_pixels_in_fours),
    *_STORING,
)
"""The same for a graph that is to take pixels: folded before weights are rounded, with the range that pixels have."""


def _placement(graph: Graph, kept: Collection[str]) -> tuple[dict[str, int], dict[str, int]]:
    dequantized = {name for node in graph.nodes if node.op_type == "DequantizeLinear" for name in node.output}
    stored = {name for node in graph.nodes if node.op_type == "QuantizeLinear" for name in node.output}
    rounded = {node.input[0] for node in graph.nodes if node.op_type == "QuantizeLinear"}
    quantized: Counter[str] = Counter()
    left: Counter[str] = Counter()
    settled = set(graph.constants)
    integers = graph.integer_inputs() | {name for name, one in graph.constants.items() if one.dtype == np.uint8}
    for node in graph.nodes:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            continue
        if settled.issuperset(node.input):  # computed on loading
            settled.update(node.output)
            continue
        if node.input[0] in integers:  # it moves pixels, or computes shapes from theirs
            integers.update(node.output)
            continue
        if node.input[0] in stored and node.op_type in SAME_GRID:
            stored.update(node.output)
        read = node.input[:2] if node.op_type in (*WEIGHTED, *GATES, "Add") else node.input[:1]
        read = node.input if node.op_type == "Concat" else read
        stays_float = (
            label(node) in kept
            or (node.op_type in REGRID and node.output[0] in graph.outputs)
            or (node.op_type in SAME_GRID and not only_moves(node))
            or (node.op_type in GATES and node.output[0] not in rounded)
        )
        placed = node.op_type in QUANTIZABLE and dequantized.issuperset(read) and not stays_float
        in_int8 = placed or node.op_type == DYNAMIC_LSTM or node.input[0] in stored
        (quantized if in_int8 else left)[node.op_type] += 1
    return dict(quantized), dict(left)
