"""The emulator is ONNX Runtime, bit for bit: with VNNI as this machine has it, without as Valgrind shows it."""

import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from convert.emulate import Arithmetic, Emulated, emulated, fused, pair_loads, predict
from convert.lower import lower
from edge_kit.core.errors import BadData
from edge_kit.core.tensors import MAIN, Run
from edge_kit.data import Dataset
from edge_kit.tasks import TASKS
from runtimes.registry import get_runtime
from runtimes.targets import TARGETS, this_machine
from tests.convert.graphs import build
from tests.convert.networks import NETWORKS, float_graph, lowered, mini_set, silent, slimmed
from tests.convert.nodes import AVX2, compare_nodes, tensors

PICTURES = 200
CONVOLUTIONS = {"mobilenetv2": 53, "mobilenetv1": 27, "resnet18": 20, "resnet50": 53}  # and one Gemm each
LowerNet = Callable[[str, str], Path]
SLOW = pytest.mark.slow
CASES = [
    ("mobilenetv2", "x86-avx2"),
    ("mobilenetv2", "arm64"),
    ("mobilenetv2", "x86-vnni"),
    ("mobilenetv1", "x86-vnni"),
    ("resnet18", "x86-vnni"),
    pytest.param("resnet50", "x86-vnni", marks=SLOW),
    pytest.param("resnet50", "arm64", marks=SLOW),
]


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return mini_set(tmp_path_factory.mktemp("mini"), PICTURES)


@pytest.fixture(scope="module")
def lower_net(mini: Dataset, tmp_path_factory: pytest.TempPathFactory) -> LowerNet:
    """A network by name, lowered for a target; each made once."""
    folder = tmp_path_factory.mktemp("networks")

    @cache
    def exported(name: str) -> Path:
        return float_graph(NETWORKS[name](), folder / name)

    @cache
    def make(name: str, target: str) -> Path:
        return lowered(exported(name), target, mini)

    return make


@pytest.fixture(scope="module")
def images(mini: Dataset) -> np.ndarray:
    return next(iter(mini.eval_batches(2)))["image"]


@pytest.mark.parametrize(("name", "target"), CASES)
def test_every_quantized_node_equals_onnx_runtime_here(
    name: str, target: str, lower_net: LowerNet, images: np.ndarray, tmp_path: Path
) -> None:
    graph = lower_net(name, target)
    found = compare_nodes(graph, tensors(graph, {"image": images}, tmp_path), pairs=this_machine().saturating_pairs)
    assert found.differ == []
    assert found.nodes["QLinearConv"] == CONVOLUTIONS[name]
    assert found.nodes["QGemm"] == 1


@pytest.mark.skipif(shutil.which("valgrind") is None, reason="valgrind shows a processor without AVX-512")
@pytest.mark.parametrize(
    "name", ["mobilenetv2", "mobilenetv1", *(pytest.param(name, marks=SLOW) for name in ("resnet18", "resnet50"))]
)
def test_every_saturating_node_equals_the_avx2_kernels_of_onnx_runtime(
    name: str, lower_net: LowerNet, images: np.ndarray, tmp_path: Path
) -> None:
    naive = lower_net(name, "x86-vnni")
    found = compare_nodes(naive, tensors(naive, {"image": images}, tmp_path, AVX2), pairs=True)
    assert found.differ == []
    assert found.nodes["QLinearConv"] == CONVOLUTIONS[name]
    assert found.saturated > 1000


def test_the_whole_graph_gives_the_very_logits_of_onnx_runtime(lower_net: LowerNet, mini: Dataset) -> None:
    graph = lower_net("mobilenetv2", "x86-avx2")
    run = emulated(graph, Arithmetic.INT32)
    for batch in mini.eval_batches(50):
        inputs = {"image": batch["image"]}
        np.testing.assert_array_equal(run(inputs)["logits"], get_runtime("onnx").load(graph).run(inputs)["logits"])


def top1(run: Run, mini: Dataset) -> float:
    return TASKS.get("classify").evaluate({MAIN: run}, mini, silent)[0].value


def test_a_file_for_avx2_scores_the_same_with_and_without_vnni(lower_net: LowerNet, mini: Dataset) -> None:
    found = predict(lower_net("mobilenetv2", "x86-avx2"), lambda run: top1(run, mini))
    assert found.exact > 85
    assert abs(found.exact - found.pairs) <= 0.2
    assert found.saturated == {}


