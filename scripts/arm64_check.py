"""INT8 lowered for ARM, run on ARM's own kernels and held against its prediction; see `scripts/test-arm64`."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console

from convert.emulate import Arithmetic, emulated
from convert.parity import measure_parity
from edge_kit.core.errors import CheckError, EdgeKitError
from edge_kit.core.records import Check
from edge_kit.core.tensors import MAIN, Array, Run
from edge_kit.report.console import open_console
from edge_kit.report.tables import print_checks
from runtimes.faults import one_line
from runtimes.hosts import Host, ThisMachine
from runtimes.isolated import Isolated, Model
from scripts.arm64_host import CPUS, Arm64
from scripts.arm64_models import PICTURES
from scripts.command import run_command

BATCH = 10
MAX_PARITY = 1e-4  # as between Paddle and the exported graph
MAX_DROP = 0.5  # points, as between INT8 and full precision
FP32, ARM, X86 = "fp32.onnx", "arm64.onnx", "x86-vnni.onnx"


def make_models(folder: Path, count: int) -> None:
    """Write the graphs and the pictures, in a process of its own."""
    command = [sys.executable, "-m", "scripts.arm64_models", str(folder), str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        raise EdgeKitError(f"cannot make the models (exit code {done.returncode}): {one_line(said)}")


@contextmanager
def worker(graph: Path, host: Host) -> Iterator[Isolated]:
    """One graph, loaded by ONNX Runtime on a host."""
    with Isolated(Model("onnx", {MAIN: graph}), host) as process:
        yield process


def logits(run: Run, images: Array) -> Array:
    """(N, classes) of all pictures, a few at a time."""
    parts = (run({"image": images[i : i + BATCH]}) for i in range(0, len(images), BATCH))
    return np.concatenate([next(iter(outputs.values())) for outputs in parts])


def run_on(graph: Path, host: Host, images: Array) -> tuple[Array, dict[str, int]]:
    """What a graph answers on a host, and how many of its operators ran there in which precision."""
    with worker(graph, host) as process:
        answers = logits(process.session(MAIN).run, images)
        ran = process.profile(calls=1) or ()
    precisions = [one.precision for one in ran if one.kind != "QuantizeLinear"]
    return answers, {precision: precisions.count(precision) for precision in sorted(set(precisions))}


def check(folder: Path, made: Path, say: Any) -> list[Check]:
    """Run every version where it belongs and compare."""
    with np.load(made / PICTURES) as pictures:
        images, labels = pictures["image"], pictures["label"].reshape(-1)
    here = ThisMachine()
    full, _ = run_on(made / FP32, here, images)
    on_x86, _ = run_on(made / X86, here, images)
    predicted = logits(emulated(made / ARM, Arithmetic.INT32), images)
    checks = []
    for cpu in CPUS:
        say(f"{cpu}: INT8 on {len(images)} pictures")
        got, ran = run_on(made / ARM, Arm64(folder, cpu), images)
        checks += int8_checks(cpu, got, predicted, on_x86, labels)
        ran_as = ", ".join(f"{count} {precision}" for precision, count in ran.items())
        checks.append(
            Check.at_most(f"{cpu}: operators not int8", sum(ran.values()) - ran.get("int8", 0), 0, "", ran_as)
        )
    cpu = next(iter(CPUS))
    say(f"{cpu}: FP32 on {len(images)} pictures")
    got, _ = run_on(made / FP32, Arm64(folder, cpu), images)
    (parity,) = measure_parity(lambda _: {"logits": full}, lambda _: {"logits": got}, [{"image": images}])
    note = f"ARM against x86, relative; top-1 {top1(got, labels):.1f} % and {top1(full, labels):.1f} %"
    checks.append(Check.at_most(f"{cpu}: fp32 parity", parity.max_rel, MAX_PARITY, note=note))
    return checks


def int8_checks(cpu: str, got: Array, predicted: Array, on_x86: Array, labels: Array) -> list[Check]:
    """What ARM answered against what was predicted, and against the x86 file.

    Args:
        got: (N, classes) logits, as the others.
        labels: (N,) classes.
    """
    sound = np.isfinite(got).all(axis=1)  # argmax would take a NaN for the largest
    other = int((~sound | (got.argmax(axis=1) != predicted.argmax(axis=1))).sum())
    same = 100 * float((got.argmax(axis=1) == on_x86.argmax(axis=1)).mean())
    scores = [top1(answers, labels) for answers in (got, predicted, on_x86)]
    furthest = float(np.abs(got - predicted).max() / np.abs(predicted).max())
    told = (
        f"top-1 {scores[0]:.1f} %, predicted {scores[1]:.1f} %, largest difference {furthest:.2g} of the largest logit"
    )
    against = (
        f"top-1 {scores[0]:.1f} %, x86 {scores[2]:.1f} %, the same class on {same:.1f} % of {len(labels)} pictures"
    )
    return [
        Check.at_most(f"{cpu}: classes not as predicted", other, 0, "", told),
        Check.at_most(f"{cpu}: drop against the x86 file", scores[2] - scores[0], MAX_DROP, "points", against),
    ]


def top1(answers: Array, labels: Array) -> float:
    """Percent of pictures whose largest logit is that of their class."""
    return 100 * float((answers.argmax(axis=1) == labels).mean())


def main(
    folder: Annotated[Path, typer.Argument(help="What --install unpacked.")],
    pictures: Annotated[int, typer.Option(help="Of the mini set; a picture takes about a second.")] = 200,
    keep: Annotated[Path | None, typer.Option(help="Keep the models here, and take those that lie there.")] = None,
) -> None:
    """Run INT8 MobileNetV2 on emulated ARM processors; exit with 3 where it is not as predicted."""
    if not (folder / "site").is_dir():
        raise EdgeKitError(f"no ARM system in {str(folder)!r}; scripts/test-arm64 --install unpacks one")
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory() as temporary:
        made = keep or Path(temporary)
        made.mkdir(parents=True, exist_ok=True)
        if not (made / PICTURES).exists():
            make_models(made, pictures)
        checks = check(folder, made, lambda text: console.print(text, style="dim", highlight=False))
    print_checks(open_console(), checks)
    if not all(one.ok for one in checks):
        raise CheckError("ARM does not compute what was predicted; see the table")


if __name__ == "__main__":
    run_command("test-arm64", main)
