"""ncnn behind the Protocol, and what its form of a graph is written from."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from edge_kit.core.errors import BadData, MissingDependency, UsageError
from runtimes.ncnn_model import Model, Weight
from runtimes.registry import get_runtime
from tests.runtimes.graphs import Build

pytest.importorskip("ncnn")

from runtimes.ncnn import NcnnRuntime  # noqa: E402  # after the engine is known to be there

Fill = Callable[[Build], None]


def convert(fill: Fill, folder: Path, opset: int = 13) -> Path:
    build = Build()
    fill(build)
    NcnnRuntime().convert(build.save(folder / "graph.onnx", opset), folder)
    return folder / "model.param"


def small_net(b: Build) -> None:
    x = b.input("image", "N", 2, 4, 4)
    y = b.op("Clip", b.conv(x, 2, 3, 3, pads=[1, 0, 1, 2]), b.const(0.0), b.const(6.0))
    b.output(b.op("Add", y, y), "sum")


def test_the_layers_are_written_as_ncnn_reads_them(tmp_path: Path) -> None:
    assert convert(small_net, tmp_path).read_text().splitlines() == [
        "7767517",
        "5 6",
        "Input image 0 1 in0 0=4 1=4 2=2",
        # 9=3 and its two numbers: the Clip that alone reads the convolution is computed within it
        "Convolution Conv.0 1 1 in0 b2 0=3 1=3 2=1 3=1 4=0 5=1 6=54 9=3 -23310=2,0.0,6.0 11=3 12=1 13=1 14=1 15=2 16=1",
        "Split split_b2 1 2 b2 b2_0 b2_1",
        "BinaryOp Add.2 2 1 b2_0 b2_1 b3 0=0",
        "Noop sum 1 1 b3 out0",
    ]


def test_a_channel_shuffle_is_one_layer(tmp_path: Path) -> None:
    def fill(b: Build) -> None:
        x = b.input("x", "N", 6, 2, 2)
        parts = b.op("Transpose", b.op("Reshape", x, b.ints(0, 2, 3, 2, 2)), perm=[0, 2, 1, 3, 4])
        b.output(b.op("Reshape", parts, b.ints(0, 6, 2, 2)))

    made = convert(fill, tmp_path)
    kinds = [line.split()[0] for line in made.read_text().splitlines()[2:]]
    assert kinds == ["Input", "ShuffleChannel", "Noop"]
    x = np.arange(24, dtype=np.float32).reshape(1, 6, 2, 2)
    np.testing.assert_array_equal(NcnnRuntime().load(made).run({"x": x})["y"], x[:, [0, 3, 1, 4, 2, 5]])


def test_weights_are_float32_behind_a_word_that_says_so(tmp_path: Path) -> None:
    content = convert(small_net, tmp_path).with_suffix(".bin").read_bytes()
    graph = onnx.load(str(tmp_path / "graph.onnx")).graph
    weight, bias = (onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer[:2])
    assert content == bytes(4) + weight.tobytes() + bias.tobytes()


@pytest.mark.parametrize(
    ("value", "text"),
    [(6.0, "6.0"), (0.001, "1.0e-03"), (1 / 6, "0.16666667"), (-1e39, "-3.4028235e+38"), (0.0, "0.0"), (3, "3")],
)
def test_numbers_are_short_enough_for_ncnn_and_exact_in_float32(value: float, text: str, tmp_path: Path) -> None:
    model = Model()
    model.add("Input", "x", [], ["in0"], {0: value})
    model.save(tmp_path / "m.param")
    assert (tmp_path / "m.param").read_text().splitlines()[2] == f"Input x 0 1 in0 0={text}"
    assert np.float32(text) == np.float32(max(value, -3.4028235e38))


def test_names_that_ncnn_cannot_read_are_made_readable_and_unlike(tmp_path: Path) -> None:
    model = Model()
    model.add("Input", "a b", [], ["in0"])
    model.add("ReLU", "a\tb", ["in0"], ["out0"], {0: 0.1}, [Weight(np.zeros(0))])
    model.save(tmp_path / "m.param")
    names = [line.split()[1] for line in (tmp_path / "m.param").read_text().splitlines()[2:]]
    assert names == ["a_b", "a_b_2"]


def test_a_batch_is_its_samples_one_after_another(tmp_path: Path) -> None:
    session = NcnnRuntime().load(convert(small_net, tmp_path))
    images = np.random.default_rng(0).standard_normal((5, 2, 4, 4)).astype(np.float32)
    together = session.run({"image": images})["sum"]
    assert together.shape == (5, 3, 4, 4)
    for i in range(5):
        np.testing.assert_array_equal(together[i : i + 1], session.run({"image": images[i : i + 1]})["sum"])


def test_threads_change_no_answer(tmp_path: Path) -> None:
    made = convert(small_net, tmp_path)
    images = np.random.default_rng(0).standard_normal((2, 2, 4, 4)).astype(np.float32)
    one, two = (NcnnRuntime().load(made, threads=threads).run({"image": images})["sum"] for threads in (1, 2))
    np.testing.assert_array_equal(one, two)


def test_no_half_precision_is_left_on(tmp_path: Path) -> None:
    options = NcnnRuntime()._net(3, "cpu").opt
    assert options.num_threads == 3
    halves = [name for name in dir(options) if name.startswith(("use_fp16", "use_bf16", "use_int8"))]
    halves.remove("use_int8_inference")  # of graphs that are quantized; the others know nothing of it
    assert halves
    assert [name for name in halves if getattr(options, name)] == []


def x4(b: Build) -> str:
    return b.input("x", "N", 3, 4, 4)


REFUSED: dict[str, tuple[Fill, str]] = {
    "no layer": (
        lambda b: b.output(b.op("CumSum", x4(b), b.const(1, np.int64))),
        r"^ncnn: no layer for CumSum \(node 'CumSum\.0'\)$",
    ),
    "steps": (
        lambda b: b.output(b.op("Slice", x4(b), b.ints(0), b.ints(4), b.ints(2), b.ints(2))),
        r"^ncnn: Slice \(node 'Slice\.0'\): steps \[2\]; ncnn takes each element$",
    ),
    "softmax over the batch": (lambda b: b.output(b.op("Softmax", x4(b), axis=0)), "works across the batch"),
    "mean over the batch": (lambda b: b.output(b.op("ReduceMean", x4(b), axes=[0])), "works across the batch"),
    "concatenation of batches": (
        lambda b: b.output((lambda x: b.op("Concat", x, x, axis=0))(x4(b))),
        "works across the batch",
    ),
    "samples merged": (
        lambda b: b.output(b.op("Reshape", x4(b), b.ints(-1, 4))),
        r"from \(1, 3, 4, 4\) to \(12, 4\) it merges the batch with another axis$",
    ),
    "a value for each sample": (
        lambda b: b.output(b.op("Add", x4(b), b.weight(2, 3, 4, 4))),
        "it mixes the samples of a batch|a constant with a value for each sample",
    ),
    "padded batch": (lambda b: b.output(b.op("Pad", x4(b), b.ints(1, 0, 0, 0, 0, 0, 0, 0))), "it pads the batch$"),
    "too many axes": (
        lambda b: b.output(b.op("Relu", b.input("x", "N", 2, 2, 2, 2, 2))),
        r"^ncnn: input 'x' is \(1, 2, 2, 2, 2, 2\); ncnn has 1 to 4 axes besides the batch$",
    ),
    "open axis": (
        lambda b: b.output(b.op("Relu", b.input("x", "N", 3, "high", 4))),
        "^ncnn: input 'x' has the open axis 'high'; export it with fixed sizes$",
    ),
    "integers": (
        lambda b: b.output(b.op("Abs", b.input("x", "N", 3, dtype=TensorProto.INT32)), dtype=TensorProto.INT32),
        "^ncnn computes in float32, and input 'x' is int32$",
    ),
    "odd powers": (lambda b: b.output(b.op("Pow", x4(b), b.const(3.0))), "exponents other than 2.0, 0.5"),
    "cubic": (
        lambda b: b.output(b.op("Resize", x4(b), "", b.const([1, 1, 2, 2]), mode="cubic")),
        r"cubic by 'half_pixel'; ncnn has bilinear",
    ),
    "computed weight": (
        lambda b: b.output((lambda x: b.op("Conv", x, b.op("Relu", b.input("w", 4, 3, 1, 1))))(x4(b))),
        "ncnn wants it constant$",
    ),
    "weights for other channels": (
        lambda b: b.output(b.op("Conv", x4(b), b.weight(4, 5, 1, 1))),
        r"is \(4, 5, 1, 1\) and not \(4, 3, 1, 1\)$",
    ),
    "strides of nothing": (
        lambda b: b.output(b.op("MaxPool", x4(b), kernel_shape=[2, 2], strides=[0, 0])),
        r"^ncnn: MaxPool \(node 'MaxPool\.0'\): strides \[0, 0\]$",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_it_cannot_do_is_one_line_that_names_it(name: str, tmp_path: Path) -> None:
    fill, message = REFUSED[name]
    with pytest.raises(BadData, match=message) as caught:
        convert(fill, tmp_path)
    assert "\n" not in str(caught.value)


def test_a_graph_that_onnx_does_not_accept_is_one_line(tmp_path: Path) -> None:
    build = Build()
    build.input("x", "N", 3)
    build.output(build.op("Relu", "nothing"))
    with pytest.raises(BadData, match=r"^ncnn: cannot read '.*graph\.onnx': .*nothing") as caught:
        NcnnRuntime().convert(build.save(tmp_path / "graph.onnx"), tmp_path)
    assert "\n" not in str(caught.value)


def test_sizes_that_no_memory_holds_are_not_computed_beforehand(tmp_path: Path) -> None:
    def fill(b: Build) -> None:
        x = b.input("x", "N", 3)
        b.output(b.op("Add", x, b.op("ConstantOfShape", b.ints(1 << 36, 3))))

    with pytest.raises(BadData, match="^ncnn: "):
        convert(fill, tmp_path)


def test_older_operators_are_read_too(tmp_path: Path) -> None:
    def fill(b: Build) -> None:
        x = b.op("Clip", b.input("x", "N", 4, 3), min=-1.0, max=1.0)
        b.output(b.op("Squeeze", b.op("Slice", x, starts=[1], ends=[2], axes=[1]), axes=[1]))

    session = NcnnRuntime().load(convert(fill, tmp_path, opset=9))
    x = np.arange(12, dtype=np.float32).reshape(1, 4, 3) - 4
    np.testing.assert_array_equal(session.run({"x": x})["y"], [[-1, 0, 1]])


def test_loading_needs_no_onnx(tmp_path: Path) -> None:
    made = convert(small_net, tmp_path)
    code = (
        "import sys\nsys.modules['onnx'] = None\nfrom pathlib import Path\nfrom runtimes.registry import get_runtime\n"
        f"print(get_runtime('ncnn').load(Path({str(made)!r})).outputs)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "('sum',)"


def test_converting_without_onnx_says_what_to_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build = Build()
    small_net(build)
    graph = build.save(tmp_path / "graph.onnx")
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingDependency) as caught:
        NcnnRuntime().convert(graph, tmp_path)
    assert str(caught.value) == "converting for runtime 'ncnn' needs the onnx package: pip install 'edge-kit[ncnn]'"


def test_a_missing_engine_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ncnn", None)
    with pytest.raises(MissingDependency) as caught:
        get_runtime("ncnn")
    assert str(caught.value) == "runtime 'ncnn' needs the ncnn package: pip install 'edge-kit[ncnn]'"


@pytest.mark.parametrize(
    "content",
    [
        b"no layers at all",
        b"7767517\n2 2\nInput x 0 1 in0\nNoSuchLayer y 1 1 in0 out0\n",
        bytes(64),
        b"7767517\n99 99\n",
    ],
)
def test_a_broken_file_is_one_line(tmp_path: Path, content: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    made = convert(small_net, tmp_path)
    made.write_bytes(content)
    with pytest.raises(BadData, match=r"model\.param' (is not a \.param of ncnn or is cut short|holds)$") as caught:
        NcnnRuntime().load(made)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_cut_weights_are_one_line(tmp_path: Path) -> None:
    made = convert(small_net, tmp_path)
    weights = made.with_suffix(".bin")
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(BadData, match=r"^ncnn cannot load '.*model\.param': "):
        NcnnRuntime().load(made)


def test_missing_weights_are_named(tmp_path: Path) -> None:
    made = convert(small_net, tmp_path)
    made.with_suffix(".bin").unlink()
    with pytest.raises(BadData, match=r"model\.param' has no model\.bin beside it$"):
        NcnnRuntime().load(made)


def test_a_gpu_that_is_not_there_lists_what_is(tmp_path: Path) -> None:
    runtime = NcnnRuntime()
    if runtime._gpus():
        pytest.skip("there is a GPU")
    with pytest.raises(UsageError) as caught:
        runtime.load(convert(small_net, tmp_path), device="gpu")
    assert str(caught.value) == (
        f"runtime 'ncnn' has no device 'gpu' here; ncnn {runtime.version()} offers: CPU; a GPU needs a Vulkan driver"
    )
