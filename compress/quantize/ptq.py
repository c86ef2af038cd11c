"""Post-training quantization: ranges from a few hundred inputs, no training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from compress import slim
from edge_kit.core.errors import BadData, UsageError, unknown_name
from edge_kit.core.tensors import Array, Tensors

ALGORITHMS = ("abs_max", "avg", "hist", "KL", "mse", "emd")

# Nearer to 1, the shares that Paddle adds up never arrive, by rounding, and the range is negative.
MOST_KEPT = 1 - 1e-9

# Residual sums and pools are here so that the lowered graph has no float island.
OP_TYPES = (
    "conv2d",
    "depthwise_conv2d",
    "conv2d_transpose",
    "mul",
    "matmul",
    "matmul_v2",
    "elementwise_add",
    "pool2d",
)


@dataclass(frozen=True, slots=True)
class PtqSettings:
    """How activation ranges are found.

    Weights always take the largest magnitude of each output channel. There is no bias correction:
    in the ONNX format Paddle 3.1 ignores it, and forced on it truncates where it should round.

    Error of the logits of a MobileNetV2 trained at 64x64 (200 images; root mean square over the
    logits' spread) and processor seconds: hist 0.99999 0.028, 10; abs_max 0.029, 8;
    emd 0.031, 45; mse 0.038, 33; avg 0.080, 7; KL 0.245, 209. No single
    stray value sets the range that hist finds, which is why it is the default.

    Attributes:
        algorithm: One of `ALGORITHMS`. mse and emd keep the scale of the batch that fits best, so
            they want one large batch.
        hist_percent: Share of the magnitudes that `hist` keeps, below 1; `abs_max` keeps all.
    """

    algorithm: str = "hist"
    hist_percent: float = 0.99999

    def __post_init__(self) -> None:
        if self.algorithm not in ALGORITHMS:
            raise unknown_name("quantization algorithm", self.algorithm, ALGORITHMS)
        if not 0 < self.hist_percent <= MOST_KEPT:
            raise UsageError(f"hist_percent must be above 0 and at most {MOST_KEPT}, got {self.hist_percent!r}")


def quantize_static(model: Path, out: Path, batches: Sequence[Tensors], settings: PtqSettings) -> None:
    """Write a fake-quantized copy of an exported Paddle model; the same inputs give the same bytes.

    Args:
        model: Prefix of an inference model, `model.pdmodel` and `model.pdiparams`.
        out: Prefix of the quantized one; its folder is made.
        batches: Calibration inputs by name, the first axis the batch.

    Raises:
        BadData: The model is not there, or the batches are empty or not finite.
    """
    for suffix in (".pdmodel", ".pdiparams"):
        if not model.with_name(model.name + suffix).is_file():
            raise BadData(f"no Paddle model at {str(model)!r}: {model.name + suffix!r} is missing")
    if not batches:
        raise BadData("no calibration batches; quantization needs at least one")
    names = slim.input_names(model)
    for index, batch in enumerate(batches):
        for name in names:
            if name not in batch:
                raise BadData(f"calibration batch {index} lacks input {name!r}")
            _check_values(index, name, batch[name])
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        slim.quantize_weights_and_ranges(
            model,
            out,
            [{name: batch[name] for name in names} for batch in batches],
            OP_TYPES,
            algorithm=settings.algorithm,
            hist_percent=settings.hist_percent,
        )
    except (ValueError, RuntimeError) as error:
        raise BadData(f"calibration failed: {slim.reason_of(error)}") from error


def _check_values(index: int, name: str, values: Array) -> None:
    if values.size == 0:
        raise BadData(f"calibration batch {index} holds no values for input {name!r}")
    bad = int(np.count_nonzero(~np.isfinite(values)))
    if bad:
        raise BadData(f"calibration batch {index}, input {name!r}: {bad} values are not finite")
