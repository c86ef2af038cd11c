"""How much each layer's quantization alone harms the answers: which layers to leave in float first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from convert.engine import run_model
from convert.graph import label
from convert.lower import PLACING, Lowering, prepare
from convert.observe import Observer
from convert.passes.place import MOVED, SAME_GRID, quantizable_nodes
from edge_kit.core.progress import Progress
from edge_kit.core.tensors import Array, Tensors
from runtimes.registry import get_runtime
from runtimes.targets import Target


@dataclass(frozen=True, slots=True)
class LayerHarm:
    """What the outputs lose when one layer alone computes in INT8.

    Attributes:
        node: Its label, as `lower` takes it.
        operator: Of the node.
        noise: Mean square of the error over mean square of the float outputs, of the worst output.
        divergence: Kullback-Leibler, in nats, from the float softmax of each row of the first (N, classes) output,
            averaged; None where no output is one.
        same: Share of those rows whose largest value stays in its place.
        weights: Values in its weight and bias, which take a quarter of the size in INT8.
    """

    node: str
    operator: str
    noise: float
    divergence: float | None
    same: float | None
    weights: int

    @property
    def sqnr_db(self) -> float:
        """Signal over quantization noise, in decibels; infinite where there is no noise."""
        return float(-10 * np.log10(self.noise)) if self.noise else float("inf")


def rank_layers(
    fake_quantized: Path,
    target: Target,
    batches: Sequence[Tensors],
    progress: Progress,
    observer: Observer | None = None,
) -> list[LayerHarm]:
    """Quantize one layer at a time and compare with full precision; the most harmful first.

    Args:
        fake_quantized: ONNX with the quantizers that PaddleSlim placed, or with none.
        batches: Calibration batches; no labels are needed.
        observer: Of ranges, as for `lower`.
    """
    job = prepare(fake_quantized, target, batches, observer)
    wanted = _outputs(job)
    quantizable = quantizable_nodes(job.graph, job.known, job.target)
    labels = frozenset(map(label, quantizable))
    layers = [node for node in quantizable if node.op_type not in (*SAME_GRID, *MOVED)]
    harms = []
    for done, node in enumerate(layers, 1):
        alone = job.copy()
        alone.keep_float = labels - {label(node)}
        for step in PLACING:
            step.apply(alone)
        weights = sum(job.graph.constants[name].size for name in node.input if job.graph.is_constant(name))
        harms.append(LayerHarm(label(node), node.op_type, *_compare(wanted, _outputs(alone)), weights))
        progress(done, len(layers), label(node))
    return sorted(harms, key=lambda harm: -harm.noise)


def _outputs(job: Lowering) -> dict[str, Array]:
    """Every float output over all batches, float64."""
    made = run_model(get_runtime("onnx"), job.graph.to_model(), job.batches)
    names = [name for name, value in made[0].items() if value.dtype.kind == "f"]
    return {name: np.concatenate([one[name] for one in made]).astype(np.float64) for name in names}


def _compare(wanted: dict[str, Array], got: dict[str, Array]) -> tuple[float, float | None, float | None]:
    noise = max(
        (float(((got[name] - value) ** 2).mean() / max((value**2).mean(), 1e-30)) for name, value in wanted.items()),
        default=0.0,
    )
    rows = next((name for name, value in wanted.items() if value.ndim == 2 and value.shape[1] > 1), None)
    if rows is None:
        return noise, None, None
    before, after = _log_softmax(wanted[rows]), _log_softmax(got[rows])
    divergence = float((np.exp(before) * (before - after)).sum(axis=1).mean())
    return noise, max(divergence, 0.0), float((before.argmax(axis=1) == after.argmax(axis=1)).mean())


def _log_softmax(rows: Array) -> Array:
    shifted = rows - rows.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))
