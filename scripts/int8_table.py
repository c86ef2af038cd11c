"""The claims of INT8 as a table, all models of a network timed in turn in one run; see `scripts/int8-table`."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.table import Table

from edge_kit.core.errors import CheckError, EdgeKitError, unknown_name
from edge_kit.core.images import PIXELS, NormalisedPreprocess, read_preprocess
from edge_kit.core.tensors import MAIN, Array
from edge_kit.report.bench import bench_progress
from edge_kit.report.console import open_console
from runtimes.bench import BenchSettings, BenchTarget, Progress, loaded
from runtimes.compare import SMALLEST, compare
from runtimes.conditions import noise
from runtimes.faults import one_line
from runtimes.isolated import Isolated
from runtimes.targets import cpu_name, this_machine
from runtimes.timing import Timer, Times, TimingPlan, interleave
from scripts.command import run_command
from scripts.int8_rivals import FP32, NNCF, ORT_QDQ, ORT_QOPERATOR, OURS, OURS_PIXELS, PREPARATION, SIDE, pictures

# At most so much of FP32's time, of its size, and of the time of the best that the engine's own quantizer makes, by
# what is fed; and from a camera's picture to its class, of the same graph with mean and deviation left to NumPy.
OF_FP32 = {"mobilenetv1": 0.59, "mobilenetv2": 0.69, "resnet50": 0.52}
OF_SIZE = 0.26
OF_RIVAL = 1.0
PIXELS_OF_RIVAL = 0.95
PIXELS_FROM_PICTURE = 0.8

Kind = tuple[str, str]
"""Engine and model."""

Noise = tuple[str, ...]

PICTURES = 64
PICTURES_SEED = 7  # none that a quantizer saw
UNREACHABLE = "out of reach"
MARK = {
    UNREACHABLE: f"[yellow]{UNREACHABLE}[/yellow]",
    "ok": "[green]ok[/green]",
    "even": "[yellow]even[/yellow]",
    "short": "[red]short[/red]",
}
FLOATS, FED_PIXELS = "ours", f"ours, {PIXELS}"
PICTURE_FOR_FREE = ("onnx", f"{FED_PIXELS}, graph alone")
FILES = (
    ("onnx", "fp32", FP32),
    ("onnx", FLOATS, OURS),
    ("onnx", FED_PIXELS, OURS_PIXELS),
    ("onnx", "quantize_static QDQ", ORT_QDQ),
    ("onnx", "quantize_static QOperator", ORT_QOPERATOR),
    ("openvino", "fp32", FP32),
    ("openvino", FLOATS, OURS),
    ("openvino", "nncf", NNCF),
)


@dataclass(frozen=True, slots=True)
class Ratio:
    """One measured thing over another, with its 95 % interval; sizes have none."""

    value: float
    low: float
    high: float

    @property
    def text(self) -> str:
        """For a cell of a table."""
        exact = self.low == self.high
        return f"{self.value:.4f}" if exact else f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True, slots=True)
class Row:
    """One model on one engine.

    Attributes:
        to_fp32: Its p50 over that of FP32 on the same engine.
        agreement: Share of the pictures on which its top-1 is that of FP32 on ONNX Runtime.
    """

    network: str
    runtime: str
    model: str
    p50_ms: float
    size_bytes: int
    to_fp32: Ratio
    agreement: float


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim about ours.

    Attributes:
        state: `ok`; `even` where it lies above the limit by less than can be told; `out of reach` where the floor does;
            else `short`.
        floor: The least that the ratio could be, whatever was done about it, where there is such a thing.
    """

    network: str
    what: str
    ratio: Ratio
    limit: float
    state: str
    floor: Ratio | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """All of it; `noise` is empty where the machine was quiet."""

    target: str
    cpu: str
    plan: TimingPlan
    rows: tuple[Row, ...]
    claims: tuple[Claim, ...]
    noise: tuple[str, ...]


def claim(network: str, what: str, ratio: Ratio, limit: float, floor: Ratio | None = None) -> Claim:
    """Hold a ratio to its limit; no floor is looked at where it holds."""
    within_noise = ratio.low < ratio.high and (ratio.low <= limit or ratio.value < limit * (1 + SMALLEST))
    state = "ok" if ratio.value <= limit else "even" if within_noise else "short"
    if state == "short" and floor is not None and floor.low > limit:
        state = UNREACHABLE
    return Claim(network, what, ratio, limit, state, floor)


