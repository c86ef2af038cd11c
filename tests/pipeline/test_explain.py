"""MobileNetV2 of the stock chain, of lowering and in full precision: what explain says of each."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edge_kit.core.workspace import Workspace
from edge_kit.pipeline.explain import Conditions, explain
from runtimes.targets import this_machine

CONVOLUTIONS = 53  # the 52 of the paper, and an expansion by one in the first block, as PaddleClas builds it
RELU6 = 36  # 17 blocks of two, the stem and the last
STOCK = {"float-weights", "wrong-sign", "split-activations"}

pytestmark = pytest.mark.skipif(not this_machine().unsigned_activations, reason="what the stock chain gives suits ARM")


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chain")
    done = subprocess.run(
        [sys.executable, "-m", "tests.pipeline.stock_chain", str(folder)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return folder


def explained(path: Path, runtime: str = "onnx") -> dict[str, Any]:
    workspace = Workspace.open(path.parent / "workspace")
    [graph] = explain(workspace, str(path), Conditions(runtime, calls=5), {})["graphs"]
    return graph


@pytest.fixture(scope="module")
def stock(chain: Path) -> dict[str, Any]:
    return explained(chain / "stock.onnx")


def found(graph: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {finding["code"]: finding for finding in graph["findings"]}


def test_the_stock_chain_leaves_weights_float_activations_signed_and_clips_apart(stock: dict[str, Any]) -> None:
    named = found(stock)
    assert set(named) >= STOCK
    weights = named["float-weights"]
    assert weights["count"] == CONVOLUTIONS + 1, "and the classifier"
    assert weights["nodes"][0] == "Conv.0"
    assert "8.81 MB, in INT8 2.20 MB" in weights["note"]
    assert named["split-activations"]["count"] == RELU6
    assert all(name.startswith("Clip.") for name in named["split-activations"]["nodes"])
    assert named["wrong-sign"]["count"] == 99, "every quantized activation"
    assert named["float-islands"]["note"].startswith("GlobalAveragePool.0..Add.20 (7)")


def test_the_price_is_the_time_of_what_runs_for_it(stock: dict[str, Any]) -> None:
    named, kinds = found(stock), {row["kind"]: row for row in stock["kinds"]}
    assert kinds["Clip"]["count"] == RELU6
    assert kinds["QLinearConv"]["count"] + kinds["Conv"]["count"] == CONVOLUTIONS
    assert "QLinearAdd" not in kinds
    # a Clip, and a quantizer on each side of it
    assert kinds["Clip"]["ms"] < named["split-activations"]["cost_ms"] < kinds["Clip"]["ms"] * 20
    assert named["wrong-sign"]["cost_ms"] > kinds["Conv"]["ms"], "the convolutions left float, and their quantizers"
    assert named["float-weights"]["cost_ms"] == 0, "the engine quantizes them as it loads"
    owned = sum(finding["cost_ms"] or 0 for finding in stock["findings"])
    assert owned + stock["int8_ms"] == pytest.approx(stock["total_ms"], rel=0.15)
    assert owned <= stock["total_ms"]
    assert [f["cost_ms"] for f in stock["findings"]] == sorted((f["cost_ms"] for f in stock["findings"]), reverse=True)


def test_of_a_lowered_graph_nothing_is_found_and_all_but_its_entry_runs_in_int8(chain: Path) -> None:
    graph = explained(chain / f"{this_machine().name}.onnx")
    assert graph["findings"] == []
    kinds = {row["kind"]: row["count"] for row in graph["kinds"]}
    assert kinds["QLinearConv"] == CONVOLUTIONS
    assert kinds["QLinearAdd"] == 10
    assert graph["int8_ms"] > 0.9 * graph["total_ms"]


def test_a_graph_lowered_for_arm_is_told_from_one_for_this_machine(chain: Path) -> None:
    named = found(explained(chain / "arm64.onnx"))
    assert named["wrong-sign"]["count"] == 66
    assert {"float-weights", "split-activations"}.isdisjoint(named)


def test_full_precision_is_said_to_be_so_and_what_makes_int8(chain: Path) -> None:
    graph = explained(chain / "fp32.onnx")
    assert set(found(graph)) == {"full-precision"}
    finding = found(graph)["full-precision"]
    assert "FP32" in finding["title"]
    assert finding["count"] == CONVOLUTIONS + 1
    assert "edge-kit compress" in finding["fix"]
    assert finding["share"] > 0.9
    assert not graph["quantized"]


def test_a_runtime_without_a_profiler_gives_findings_without_prices(chain: Path) -> None:
    graph = explained(chain / "stock.onnx", runtime="null")
    assert set(found(graph)) >= STOCK
    assert all(finding["cost_ms"] is None and finding["share"] is None for finding in graph["findings"])
    assert "'null' cannot tell the time of its operators" in graph["untimed"]
