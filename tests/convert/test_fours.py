"""Rows of pixels read four at a time: the same inside the border to the last bit, and as exact on it."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from convert.graph import Graph
from convert.observe import observe
from convert.passes.camera import Pixels, read_stored_pixels, settle_constant_channel, take_pixels
from convert.passes.fours import read_pixels_in_fours
from convert.passes.place import place_quantizers
from convert.quantization import Quantization
from edge_kit.core.images import ImagePreprocess
from edge_kit.core.tensors import TensorSpec
from runtimes.registry import get_runtime
from runtimes.targets import TARGETS
from tests.convert.graphs import build, fused

SIDE = 32
PREPROCESS = ImagePreprocess(SIDE, SIDE)
CROPS = np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE, 3), np.uint8)
CONVOLUTIONS = {
    "MobileNetV2's: 3 x 3, stride 2, padded by 1": (3, {"strides": [2, 2], "pads": [1, 1, 1, 1]}),
    "ResNet's: 7 x 7, stride 2, padded by 3": (7, {"strides": [2, 2], "pads": [3, 3, 3, 3]}),
    "stride 4, a column at once": (7, {"strides": [4, 4], "pads": [2, 2, 2, 2]}),
    "not padded": (2, {"strides": [2, 2]}),
    "padded on two sides": (4, {"strides": [1, 2], "pads": [0, 2, 1, 0]}),
    "padded more than it needs": (3, {"strides": [2, 2], "pads": [2, 4, 4, 6]}),
}
OTHERS = {
    "stride 1: most products would be with weights of 0": (3, {"pads": [1, 1, 1, 1]}),
    "dilated": (3, {"strides": [2, 2], "pads": [2, 2, 2, 2], "dilations": [2, 2]}),
    "an odd number of columns": (4, {"strides": [2, 2]}),
    "padded by name": (4, {"strides": [2, 2], "auto_pad": "SAME_UPPER"}),
}


def float_net(kernel: int, height: int | str, side: int | str, how: dict[str, object]) -> Graph:
    """Conv and Conv."""
    rng = np.random.default_rng(kernel)
    shapes = {"w": (8, 3, kernel, kernel), "b": (8,), "u": (4, 8, 1, 1)}
    constants = {name: rng.normal(0, 0.3, shape).astype(np.float32) for name, shape in shapes.items()}
    first = helper.make_node("Conv", ["image", "w", "b"], ["c"], name="first", **how)
    nodes = [first, helper.make_node("Conv", ["c", "u"], ["y"])]
    return build(nodes, constants, {"image": ["N", 3, height, side]}, {"y": ["N", 4, "h", "w"]})


def placed(kernel: int, height: int | str, side: int | str, how: dict[str, object]) -> tuple[Graph, Pixels]:
    """The same, quantized, behind pixels as they are stored."""
    graph = float_net(kernel, height, side, how)
    crops = np.stack([PREPROCESS.normalise(crop) for crop in CROPS])
    known = Quantization(observe(graph, [{"image": crops}]).ranges)
    pixels = take_pixels(graph, TensorSpec("image", ("N", 3, height, side), layout="NCHW"), PREPROCESS)
    known.ranges[pixels.tensor] = pixels.span
    place_quantizers(graph, known, TARGETS["x86-vnni"])
    settle_constant_channel(graph, pixels)
    assert read_stored_pixels(graph, pixels) == 1
    return graph, pixels


def first_outputs(graph: Graph, folder: Path, name: str = "c.dq", crops: np.ndarray = CROPS) -> np.ndarray:
    onnx.save(graph.to_model(extra_outputs=[name]), str(folder / "exposed.onnx"))
    return get_runtime("onnx").load(folder / "exposed.onnx").run({"image": crops})[name]


def step_of(graph: Graph) -> float:
    """Of the grid of the first convolution's output."""
    [node] = [node for node in graph.nodes if node.output[0] == "c.dq"]
    return float(graph.constants[node.input[1]])