def make_files(network: str, folder: Path, again: bool) -> None:
    """Make every model of a network in a process of its own, unless they lie there."""
    wanted = {PREPARATION, *(name for _, _, name in FILES)}
    if not again and wanted <= {path.name for path in folder.glob("*")}:
        return
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "scripts.int8_rivals", network, this_machine().name, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        raise EdgeKitError(f"cannot make the models of {network!r} (exit code {done.returncode}): {one_line(said)}")


def bench_targets(network: str, folder: Path) -> list[BenchTarget]:
    """Every model on its engine; all of one network in turn."""
    return [
        BenchTarget.of_graph(
            f"{network} {model}",
            folder / name,
            files=tuple(folder.glob(f"{Path(name).stem}.bin")),  # the weights of an IR
            group=network,
            runtime=runtime,
        )
        for runtime, model, name in FILES
    ]


def measure(network: str, folder: Path, plan: TimingPlan, progress: Progress) -> tuple[list[Row], list[Claim], Noise]:
    """Time every model of a network in turn, and compare what it answers."""
    targets = bench_targets(network, folder)
    kinds = {(runtime, model): target for (runtime, model, _), target in zip(FILES, targets, strict=True)}
    preprocess = read_preprocess(json.loads((folder / PREPARATION).read_text()))
    assert isinstance(preprocess, NormalisedPreprocess)  # as its maker wrote it
    preparations = {("onnx", FED_PIXELS): preprocess.without_normalise(), ("onnx", FLOATS): preprocess}
    with loaded(targets, BenchSettings(plan), progress) as (processes, _):
        by_kind = {kind: processes[target.label] for kind, target in kinds.items()}
        first = by_kind["onnx", "fp32"]
        before = first.conditions()
        times = _in_turn(
            {kind: one.time for kind, one in by_kind.items()}, plan, partial(progress, f"timing {network}")
        )
        ways = {kind: by_kind[kind].picture_to_answer(MAIN, how.as_dict()) for kind, how in preparations.items()}
        ways[PICTURE_FOR_FREE] = by_kind["onnx", FED_PIXELS].time
        whole = _in_turn(ways, plan, partial(progress, f"timing pictures on {network}"))
        found = noise(before, first.conditions(), 1)
        answers = {kind: top1(process, preprocess) for kind, process in by_kind.items()}
    rows = [
        Row(
            network,
            *kind,
            float(np.median(times[kind])),
            sum(path.stat().st_size for path in (*target.graphs.values(), *target.files)),
            _ratio(times, kind, (kind[0], "fp32")),
            float((answers[kind] == answers["onnx", "fp32"]).mean()),
        )
        for kind, target in kinds.items()
    ]
    floor = _ratio(whole, PICTURE_FOR_FREE, ("onnx", FLOATS))
    way = claim(network, "picture to class, fed floats", _ratio(whole, *preparations), PIXELS_FROM_PICTURE, floor)
    return rows, [*claims_of(network, rows, partial(_ratio, times)), way], found


def _in_turn(timers: Mapping[Kind, Timer], plan: TimingPlan, progress: Callable[[int, int], None]) -> dict[Kind, Times]:
    times = interleave({" ".join(kind): timer for kind, timer in timers.items()}, plan, progress)
    return dict(zip(timers, times.values(), strict=True))


def _ratio(times: Mapping[Kind, Times], a: Kind, b: Kind) -> Ratio:
    verdict = compare(" ".join(a), times[a], " ".join(b), times[b])
    return Ratio(verdict.ratio, verdict.low, verdict.high)


def top1(process: Isolated, preprocess: NormalisedPreprocess) -> Array:
    """The class that a model gives each picture, (64,); the pixels of one, for a model that takes those."""
    [spec] = process.footprint.inputs[MAIN]
    found = []
    for made in pictures(PICTURES, PICTURES_SEED):
        pixels = preprocess.picture(made)
        sample = pixels if spec.dtype == "uint8" else preprocess.normalise(pixels)
        found.append(int(next(iter(process.run(MAIN, {spec.name: sample[None]}).values())).argmax()))
    return np.array(found)


