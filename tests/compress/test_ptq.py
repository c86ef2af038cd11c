from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import paddle
import paddle2onnx
import pytest
from paddle.vision.models import mobilenet_v1

from compress import slim
from compress.quantize.ptq import ALGORITHMS, MOST_KEPT, PtqSettings, quantize_static
from edge_kit.core.errors import BadData, UsageError
from tests.compress.inverted_residual_net import CLASSES, SmallNet


def export(net: paddle.nn.Layer, prefix: Path) -> Path:
    rng = np.random.default_rng(9)
    with paddle.no_grad():
        for _ in range(30):  # settle the running statistics: without, deep activations fade to 1e-15
            net(paddle.to_tensor(rng.standard_normal((16, 3, 32, 32)).astype("float32")))
    net.eval()
    spec = [paddle.static.InputSpec([None, 3, 32, 32], "float32", name="image")]
    paddle.jit.save(net, str(prefix), input_spec=spec)
    return prefix


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    paddle.seed(3)
    return export(SmallNet(), tmp_path_factory.mktemp("float") / "small")


@pytest.fixture(scope="module")
def batches() -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    return [{"image": rng.standard_normal((8, 3, 32, 32)).astype("float32")} for _ in range(3)]


def to_onnx(prefix: Path) -> onnx.ModelProto:
    target = prefix.with_name(prefix.name + ".onnx")
    paddle2onnx.export(f"{prefix}.pdmodel", f"{prefix}.pdiparams", save_file=str(target), opset_version=13)
    return onnx.load(str(target))


def outputs(graph: onnx.ModelProto, images: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"image": images})[0])


def scales(graph: onnx.ModelProto, of_constants: bool = False) -> dict[str, np.ndarray]:
    constants = {item.name: onnx.numpy_helper.to_array(item) for item in graph.graph.initializer}
    for node in graph.graph.node:
        if node.op_type == "Constant":
            constants[node.output[0]] = onnx.numpy_helper.to_array(node.attribute[0].t)
    return {
        node.input[0]: constants[node.input[1]].reshape(-1)
        for node in graph.graph.node
        if node.op_type == "QuantizeLinear" and (node.input[0] in constants) == of_constants
    }


@pytest.mark.parametrize(
    "build", [SmallNet, lambda: mobilenet_v1(scale=0.25, num_classes=CLASSES)], ids=["small", "v1"]
)
def test_a_quantized_model_converts_and_stays_near_the_float_one(
    build: Callable[[], paddle.nn.Layer], batches: list[dict[str, np.ndarray]], tmp_path: Path
) -> None:
    paddle.seed(3)
    source = export(build(), tmp_path / "float")
    quantize_static(source, tmp_path / "int8" / "model", batches, PtqSettings())

    graph = to_onnx(tmp_path / "int8" / "model")
    images = batches[0]["image"]
    expected, got = outputs(to_onnx(source), images), outputs(graph, images)
    spread = float(np.std(expected))
    # Eight bits through a dozen layers of random weights; a wrong scale costs several spreads.
    assert float(np.sqrt(np.mean((expected - got) ** 2))) < 0.15 * spread
    kinds = [node.op_type for node in graph.graph.node]
    assert kinds.count("QuantizeLinear") > kinds.count("Conv")
    assert kinds.count("DequantizeLinear") > kinds.count("Conv")


def test_both_sides_of_a_residual_sum_get_ranges(
    model: Path, batches: list[dict[str, np.ndarray]], tmp_path: Path
) -> None:
    quantize_static(model, tmp_path / "q", batches, PtqSettings("abs_max"))
    graph = to_onnx(tmp_path / "q").graph
    made_by = {name: node.op_type for node in graph.node for name in node.output}
    sums = [node for node in graph.node if node.op_type == "Add"]
    residual = [node for node in sums if all(name in made_by for name in node.input)]
    assert len(residual) >= 2
    sides = [made_by[name] for node in residual[:2] for name in node.input]
    assert sides == ["DequantizeLinear"] * 4


