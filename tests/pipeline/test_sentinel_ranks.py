"""Whether the sentinel's few samples rank INT8 models as their true loss of accuracy does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from convert.lower import lower
from convert.observe import Observer
from edge_kit.core.bundle import Bundle
from edge_kit.core.tensors import MAIN, Array, Run, Tensors
from edge_kit.data import FORMATS, Dataset, MiniSettings
from edge_kit.pipeline.inputs import base_settings
from edge_kit.pipeline.sentinel import deviation, read_pack
from edge_kit.pipeline.sources import open_folder
from edge_kit.tasks.classify import are_top
from runtimes.registry import get_runtime
from runtimes.targets import TARGETS
from tests.conftest import Cli, Result
from tests.pipeline.remade import with_weights

POOL, FRESH = 1000, 4000  # samples that the sentinel chose from, and others, which the truth is measured on
Change = Callable[[int, Array], Array]


def weights_of(graph: Path, folder: Path) -> Iterator[tuple[str, Path]]:
    """Noise, fewer bits, and filters of one layer or of all at another scale."""
    rng = np.random.default_rng(0)
    changes: dict[str, Change] = {}
    for sigma in (2, 4, 6, 8, 11, 14, 17, 20, 24, 28, 34):
        changes[f"noise of {sigma} steps"] = lambda i, w, s=sigma: w + rng.normal(0, s, w.shape)
    for bits in range(2, 7):
        changes[f"{bits} bits"] = lambda i, w, k=2 ** (8 - bits): np.rint(w / k) * k
    for factor in (0.98, 0.97, 0.96, 0.95, 0.94, 0.93, 0.92, 0.9, 0.87):
        changes[f"weights x {factor}"] = lambda i, w, f=factor: f * w
    for layer in (0, 5, 12, 20):
        for factor in (0.3, 0.5, 1.7):
            changes[f"layer {layer} x {factor}"] = lambda i, w, n=layer, f=factor: f * w if i == n else w
    for name, change in changes.items():
        yield name, with_weights(graph, folder / f"{name}.onnx", change)


def ranges_of(graph: Path, folder: Path) -> Iterator[tuple[str, Path]]:
    """Every tenth activation on a grid that is too narrow or too wide."""
    for factor in (0.08, 0.12, 0.16, 0.2, 0.3, 4, 6, 9):
        model = onnx.load(str(graph))
        scales = [node.input[1] for node in model.graph.node if node.op_type == "QuantizeLinear"][4::10]
        for one in model.graph.initializer:
            if one.name in scales:
                one.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(one) * np.float32(factor), one.name))
        path = folder / f"ranges {factor}.onnx"
        onnx.save(model, str(path))
        yield f"ranges x {factor}", path


def calibrated(graph: Path, folder: Path, dataset: Dataset) -> Iterator[tuple[str, Path]]:
    """Ranges from one sample, and from eight."""
    samples: list[Tensors] = [{"image": batch["image"]} for batch in dataset.calibration_batches(8, 1)]
    for count in (1, 8):
        for algorithm in ("abs_max", "KL"):
            path = folder / f"{algorithm}{count}.onnx"
            lower(graph, path, TARGETS["x86-vnni"], samples[:count], Observer(algorithm))
            yield f"{algorithm} on {count}", path


def top1(run: Run, batches: list[Tensors]) -> float:
    hits = sum(int(are_top(run({"image": one["image"]})["logits"], one["label"], 1).sum()) for one in batches)
    return 100 * hits / sum(len(one["label"]) for one in batches)


def spearman(a: list[float], b: list[float]) -> float:
    first, second = (ranks(np.array(values)) for values in (a, b))
    return float(np.corrcoef(first, second)[0, 1])


def ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Equal values share the mean of their ranks."""
    return np.array([((values < one).sum() + (values <= one).sum() + 1) / 2 for one in values])


@pytest.mark.slow
def test_flips_rank_variants_of_int8_mobilenetv2_as_their_true_drop_does(
    mobilenetv2_run: Result, session_cli: Cli, tmp_path: Path
) -> None:
    bundle = Bundle(Path(mobilenetv2_run.json["bundle"]))
    pack, base = read_pack(bundle), base_settings("mobilenetv2", "mini", 0)
    form = FORMATS.get("imagenet")
    assert form.make_mini
    (tmp_path / "data").mkdir()
    form.make_mini(tmp_path / "data", MiniSettings(train=8, evaluation=POOL + FRESH), lambda done, total, note="": None)
    dataset = open_folder(base, tmp_path / "data")
    fresh = list(dataset.eval_batches(50))[POOL // 50 :]
    full, small = bundle.graph("fp32", MAIN), bundle.graph("int8", MAIN)
    variants = dict([*weights_of(small, tmp_path), *ranges_of(small, tmp_path), *calibrated(full, tmp_path, dataset)])
    variants["as made"] = small
    right = top1(get_runtime("onnx").load(full).run, fresh)
    rows = []
    for name, path in variants.items():
        run = get_runtime("onnx").load(path).run
        found = deviation(pack.outputs, pack.run({MAIN: run}))
        assert found.flips is not None
        rows.append((right - top1(run, fresh), found.flips, found.error, name))
    for drop, flips, error, name in sorted(rows):
        print(f"{drop:7.2f} points {flips:6.1f} % flips {error:6.3f} error  {name}")
    drops, flips, errors, _ = (list(column) for column in zip(*rows, strict=True))
    by_flips, by_error = spearman(drops, flips), spearman(drops, errors)
    print(f"{len(rows)} variants; Spearman {by_flips:.3f} by flips, {by_error:.3f} by error")
    assert len(rows) >= 30 and max(drops) > 80 and min(drops) < 0.5
    assert by_flips >= 0.9 and by_error >= 0.9
