"""What the graphs of a stage are run on: samples of its data set, by graph."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge_kit.core.progress import Progress
from edge_kit.core.tensors import Graphs, GraphSpec, Run, Tensors
from edge_kit.data import Dataset
from edge_kit.pipeline.job import Context
from edge_kit.pipeline.sources import open_dataset
from edge_kit.pipeline.subject import subject_of
from edge_kit.tasks import TASKS, Task

CALIBRATION_BATCH = 20


def graphs_of(context: Context) -> Mapping[str, GraphSpec]:
    """The graphs of a stage's model, by name."""
    return subject_of(context.settings).graphs


def calibration_feeds(context: Context) -> dict[str, list[Tensors]]:
    """What every graph is calibrated on; a graph that reads another's output is fed by the float one."""
    runs = onnx_runs({name: context.inputs["export"] / f"{name}.onnx" for name in graphs_of(context)})
    return feeds_of(context, open_dataset(context), runs, context.settings["calibration"])


def onnx_runs(paths: Mapping[str, Path]) -> dict[str, Run]:
    """Graphs in files as functions, in this process."""
    from runtimes.registry import get_runtime

    return {name: get_runtime("onnx").load(path).run for name, path in paths.items()}


def feeds_of(context: Context, dataset: Dataset, runs: Graphs, samples: int) -> dict[str, list[Tensors]]:
    """What `training_feeds` gives for a stage's task."""
    task = TASKS.get(subject_of(context.settings).task)
    return training_feeds(task, dataset, runs, samples, context.progress)


def training_feeds(
    task: Task, dataset: Dataset, runs: Graphs, samples: int, progress: Progress
) -> dict[str, list[Tensors]]:
    """Batches of training samples, prepared as for evaluation, as each graph takes them.

    Args:
        runs: The graphs, for those that read what another computes.
    """
    found: dict[str, list[Tensors]] = {name: [] for name in runs}
    total = min(samples, dataset.train_size())
    for i, batch in enumerate(dataset.calibration_batches(samples, CALIBRATION_BATCH)):
        for name, inputs in task.feeds(runs, batch).items():
            found[name].append(inputs)
        progress(min(i * CALIBRATION_BATCH, total), total, "calibration samples")
    return found


def digest_of(feeds: Mapping[str, list[Tensors]]) -> dict[str, Any]:
    """What the calibration set was, so that a receipt can be held to it."""
    digest = hashlib.sha256()
    for graph in sorted(feeds):
        for batch in feeds[graph]:
            for name in sorted(batch):
                digest.update(f"{graph}/{name}".encode() + batch[name].tobytes())
    first = next(iter(feeds.values()))
    samples = sum(len(next(iter(batch.values()))) for batch in first)
    return {"samples": samples, "sha256": digest.hexdigest()}