def claims_of(network: str, rows: Sequence[Row], ratio: Callable[[Kind, Kind], Ratio]) -> list[Claim]:
    """What is claimed of ours, held to its limits."""
    found = {(row.runtime, row.model): row for row in rows}
    ours, full = found["onnx", FLOATS], found["onnx", "fp32"]
    rivals = [row for row in rows if row.runtime == "onnx" and row.model not in (FLOATS, FED_PIXELS, "fp32")]
    best = min(rivals, key=lambda row: row.p50_ms)
    size = ours.size_bytes / full.size_bytes
    return [
        claim(network, "time of fp32", ours.to_fp32, OF_FP32[network]),
        claim(network, "size of fp32", Ratio(size, size, size), OF_SIZE),
        claim(network, f"time of {best.model}", ratio(("onnx", FLOATS), ("onnx", best.model)), OF_RIVAL),
        claim(
            network,
            f"time of {best.model}, fed {PIXELS}",
            ratio(("onnx", FED_PIXELS), ("onnx", best.model)),
            PIXELS_OF_RIVAL,
        ),
        claim(network, "time of nncf, both on openvino", ratio(("openvino", FLOATS), ("openvino", "nncf")), OF_RIVAL),
    ]


def print_report(report: Report) -> None:
    """A row a model, then a row a claim, then the conditions."""
    console = open_console()
    for network in dict.fromkeys(row.network for row in report.rows):
        models = Table(title=network)
        for column in ("engine", "model", "p50 ms", "of fp32", "size MB", "top-1 as fp32"):
            models.add_column(column, justify="left" if column in ("engine", "model") else "right")
        for row in (row for row in report.rows if row.network == network):
            size, agreement = f"{row.size_bytes / 1e6:.3f}", f"{100 * row.agreement:.0f} %"
            models.add_row(row.runtime, row.model, f"{row.p50_ms:.3f}", row.to_fp32.text, size, agreement)
        console.print(models)
    claims = Table(title="what is claimed of ours")
    for column in ("network", "ours over", "ratio", "limit", "floor", ""):
        claims.add_column(column, justify="right" if column in ("ratio", "limit", "floor") else "left")
    for one in report.claims:
        floor = one.floor.text if one.floor else ""
        claims.add_row(one.network, one.what, one.ratio.text, f"<= {one.limit:.2f}", floor, MARK[one.state])
    console.print(claims)
    plan = report.plan
    console.print(
        f"target {report.target} on {report.cpu}; one thread, batch 1, {SIDE} x {SIDE}, random weights, whose "
        f"classes lie close; at least {plan.repeats} timed calls and {plan.seconds:g} s each, in turn; agreement on "
        f"{PICTURES} made-up pictures; even: above the limit by less than can be told; floor: "
        "the graph of pixels alone, its picture made for nothing",
        style="dim",
        highlight=False,
    )
    for line in report.noise:
        console.print(f"noisy, so ratios are not to be trusted: {line}", style="yellow", highlight=False)


def main(
    networks: Annotated[list[str] | None, typer.Argument(help="Of the zoo.", show_default=", ".join(OF_FP32))] = None,
    repeats: Annotated[int, typer.Option(help="Calls timed, at least.")] = 100,
    seconds: Annotated[float, typer.Option(help="Time each model for at least so long.")] = 3.0,
    keep: Annotated[Path | None, typer.Option(help="Keep the models here, and take those that lie there.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare INT8 as we lower it with FP32, ONNX Runtime's own quantizer and NNCF; exit with 3 if a claim is short."""
    plan = TimingPlan(warmup=10, repeats=repeats, seconds=seconds)
    rows: list[Row] = []
    claims: list[Claim] = []
    noises: list[str] = []
    with tempfile.TemporaryDirectory() as made, bench_progress() as progress:
        for network in networks or OF_FP32:
            if network not in OF_FP32:
                raise unknown_name("network", network, OF_FP32)
            progress(f"making {network}", 0, 1)
            folder = (keep or Path(made)) / network
            make_files(network, folder, again=keep is None)
            more_rows, more_claims, found = measure(network, folder, plan, progress)
            rows += more_rows
            claims += more_claims
            noises += found
    report = Report(this_machine().name, cpu_name(), plan, tuple(rows), tuple(claims), tuple(dict.fromkeys(noises)))
    if as_json:
        print(json.dumps(asdict(report), indent=2))
    else:
        print_report(report)
    if any(one.state == "short" for one in claims):
        raise CheckError("a claim is short of its limit; see the table")


if __name__ == "__main__":
    run_command("int8-table", main)