@SLOW
def test_what_compress_makes_for_avx2_scores_the_same_with_and_without_vnni(tmp_path: Path) -> None:
    larger = mini_set(tmp_path / "mini", 500)
    graph = float_graph(NETWORKS["mobilenetv2"](), tmp_path / "net")
    floats = top1(get_runtime("onnx").load(graph).run, larger)
    quantized = slimmed(graph.parent, larger)
    safe, naive = (
        predict(lowered(quantized, target, larger), lambda run: top1(run, larger))
        for target in ("x86-avx2", "x86-vnni")
    )
    assert abs(safe.exact - floats) < 1
    assert abs(safe.exact - safe.pairs) <= 0.2
    assert safe.saturated == {}
    assert sum(naive.saturated.values()) > 1_000_000  # on pictures as easy as these it costs little all the same


def test_a_file_of_full_range_weights_answers_otherwise_without_vnni(lower_net: LowerNet, mini: Dataset) -> None:
    naive = lower_net("mobilenetv2", "x86-vnni")
    images = next(iter(mini.eval_batches(100)))["image"]
    exact, pairs = (emulated(naive, arithmetic) for arithmetic in Arithmetic)
    with_vnni, without = (run({"image": images})["logits"] for run in (exact, pairs))
    assert exact.saturated == {}
    assert sum(pairs.saturated.values()) > 10_000 * len(images)
    assert np.sqrt(np.mean((with_vnni - without) ** 2)) > 0.05 * with_vnni.std()


def test_only_nodes_with_an_overfull_pair_saturate(lower_net: LowerNet, images: np.ndarray) -> None:
    naive = lower_net("mobilenetv2", "x86-vnni")
    run = emulated(naive, Arithmetic.INT16_PAIRS)
    run({"image": images})
    overfull = {name for name, load in pair_loads(naive).items() if (load > 1).any()}
    assert set(run.saturated) <= overfull
    assert all((load <= 1).all() for load in pair_loads(lower_net("mobilenetv2", "x86-avx2")).values())


def test_nodes_without_a_form_of_ours_are_run_by_onnx_runtime(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = rng.normal(0, 1, (4, 3, 8, 8)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["c"]),
        helper.make_node("Sigmoid", ["c"], ["s"]),
        helper.make_node("Conv", ["s", "u"], ["y"]),
    ]
    constants = {name: rng.normal(0, 1, (3, 3, 3, 3)).astype(np.float32) for name in "wu"}
    build(nodes, constants, {"image": ["N", 3, 8, 8]}, {"y": ["N", 3, 4, 4]}).save(tmp_path / "float.onnx")
    path = tmp_path / "int8.onnx"
    lower(tmp_path / "float.onnx", path, TARGETS["x86-avx2"], [{"image": images}])
    assert {"QLinearSigmoid", "Conv"} <= {node.op_type for node in fused(path).graph.node}  # neither has a form here
    got = emulated(path, Arithmetic.INT16_PAIRS)({"image": images})["y"]
    wanted = get_runtime("onnx").load(path).run({"image": images})["y"]
    np.testing.assert_allclose(got, wanted, atol=1e-5)  # the last convolution is float in part


def test_a_graph_that_was_turned_to_channels_last_is_refused(tmp_path: Path) -> None:
    pool = helper.make_node("GlobalAveragePool", ["x"], ["y"], name="pool", channels_last=1)
    model = helper.make_model(helper.make_graph([pool], "one", [], []))
    with pytest.raises(BadData, match="cannot emulate GlobalAveragePool 'pool': channels last"):
        Emulated(model, Arithmetic.INT32)


def test_a_file_that_is_no_graph_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"not a graph")
    for path in (tmp_path / "broken.onnx", tmp_path / "missing.onnx"):
        with pytest.raises(BadData) as fault:
            emulated(path, Arithmetic.INT32)
        assert "\n" not in str(fault.value)
        assert path.name in str(fault.value)


def test_products_without_a_form_are_refused_and_not_taken_for_exact(tmp_path: Path) -> None:
    node = helper.make_node("MatMulInteger", ["a", "b"], ["y"], name="attention")
    body = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info("a", TensorProto.UINT8, [None, 4])],
        [helper.make_tensor_value_info("y", TensorProto.INT32, [None, 3])],
        [onnx.numpy_helper.from_array(np.ones((4, 3), np.int8), "b")],
    )
    path = tmp_path / "one.onnx"
    onnx.save(helper.make_model(body, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), str(path))
    with pytest.raises(BadData, match="cannot emulate MatMulInteger 'attention'"):
        emulated(path, Arithmetic.INT16_PAIRS)
