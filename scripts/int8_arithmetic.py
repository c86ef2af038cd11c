"""What trained classifiers answer in the arithmetics of x86 with and without VNNI, from one file.

See `scripts/int8-arithmetic`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from rich.table import Table

from convert.emulate import Arithmetic, emulated
from edge_kit.cli.options import JsonOption, WorkspaceOption
from edge_kit.core.bundle import FULL, SMALL
from edge_kit.core.tensors import MAIN
from edge_kit.report.console import open_console
from runtimes.targets import cpu_name, this_machine
from scripts.command import run_command
from scripts.int8_rivals import ORT_QDQ, quantize_with_onnxruntime
from scripts.int8_table import MARK
from scripts.trained import (
    NETWORKS,
    CalibrationOption,
    NetworksArgument,
    Trained,
    WeightsOption,
    conclude,
    measure_each,
)
from tests.convert.nodes import compare_nodes, tensors

SAFE = "x86-avx2"  # the target that is for both arithmetics
FULL_RANGE = "x86-vnni"  # the target that is for one
OURS, OURS_FULL, NAIVE = f"ours, {SAFE}", f"ours, {FULL_RANGE}", "quantize_static"
MOST_APART = 0.2  # points
HELD = ("QLinearConv", "QGemm")  # operators that must equal the engine's, bit for bit
NODE_SAMPLES = 4  # that every node is compared on


@dataclass(frozen=True, slots=True)
class Row:
    """One INT8 file of a network.

    Attributes:
        samples: Of the mini set.
        exact: Top-1 in percent of them where products are summed in int32 (VNNI).
        pairs: Where they are summed in saturating int16 pairs.
        same: Percent of the samples that both give the same class.
        saturated: Pair sums that saturated.
        nodes: That were compared with ONNX Runtime's on this machine, by operator.
        differ: Those that gave another output.
        ok: Whether both arithmetics score alike and every product equals ONNX Runtime's; None where nothing is claimed.
    """

    network: str
    model: str
    samples: int
    exact: float
    pairs: float
    same: float
    saturated: int
    nodes: Mapping[str, int]
    differ: tuple[str, ...]
    ok: bool | None


def measure(trainings: Sequence[Trained]) -> list[Row]:
    """Compress a network for both arithmetics and for one, have ONNX Runtime quantize it, and run all files twice."""
    [trained] = trainings
    bundles = {
        model: trained.compressed(replace(trained.request, target=target))
        for model, target in ((OURS, SAFE), (OURS_FULL, FULL_RANGE))
    }
    full = bundles[OURS] / FULL / f"{MAIN}.onnx"
    with tempfile.TemporaryDirectory() as made:
        quantize_with_onnxruntime(full, Path(made), trained.calibration(full), [ORT_QDQ])
        files = {model: bundle / SMALL / f"{MAIN}.onnx" for model, bundle in bundles.items()}
        files[NAIVE] = Path(made) / ORT_QDQ
        return [row_of(trained, model, path) for model, path in files.items()]


def row_of(trained: Trained, model: str, graph: Path) -> Row:
    """One file in both arithmetics, and its nodes beside ONNX Runtime's."""
    runs = {arithmetic: emulated(graph, arithmetic) for arithmetic in Arithmetic}
    exact, pairs = (trained.answers(runs[one]) for one in (Arithmetic.INT32, Arithmetic.INT16_PAIRS))
    few = trained.task.feeds({}, next(iter(trained.dataset.eval_batches(NODE_SAMPLES))))[MAIN]
    with tempfile.TemporaryDirectory() as made:
        engine = tensors(graph, few, Path(made))
    found = compare_nodes(graph, engine, pairs=this_machine().saturating_pairs)
    with_vnni, without = (100 * float(one.right.mean()) for one in (exact, pairs))
    alike = abs(with_vnni - without) <= MOST_APART and not found.differ
    return Row(
        trained.network,
        model,
        len(exact.right),
        with_vnni,
        without,
        100 * float((exact.classes == pairs.classes).mean()),
        sum(runs[Arithmetic.INT16_PAIRS].saturated.values()),
        {kind: found.nodes[kind] for kind in HELD if found.nodes[kind]},
        tuple(found.differ),
        alike if model == OURS else None,
    )


def print_rows(rows: list[Row], calibration: int) -> None:
    """A row a file, and the conditions."""
    console = open_console()
    table = Table()
    for column in ("network", "file", "samples", "VNNI %", "without %", "same %", "saturated", "equal nodes", ""):
        table.add_column(column, justify="left" if column in ("network", "file", "") else "right")
    for row in rows:
        mark = "" if row.ok is None else MARK["ok" if row.ok else "short"]
        nodes = ", ".join(f"{count} {kind}" for kind, count in row.nodes.items()) or "-"
        equal = f"{nodes}; not {', '.join(row.differ)}" if row.differ else nodes
        scores = (f"{row.exact:.2f}", f"{row.pairs:.2f}", f"{row.same:.1f}")
        table.add_row(row.network, row.model, f"{row.samples:,}", *scores, f"{row.saturated:,}", equal, mark)
    console.print(table)
    console.print(
        f"top-1 as convert.emulate gives it; nodes equal to ONNX Runtime's bit for bit on {NODE_SAMPLES} samples, on "
        f"{cpu_name()}; mini sets, {calibration} training samples to calibrate on",
        style="dim",
        highlight=False,
    )


def main(
    networks: NetworksArgument = None,
    calibration: CalibrationOption = 200,
    weights: WeightsOption = None,
    workspace: WorkspaceOption = None,
    json: JsonOption = False,
) -> None:
    """Hold one file in two arithmetics to the same answers; exit with 3 if ours is short."""
    rows = measure_each("int8-arithmetic", networks or NETWORKS, calibration, weights, workspace, measure)
    conclude(rows, partial(print_rows, calibration=calibration), json)


if __name__ == "__main__":
    run_command("int8-arithmetic", main)
