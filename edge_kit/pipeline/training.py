"""The stage that trains: in its own process, or in one for each device."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edge_kit.core import errors
from edge_kit.core.errors import EdgeKitError, UsageError
from edge_kit.core.files import write_json
from edge_kit.core.progress import silent
from edge_kit.core.weights import save_weights
from edge_kit.data import Dataset
from edge_kit.pipeline.feeds import graphs_of
from edge_kit.pipeline.job import Context, Job
from edge_kit.pipeline.networks import build_network, save_network, state_of
from edge_kit.pipeline.sources import model_of, open_dataset
from edge_kit.tasks import TASKS
from edge_kit.train.compute import CPU, GPU, Compute, Devices
from edge_kit.train.launch import launch
from edge_kit.train.peers import ALONE, Peers
from edge_kit.train.recipe import Recipe
from edge_kit.train.start import begin
from edge_kit.train.trainer import fit
from edge_kit.train.watch import Scalars, Watch

LOSSES = "losses.json"  # of every step
START_BATCH = 32  # samples that random weights are fitted to


def train(context: Context) -> None:
    """Train on the devices that the settings name."""
    devices = _devices(context)
    if devices.processes == 1:
        train_on(context, ALONE)
    else:
        _train_together(context, devices)


def train_on(context: Context, peers: Peers) -> None:
    """The part of one process in training, from given or random weights; the first of a machine writes the result."""
    _take_device(_devices(context), peers)
    entry, dataset = model_of(context.settings), open_dataset(context)
    recipe, compute = Recipe(**context.settings["recipe"]), Compute(**context.settings.get("compute", {}))
    net = build_network(context, dataset, recipe.seed)
    if context.inputs.keys().isdisjoint(("weights", "part")):
        begin(net, recipe, graphs_of(context), dataset.calibration_batches(START_BATCH, START_BATCH))
    watch = _watch(context, net, dataset) if peers.rank == 0 else None
    losses: list[float] = []
    task = TASKS.get(entry.task)
    report = fit(net, task, dataset, recipe, context.scratch, context.progress, compute, peers, watch, losses)
    if watch:
        watch.close()
    if peers.writes:
        save_network(net, context.out, {"id": entry.id, "data": dataset.name})
        write_json(context.out / "report.json", asdict(report))
        write_json(context.out / LOSSES, losses)


def _devices(context: Context) -> Devices:
    named = context.settings.get("devices")
    return Devices.from_dict(named) if named else Devices()


def _take_device(devices: Devices, peers: Peers) -> None:
    import paddle

    if devices.kind == GPU and not paddle.is_compiled_with_cuda():
        raise UsageError("--devices names GPUs and this Paddle computes on CPUs; install edge-kit[gpu] or pass cpu:2")
    if devices.kind == GPU and peers.count == 1:
        paddle.device.set_device(f"{GPU}:{devices.numbers[0]}")
    elif devices.kind == CPU:
        paddle.device.set_device(CPU)


def _train_together(context: Context, devices: Devices) -> None:
    _take_device(devices, Peers(count=devices.processes))  # a GPU that cannot be had is said before any is started
    job = Job("train", context.settings, context.inputs, context.out, context.scratch, context.aside)
    written = context.scratch / "job.json"
    written.write_bytes(job.to_line())
    faults: list[EdgeKitError] = []

    def hear(line: str) -> None:
        event = json.loads(line)
        if event["event"] == "progress":
            context.progress(event["done"], event["total"], event["note"])
        elif event["event"] == "line":
            context.tell(event["text"])
        elif event["event"] == "error":
            faults.append(getattr(errors, event["type"], EdgeKitError)(event["message"]))

    heard = context.scratch / "events"
    module = ("-m", "edge_kit.pipeline.rank", str(written), str(heard))
    code = launch(module, devices, heard, hear)
    if faults:
        raise faults[0]
    if code:
        raise RuntimeError(f"one of {devices.processes} processes ended before its time; all were stopped")


def _watch(context: Context, net: Any, dataset: Dataset) -> Watch | None:
    wanted: Mapping[str, Any] = context.aside
    if not wanted:
        return None
    entry = model_of(context.settings)
    preview, logs = wanted.get("preview"), wanted.get("logs")

    def evaluate(step: int) -> dict[str, float]:
        from edge_kit.train.inference import layer_run

        runs = {name: layer_run(net, spec) for name, spec in graphs_of(context).items()}
        metrics = TASKS.get(entry.task).evaluate(runs, dataset, silent)
        shown = ", ".join(f"{metric.name} {metric.value:.2f} {metric.unit}" for metric in metrics) or "no metric"
        if preview:
            about = {"id": entry.id, "data": dataset.name, "step": str(step), "metric": shown}
            save_weights(Path(preview), state_of(net), about)
            shown += f"; weights {preview}"
        context.tell(f"after {step} steps: {shown}")
        return {metric.name: metric.value for metric in metrics}

    return Watch(evaluate, wanted.get("every", 0), Scalars(Path(logs)) if logs else None)