@pytest.mark.parametrize(("kernel", "how"), CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def test_nothing_changes_inside_the_border_and_on_it_by_less_than_half_a_pixel_value(
    kernel: int, how: dict[str, object], tmp_path: Path
) -> None:
    graph, pixels = placed(kernel, SIDE, SIDE, how)
    before = first_outputs(graph, tmp_path)
    assert read_pixels_in_fours(graph, pixels) == 1
    after = first_outputs(graph, tmp_path)
    assert after.shape == before.shape
    down, across = how["strides"]
    top, left, bottom, right = how.get("pads", [0] * 4)
    rows, columns = (np.arange(size) for size in before.shape[2:])
    inside = np.ix_(
        (rows * down >= top) & (rows * down - top + kernel <= SIDE),
        (columns * across >= left) & (columns * across - left + kernel <= SIDE),
    )
    np.testing.assert_array_equal(after[(..., *inside)], before[(..., *inside)])
    off = np.abs(after - before).max(axis=(0, 2, 3))
    half = 0.5 * np.abs(pixels.weight[:, :3]).sum(axis=(1, 2, 3))  # were every place of the window on the border
    assert (off <= half + step_of(graph)).all()
    assert bool(off.any()) is any((top, left, bottom, right)), "the mean is no whole pixel value"


@pytest.mark.parametrize(
    "name", ["MobileNetV2's: 3 x 3, stride 2, padded by 1", "ResNet's: 7 x 7, stride 2, padded by 3"]
)
def test_the_border_is_no_less_exact_than_what_lies_inside(name: str, tmp_path: Path) -> None:
    kernel, how = CONVOLUTIONS[name]
    floats = float_net(kernel, SIDE, SIDE, how)
    wanted = first_outputs(floats, tmp_path, "c", np.stack([PREPROCESS.normalise(crop) for crop in CROPS]))
    graph, pixels = placed(kernel, SIDE, SIDE, how)
    read_pixels_in_fours(graph, pixels)
    off = np.abs(first_outputs(graph, tmp_path) - wanted).mean(axis=(0, 1))
    border = np.ones(off.shape, bool)
    edge = kernel // 4
    border[edge + 1 : -edge or None, edge + 1 : -edge or None] = False
    assert off[border].mean() < 1.1 * off[~border].mean()


@pytest.mark.parametrize(("kernel", "how"), OTHERS.values(), ids=OTHERS)
def test_what_does_not_come_in_fours_is_left_as_it_is(kernel: int, how: dict[str, object]) -> None:
    graph, pixels = placed(kernel, SIDE, SIDE, how)
    before = graph.to_model().SerializeToString()
    assert read_pixels_in_fours(graph, pixels) == 0
    assert graph.to_model().SerializeToString() == before


def test_pixels_reach_the_convolution_as_they_lie_and_columns_leave_it_so(tmp_path: Path) -> None:
    """Copied are whole rows, twice, for the border; the Transposes of the graph are none once it is fused."""
    graph, pixels = placed(3, SIDE, SIDE, CONVOLUTIONS["MobileNetV2's: 3 x 3, stride 2, padded by 1"][1])
    read_pixels_in_fours(graph, pixels)
    graph.save(tmp_path / "fours.onnx")
    kinds = fused(tmp_path / "fours.onnx", tmp_path)
    first = kinds.index("QLinearConv")
    assert kinds[kinds.index("Shape") : first] == ["Shape", "Min", "Expand", "Expand", "Concat", "Reshape", "Concat"]
    assert kinds[first + 1] == "Reshape"


def test_a_batch_is_as_its_pictures_one_by_one(tmp_path: Path) -> None:
    graph, pixels = placed(7, SIDE, SIDE, CONVOLUTIONS["ResNet's: 7 x 7, stride 2, padded by 3"][1])
    read_pixels_in_fours(graph, pixels)
    graph.save(tmp_path / "fours.onnx")
    answer = get_runtime("onnx").load(tmp_path / "fours.onnx").run
    whole = answer({"image": CROPS})["y"]
    np.testing.assert_array_equal(whole, np.concatenate([answer({"image": crop[None]})["y"] for crop in CROPS]))


def test_a_picture_of_any_size_is_left_as_it_is() -> None:
    graph, pixels = placed(3, "H", "W", {"strides": [2, 2], "pads": [1, 1, 1, 1]})
    assert read_pixels_in_fours(graph, pixels) == 0
