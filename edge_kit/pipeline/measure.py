"""Scores and times every version of a model on one runtime."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

from convert.parity import measure_parity
from edge_kit.core.progress import Progress
from edge_kit.core.tensors import Array, Graphs, Tensors, random_inputs
from edge_kit.data import Dataset
from edge_kit.pipeline.job import Context
from edge_kit.pipeline.sources import model_of
from edge_kit.tasks import TASKS, Task
from runtimes.compare import compare
from runtimes.protocol import Session
from runtimes.registry import get_runtime
from runtimes.timing import TimingPlan, measure_interleaved

FIRST = "fp32"  # the version that the others are held against
SEED = 0
DIFFERENCE_BATCHES, DIFFERENCE_BATCH = 5, 20


class _WholeModel:
    """All graphs of a model, run once each: what a latency is of."""

    def __init__(self, sessions: Mapping[str, Session]) -> None:
        self._sessions = dict(sessions)
        self.inputs = tuple(spec for session in sessions.values() for spec in session.inputs)
        self.outputs = tuple(name for session in sessions.values() for name in session.outputs)

    def run(self, inputs: Tensors) -> dict[str, Array]:
        results: dict[str, Array] = {}
        for session in self._sessions.values():
            results.update(session.run({spec.name: inputs[spec.name] for spec in session.inputs}))
        return results


def measure_versions(context: Context, dataset: Dataset, versions: Mapping[str, Path]) -> dict[str, Any]:
    """Metric, size, agreement with full precision and latency of each version.

    Args:
        versions: Folder of `.onnx` graphs by name of the version; `fp32` is the one to compare with.

    Returns:
        JSON: `models`, `agreement` and `differences` by version, `verdicts`, and whether the data is the published set.
    """
    task = TASKS.get(model_of(context.settings).task)
    runtime = get_runtime(context.settings["runtime"])
    threads = context.settings["threads"]
    files = {version: sorted(folder.glob("*.onnx")) for version, folder in versions.items()}
    sessions = {
        version: {path.stem: runtime.load(path, threads=threads) for path in paths} for version, paths in files.items()
    }
    runs = {version: {name: one.run for name, one in graphs.items()} for version, graphs in sessions.items()}
    # Timing first: the machine is then as quiet as it will be.
    plan = TimingPlan(threads=threads)
    whole = {version: _WholeModel(graphs) for version, graphs in sessions.items()}
    inputs = {version: random_inputs(model.inputs, plan.batch, SEED) for version, model in whole.items()}
    timed = measure_interleaved({v: (whole[v], inputs[v]) for v in whole}, plan, runtime, context.progress)
    models = {}
    for version, graphs in runs.items():
        metrics = task.evaluate(graphs, dataset, _noted(context.progress, version))
        models[version] = {
            "metrics": [asdict(metric) for metric in metrics],
            "size_bytes": sum(path.stat().st_size for path in files[version]),
            "latency": asdict(timed[version].latency),
        }
    others = [version for version in runs if version != FIRST]
    return {
        "models": models,
        "agreement": {v: asdict(task.agreement(runs[FIRST], runs[v], dataset, dataset.eval_size())) for v in others},
        "differences": {v: output_differences(task, runs[FIRST], runs[v], dataset) for v in others},
        "verdicts": [asdict(compare(FIRST, timed[FIRST], v, timed[v])) for v in others],
        "published_data": dataset.published,
    }


def output_differences(task: Task, reference: Graphs, candidate: Graphs, dataset: Dataset) -> dict[str, Any]:
    """Largest absolute and relative difference of every output, by graph; needs no labels.

    Every graph is given what the reference's graphs compute, so that each answers for itself. Only
    the first evaluation samples are run.
    """
    batches = islice(dataset.eval_batches(DIFFERENCE_BATCH), DIFFERENCE_BATCHES)
    feeds = [task.feeds(reference, batch) for batch in batches]
    return {
        name: [asdict(one) for one in measure_parity(run, candidate[name], (fed[name] for fed in feeds))]
        for name, run in reference.items()
    }


def _noted(progress: Progress, prefix: str) -> Progress:
    def report(done: int, total: int, note: str = "") -> None:
        progress(done, total, f"{prefix} {note}".strip())

    return report
