"""Makes one network of the zoo as FP32 and as INT8 in every way that `scripts/int8-table` and `int8-accuracy` compare.

`python -m scripts.int8_rivals NETWORK TARGET FOLDER`: a process for each network, as Paddle and its exporter want one.
"""

from __future__ import annotations

import json
import logging
import sys
import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np

from convert.lower import Camera, lower
from edge_kit.core.tensors import MAIN, Array, Tensors
from runtimes.targets import TARGETS

SEED = 20
SIDE = 224
CALIBRATION = (4, 4)  # batches, pictures in each
COARSEST = 7  # cells along a side of the largest blots

FP32 = "fp32.onnx"
OURS = "ours.onnx"
OURS_PIXELS = "ours-pixels.onnx"
PREPARATION = "preprocess.json"
ORT_QDQ = "ort-qdq.onnx"
ORT_QOPERATOR = "ort-qoperator.onnx"
ORT_FORMS = {ORT_QDQ: "QDQ", ORT_QOPERATOR: "QOperator"}
NNCF = "nncf.xml"


def pictures(count: int, seed: int) -> Array:
    """Blots of every size, (N, 3, 224, 224) float32 around zero; noise alone would look the same to a network."""
    rng = np.random.default_rng(seed)
    made: Array = np.zeros((count, 3, SIDE, SIDE), np.float32)
    cells = COARSEST
    while cells <= SIDE:
        blots = rng.standard_normal((count, 3, cells, cells)).astype(np.float32)
        made += blots.repeat(SIDE // cells, axis=2).repeat(SIDE // cells, axis=3)
        cells *= 2
    made /= made.std()
    return made


def calibration() -> list[dict[str, Array]]:
    """The batches that every quantizer is given."""
    batches, size = CALIBRATION
    return [{"image": pictures(size, SEED + i)} for i in range(batches)]


def make(network: str, target: str, folder: Path) -> None:
    """Write every file of one network."""
    batches = calibration()
    camera = export(network, folder / FP32)
    (folder / PREPARATION).write_text(json.dumps(camera.preprocess.as_dict()))
    for name, entry in ((OURS, None), (OURS_PIXELS, camera)):
        lower(folder / FP32, folder / name, TARGETS[target], batches, camera=entry)
    quantize_with_onnxruntime(folder / FP32, folder, batches)
    quantize_with_nncf(folder / FP32, folder, batches)


def export(network: str, out: Path) -> Camera:
    """The float graph in canonical form, with weights that keep activations alive: it is about speed.

    Returns:
        Its input, and how a picture becomes that.
    """
    import paddle

    from convert.export import canonicalise, export_paddle, paddle_to_onnx
    from edge_kit.zoo import MODELS, load_all  # before Paddle, for its flags
    from tests.zoo.liveliness import lively

    load_all()
    entry = MODELS.get(network)
    paddle.seed(SEED)
    net = lively(entry.build(**entry.published_sizes), SIDE)
    preprocess = entry.published.preprocess
    spec = entry.graphs(preprocess)[MAIN]
    with tempfile.TemporaryDirectory() as made:
        prefix = Path(made) / "net"
        export_paddle(net, spec, prefix)
        paddle_to_onnx(prefix, out, spec)
    canonicalise(out, out)
    [picture] = spec.inputs
    return Camera(picture, preprocess)


class _Feed:
    """Calibration batches as onnxruntime.quantization reads them."""

    def __init__(self, batches: Sequence[Tensors]) -> None:
        self._left: Iterator[Tensors] = iter(batches)

    def get_next(self) -> Tensors | None:
        return next(self._left, None)


def quantize_with_onnxruntime(
    graph: Path, folder: Path, batches: Sequence[Tensors], names: Collection[str] = tuple(ORT_FORMS)
) -> None:
    """U8 activations, S8 weights with a scale a channel and all their bits, as its guide advises for VNNI.

    Args:
        names: Of the files to write, each in a form of its own.
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    CalibrationDataReader.register(_Feed)
    with tempfile.TemporaryDirectory() as made:
        ready = Path(made) / "ready.onnx"
        # Its symbolic inference is for transformers, and asks for sympy.
        quant_pre_process(str(graph), str(ready), skip_symbolic_shape=True)
        for name in names:
            quantize_static(
                str(ready),
                str(folder / name),
                _Feed(batches),
                quant_format=QuantFormat[ORT_FORMS[name]],
                per_channel=True,
                reduce_range=False,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
            )


def quantize_with_nncf(graph: Path, folder: Path, batches: Sequence[Tensors]) -> None:
    """Its defaults, for OpenVINO."""
    from runtimes.openvino import no_telemetry

    with no_telemetry(), redirect_stdout(sys.stderr):  # it draws its progress on stdout
        import nncf
        import openvino

        nncf.set_log_level(logging.ERROR)
        model = openvino.Core().read_model(str(graph))
        singles = [sample for batch in batches for sample in _samples(batch)]
        quantized = nncf.quantize(model, nncf.Dataset(singles), subset_size=len(singles))
        openvino.save_model(quantized, str(folder / NNCF), compress_to_fp16=False)


def _samples(batch: Tensors) -> Iterator[Tensors]:
    size = len(next(iter(batch.values())))
    return ({name: array[i : i + 1] for name, array in batch.items()} for i in range(size))


if __name__ == "__main__":
    make(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
