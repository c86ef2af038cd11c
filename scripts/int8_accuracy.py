"""What INT8 costs trained classifiers, beside what the engines' own quantizers make of the same graph.

See `scripts/int8-accuracy`.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from edge_kit.cli.options import make_runner
from edge_kit.core.bundle import FULL, SMALL
from edge_kit.core.errors import CheckError, UsageError
from edge_kit.core.progress import silent
from edge_kit.core.tensors import MAIN, Array, Run
from edge_kit.data import Dataset
from edge_kit.pipeline.baseline import Interval, paired_difference
from edge_kit.pipeline.checks import Limits
from edge_kit.pipeline.compress import PTQ, QAT, CompressRequest, compress
from edge_kit.pipeline.feeds import training_feeds
from edge_kit.pipeline.inputs import DataRequest, base_settings, model_data
from edge_kit.pipeline.runner import Runner
from edge_kit.pipeline.sources import open_folder
from edge_kit.pipeline.subject import subject_of
from edge_kit.report.progress import ConsoleReporter
from edge_kit.tasks import TASKS, Task
from edge_kit.tasks.classify import BATCH, are_top
from runtimes.registry import get_runtime
from runtimes.targets import cpu_name, this_machine
from scripts.command import run_command
from scripts.int8_rivals import NNCF, ORT_QDQ, quantize_with_nncf, quantize_with_onnxruntime
from scripts.int8_table import MARK

NETWORKS = ("mobilenetv1", "mobilenetv2", "shufflenetv2", "mobilenetv3_small_x1_0", "senta_bilstm")
MOST_LOST = {PTQ: 0.5, QAT: 0.2}  # points
RIVALS = {"quantize_static": ("onnx", ORT_QDQ), "nncf": ("openvino", NNCF)}
ANY = Limits(max_latency_ratio=100.0, max_size_ratio=100.0)  # this is about answers


@dataclass(frozen=True, slots=True)
class Row:
    """One INT8 form of a network.

    Attributes:
        samples: Of the mini set.
        top1: In percent of them.
        same: Percent of the samples on which it answers as FP32 does, right or wrong.
        change: Of the top-1 from FP32, in points.
        ours_minus_it: Points that ours is better by; None of ours.
        ok: Whether ours loses no more than is allowed, or is not worse than this one; None where nothing is claimed.
    """

    network: str
    model: str
    samples: int
    top1: float
    same: float
    change: Interval
    ours_minus_it: Interval | None
    ok: bool | None


@dataclass(frozen=True, slots=True)
class Answers:
    """What one form says of every sample: its class, and whether that is right, (N,) each."""

    classes: Array
    right: Array


def rows_of(network: str, found: dict[str, Answers]) -> list[Row]:
    """Judge every form of a network; `fp32` and `ptq` are among them."""
    percent = {model: 100.0 * answers.right for model, answers in found.items()}
    rows = []
    for model, hits in percent.items():
        change = paired_difference(list(percent["fp32"]), list(hits))
        better = paired_difference(list(hits), list(percent[PTQ])) if model in RIVALS else None
        ok = -change.value <= MOST_LOST[model] if model in MOST_LOST else better.high >= 0 if better else None
        same = 100 * float((found[model].classes == found["fp32"].classes).mean())
        rows.append(Row(network, model, len(hits), float(hits.mean()), same, change, better, ok))
    return rows


def measure(network: str, calibration: int, qat: bool, weights: Path | None, runner: Runner) -> list[Row]:
    """Compress a network, have the others quantize its float graph, and score all on its mini set."""
    base = base_settings(network, "mini", 0)
    dataset = open_folder(base, model_data(DataRequest(base, None), runner).path)
    task = TASKS.get(subject_of(base).task)
    request = CompressRequest(network, weights=str(weights) if weights else None, calibration=calibration, limits=ANY)
    ways = (PTQ, QAT) if qat else (PTQ,)
    ours = {way: Path(compress(replace(request, quantize=way), runner).bundle) for way in ways}
    full = ours[PTQ] / FULL / f"{MAIN}.onnx"
    load = get_runtime("onnx").load
    reference = load(full).run
    batches = training_feeds(task, dataset, {MAIN: reference}, calibration, silent)[MAIN]
    found = {"fp32": answers(reference, task, dataset)}
    found |= {way: answers(load(bundle / SMALL / f"{MAIN}.onnx").run, task, dataset) for way, bundle in ours.items()}
    with tempfile.TemporaryDirectory() as made:
        quantize_with_onnxruntime(full, Path(made), batches, [ORT_QDQ])
        quantize_with_nncf(full, Path(made), batches)
        for model, (runtime, name) in RIVALS.items():
            found[model] = answers(get_runtime(runtime).load(Path(made) / name).run, task, dataset)
    return rows_of(network, found)


def answers(run: Run, task: Task, dataset: Dataset) -> Answers:
    """What a graph says of every evaluation sample of a classifier's set."""
    classes, right = [], []
    for batch in dataset.eval_batches(BATCH):
        logits = run(task.feeds({}, batch)[MAIN])["logits"]
        classes.append(logits.argmax(axis=1))
        right.append(are_top(logits, batch["label"], 1))
    return Answers(np.concatenate(classes), np.concatenate(right))


def print_rows(rows: list[Row], calibration: int) -> None:
    """A row a form, and the conditions."""
    console = Console()
    table = Table()
    for column in ("network", "model", "samples", "top-1 %", "as fp32 %", "change, points", "ours minus it", ""):
        table.add_column(column, justify="left" if column in ("network", "model", "") else "right")
    for row in rows:
        mark = "" if row.ok is None else MARK["ok" if row.ok else "short"]
        better = _interval(row.ours_minus_it) if row.ours_minus_it else ""
        change = "" if row.model == "fp32" else _interval(row.change)
        cells = (f"{row.samples:,}", f"{row.top1:.2f}", f"{row.same:.1f}")
        table.add_row(row.network, row.model, *cells, change, better, mark)
    console.print(table)
    console.print(
        f"target {this_machine().name} on {cpu_name()}; mini sets, {calibration} training samples to calibrate "
        "on; in brackets 95 % intervals of the difference, sample by sample",
        style="dim",
        highlight=False,
    )


def _interval(one: Interval) -> str:
    return f"{one.value:+.2f} [{one.low:+.2f}, {one.high:+.2f}]"


def main(
    networks: Annotated[
        list[str] | None, typer.Argument(help="Classifiers of the zoo.", show_default=", ".join(NETWORKS))
    ] = None,
    calibration: Annotated[int, typer.Option(help="Training samples that every quantizer is given.")] = 200,
    weights: Annotated[
        Path | None, typer.Option(help="Of a network that is named alone.", show_default="trained")
    ] = None,
    qat: Annotated[bool, typer.Option("--qat", help="Train ours on with the rounding in it, besides.")] = False,
    workspace: Annotated[Path | None, typer.Option(help="Where results are kept.", envvar="EDGE_KIT_HOME")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Hold what INT8 costs to what is allowed, and to the engines' own quantizers; exit with 3 if ours is short."""
    if weights is not None and len(networks or NETWORKS) != 1:
        raise UsageError("--weights are of one network; name it")
    rows: list[Row] = []
    for network in networks or NETWORKS:
        with ConsoleReporter() as reporter:
            runner = make_runner(workspace, "int8-accuracy", reporter)
            rows += measure(network, calibration, qat, weights, runner)
    if as_json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
    else:
        print_rows(rows, calibration)
    if any(row.ok is False for row in rows):
        raise CheckError("a claim is short of its limit; see the table")


if __name__ == "__main__":
    run_command("int8-accuracy", main)
