"""Graphs that take a camera's pixels: exact to the last row of the border, and of one piece in INT8."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from convert.graph import Graph
from convert.lower import CAMERA_PASSES, PASSES, Camera, lower
from convert.observe import observe
from convert.passes.camera import Pixels, read_stored_pixels, settle_constant_channel, take_pixels
from convert.passes.place import place_quantizers
from convert.quantization import Quantization
from edge_kit.core.errors import EdgeKitError
from edge_kit.core.images import ImagePreprocess, NormalisedPreprocess, SquarePreprocess
from edge_kit.core.tensors import TensorSpec
from edge_kit.data import FORMATS, Dataset, OpenOptions
from runtimes.ort import OnnxRuntime
from runtimes.registry import get_runtime
from runtimes.targets import TARGETS
from tests.convert import networks
from tests.convert.graphs import build, fused, operators, run

SIDE = 33  # odd: padding is then not the same on all sides of a strided convolution
IMAGE = TensorSpec("image", ("N", 3, SIDE, SIDE), layout="NCHW")
PREPROCESS = ImagePreprocess(SIDE, SIDE)
CROPS = np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE, 3), np.uint8)
CONVOLUTIONS = {
    "MobileNetV2's: 3 x 3, stride 2, padded by 1": {"kernel": 3, "strides": [2, 2], "pads": [1, 1, 1, 1]},
    "ResNet's: 7 x 7, stride 2, padded by 3": {"kernel": 7, "strides": [2, 2], "pads": [3, 3, 3, 3]},
    "VALID": {"kernel": 3, "strides": [2, 2]},
    "VALID by name": {"kernel": 5, "auto_pad": "VALID"},
    "SAME by name": {"kernel": 4, "strides": [2, 2], "auto_pad": "SAME_UPPER"},
    "padded on two sides, dilated": {"kernel": 3, "pads": [0, 2, 1, 0], "dilations": [2, 2]},
}


def one_convolution(kernel: int, bias: bool = True, **how: object) -> Graph:
    """Its output is the graph's, so that every place of it can be compared."""
    rng = np.random.default_rng(kernel)
    constants = {"w": rng.normal(0, 0.3, (8, 3, kernel, kernel)).astype(np.float32)}
    if bias:
        constants["b"] = rng.normal(0, 1, 8).astype(np.float32)
    node = helper.make_node("Conv", ["image", *constants], ["y"], name="first", **how)
    return build([node], constants, {"image": ["N", 3, SIDE, SIDE]}, {"y": ["N", 8, "h", "w"]})


def normalised(crops: np.ndarray, preprocess: NormalisedPreprocess = PREPROCESS) -> np.ndarray:
    return np.stack([preprocess.normalise(crop) for crop in crops])


