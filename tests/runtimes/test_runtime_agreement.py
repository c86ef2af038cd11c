"""Every runtime gives what ONNX Runtime gives, or says in one line why it cannot."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_kit.core.errors import BadData, MissingDependency
from edge_kit.core.workspace import Workspace
from runtimes.conversion import own_form
from runtimes.protocol import Runtime, Session
from runtimes.registry import get_runtime, reads, runtime_names
from tests.runtimes.graphs import CASES, Build, Case

pytest.importorskip("onnxruntime")

RELATIVE = 1e-4  # of the largest value of an output: float32, summed in another order, or by Winograd's transforms
CANNOT = {
    ("mnn", "convolution padded as tensorflow does"): "^MNN pads 'SAME_LOWER' as 'SAME_UPPER'; write out the pads",
    ("openvino", "local response norm with a bias"): "^openvino takes the bias of LRN as 1, and node",
}
NO_INT8 = {
    "ncnn": r"^ncnn's INT8 is signed and around zero, and .*is quantized otherwise .*; .* --target ncnn$",
}
NAMES = [name for name in runtime_names() if ".onnx" in reads(name) and name not in ("null", "onnx")]


@pytest.fixture(params=NAMES)
def runtime(request: pytest.FixtureRequest) -> Runtime:
    try:
        return get_runtime(request.param)
    except MissingDependency as fault:
        pytest.skip(str(fault))


def load(runtime: Runtime, graph: Path, folder: Path, threads: int = 1) -> Session:
    return runtime.load(own_form(runtime, graph, Workspace.open(folder / "workspace")), threads=threads)


def assert_agrees(got: dict[str, NDArray[Any]], want: dict[str, NDArray[Any]]) -> None:
    assert list(got) == list(want)
    for name, expected in want.items():
        assert got[name].shape == expected.shape, name
        assert got[name].dtype == expected.dtype, name
        assert np.abs(got[name] - expected).max() <= RELATIVE * np.abs(expected).max(), name


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_it_agrees_with_onnx_runtime(runtime: Runtime, case: Case, tmp_path: Path) -> None:
    build = Build()
    case.make(build)
    graph = build.save(tmp_path / "graph.onnx")
    reason = CANNOT.get((runtime.name, case.name))
    if reason:
        with pytest.raises(BadData, match=reason) as caught:
            load(runtime, graph, tmp_path)
        assert "\n" not in str(caught.value)
        return
    reference, session = get_runtime("onnx").load(graph), load(runtime, graph, tmp_path)
    assert session.inputs == reference.inputs
    assert session.outputs == reference.outputs
    for batch in {1, case.batch}:  # the same session takes both
        inputs = build.feeds(batch)
        assert_agrees(session.run(inputs), reference.run(inputs))


def test_inputs_that_do_not_fit_each_other_are_one_line(runtime: Runtime, tmp_path: Path) -> None:
    build = Build()
    left, right = build.input("left", "N", 2), build.input("right", "N", 2)
    build.output(build.op("Add", left, right))
    session = load(runtime, build.save(tmp_path / "graph.onnx"), tmp_path)
    rows = np.zeros((3, 2), np.float32)
    with pytest.raises(BadData) as caught:
        session.run({"left": rows, "right": rows[:2]})
    assert "\n" not in str(caught.value)
    assert session.run({"left": rows, "right": rows})["y"].shape == (3, 2)  # and it still runs what fits


def test_outputs_stay_as_they_are_when_it_runs_again(runtime: Runtime, tmp_path: Path) -> None:
    build = Build()
    build.output(build.op("Relu", build.input("x", "N", 3)))
    session = load(runtime, build.save(tmp_path / "graph.onnx"), tmp_path)
    first = session.run({"x": np.array([[1, 2, 3]], np.float32)})["y"]
    session.run({"x": np.array([[7, 8, 9]], np.float32)})
    assert first.tolist() == [[1, 2, 3]]


def test_an_array_that_is_not_contiguous_is_read_right(runtime: Runtime, tmp_path: Path) -> None:
    build = Build()
    build.output(build.op("Abs", build.input("x", "N", 3)))
    session = load(runtime, build.save(tmp_path / "graph.onnx"), tmp_path)
    x = np.arange(6, dtype=np.float32).reshape(3, 2)
    np.testing.assert_array_equal(session.run({"x": x.T})["y"], [[0, 2, 4], [1, 3, 5]])


def test_an_array_that_may_not_be_written_to_is_read_right(runtime: Runtime, tmp_path: Path) -> None:
    build = Build()
    build.output(build.op("Abs", build.input("x", "N", 3)))
    session = load(runtime, build.save(tmp_path / "graph.onnx"), tmp_path)
    for batch in (1, 2):
        x = -np.arange(3 * batch, dtype=np.float32).reshape(batch, 3)
        x.flags.writeable = False
        np.testing.assert_array_equal(session.run({"x": x})["y"], -x)


@dataclass(frozen=True)
class Exported:
    """MobileNetV2 as a bundle holds it, in INT8 by target, and images to run it on."""

    fp32: Path
    int8: dict[str, Path]
    images: NDArray[Any]


@pytest.fixture(scope="session")
def mobilenetv2(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The zoo's network with random weights at 64 x 64, exported and lowered as `compress` does it."""
    import edge_kit  # noqa: F401  # before paddle: it sets what paddle reads on import

    paddle = pytest.importorskip("paddle")
    from convert.export import canonicalise, export_paddle, paddle_to_onnx
    from convert.lower import lower
    from edge_kit.core.tensors import MAIN
    from edge_kit.zoo import MODELS, load_all
    from runtimes.targets import TARGETS

    folder = tmp_path_factory.mktemp("mobilenetv2")
    load_all()
    entry = MODELS.get("mobilenetv2")
    spec = entry.graphs(entry.setup("mini").preprocess)[MAIN]
    images = np.random.default_rng(3).standard_normal(spec.inputs[0].with_batch(8)).astype(np.float32)
    paddle.seed(3)
    net = entry.build(num_classes=10)
    net.train()
    for _ in range(10):  # running means and variances as of a network that has seen pictures
        net(paddle.to_tensor(images))
    export_paddle(net, spec, folder / "main")
    paddle_to_onnx(folder / "main", folder / "raw.onnx", spec)
    canonicalise(folder / "raw.onnx", folder / "fp32.onnx")
    int8 = {name: folder / f"{name}.onnx" for name in TARGETS}
    for name, path in int8.items():
        lower(folder / "fp32.onnx", path, TARGETS[name], [{"image": images}])
    return Exported(folder / "fp32.onnx", int8, images)


