"""Wall time of quantizing an FP32 graph of the zoo with pictures from disk; see `scripts/quantize-time`."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer

from edge_kit.core.errors import CheckError, EdgeKitError
from edge_kit.core.images import ImagePreprocess
from edge_kit.core.tensors import Tensors
from edge_kit.report.bench import bench_progress
from runtimes.targets import cpu_name, this_machine
from scripts.command import run_command
from scripts.int8_rivals import FP32, ORT_QDQ, SIDE, export, pictures, quantize_with_onnxruntime

BATCH = 20
STORED = 256  # side of a picture on disk
OURS, OURS_HIST, RIVAL = "edge-kit, abs_max", "edge-kit, hist", "quantize_static, MinMax"
MOST = 1.0  # ours over the rival's, by default and with the rival's ranges, the smallest that hold all values


def _read(folder: Path, batch: int) -> list[Tensors]:
    """Pictures as the network takes them, so many at once."""
    preprocess = ImagePreprocess(STORED, SIDE)
    paths = sorted(folder.glob("*.png"))
    found: list[Tensors] = []
    for at in range(0, len(paths), batch):
        crops = [preprocess(np.asarray(cv2.imread(str(path)), np.uint8)) for path in paths[at : at + batch]]
        found.append({"image": np.stack(crops)})
    return found


def _ours(folder: Path, algorithm: str) -> None:
    from convert.lower import lower
    from convert.observe import Observer

    batches = _read(folder, BATCH)
    lower(folder / FP32, folder / "ours.onnx", this_machine(), batches, Observer(algorithm))


def _rival(folder: Path) -> None:
    quantize_with_onnxruntime(folder / FP32, folder, _read(folder, 1), [ORT_QDQ])


WAYS: dict[str, Callable[[Path], None]] = {
    OURS: lambda folder: _ours(folder, "abs_max"),
    RIVAL: _rival,
    OURS_HIST: lambda folder: _ours(folder, "hist"),
}


def _prepare(network: str, count: int, folder: Path) -> None:
    export(network, folder / FP32)
    for i in range(count):
        blots = pictures(1, i)[0].transpose(1, 2, 0)
        picture = cv2.resize(np.clip(blots * 50 + 128, 0, 255).astype(np.uint8), (STORED, STORED))
        cv2.imwrite(str(folder / f"{i:04}.png"), picture)


def _process(job: str, *given: str) -> float:
    """Seconds that a process takes, its imports and all."""
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "scripts.quantize_time", job, *given], capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        raise EdgeKitError(f"{job} of {' '.join(given)} failed (exit code {done.returncode}): {said}")
    return time.perf_counter() - began


def main(
    network: Annotated[str, typer.Argument(help="Of the zoo.")] = "mobilenetv2",
    count: Annotated[int, typer.Option("--pictures", help="To find ranges on.", min=1)] = 300,
    rounds: Annotated[int, typer.Option(help="Of each way, in turn.", min=1)] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout and nothing else.")] = False,
) -> None:
    """Quantize in turn with ours and `quantize_static`; exit code 3 where ours takes longer, by default or alike."""
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as made, bench_progress() as progress:
        progress("making pictures and the FP32 graph", 0, 1)
        _process("prepare", network, str(count), made)
        for i, way in enumerate([*WAYS] * rounds):
            progress(f"round {i // len(WAYS) + 1}, {way}", i, rounds * len(WAYS))
            seconds[way].append(_process("time", way, made))
    ratios = {
        way: [ours / other for ours, other in zip(seconds[way], seconds[RIVAL], strict=True)]
        for way in (OURS, OURS_HIST)
    }
    middle = {way: statistics.median(found) for way, found in ratios.items()}
    if as_json:
        conditions = {"network": network, "pictures": count, "cpu": cpu_name()}
        typer.echo(json.dumps({**conditions, "seconds": seconds, "ratios": middle}, indent=2))
    else:
        typer.echo(f"{network}, {count} pictures of {STORED} x {STORED} to {SIDE} x {SIDE}; {cpu_name()}")
        for way, found in seconds.items():
            typer.echo(f"  {way:<24} {statistics.median(found):6.1f} s ({min(found):.1f} to {max(found):.1f})")
        for way, found in ratios.items():
            typer.echo(f"  {way} over {RIVAL}: {middle[way]:.2f} ({min(found):.2f} to {max(found):.2f})")
    for way, ratio in middle.items():
        if ratio > MOST:
            raise CheckError(f"{way} takes {ratio:.2f} of the time of {RIVAL}; at most {MOST}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["prepare"]:
        _prepare(sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))
    elif sys.argv[1:2] == ["time"]:
        WAYS[sys.argv[2]](Path(sys.argv[3]))
    else:
        run_command("quantize-time", main)