@pytest.mark.parametrize("bias", [True, False], ids=["with bias", "without"])
@pytest.mark.parametrize("how", CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def test_every_place_of_the_first_convolution_is_as_after_normalising(how: dict, bias: bool, tmp_path: Path) -> None:
    graph = one_convolution(**how, bias=bias)
    wanted = run(graph, {"image": normalised(CROPS)}, tmp_path)["y"]
    take_pixels(graph, IMAGE, PREPROCESS)
    got = run(graph, {"image": CROPS}, tmp_path)["y"]
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.parametrize(
    "preprocess",
    [
        ImagePreprocess(SIDE, SIDE, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
        ImagePreprocess(SIDE, SIDE, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        ImagePreprocess(SIDE, SIDE, (1.0, 0.9, 0.95), (0.2, 0.3, 0.1)),
        ImagePreprocess(SIDE, SIDE, (0.0, 0.5, 1.0), (0.01, 1.0, 0.2)),
        SquarePreprocess(SIDE, "area", (0.1, 0.5, 0.7), (0.4, 0.5, 0.2), "BGR"),
    ],
    ids=lambda one: f"mean {one.mean}",
)
def test_any_mean_and_deviation_is_exact(preprocess: NormalisedPreprocess, tmp_path: Path) -> None:
    graph = one_convolution(3, pads=[1, 1, 1, 1])
    wanted = run(graph, {"image": normalised(CROPS, preprocess)}, tmp_path)["y"]
    pixels = take_pixels(graph, IMAGE, preprocess)
    assert 0 <= pixels.centre <= 255
    assert 0 <= pixels.centre + pixels.step <= 255
    got = run(graph, {"image": CROPS}, tmp_path)["y"]
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


def test_without_the_constant_channel_the_border_would_be_wrong_and_only_the_border(tmp_path: Path) -> None:
    """What is compared above is able to differ."""
    graph = one_convolution(3, pads=[1, 1, 1, 1])
    wanted = run(graph, {"image": normalised(CROPS)}, tmp_path)["y"]
    pixels = take_pixels(graph, IMAGE, PREPROCESS)
    graph.constants["w.of_pixels_bias"] += pixels.step * pixels.weight[:, 3].sum(axis=(1, 2))
    graph.constants["w.of_pixels"] = pixels.weight * np.array([1, 1, 1, 0], np.float32).reshape(1, 4, 1, 1)
    off = np.abs(run(graph, {"image": CROPS}, tmp_path)["y"] - wanted).max(axis=(0, 1)) / np.abs(wanted).max()
    assert off[1:-1, 1:-1].max() < 1e-5
    assert off[0].min() > 1e-3
    assert off[:, -1].min() > 1e-3


def test_the_constant_channel_does_not_widen_the_grid_of_the_weights() -> None:
    pixels = take_pixels(one_convolution(7, pads=[3, 3, 3, 3]), IMAGE, PREPROCESS)
    largest = np.abs(pixels.weight).max(axis=(2, 3))
    assert (largest[:, 3] <= largest[:, :3].max(axis=1) * (1 + 1e-6)).all()


def test_the_input_is_pixels_and_nothing_else_of_the_interface_changes() -> None:
    graph = one_convolution(3, pads=[1, 1, 1, 1])
    take_pixels(graph, IMAGE, PREPROCESS)
    model = graph.to_model()
    onnx.checker.check_model(model)
    [value] = model.graph.input
    kind = value.type.tensor_type
    assert (value.name, kind.elem_type) == ("image", onnx.TensorProto.UINT8)
    assert [axis.dim_param or axis.dim_value for axis in kind.shape.dim] == ["N", SIDE, SIDE, 3]
    assert graph.outputs == ["y"]


def added_first() -> Graph:
    node = helper.make_node("Add", ["image", "c"], ["y"])
    return build([node], {"c": np.ones(1, np.float32)}, {"image": IMAGE.shape}, {"y": IMAGE.shape})


def read_twice() -> Graph:
    graph = one_convolution(3)
    graph.nodes.append(helper.make_node("Relu", ["image"], ["z"]))
    return graph


def in_groups() -> Graph:
    node = helper.make_node("Conv", ["image", "w"], ["y"], group=3)
    weight = np.ones((3, 1, 1, 1), np.float32)
    return build([node], {"w": weight}, {"image": ["N", 3, SIDE, SIDE]}, {"y": ["N", 3, SIDE, SIDE]})


@pytest.mark.parametrize("make", [added_first, read_twice, in_groups])
def test_a_graph_that_cannot_take_pixels_is_refused_in_one_line(make: Callable[[], Graph]) -> None:
    with pytest.raises(EdgeKitError, match="input 'image' cannot take pixels: one convolution of three") as fault:
        take_pixels(make(), IMAGE, PREPROCESS)
    assert "\n" not in str(fault.value)


def quantized(target: str) -> tuple[Graph, Pixels]:
    """Conv and Conv, placed, behind pixels."""
    rng = np.random.default_rng(3)
    shapes = {"w": (8, 3, 3, 3), "b": (8,), "u": (4, 8, 1, 1)}
    constants = {name: rng.normal(0, 0.3, shape).astype(np.float32) for name, shape in shapes.items()}
    nodes = [
        helper.make_node("Conv", ["image", "w", "b"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["c", "u"], ["y"]),
    ]
    graph = build(nodes, constants, {"image": ["N", 3, SIDE, SIDE]}, {"y": ["N", 4, SIDE, SIDE]})
    known = Quantization(observe(graph, [{"image": normalised(CROPS)}]).ranges)
    pixels = take_pixels(graph, IMAGE, PREPROCESS)
    known.ranges[pixels.tensor] = pixels.span
    place_quantizers(graph, known, TARGETS[target])
    return graph, pixels


def test_pixels_are_not_quantized_again_where_kernels_take_them_as_they_are(tmp_path: Path) -> None:
    graph, pixels = quantized("x86-vnni")
    before = run(graph, {"image": CROPS}, tmp_path)["y"]
    assert operators(graph).count("QuantizeLinear") == 2
    assert read_stored_pixels(graph, pixels) == 1
    assert operators(graph).count("QuantizeLinear") == 1
    assert not {"Cast", "Sub"} & set(operators(graph))
    np.testing.assert_array_equal(run(graph, {"image": CROPS}, tmp_path)["y"], before)


def test_signed_kernels_need_the_sign_of_pixels_changed_so_that_quantizer_stays(tmp_path: Path) -> None:
    graph, pixels = quantized("arm64")
    assert read_stored_pixels(graph, pixels) == 0


def test_the_rounding_of_the_constant_channel_is_taken_out_of_every_place_inside_the_border(tmp_path: Path) -> None:
    """A picture of the centre's grey leaves the constant channel and the bias alone to give the answer."""
    graph, pixels = quantized("x86-vnni")
    grey = np.full_like(CROPS, pixels.centre)
    floats = one_convolution(3, pads=[1, 1, 1, 1])
    floats.constants["w"], floats.constants["b"] = graph.constants["w"], graph.constants["b"]
    exact = run(floats, {"image": normalised(grey)}, tmp_path)["y"][0, :, 5, 5]

    def inside() -> np.ndarray:
        conv = next(node for node in graph.nodes if node.op_type == "Conv")
        weight, bias = (graph.producer(name) for name in conv.input[1:3])
        stored, scale = (graph.constants[name] for name in weight.input[:2])
        return (stored[:, 3].astype(int).sum(axis=(1, 2)) * pixels.step + graph.constants[bias.input[0]]) * scale

    before = np.abs(inside() - exact).max()
    assert settle_constant_channel(graph, pixels) == 1
    after = np.abs(inside() - exact).max()
    step = np.abs(pixels.weight).max() / 127  # of the coarsest weight: what the INT32 bias is rounded to
    assert after <= step
    assert before > 5 * step


def test_int8_is_within_one_rounding_of_the_weights_at_every_place_border_included(tmp_path: Path) -> None:
    graph, pixels = quantized("x86-vnni")
    floats = one_convolution(3, pads=[1, 1, 1, 1])
    floats.constants["w"], floats.constants["b"] = graph.constants["w"], graph.constants["b"]
    wanted = run(floats, {"image": normalised(CROPS)}, tmp_path)["y"]
    settle_constant_channel(graph, pixels)
    read_stored_pixels(graph, pixels)
    onnx.save(graph.to_model(extra_outputs=["c"]), str(tmp_path / "exposed.onnx"))
    got = get_runtime("onnx").load(tmp_path / "exposed.onnx").run({"image": CROPS})["c"]
    shown = np.abs(CROPS.astype(int) - pixels.centre).sum(axis=3) + abs(pixels.step)  # (N, H, W), over channels
    padded = np.pad(shown, ((0, 0), (1, 1), (1, 1)))
    reach = sum(padded[:, i : i + SIDE, j : j + SIDE] for i in range(3) for j in range(3))
    half = np.abs(pixels.weight).reshape(8, -1).max(axis=1) / 127 / 2  # of a step of each output's grid
    settled = 9 * abs(pixels.step) + 2  # that much of it the bias took back, and its own rounding
    off = np.abs(got - wanted).max(axis=0)
    assert (off <= half.reshape(8, 1, 1) * (reach + settled).max(axis=0) + 1e-5).all()
    border = np.ones((SIDE, SIDE), bool)
    border[1:-1, 1:-1] = False
    typical = [float(np.abs(got - wanted)[..., part].mean()) for part in (border, ~border)]
    assert typical[0] < 1.5 * typical[1], "the border is no less exact than what lies inside"


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, Dataset]:
    """The same 400 pictures as floats and as pixels."""
    folder = tmp_path_factory.mktemp("mini")
    floats = networks.mini_set(folder, 400)
    options = OpenOptions("mini-imagenet", False, 0, networks.MINI.augment)
    return floats, FORMATS.get("imagenet").open(folder, networks.MINI.preprocess.without_normalise(), options)


@pytest.fixture(scope="module")
def mobilenetv2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return networks.float_graph(networks.NETWORKS["mobilenetv2"](), tmp_path_factory.mktemp("mobilenetv2"))


@pytest.mark.parametrize("name", ["mobilenetv2", "resnet18"])
def test_real_networks_answer_as_after_normalising(name: str, mobilenetv2: Path, tmp_path: Path) -> None:
    path = mobilenetv2 if name == "mobilenetv2" else networks.float_graph(networks.NETWORKS[name](), tmp_path)
    crops = np.random.default_rng(1).integers(0, 256, (4, 64, 64, 3), np.uint8)
    graph = Graph.load(path)
    first = next(node for node in graph.nodes if node.op_type == "Conv")
    inner = first.output[0]

    def answers(image: np.ndarray) -> dict[str, np.ndarray]:
        onnx.save(graph.to_model(extra_outputs=[inner]), str(tmp_path / "exposed.onnx"))
        return get_runtime("onnx").load(tmp_path / "exposed.onnx").run({"image": image})

    wanted = answers(normalised(crops, networks.MINI.preprocess))
    take_pixels(graph, networks.SPEC.inputs[0], networks.MINI.preprocess)
    got = answers(crops)
    for tensor in (inner, "logits"):
        assert np.abs(got[tensor] - wanted[tensor]).max() <= 1e-5 * np.abs(wanted[tensor]).max(), tensor


def int8_pair(mobilenetv2: Path, floats: Dataset, target: str) -> tuple[Path, Path]:
    out = mobilenetv2.with_name(f"{target}-pixels.onnx")
    camera = Camera(networks.SPEC.inputs[0], networks.MINI.preprocess)
    report = lower(mobilenetv2, out, TARGETS[target], networks.feeds(floats), camera=camera)
    assert list(report.passes) == [step.name for step in CAMERA_PASSES]
    assert report.left_float == {}
    return networks.lowered(mobilenetv2, target, floats), out


@pytest.mark.parametrize("target", [name for name, target in TARGETS.items() if not target.symmetric])
def test_int8_gives_the_top1_that_it_gives_for_normalised_floats(
    target: str, mobilenetv2: Path, mini: tuple[Dataset, Dataset]
) -> None:
    floats, pixels = mini
    ours, theirs = (get_runtime("onnx").load(path) for path in reversed(int8_pair(mobilenetv2, floats, target)))
    same: list[bool] = []
    for a, b in zip(floats.eval_batches(50), pixels.eval_batches(50), strict=True):
        assert b["image"].dtype == np.uint8
        tops = [one.run({"image": x["image"]})["logits"].argmax(axis=1) for one, x in ((theirs, a), (ours, b))]
        same += list(tops[0] == tops[1])
    assert len(same) == 400
    assert np.mean(same) >= 0.995


def test_int8_touches_no_float_before_its_first_convolution(
    mobilenetv2: Path, mini: tuple[Dataset, Dataset], tmp_path: Path
) -> None:
    """Once fused: no float operator runs at all before the head, no Transpose either, and the first product is INT8."""
    _, graph = int8_pair(mobilenetv2, mini[0], "x86-vnni")
    kinds = fused(graph, tmp_path)
    before = kinds[: kinds.index("QLinearConv")]
    assert before == ["Shape", "Min", "Expand", "Expand", "Concat", "Reshape", "Concat"]
    assert "Conv" not in kinds
    assert "QuantizeLinear" not in kinds
    crop = np.zeros((1, 64, 64, 3), np.uint8)
    times = OnnxRuntime().profile(graph, {"image": crop}, calls=2)
    first = next(one for one in times if "Conv" in one.kind)
    assert (first.kind, first.precision) == ("QLinearConv", "int8")
    assert all(one.precision in ("int8", "int64") for one in times[: times.index(first)])


def test_a_graph_that_keeps_its_floats_is_lowered_by_the_passes_it_always_was() -> None:
    assert [step.name for step in CAMERA_PASSES if step not in PASSES] == [
        "take_pixels",
        "settle_constant_channel",
        "read_stored_pixels",
        "read_pixels_in_fours",
    ]