def test_mobilenetv2_in_fp32_agrees(runtime: Runtime, mobilenetv2: Exported, tmp_path: Path) -> None:
    inputs = {"image": mobilenetv2.images[:3]}
    want = get_runtime("onnx").load(mobilenetv2.fp32).run(inputs)
    assert_agrees(dict(load(runtime, mobilenetv2.fp32, tmp_path, threads=2).run(inputs)), want)


def test_mobilenetv2_in_int8_is_as_near_to_fp32(runtime: Runtime, mobilenetv2: Exported, tmp_path: Path) -> None:
    graph = mobilenetv2.int8[runtime.name if runtime.name in mobilenetv2.int8 else "x86-vnni"]
    inputs = {"image": mobilenetv2.images}
    onnx = get_runtime("onnx")
    exact, want = (onnx.load(path).run(inputs)["logits"] for path in (mobilenetv2.fp32, graph))
    got = load(runtime, graph, tmp_path).run(inputs)["logits"]
    # Not to 1e-4: where a value lies between two steps, engines round to either.
    assert np.linalg.norm(got - exact) < 1.5 * np.linalg.norm(want - exact)
    assert np.linalg.norm(got - want) < 1.2 * np.linalg.norm(want - exact)


@pytest.mark.parametrize("name", NO_INT8)
def test_a_graph_lowered_for_another_engine_is_refused_in_one_line(
    name: str, mobilenetv2: Exported, tmp_path: Path
) -> None:
    pytest.importorskip({"mnn": "MNN"}.get(name, name))
    with pytest.raises(BadData, match=NO_INT8[name]) as caught:
        load(get_runtime(name), mobilenetv2.int8["x86-vnni"], tmp_path)
    assert "\n" not in str(caught.value)
