"""The first wrong tensor is named, wherever the fault is; and where there is none, none is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from convert.diverge import find_divergence
from convert.graph import Graph
from edge_kit.core.errors import BadData, UsageError
from edge_kit.core.tensors import Tensors
from runtimes.ort import OnnxRuntime, OnnxSession
from runtimes.registry import get_runtime
from tests.convert import faults
from tests.convert.faults import Fault
from tests.convert.graphs import build
from tests.convert.versions import NETWORKS, Network, pictures, save_lowered, save_network


@pytest.fixture(scope="session")
def networks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Network]:
    return {name: save_network(name, tmp_path_factory.mktemp(name)) for name in NETWORKS}


@pytest.fixture(scope="session")
def batches() -> list[Tensors]:
    """Pictures that no calibration has seen."""
    return [{"image": pictures(4, seed)} for seed in (98, 99)]


@dataclass(frozen=True)
class Case:
    """A fault put into the n-th node with weights.

    Attributes:
        guess: What the kind of the fault is called; empty where no test of symptoms can tell.
    """

    network: str
    file: str
    place: int
    fault: Fault
    guess: str = ""

    def __str__(self) -> str:
        return f"{self.network}-{self.file}-{self.place}-{self.fault.__name__}"


SWAPPED = "swapped"
MOVED = "padding"
TRANSPOSED = "transposed: its axes lie as (0, 1, 3, 2)"
CASES = [
    Case("mobilenetv2", "fp32", 0, faults.weights_scaled, "scaled by 0.5"),
    Case("mobilenetv2", "fp32", 2, faults.pads_swapped, MOVED),
    Case("mobilenetv2", "fp32", 10, faults.channels_swapped, SWAPPED),
    Case("mobilenetv2", "fp32", 16, faults.transposed, TRANSPOSED),
    Case("mobilenetv2", "fp32", 25, faults.one_channel_scaled, "scaled by 2"),
    Case("mobilenetv2", "fp32", 35, faults.pads_swapped, MOVED),
    Case("mobilenetv2", "fp32", 48, faults.channels_swapped, SWAPPED),
    Case("mobilenetv2", "fp32", 52, faults.channels_swapped, SWAPPED),
    Case("resnet18", "fp32", 0, faults.pads_swapped),  # it strides: what is left out cannot be seen in the output
    Case("resnet18", "fp32", 3, faults.one_channel_scaled, "scaled by 2"),
    Case("resnet18", "fp32", 6, faults.transposed, TRANSPOSED),
    Case("resnet18", "fp32", 9, faults.channels_swapped, SWAPPED),
    Case("resnet18", "fp32", 13, faults.weights_scaled, "scaled by 0.5"),
    Case("resnet18", "fp32", 19, faults.pads_swapped),  # 2 x 2 pixels are all border
    Case("resnet18", "fp32", 20, faults.one_channel_scaled, "scaled by 2"),
    Case("mobilenetv2", "int8", 0, faults.channels_swapped, SWAPPED),
    Case("mobilenetv2", "int8", 3, faults.scale_of_another, "scaled by 1.5"),
    Case("mobilenetv2", "int8", 11, faults.pads_swapped),  # as it strides, too
    Case("mobilenetv2", "int8", 14, faults.pads_swapped, MOVED),
    Case("mobilenetv2", "int8", 15, faults.zero_point_moved, "shifted by -"),
    Case("mobilenetv2", "int8", 22, faults.grid_too_small),
    Case("mobilenetv2", "int8", 30, faults.one_channel_scaled, "scaled by 2"),
    Case("mobilenetv2", "int8", 41, faults.transposed, TRANSPOSED),
    Case("mobilenetv2", "int8", 51, faults.grid_too_small),
    Case("mobilenetv2", "int8", 52, faults.channels_swapped),
    Case("resnet18", "int8", 0, faults.grid_too_small),
    Case("resnet18", "int8", 2, faults.zero_point_moved, "shifted by -"),
    Case("resnet18", "int8", 4, faults.pads_swapped, MOVED),
    Case("resnet18", "int8", 8, faults.one_channel_scaled, "scaled by 2"),
    Case("resnet18", "int8", 11, faults.transposed, TRANSPOSED),
    Case("resnet18", "int8", 14, faults.channels_swapped, SWAPPED),
    Case("resnet18", "int8", 19, faults.scale_of_another, "scaled by 1.5"),
    Case("resnet18", "int8", 20, faults.weights_scaled),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_first_wrong_tensor_is_named(
    case: Case, networks: dict[str, Network], batches: list[Tensors], tmp_path: Path
) -> None:
    network = networks[case.network]
    graph = Graph.load(network.int8 if case.file == "int8" else network.fp32)
    wrong = case.fault(graph, faults.weighted(graph)[case.place])
    graph.save(tmp_path / "faulty.onnx")
    first = find_divergence(network.fp32, tmp_path / "faulty.onnx", batches).first
    assert first is not None
    assert first.tensor == wrong, first.show()
    assert case.guess in first.guess if case.guess else True, first.show()
    assert wrong in first.show()
    assert first.whole > 0.02


@pytest.mark.parametrize("name", NETWORKS)
def test_a_graph_against_itself_has_none(name: str, networks: dict[str, Network], batches: list[Tensors]) -> None:
    found = find_divergence(networks[name].fp32, networks[name].fp32, batches)
    assert found.first is None
    assert found.not_compared == ()
    assert found.outputs["logits"] < 1e-5


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(("target", "seed"), [("x86-vnni", 2), ("x86-avx2", 3), ("arm64", 4)])
def test_rounding_to_8_bits_is_no_fault(
    name: str, target: str, seed: int, networks: dict[str, Network], batches: list[Tensors], tmp_path: Path
) -> None:
    save_lowered(networks[name].fp32, tmp_path / "int8.onnx", seed, target)
    found = find_divergence(networks[name].fp32, tmp_path / "int8.onnx", batches)
    assert found.first is None, found.show()
    assert found.outputs["logits"] > 1e-3, "it is quantized"


def test_rounding_is_no_fault_where_a_channel_has_one_value(networks: dict[str, Network]) -> None:
    for network in networks.values():
        found = find_divergence(network.fp32, network.int8, [{"image": pictures(1, 5)}])
        assert found.first is None, found.show()


def test_what_lowering_fused_away_is_listed(networks: dict[str, Network], batches: list[Tensors]) -> None:
    network = networks["resnet18"]
    found = find_divergence(network.fp32, network.int8, batches[:1])
    relus = [node for node in Graph.load(network.fp32).nodes if node.op_type == "Relu"]
    assert sorted(found.not_compared) == sorted(node.input[0] for node in relus)
    assert {node.output[0] for node in relus} < set(found.compared)
    assert "17 have no counterpart" in found.show()


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("file", ["fp32", "int8"])
def test_another_engine_is_no_fault(name: str, file: str, networks: dict[str, Network], batches: list[Tensors]) -> None:
    suspect = networks[name].int8 if file == "int8" else networks[name].fp32
    found = find_divergence(networks[name].fp32, suspect, batches[:1], get_runtime("openvino"))
    assert found.first is None, found.show()
    assert len(found.compared) > 30


class Altered(OnnxRuntime):
    """An engine that computes something else for some graphs."""

    name = "altered"

    def alter(self, graph: Graph) -> None:
        raise NotImplementedError

    def load(self, graph: Path, *, threads: int = 1, device: str = "cpu") -> OnnxSession:
        changed = Graph.load(graph)
        self.alter(changed)
        onnx.save(changed.to_model(), str(graph.with_name("altered.onnx")))
        return super().load(graph.with_name("altered.onnx"))


class WrongFusion(Altered):
    """Wrong in Conv and Relu as one operator, which it makes of them when nobody reads what is between."""

    def alter(self, graph: Graph) -> None:
        for node in faults.weighted(graph, "Conv"):
            readers = [reader.op_type for reader in graph.consumers(node.output[0])]
            if readers == ["Relu"] and node.output[0] not in graph.outputs:
                faults.weights_scaled(graph, node)


class WrongIntegerKernels(Altered):
    """Wrong where a convolution reads an activation from an integer grid."""

    def alter(self, graph: Graph) -> None:
        for node in faults.weighted(graph, "Conv"):
            source = graph.producer(node.input[0])
            if source is not None and source.op_type == "DequantizeLinear":
                faults.weights_scaled(graph, node)


def test_an_engine_whose_fusion_is_wrong_is_found(networks: dict[str, Network], batches: list[Tensors]) -> None:
    fp32 = networks["resnet18"].fp32
    first = find_divergence(fp32, fp32, batches[:1], WrongFusion()).first
    assert first is not None
    assert first.tensor == "logits"
    assert first.guess == "a fusion of the engine"


def test_an_engine_whose_integer_kernels_are_wrong_is_found(
    networks: dict[str, Network], batches: list[Tensors]
) -> None:
    network = networks["resnet18"]
    first = find_divergence(network.fp32, network.int8, batches[:1], WrongIntegerKernels()).first
    assert first is not None
    assert first.tensor == "relu_0.tmp_0", first.show()
    assert first.noise < 0.05 < first.error
    assert "right in float arithmetic" in first.fault


def attention_like(perm: list[int], flat: list[int]) -> Graph:
    """Conv, then rows of pixels: Transpose, Reshape, MatMul; height and width differ."""
    rng = np.random.default_rng(3)
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["c"], pads=[1, 1, 1, 1], name="conv"),
        helper.make_node("Transpose", ["c"], ["t"], perm=perm, name="last"),
        helper.make_node("Reshape", ["t", "shape"], ["rows"], name="rows_of_pixels"),
        helper.make_node("MatMul", ["rows", "v"], ["y"], name="project"),
    ]
    constants = {
        "w": rng.normal(0, 1, (6, 3, 3, 3)).astype(np.float32), "v": rng.normal(0, 1, (6, 4)).astype(np.float32),
        "shape": np.array(flat),
    }  # fmt: skip
    return build(nodes, constants, {"image": ["N", 3, 6, 4]}, {"y": ["N", 24, 4]})


SMALL = [{"image": np.random.default_rng(0).normal(0, 1, (8, 3, 6, 4)).astype(np.float32)}]


@pytest.mark.parametrize(
    ("perm", "flat", "tensor", "guess"),
    [
        ([0, 3, 2, 1], [0, 24, 6], "t", "transposed: its axes lie as (0, 2, 1, 3)"),
        ([0, 2, 3, 1], [0, -1, 6], "", ""),
        ([0, 1, 2, 3], [0, 24, 6], "t", "transposed: its axes lie as (0, 3, 1, 2)"),
    ],
)
def test_a_wrong_order_of_axes_is_named(
    perm: list[int], flat: list[int], tensor: str, guess: str, tmp_path: Path
) -> None:
    attention_like([0, 2, 3, 1], [0, 24, 6]).save(tmp_path / "right.onnx")
    attention_like(perm, flat).save(tmp_path / "wrong.onnx")
    found = find_divergence(tmp_path / "right.onnx", tmp_path / "wrong.onnx", SMALL)
    assert (found.first.tensor if found.first else "") == tensor
    assert (found.first.guess if found.first else "") == guess


def tagger() -> Graph:
    """Ids of words as floats, to integers, two rows of a table, a projection: integers stand between the nodes."""
    rng = np.random.default_rng(4)
    nodes = [
        helper.make_node("Cast", ["ids"], ["whole"], to=onnx.TensorProto.INT64, name="whole"),
        helper.make_node("Squeeze", ["whole", "axis"], ["flat"], name="flat"),
        helper.make_node("Gather", ["table", "flat"], ["words"], name="look_up"),
        helper.make_node("MatMul", ["words", "v"], ["y"], name="project"),
    ]
    constants = {
        "axis": np.array([2]), "table": rng.normal(0, 1, (9, 6)).astype(np.float32),
        "v": rng.normal(0, 1, (6, 4)).astype(np.float32),
    }  # fmt: skip
    return build(nodes, constants, {"ids": ["N", 5, 1]}, {"y": ["N", 5, 4]})


def test_integers_between_nodes_are_not_held_to_anything_and_in_nobodys_way(tmp_path: Path) -> None:
    graph, ids = tagger(), [{"ids": np.arange(40, dtype=np.float32).reshape(8, 5, 1) % 9}]
    graph.save(tmp_path / "right.onnx")
    assert find_divergence(tmp_path / "right.onnx", tmp_path / "right.onnx", ids).compared == ("words", "y")
    graph.constants["table"] = graph.constants["table"][::-1].copy()
    graph.save(tmp_path / "wrong.onnx")
    first = find_divergence(tmp_path / "right.onnx", tmp_path / "wrong.onnx", ids).first
    assert first is not None
    assert (first.tensor, first.node) == ("words", "look_up")


def test_a_value_that_is_not_finite_is_named(tmp_path: Path) -> None:
    graph = attention_like([0, 2, 3, 1], [0, 24, 6])
    graph.save(tmp_path / "right.onnx")
    graph.constants["v"] = graph.constants["v"] * np.float32(np.nan)
    graph.save(tmp_path / "wrong.onnx")
    first = find_divergence(tmp_path / "right.onnx", tmp_path / "wrong.onnx", SMALL).first
    assert first is not None
    assert (first.tensor, first.node, first.operator, first.shape) == ("y", "project", "MatMul", (8, 24, 4))
    assert "768 values are not finite" in first.show()
    assert first.error == float("inf")
    assert first.inputs == {"rows": 0.0}


def test_a_piece_that_cannot_be_run_is_named(tmp_path: Path) -> None:
    attention_like([0, 2, 3, 1], [0, 24, 6]).save(tmp_path / "right.onnx")
    other = attention_like([0, 2, 3, 1], [0, 12, 12])
    other.constants["v"] = np.ones((12, 4), np.float32)
    other.save(tmp_path / "wrong.onnx")
    first = find_divergence(tmp_path / "right.onnx", tmp_path / "wrong.onnx", SMALL).first
    assert first is not None
    assert (first.tensor, first.fault) == ("rows", "its shape is (8, 12, 12), not (8, 24, 6)")


def test_two_networks_that_share_nothing_are_an_error(tmp_path: Path) -> None:
    attention_like([0, 2, 3, 1], [0, 24, 6]).save(tmp_path / "right.onnx")
    stranger = build([helper.make_node("Relu", ["image"], ["z"])], {}, {"image": ["N", 3, 6, 4]}, {"z": ["N", 3, 6, 4]})
    stranger.save(tmp_path / "stranger.onnx")
    with pytest.raises(UsageError, match="computes no tensor that .* has; give two graphs of one network"):
        find_divergence(tmp_path / "right.onnx", tmp_path / "stranger.onnx", SMALL)


def test_no_inputs_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="give at least one batch"):
        find_divergence(tmp_path / "a.onnx", tmp_path / "b.onnx", [])


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="no such file") as raised:
        find_divergence(tmp_path / "a.onnx", tmp_path / "b.onnx", SMALL)
    assert "\n" not in str(raised.value)


def test_a_broken_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"no graph at all")
    with pytest.raises(BadData, match="a.onnx' is not an ONNX graph") as raised:
        find_divergence(tmp_path / "a.onnx", tmp_path / "a.onnx", SMALL)
    assert "\n" not in str(raised.value)


def test_inputs_that_the_graph_does_not_take_are_an_error(tmp_path: Path) -> None:
    attention_like([0, 2, 3, 1], [0, 24, 6]).save(tmp_path / "right.onnx")
    with pytest.raises(UsageError, match="image"):
        find_divergence(tmp_path / "right.onnx", tmp_path / "right.onnx", [{"picture": SMALL[0]["image"]}])
