"""What INT8 costs trained classifiers, beside what the engines' own quantizers make of the same graph.

See `scripts/int8-accuracy`.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.table import Table

from edge_kit.cli.options import JsonOption, WorkspaceOption
from edge_kit.core.bundle import FULL, SMALL
from edge_kit.core.tensors import MAIN
from edge_kit.pipeline.baseline import Interval, paired_difference
from edge_kit.pipeline.compress import PTQ, QAT
from edge_kit.report.console import open_console
from runtimes.compare import student
from runtimes.registry import get_runtime
from runtimes.targets import cpu_name, this_machine
from scripts.command import run_command
from scripts.int8_rivals import NNCF, ORT_QDQ, quantize_with_nncf, quantize_with_onnxruntime
from scripts.int8_table import MARK
from scripts.trained import (
    NETWORKS,
    Answers,
    CalibrationOption,
    NetworksArgument,
    Trained,
    TrainingsOption,
    WeightsOption,
    conclude,
    measure_each,
)

MOST_LOST = {PTQ: 0.5, QAT: 0.2}  # points
RIVALS = {"quantize_static": ("onnx", ORT_QDQ), "nncf": ("openvino", NNCF)}


@dataclass(frozen=True, slots=True)
class Row:
    """One INT8 form of a network.

    Attributes:
        trainings: That the figures are means of.
        samples: Of the mini set.
        top1: In percent of them.
        same: Percent of the samples on which it answers as FP32 does, right or wrong.
        change: Of the top-1 from FP32, in points.
        ours_minus_it: Points that ours is better by; None of ours.
        ok: Whether ours loses no more than is allowed, or is not worse than this one; None where nothing is claimed.
    """

    network: str
    model: str
    trainings: int
    samples: int
    top1: float
    same: float
    change: Interval
    ours_minus_it: Interval | None
    ok: bool | None


def rows_of(network: str, found: Sequence[Mapping[str, Answers]]) -> list[Row]:
    """Judge every form of a network.

    Args:
        found: By form, of each training; `fp32` and `ptq` are among them.
    """
    rows = []
    for model in found[0]:
        change = difference(found, "fp32", model)
        better = difference(found, model, PTQ) if model in RIVALS else None
        ok = -change.value <= MOST_LOST[model] if model in MOST_LOST else better.high >= 0 if better else None
        top1 = 100 * float(np.mean([one[model].right for one in found]))
        same = 100 * float(np.mean([one[model].classes == one["fp32"].classes for one in found]))
        rows.append(Row(network, model, len(found), len(found[0][model].right), top1, same, change, better, ok))
    return rows


def difference(found: Sequence[Mapping[str, Answers]], before: str, now: str) -> Interval:
    """Points that one form is better by than another: over the samples of one training, or over several trainings.

    What a form of one training gains by luck, that of another loses; samples of the one do not show it.
    """
    if len(found) == 1:
        return paired_difference(*(list(100.0 * found[0][form].right) for form in (before, now)))
    points = [100 * float(one[now].right.mean() - one[before].right.mean()) for one in found]
    half = student(len(points) - 1) * float(np.std(points, ddof=1)) / math.sqrt(len(points))
    middle = float(np.mean(points))
    return Interval(middle, middle - half, middle + half)


def measure(qat: bool, trainings: Sequence[Trained]) -> list[Row]:
    """Compress a network, have the others quantize its float graph, and score all on its mini set."""
    return rows_of(trainings[0].network, [forms_of(qat, one) for one in trainings])


def forms_of(qat: bool, trained: Trained) -> dict[str, Answers]:
    """What every form of a network answers."""
    ways = (PTQ, QAT) if qat else (PTQ,)
    ours = {way: trained.compressed(replace(trained.request, quantize=way)) for way in ways}
    full = ours[PTQ] / FULL / f"{MAIN}.onnx"
    load = get_runtime("onnx").load
    batches = trained.calibration(full)
    found = {"fp32": trained.answers(load(full).run)}
    found |= {way: trained.answers(load(bundle / SMALL / f"{MAIN}.onnx").run) for way, bundle in ours.items()}
    with tempfile.TemporaryDirectory() as made:
        quantize_with_onnxruntime(full, Path(made), batches, [ORT_QDQ])
        quantize_with_nncf(full, Path(made), batches)
        for model, (runtime, name) in RIVALS.items():
            found[model] = trained.answers(get_runtime(runtime).load(Path(made) / name).run)
    return found


def print_rows(rows: list[Row], calibration: int) -> None:
    """A row a form, and the conditions."""
    console = open_console()
    table = Table()
    for column in (
        "network",
        "model",
        "trainings",
        "samples",
        "top-1 %",
        "as fp32 %",
        "change, points",
        "ours minus it",
        "",
    ):
        table.add_column(column, justify="left" if column in ("network", "model", "") else "right")
    for row in rows:
        mark = "" if row.ok is None else MARK["ok" if row.ok else "short"]
        better = _interval(row.ours_minus_it) if row.ours_minus_it else ""
        change = "" if row.model == "fp32" else _interval(row.change)
        cells = (str(row.trainings), f"{row.samples:,}", f"{row.top1:.2f}", f"{row.same:.1f}")
        table.add_row(row.network, row.model, *cells, change, better, mark)
    console.print(table)
    console.print(
        f"target {this_machine().name} on {cpu_name()}; mini sets, {calibration} training samples to calibrate "
        "on; in brackets intervals of the differences: 99 %, sample by sample, or 95 % over several trainings",
        style="dim",
        highlight=False,
    )


def _interval(one: Interval) -> str:
    return f"{one.value:+.2f} [{one.low:+.2f}, {one.high:+.2f}]"


def main(
    networks: NetworksArgument = None,
    calibration: CalibrationOption = 200,
    weights: WeightsOption = None,
    trainings: TrainingsOption = 1,
    qat: Annotated[bool, typer.Option("--qat", help="Train ours on with the rounding in it, besides.")] = False,
    workspace: WorkspaceOption = None,
    json: JsonOption = False,
) -> None:
    """Hold what INT8 costs to what is allowed, and to the engines' own quantizers; exit with 3 if ours is short."""
    named = networks or NETWORKS
    rows = measure_each("int8-accuracy", named, calibration, weights, workspace, partial(measure, qat), trainings)
    conclude(rows, partial(print_rows, calibration=calibration), json)


if __name__ == "__main__":
    run_command("int8-accuracy", main)
