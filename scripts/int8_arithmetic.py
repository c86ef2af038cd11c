"""What trained classifiers answer in the arithmetics of x86 with and without VNNI, from one file.

See `scripts/int8-arithmetic`.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from convert.emulate import Arithmetic, emulated
from edge_kit.cli.options import make_runner
from edge_kit.core.bundle import FULL, SMALL
from edge_kit.core.errors import CheckError, UsageError
from edge_kit.core.progress import silent
from edge_kit.core.tensors import MAIN
from edge_kit.data import Dataset
from edge_kit.pipeline.compress import CompressRequest, compress
from edge_kit.pipeline.feeds import training_feeds
from edge_kit.pipeline.inputs import DataRequest, base_settings, model_data
from edge_kit.pipeline.runner import Runner
from edge_kit.pipeline.sources import open_folder
from edge_kit.pipeline.subject import subject_of
from edge_kit.report.progress import ConsoleReporter
from edge_kit.tasks import TASKS, Task
from runtimes.registry import get_runtime
from runtimes.targets import cpu_name, this_machine
from scripts.command import run_command
from scripts.int8_accuracy import ANY, NETWORKS, answers
from scripts.int8_rivals import ORT_QDQ, quantize_with_onnxruntime
from scripts.int8_table import MARK
from tests.convert.nodes import compare_nodes, tensors

SAFE = "x86-avx2"  # the target that is for both arithmetics
OURS, NAIVE = f"ours, {SAFE}", "quantize_static"
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


def measure(network: str, calibration: int, weights: Path | None, runner: Runner) -> list[Row]:
    """Compress a network for both arithmetics, have ONNX Runtime quantize its float graph, and run both files twice."""
    base = base_settings(network, "mini", 0)
    dataset = open_folder(base, model_data(DataRequest(base, None), runner).path)
    task = TASKS.get(subject_of(base).task)
    request = CompressRequest(
        network, weights=str(weights) if weights else None, calibration=calibration, limits=ANY, target=SAFE
    )
    bundle = Path(compress(request, runner).bundle)
    full = bundle / FULL / f"{MAIN}.onnx"
    batches = training_feeds(task, dataset, {MAIN: get_runtime("onnx").load(full).run}, calibration, silent)[MAIN]
    with tempfile.TemporaryDirectory() as made:
        quantize_with_onnxruntime(full, Path(made), batches, [ORT_QDQ])
        files = {OURS: bundle / SMALL / f"{MAIN}.onnx", NAIVE: Path(made) / ORT_QDQ}
        return [row_of(network, model, path, task, dataset) for model, path in files.items()]


def row_of(network: str, model: str, graph: Path, task: Task, dataset: Dataset) -> Row:
    """One file in both arithmetics, and its nodes beside ONNX Runtime's."""
    runs = {arithmetic: emulated(graph, arithmetic) for arithmetic in Arithmetic}
    exact, pairs = (answers(runs[one], task, dataset) for one in (Arithmetic.INT32, Arithmetic.INT16_PAIRS))
    few = task.feeds({}, next(iter(dataset.eval_batches(NODE_SAMPLES))))[MAIN]
    with tempfile.TemporaryDirectory() as made:
        engine = tensors(graph, few, Path(made))
    found = compare_nodes(graph, engine, pairs=this_machine().saturating_pairs)
    scores = [100 * float(one.right.mean()) for one in (exact, pairs)]
    alike = abs(scores[0] - scores[1]) <= MOST_APART and not found.differ
    return Row(
        network,
        model,
        len(exact.right),
        *scores,
        100 * float((exact.classes == pairs.classes).mean()),
        sum(runs[Arithmetic.INT16_PAIRS].saturated.values()),
        Counter({kind: found.nodes[kind] for kind in HELD if found.nodes[kind]}),
        tuple(found.differ),
        alike if model == OURS else None,
    )


def print_rows(rows: list[Row], calibration: int) -> None:
    """A row a file, and the conditions."""
    console = Console()
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
    networks: Annotated[
        list[str] | None, typer.Argument(help="Classifiers of the zoo.", show_default=", ".join(NETWORKS))
    ] = None,
    calibration: Annotated[int, typer.Option(help="Training samples that both quantizers are given.")] = 200,
    weights: Annotated[
        Path | None, typer.Option(help="Of a network that is named alone.", show_default="trained")
    ] = None,
    workspace: Annotated[Path | None, typer.Option(help="Where results are kept.", envvar="EDGE_KIT_HOME")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Hold one file in two arithmetics to the same answers; exit with 3 if ours is short."""
    if weights is not None and len(networks or NETWORKS) != 1:
        raise UsageError("--weights are of one network; name it")
    rows: list[Row] = []
    for network in networks or NETWORKS:
        with ConsoleReporter() as reporter:
            rows += measure(network, calibration, weights, make_runner(workspace, "int8-arithmetic", reporter))
    if as_json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
    else:
        print_rows(rows, calibration)
    if any(row.ok is False for row in rows):
        raise CheckError("a claim is short of its limit; see the table")


if __name__ == "__main__":
    run_command("int8-arithmetic", main)
