"""ONNX Runtime on a real GPU: run by `scripts/test-gpu` alone; where there is no GPU these fail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from convert.lower import lower
from runtimes.ort import GpuSession, OnnxRuntime
from runtimes.targets import TARGETS
from tests.conftest import Cli
from tests.runtimes.graphs import CASES, Build, Case

pytestmark = pytest.mark.gpu

RELATIVE = 1e-4  # of the largest value of an output, as for any engine
IMAGES = np.random.default_rng(3).standard_normal((8, 3, 32, 32)).astype(np.float32)


def classifier(folder: Path) -> Path:
    """Three convolutions, one of them depthwise, around a residual sum, the mean and ten classes."""
    b = Build()
    x = b.op("Relu", b.conv(b.input("image", "N", 3, 32, 32), 3, 64, pads=[1, 1, 1, 1], strides=[2, 2]))
    y = b.op("Relu", b.conv(x, 64, 64, group=64, pads=[1, 1, 1, 1]))
    x = b.op("Relu", b.op("Add", x, b.conv(y, 64, 64, 1)))
    x = b.op("Flatten", b.op("GlobalAveragePool", x))
    b.output(b.op("Gemm", x, b.weight(10, 64), b.weight(10), transB=1))
    b.outputs[0].type.tensor_type.shape.SetInParent()  # which ONNX's checker asks for
    return b.save(folder / "float.onnx")


def lowered(graph: Path, target: str) -> Path:
    out = graph.with_name(f"{target}.onnx")
    lower(graph, out, TARGETS[target], [{"image": IMAGES}])
    return out


def error(got: dict[str, NDArray[Any]], want: dict[str, NDArray[Any]]) -> float:
    """The largest, over all outputs, of the largest difference over the largest value."""
    assert list(got) == list(want)
    assert all(got[name].shape == want[name].shape and got[name].dtype == want[name].dtype for name in want)
    return max(float(np.abs(got[name] - want[name]).max() / np.abs(want[name]).max()) for name in want)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_it_gives_what_the_cpu_gives(case: Case, tmp_path: Path) -> None:
    build = Build()
    case.make(build)
    graph = build.save(tmp_path / "graph.onnx")
    reference, session = OnnxRuntime().load(graph), OnnxRuntime().load(graph, device="gpu")
    assert isinstance(session, GpuSession)
    for batch in {1, case.batch}:  # the same session takes both
        inputs = build.feeds(batch)
        assert error(session.run(inputs), reference.run(inputs)) <= RELATIVE


def test_products_of_float32_are_float32(tmp_path: Path) -> None:
    """A sum of a thousand products: tensor cores that round the factors to ten bits are a thousandth off."""
    b = Build()
    b.output(b.op("MatMul", b.input("x", "N", 1024), b.weight(1024, 512)))
    graph = b.save(tmp_path / "graph.onnx")
    x = np.random.default_rng(5).standard_normal((256, 1024)).astype(np.float32)
    got = OnnxRuntime().load(graph, device="gpu").run({"x": x})
    assert error(got, OnnxRuntime().load(graph).run({"x": x})) < 1e-5


@pytest.mark.parametrize("target", ["x86-vnni", "tensorrt"])
def test_an_int8_graph_gives_what_the_cpu_gives_but_for_rounding(target: str, tmp_path: Path) -> None:
    full = classifier(tmp_path)
    graph, float_graph = lowered(full, target), OnnxRuntime().load(full)
    want = OnnxRuntime().load(graph).run({"image": IMAGES})
    got = OnnxRuntime().load(graph, device="gpu").run({"image": IMAGES})
    rounding = error(want, float_graph.run({"image": IMAGES}))
    assert error(got, want) <= rounding


def test_new_pictures_reach_memory_that_is_kept(tmp_path: Path) -> None:
    graph = classifier(tmp_path)
    reference, session = OnnxRuntime().load(graph), OnnxRuntime().load(graph, device="gpu")
    for picture in IMAGES:
        feed = {"image": picture[None]}
        assert error(session.run(feed), reference.run(feed)) <= RELATIVE


def test_a_profile_says_where_each_node_ran(tmp_path: Path) -> None:
    times = OnnxRuntime().profile(classifier(tmp_path), {"image": IMAGES}, device="gpu")
    assert {one.place for one in times} == {"CUDAExecutionProvider"}


def test_a_bench_names_the_gpu_and_what_ran_on_it(tmp_path: Path, cli: Cli) -> None:
    full = classifier(tmp_path)
    done = cli("bench", str(full), str(lowered(full, "x86-vnni")), "--device", "gpu", "--json")
    assert done.code == 0, done.err
    assert "driver" in done.json["machine"]["gpu"]
    float_row, int8_row = done.json["rows"]
    assert float_row["latency"]["device"] == int8_row["latency"]["device"] == "gpu"
    assert {(one["place"], one["precision"]) for one in float_row["placement"]} == {("CUDAExecutionProvider", "fp32")}
    # CUDA's provider has no INT8 kernels, and leaves the integers of biases to the CPU.
    told = {(one["place"], one["precision"]) for one in int8_row["placement"]}
    assert told == {
        ("CUDAExecutionProvider", "fp32"),
        ("CUDAExecutionProvider", "conversion"),
        ("CPUExecutionProvider", "conversion"),
    }
