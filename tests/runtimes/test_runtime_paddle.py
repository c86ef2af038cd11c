"""Paddle Inference behind the Protocol."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from edge_kit.core.errors import BadData, EdgeKitError, UsageError
from edge_kit.core.tensors import Array, GraphSpec, TensorSpec

paddle = pytest.importorskip("paddle")

from convert.export import export_paddle, paddle_to_onnx  # noqa: E402  # after Paddle is known to be there
from edge_kit.train.inference import layer_run  # noqa: E402
from runtimes.ort import OnnxRuntime  # noqa: E402
from runtimes.paddle import PaddleRuntime, PaddleSession  # noqa: E402
from runtimes.paddle_profile import read_trace  # noqa: E402
from runtimes.protocol import Profiling  # noqa: E402
from runtimes.registry import reads  # noqa: E402

ROOT = Path(__file__).parents[2]
SPEC = GraphSpec(
    (TensorSpec("image", ("N", 3, "H", 8)), TensorSpec("shift", ("N", 4), "int64")),
    ("features", "logits"),
)
ATOL = 1e-5  # float32, summed in another order by oneDNN


class TwoHeads(paddle.nn.Layer):
    """Features and logits of a picture, shifted by the mean of integers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = paddle.nn.Conv2D(3, 8, 3)
        self.norm = paddle.nn.BatchNorm2D(8)
        self.head = paddle.nn.Linear(8, 10)

    def forward(self, image: paddle.Tensor, shift: paddle.Tensor) -> tuple[paddle.Tensor, paddle.Tensor]:
        features = paddle.nn.functional.relu(self.norm(self.conv(image)))
        return features, self.head(features.mean([2, 3])) + shift.astype("float32").mean()


@pytest.fixture(scope="module")
def net() -> TwoHeads:
    paddle.seed(0)
    return TwoHeads()


