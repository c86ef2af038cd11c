"""MobileNetV2 at 64 x 64 as the stock chain leaves it and as lowering does: `python -m tests.pipeline.stock_chain DIR`.

A process of its own, as Paddle demands; no test file imports this.
"""

import sys
from pathlib import Path

import numpy as np

import edge_kit  # noqa: F401  # sets what Paddle reads on its first import
from compress.prune.reshape import fit_to_weights
from compress.quantize.ptq import PtqSettings, quantize_static
from convert.export import canonicalise, export_paddle, paddle_to_onnx
from convert.lower import lower
from edge_kit.core.tensors import MAIN, Array
from edge_kit.core.weights import load_weights
from edge_kit.pipeline.sources import packaged_weights
from edge_kit.zoo import MODELS, load_all
from runtimes.targets import TARGETS

CLASSES = 10


def make(folder: Path, batches: list[dict[str, Array]] | None = None) -> None:
    """Write every version; calibrated on noise where no batches are given."""
    load_all()
    entry = MODELS.get("mobilenetv2")
    spec = entry.graphs(entry.mini.preprocess)[MAIN]
    net = entry.build(num_classes=CLASSES)
    weights = packaged_weights("mobilenetv2.safetensors")
    assert weights is not None
    fit_to_weights(net, load_weights(weights))
    noise = np.random.default_rng(0).standard_normal(spec.inputs[0].with_batch(4)).astype("float32")
    batches = batches or [{"image": noise}]
    export_paddle(net, spec, folder / "float")
    paddle_to_onnx(folder / "float", folder / "converted.onnx", spec)
    canonicalise(folder / "converted.onnx", folder / "fp32.onnx")
    quantize_static(folder / "float", folder / "fake", batches, PtqSettings())
    paddle_to_onnx(folder / "fake", folder / "stock.onnx", spec)
    for target in TARGETS.values():
        lower(folder / "stock.onnx", folder / f"{target.name}.onnx", target, batches)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