def test_weights_are_quantized_by_output_channel(
    model: Path, batches: list[dict[str, np.ndarray]], tmp_path: Path
) -> None:
    quantize_static(model, tmp_path / "q", batches, PtqSettings("abs_max"))
    found = scales(to_onnx(tmp_path / "q"), of_constants=True)
    # Not the classifier's: paddle2onnx 1.3.1 drops what quantizes a matrix product.
    assert {scale.size for scale in found.values()} == {32, 128, 48, 192, 64}
    assert all(np.all(scale > 0) for scale in found.values())


@pytest.mark.parametrize("algorithm", ["abs_max", "avg", "hist", "mse"])
def test_the_same_inputs_give_the_same_bytes(
    model: Path, batches: list[dict[str, np.ndarray]], tmp_path: Path, algorithm: str
) -> None:
    settings = PtqSettings(algorithm)
    quantize_static(model, tmp_path / "a" / "model", batches, settings)
    paddle.zeros([1]) + 1  # what runs in between must not change a name
    quantize_static(model, tmp_path / "b" / "model", batches, settings)
    for suffix in ("pdiparams", "pdmodel"):
        first, second = (tmp_path / name / f"model.{suffix}" for name in ("a", "b"))
        assert first.read_bytes() == second.read_bytes()


def test_no_path_of_this_machine_is_in_the_files(
    model: Path, batches: list[dict[str, np.ndarray]], tmp_path: Path
) -> None:
    quantize_static(model, tmp_path / "q", batches, PtqSettings("abs_max"))
    assert b"test_ptq.py" not in (tmp_path / "q.pdmodel").read_bytes()
    assert str(Path(paddle.__file__).parent).encode() not in (tmp_path / "q.pdmodel").read_bytes()


def test_a_histogram_kept_nearly_whole_ends_where_the_largest_value_is(
    model: Path, batches: list[dict[str, np.ndarray]], tmp_path: Path
) -> None:
    quantize_static(model, tmp_path / "max", batches, PtqSettings("abs_max"))
    quantize_static(model, tmp_path / "hist", batches, PtqSettings("hist", hist_percent=MOST_KEPT))
    largest, kept = (scales(to_onnx(tmp_path / name)) for name in ("max", "hist"))
    assert kept.keys() == largest.keys()
    for name, scale in kept.items():
        assert scale == pytest.approx(largest[name], rel=1 / 2048), name  # one bin


def test_a_smaller_share_of_the_histogram_clips(
    model: Path, batches: list[dict[str, np.ndarray]], tmp_path: Path
) -> None:
    quantize_static(model, tmp_path / "hist", batches, PtqSettings("hist", hist_percent=0.99))
    images = np.abs(np.concatenate([batch["image"] for batch in batches]))
    expected = float(np.quantile(images, 0.99)) / 127
    # a bin is 0.1 % of the quantile
    assert scales(to_onnx(tmp_path / "hist"))["image"] == pytest.approx(expected, rel=0.005)


@pytest.mark.parametrize("algorithm", ["hist", "KL"])
def test_values_far_from_zero_keep_their_range(
    batches: list[dict[str, np.ndarray]], tmp_path: Path, algorithm: str
) -> None:
    net = paddle.nn.Sequential(paddle.nn.Conv2D(3, 4, 3))
    net[0].weight.set_value(net[0].weight * 0.1)
    net[0].bias.set_value(paddle.full([4], 5.0))
    source = export(net, tmp_path / "far")
    quantize_static(source, tmp_path / "q", batches, PtqSettings(algorithm))
    graph = to_onnx(tmp_path / "q")
    expected = outputs(to_onnx(source), batches[0]["image"])
    # Half a step of a range that ends below 8; a range without its offset would clip 5 to 2.
    assert np.abs(outputs(graph, batches[0]["image"]) - expected).max() < 0.1