@pytest.fixture(scope="module")
def graph(net: TwoHeads, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `.pdmodel` and `.onnx`."""
    prefix = tmp_path_factory.mktemp("paddle") / "main"
    export_paddle(net, SPEC, prefix)
    paddle_to_onnx(prefix, prefix.with_suffix(".onnx"), SPEC)
    return prefix.with_suffix(".pdmodel")


@pytest.fixture(scope="module")
def session(graph: Path) -> PaddleSession:
    return PaddleRuntime().load(graph)


def batch(rows: int = 2, height: int = 9) -> dict[str, Array]:
    rng = np.random.default_rng(rows)
    return {
        "image": rng.standard_normal((rows, 3, height, 8)).astype(np.float32),
        "shift": rng.integers(0, 9, (rows, 4)),
    }


def test_it_reads_the_forms_that_paddle_writes() -> None:
    assert reads("paddle") == (".pdmodel", ".json")
    assert reads("onnx") == reads("null") == (".onnx",)


def test_inputs_have_their_types_and_open_axes_are_named_as_onnx_runtime_names_them(session: PaddleSession) -> None:
    assert session.inputs == (
        TensorSpec("image", ("N", 3, "image_axis2", 8)),
        TensorSpec("shift", ("N", 4), "int64"),
    )


def test_outputs_have_the_names_and_the_order_of_the_onnx_export(session: PaddleSession, graph: Path) -> None:
    assert session.outputs == OnnxRuntime().load(graph.with_suffix(".onnx")).outputs == ("features", "logits")


@pytest.mark.parametrize(("rows", "height"), [(1, 3), (2, 9), (5, 16), (2, 9)])
def test_it_computes_what_the_layer_does(net: TwoHeads, session: PaddleSession, rows: int, height: int) -> None:
    inputs = batch(rows, height)
    wanted = layer_run(net, SPEC)(inputs)
    outputs = session.run(inputs)
    assert list(outputs) == ["features", "logits"]
    for name, value in outputs.items():
        np.testing.assert_allclose(value, wanted[name], atol=ATOL)


def test_an_answer_is_not_overwritten_by_the_next(session: PaddleSession) -> None:
    first = session.run(batch(2))["logits"]
    kept = first.copy()
    session.run({"image": np.ones((2, 3, 9, 8), np.float32), "shift": np.ones((2, 4), np.int64)})
    np.testing.assert_array_equal(first, kept)


def test_an_array_that_is_not_contiguous_is_read_right(session: PaddleSession) -> None:
    inputs = batch()
    strange = {"image": np.asfortranarray(inputs["image"]), "shift": np.repeat(inputs["shift"], 2, 1)[:, ::2]}
    np.testing.assert_array_equal(session.run(strange)["logits"], session.run(inputs)["logits"])


def test_inputs_that_do_not_fit_are_one_line(session: PaddleSession) -> None:
    good = batch()
    with pytest.raises(UsageError, match="^input 'shift' is missing; the graph takes: image, shift$"):
        session.run({"image": good["image"]})
    with pytest.raises(BadData, match="^input 'shift' must be int64, got int32$"):
        session.run({**good, "shift": good["shift"].astype(np.int32)})
    with pytest.raises(BadData, match="^paddle cannot run these inputs: ") as caught:
        session.run({**good, "image": good["image"][:, :, :2]})  # lower than the kernel
    assert "\n" not in str(caught.value)
    assert "Hint" not in str(caught.value)


def test_a_graph_without_weights_needs_no_file_of_weights(tmp_path: Path) -> None:
    spec = GraphSpec((TensorSpec("x", ("N", 2)), TensorSpec("y", ())), ("sum",))

    class Sum(paddle.nn.Layer):
        def forward(self, x: paddle.Tensor, y: paddle.Tensor) -> paddle.Tensor:
            return paddle.nn.functional.relu(x + y)

    export_paddle(Sum(), spec, tmp_path / "sum")
    assert not (tmp_path / "sum.pdiparams").exists()
    session = PaddleRuntime().load(tmp_path / "sum.pdmodel")
    x = np.array([[1, -4], [2, 3]], np.float32)
    assert session.run({"x": x, "y": np.array(2, np.float32)})["sum"].tolist() == [[3, 0], [4, 5]]


def test_the_new_program_format_gives_the_same_answers(tmp_path: Path) -> None:
    code = (
        "import paddle\n"
        "paddle.seed(0)\n"
        "net = paddle.nn.Sequential(paddle.nn.Conv2D(3, 4, 3), paddle.nn.ReLU(), paddle.nn.Flatten())\n"
        "net.eval()\n"
        "spec = [paddle.static.InputSpec([None, 3, 8, 8], 'float32', name='x')]\n"
        "paddle.jit.save(net, 'new/main', input_spec=spec)\n"
        "x = paddle.linspace(-1, 1, 384).reshape([2, 3, 8, 8])\n"
        "open('wanted', 'wb').write(net(x).numpy().tobytes())\n"
    )
    env = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "HOME": str(tmp_path), "FLAGS_enable_pir_api": "1"}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, check=True)
    session = PaddleRuntime().load(tmp_path / "new/main.json")
    assert session.inputs == (TensorSpec("x", ("N", 3, 8, 8)),)
    x = np.linspace(-1, 1, 384, dtype=np.float32).reshape(2, 3, 8, 8)
    (got,) = session.run({"x": x}).values()
    wanted = np.frombuffer((tmp_path / "wanted").read_bytes(), np.float32).reshape(2, -1)
    np.testing.assert_allclose(got, wanted, atol=ATOL)


def test_a_graph_in_the_form_of_others_is_refused_by_suffix(graph: Path) -> None:
    with pytest.raises(BadData, match=r"^runtime 'paddle' reads \.pdmodel and \.json, not '.*main\.onnx'$"):
        PaddleRuntime().load(graph.with_suffix(".onnx"))


def test_as_many_threads_work_as_were_asked_for(graph: Path) -> None:
    code = (
        "import os, sys\nfrom pathlib import Path\nimport numpy as np\nfrom runtimes.paddle import PaddleRuntime\n"
        "runtime = PaddleRuntime()\n"
        "before = len(os.listdir('/proc/self/task'))\n"
        "session = runtime.load(Path(sys.argv[1]), threads=int(sys.argv[2]))\n"
        "session.run({'image': np.ones((8, 3, 64, 8), 'float32'), 'shift': np.ones((8, 4), 'int64')})\n"
        "print(len(os.listdir('/proc/self/task')) - before)"
    )
    for threads in (1, 3):
        command = [sys.executable, "-c", code, str(graph), str(threads)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        assert int(done.stdout.split()[-1]) == threads - 1  # the caller's own is one of them


@dataclass(frozen=True)
class Gpu:
    device: str
    cuda: bool
    count: int
    message: str


@pytest.mark.parametrize(
    "case",
    [
        Gpu("gpu", False, 0, "paddlepaddle 3.1.1 is built for: cpu; pip install 'edge-kit[gpu]'"),
        Gpu("gpu", True, 0, "CUDA finds no GPU; it has: cpu"),
        Gpu("gpu:tensorrt", True, 1, "paddlepaddle-gpu 3.1.1 is built without TensorRT; it has: cpu, gpu"),
    ],
    ids=lambda case: case.message,
)
def test_a_gpu_that_is_not_there_says_what_is(graph: Path, monkeypatch: pytest.MonkeyPatch, case: Gpu) -> None:
    runtime = PaddleRuntime()
    monkeypatch.setattr(paddle, "is_compiled_with_cuda", lambda: case.cuda)
    monkeypatch.setattr(paddle.device.cuda, "device_count", lambda: case.count)
    with pytest.raises(UsageError) as caught:
        runtime.load(graph, device=case.device)
    message = case.message.replace("3.1.1", runtime.version())
    assert str(caught.value) == f"runtime 'paddle' has no device {case.device!r} here; {message}"


def test_a_gpu_that_does_not_start_is_an_error_and_not_the_cpu(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paddle, "is_compiled_with_cuda", lambda: True)
    monkeypatch.setattr(paddle.device.cuda, "device_count", lambda: 1)
    with pytest.raises(EdgeKitError, match="could not start the GPU and fell back to cpu"):
        PaddleRuntime().load(graph, device="gpu")  # this build of Paddle prints that it cannot, and goes on


def test_operators_are_those_after_fusion_in_their_order(graph: Path) -> None:
    runtime = PaddleRuntime()
    assert isinstance(runtime, Profiling)
    times = runtime.profile(graph, batch(), calls=4)
    kinds = [one.kind for one in times]
    assert "relu" not in kinds, "the batch norm does it"
    assert [kind for kind in kinds if kind in ("conv2d", "batch_norm", "fc")] == ["conv2d", "batch_norm", "fc"]
    assert [one.name.rpartition("_")[2] for one in times] == [str(i) for i in range(len(times))]
    assert all(one.ms > 0 for one in times)


def test_operators_are_not_timed_where_the_profiler_would_not_wait_for_them(graph: Path) -> None:
    with pytest.raises(UsageError, match="^runtime 'paddle' times operators on 'cpu' alone, not on 'gpu'$"):
        PaddleRuntime().profile(graph, batch(), device="gpu")


def operator(name: str, start: float, end: float, category: str = "Operator") -> dict[str, object]:
    args = {"start_time": f"{start} us", "end_time": f"{end} us"}
    return {"name": f"{name}[1 us]", "cat": category, "dur": end - start, "args": args}


def test_a_time_is_the_median_over_the_calls_after_the_first() -> None:
    lasting = (900, 10, 20, 60)  # the first call warms up
    events = [operator("conv", 1000 * i, 1000 * i + spent) for i, spent in enumerate(lasting)]
    events += [operator("compute", 1, 2, "OperatorInner"), operator("add", 3001, 3009)]  # parts of one
    (one,) = read_trace(events, 3)
    assert (one.name, one.kind, one.place, one.precision, one.ms) == ("conv_0", "conv", "", "", 0.02)


@pytest.mark.parametrize("kinds", [["conv", "add"], ["conv", "conv", "conv"], []])
def test_calls_that_differ_have_no_time_of_each_operator(kinds: list[str]) -> None:
    events = [operator(kind, 10 * i, 10 * i + 5) for i, kind in enumerate(kinds)]
    with pytest.raises(BadData, match="runs other operators from call to call"):
        read_trace(events, 1)
