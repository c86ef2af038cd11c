"""Scores and times every version of a model on one runtime."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from convert.parity import Parity, measure_parity
from edge_kit.core.progress import Progress
from edge_kit.core.tensors import Graphs, GraphSpec, Run, Tensors
from edge_kit.data import Dataset
from edge_kit.pipeline.job import Context
from edge_kit.pipeline.subject import subject_of
from edge_kit.tasks import TASKS, Task
from edge_kit.tasks.task import Likening
from runtimes.bench import latency_of
from runtimes.compare import compare
from runtimes.isolated import Isolated, Model
from runtimes.timing import TimingPlan, interleave

FIRST = "fp32"  # the version that the others are held against
DIFFERENCE_BATCHES, DIFFERENCE_BATCH = 5, 20


def measure_versions(
    context: Context, dataset: Dataset, versions: Mapping[str, Path], specs: Mapping[str, GraphSpec] | None = None
) -> dict[str, Any]:
    """Metric, size, agreement with full precision and latency of each version.

    Args:
        dataset: Of samples as the graphs take them.
        specs: What the graphs take; None where their files tell it all.
        versions: Folder of `.onnx` graphs by name of the version; `fp32` is the one to compare with.

    Returns:
        JSON: `models`; `agreement`, `likeness` and `differences` by version; `verdicts`, and whether the data is the
            published set.
    """
    task = TASKS.get(subject_of(context.settings).task)
    runtime, asked = context.settings["runtime"], ("threads", "repeats")
    plan = TimingPlan(**{name: context.settings[name] for name in asked if name in context.settings})
    inputs = {name: spec.inputs for name, spec in (specs or {}).items()}
    files = {v: {path.stem: path for path in sorted(folder.glob("*.onnx"))} for v, folder in versions.items()}
    with ExitStack() as stack:
        processes = {
            v: stack.enter_context(Isolated(Model(runtime, graphs, inputs, plan, workspace=context.scratch / "engine")))
            for v, graphs in files.items()
        }
        # Timing first: the machine is then as quiet as it will be.
        times = interleave({v: one.time for v, one in processes.items()}, plan, context.progress)
        runs = {v: one.runs() for v, one in processes.items()}
        # Random weights have no metric; an agent with those of another game could not even play.
        scored = versions if context.settings.get("scored", True) else ()
        metrics = {v: task.evaluate(runs[v], dataset, _noted(context.progress, v)) for v in scored}
        models = {
            v: {
                "metrics": [asdict(one) for one in metrics.get(v, ())],
                "size_bytes": sum(path.stat().st_size for path in files[v].values()),
                "latency": asdict(latency_of(runtime, times[v], one.footprint, plan)),
            }
            for v, one in processes.items()
        }
        others = [v for v in versions if v != FIRST]
        agreement = {v: task.agreement(runs[FIRST], runs[v], dataset, dataset.eval_size()) for v in others}
        likeness = {
            v: task.likeness(runs[FIRST], runs[v], dataset, dataset.eval_size()) if isinstance(task, Likening) else ()
            for v in others
        }
        differences = {v: output_differences(task, runs[FIRST], runs[v], dataset) for v in others}
    return {
        "models": models,
        "agreement": {v: asdict(one) for v, one in agreement.items()},
        "likeness": {v: [asdict(one) for one in likeness[v]] for v in others},
        "differences": {v: {g: [asdict(p) for p in found] for g, found in differences[v].items()} for v in others},
        "verdicts": [asdict(compare(FIRST, times[FIRST], v, times[v])) for v in others],
        "published_data": dataset.published,
    }


def measure_chance(context: Context, dataset: Dataset) -> list[dict[str, Any]]:
    """The metrics of full precision, as JSON, where every output is noise of its shape: no answer knows its sample."""
    task = TASKS.get(subject_of(context.settings).task)
    noise = np.random.default_rng(0)

    def blind(run: Run) -> Run:
        def answer(inputs: Tensors) -> Tensors:
            return {name: noise.standard_normal(value.shape).astype(value.dtype) for name, value in run(inputs).items()}

        return answer

    graphs = {path.stem: path for path in sorted(context.inputs[FIRST].glob("*.onnx"))}
    with Isolated(Model(context.settings["runtime"], graphs, workspace=context.scratch / "engine")) as process:
        runs = {name: blind(run) for name, run in process.runs().items()}
        return [asdict(metric) for metric in task.evaluate(runs, dataset, context.progress)]


def output_differences(task: Task, reference: Graphs, candidate: Graphs, dataset: Dataset) -> dict[str, list[Parity]]:
    """Largest absolute and relative difference of every output, by graph; needs no labels.

    Every graph is given what the reference's graphs compute, so that each answers for itself. Only
    the first evaluation samples are run.
    """
    batches = islice(dataset.eval_batches(DIFFERENCE_BATCH), DIFFERENCE_BATCHES)
    feeds = [task.feeds(reference, batch) for batch in batches]
    return {name: measure_parity(run, candidate[name], (fed[name] for fed in feeds)) for name, run in reference.items()}


def _noted(progress: Progress, prefix: str) -> Progress:
    def report(done: int, total: int, note: str = "") -> None:
        progress(done, total, f"{prefix} {note}".strip())

    return report
