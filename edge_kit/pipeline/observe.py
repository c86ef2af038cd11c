"""What a report shows of a bundle besides its receipt; the work of two stages."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any

import cv2
import numpy as np

from edge_kit.core.bundle import FULL, SMALL, Bundle
from edge_kit.core.errors import EdgeKitError
from edge_kit.core.workspace import Workspace
from edge_kit.data import Dataset
from edge_kit.pipeline.explain import Conditions, explain
from edge_kit.pipeline.gate import timed
from edge_kit.pipeline.job import Context
from edge_kit.pipeline.model_files import ModelFiles
from edge_kit.pipeline.parity import check_labels
from edge_kit.tasks import TASKS
from edge_kit.tasks.show import Confusion, Example, Showing
from runtimes.bench import latency_of
from runtimes.isolated import Isolated
from runtimes.timing import TimingPlan

EXAMPLES = 12
LARGEST_SIDE = 160  # of an example's picture, in pixels
SMALLEST_SIDE = 96
PNG = "data:image/png;base64,"


def observe_runtime(context: Context, dataset: Dataset) -> dict[str, Any]:
    """Score and time every precision of a bundle on one runtime, those that it can run.

    Returns:
        JSON: `precisions` with metrics, latency and every single time, each or the `reason` why it cannot run; how
        often INT8 gives the answer of FP32; and what disturbed the timing.
    """
    told = context.settings
    bundle = Bundle(context.inputs["bundle"])
    check_labels(bundle, dataset)
    task = TASKS.get(bundle.manifest.task)
    plan = TimingPlan(seconds=1.0, threads=told["threads"])
    files, runtime = ModelFiles.of_bundle(bundle), told["on"]
    found: dict[str, Any] = {}
    agreement, noise = None, ""
    with ExitStack() as stack:
        running = {}
        for precision in files.precisions:
            try:
                model = files.model(runtime, precision, context.scratch, plan)
                running[precision] = stack.enter_context(Isolated(model))
            except EdgeKitError as fault:
                found[precision] = {"reason": str(fault)}
        if running:
            times, noise = _times(running, plan, context)
        for precision, process in running.items():
            runs = process.runs()
            found[precision] = {
                "reason": "",
                "metrics": [asdict(one) for one in task.evaluate(runs, dataset, context.progress)],
                "latency": asdict(latency_of(runtime, times[precision], process.footprint, plan)),
                "times_ms": [round(float(one), 5) for one in times[precision]],
            }
        if {FULL, SMALL} <= running.keys():
            full, small = running[FULL].runs(), running[SMALL].runs()
            agreement = asdict(task.agreement(full, small, dataset, dataset.eval_size()))
    return {"precisions": {p: found[p] for p in files.precisions}, "agreement": agreement, "noise": noise}


def _times(running: Mapping[str, Isolated], plan: TimingPlan, context: Context) -> tuple[dict[str, Any], str]:
    """In turn where there are two."""
    if {FULL, SMALL} <= running.keys():
        times, _, noise = timed(running, plan, context.progress)
        return times, noise
    return {p: one.time(plan.warmup, plan.repeats) for p, one in running.items()}, ""


def show_bundle(context: Context, dataset: Dataset) -> dict[str, Any]:
    """Operators of the INT8 graphs, and what the task can show, on ONNX Runtime.

    Returns:
        JSON: `explained` as `explain` gives it, `charts` by precision, and `examples`.
    """
    bundle, progress = Bundle(context.inputs["bundle"]), context.progress
    check_labels(bundle, dataset)
    runtime = context.settings["on"]
    explained = explain(Workspace(context.scratch), str(bundle.path), Conditions(runtime), {})
    task, files = TASKS.get(bundle.manifest.task), ModelFiles.of_bundle(bundle)
    charts: dict[str, Any] = {}
    examples: tuple[Example, ...] = ()
    if isinstance(task, Showing):
        with ExitStack() as stack:
            models = {p: files.model(runtime, p, context.scratch) for p in files.precisions}
            versions = {p: stack.enter_context(Isolated(model)).runs() for p, model in models.items()}
            for precision, graphs in versions.items():
                chart = task.chart(graphs, dataset, progress)
                kind = "confusion" if isinstance(chart, Confusion) else "curve"
                charts[precision] = {"kind": kind, **asdict(chart)}
            examples = task.examples(versions, dataset, EXAMPLES)
    return {
        "explained": explained,
        "charts": charts,
        "examples": [_as_json(one) for one in examples],
        "data": {"name": dataset.name, "samples": dataset.eval_size()},
    }


def _as_json(example: Example) -> dict[str, Any]:
    pictures = {version: _data_url(picture) for version, picture in example.picture.items()}
    told = {name: getattr(example, name) for name in ("sample", "text", "truth", "same")}
    return {**told, "answers": dict(example.answers), "pictures": pictures}


def _data_url(picture: Any) -> dict[str, Any]:
    """A picture in the page itself; large ones are made smaller, small ones larger without smoothing."""
    side = max(picture.shape[:2])
    scale = min(1.0, LARGEST_SIDE / side) if side >= SMALLEST_SIDE else float(-(-SMALLEST_SIDE // side))
    size = tuple(max(1, round(axis * scale)) for axis in picture.shape[1::-1])
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    resized = picture if scale == 1 else cv2.resize(picture, size, interpolation=how)
    done, encoded = cv2.imencode(".png", np.ascontiguousarray(resized))
    assert done  # memory, no disk
    return {"src": PNG + b64encode(encoded.tobytes()).decode(), "width": size[0], "height": size[1]}