def test_only_the_two_files_are_written_and_dynamic_mode_returns(
    model: Path,
    batches: list[dict[str, np.ndarray]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    here, out = tmp_path / "here", tmp_path / "out"
    here.mkdir()
    monkeypatch.chdir(here)
    before = sorted(model.parent.iterdir())

    quantize_static(model, out / "int8.v1", batches, PtqSettings("abs_max"))

    assert sorted(path.name for path in out.iterdir()) == ["int8.v1.pdiparams", "int8.v1.pdmodel"]
    assert list(here.iterdir()) == []
    assert sorted(model.parent.iterdir()) == before
    assert paddle.in_dynamic_mode()
    assert capfd.readouterr().out == ""  # `--json` owns stdout


def test_a_failure_inside_paddle_leaves_dynamic_mode_on(model: Path, tmp_path: Path) -> None:
    wrong = [{"image": np.zeros((1, 5, 32, 32), "float32")}]
    with pytest.raises(BadData, match="calibration failed"):
        quantize_static(model, tmp_path / "q", wrong, PtqSettings("abs_max"))
    assert paddle.in_dynamic_mode()


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        ([], "no calibration batches"),
        (
            [{"image": np.zeros((0, 3, 32, 32), "float32")}],
            "batch 0 holds no values for input 'image'",
        ),
        ([{"image": np.full((1, 3, 32, 32), np.nan, "float32")}], "'image': 3072 values are not"),
        ([{"image": np.full((1, 3, 32, 32), np.inf, "float32")}], "'image': 3072 values are not"),
        ([{"pixels": np.zeros((1, 3, 32, 32), "float32")}], "lacks input 'image'"),
    ],
    ids=["no batch", "empty batch", "nan", "infinity", "unknown name"],
)
def test_batches_that_say_nothing_are_refused(
    model: Path, tmp_path: Path, batches: list[dict[str, np.ndarray]], message: str
) -> None:
    with pytest.raises(BadData, match=message):
        quantize_static(model, tmp_path / "q", batches, PtqSettings())
    assert list(tmp_path.iterdir()) == []


def test_a_missing_model_is_named(tmp_path: Path, batches: list[dict[str, np.ndarray]]) -> None:
    with pytest.raises(BadData, match="'nothing.pdmodel' is missing"):
        quantize_static(tmp_path / "nothing", tmp_path / "q", batches, PtqSettings())


def test_an_unknown_algorithm_names_the_choices() -> None:
    with pytest.raises(UsageError, match="unknown quantization algorithm 'entropy'") as caught:
        PtqSettings("entropy")
    assert all(name in str(caught.value) for name in ALGORITHMS)


@pytest.mark.parametrize("share", [0.0, 1.0, float("nan")])
def test_a_histogram_share_outside_its_range_is_refused(share: float) -> None:
    with pytest.raises(UsageError, match="hist_percent must be above 0 and at most 0.99"):
        PtqSettings("hist", hist_percent=share)


def test_links_made_without_a_look_at_all_nodes_give_the_same_program(
    model: Path, batches: list[dict[str, np.ndarray]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stock = {name: vars(slim.IrGraph)[name] for name in ("link_to", "update_input_link")}
    quantize_static(model, tmp_path / "ours", batches, PtqSettings())
    assert {name: vars(slim.IrGraph)[name] for name in stock} == stock, "Paddle is as it was"
    monkeypatch.setattr(slim, "_link", stock["link_to"])
    monkeypatch.setattr(slim, "_link_instead", stock["update_input_link"])
    quantize_static(model, tmp_path / "stock", batches, PtqSettings())
    for kind in ("pdmodel", "pdiparams"):
        ours, theirs = ((tmp_path / f"{name}.{kind}").read_bytes() for name in ("ours", "stock"))
        assert ours == theirs, kind
