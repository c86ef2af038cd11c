"""What goes into a bundle besides its graphs: the manifest and the sentinel pack."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from edge_kit.core.bundle import FULL, SMALL, Manifest
from edge_kit.core.files import read_json
from edge_kit.core.tensors import GraphSpec
from edge_kit.pipeline.feeds import onnx_runs
from edge_kit.pipeline.job import Context
from edge_kit.pipeline.pixels import pixel_specs, takes_pixels
from edge_kit.pipeline.sources import open_dataset
from edge_kit.pipeline.subject import subject_of
from edge_kit.tasks import TASKS


def manifest_of(context: Context) -> Manifest:
    """What a bundle says of itself."""
    subject = subject_of(context.settings)
    pixels, exported = takes_pixels(context), context.inputs["export"]
    specs = pixel_specs(subject.graphs) if pixels else subject.graphs
    dataset = open_dataset(context, pixels=pixels)
    programs = {} if pixels else {name: exported / f"{name}.pdmodel" for name in specs}
    return Manifest(
        id=subject.id,
        title=subject.title,
        task=subject.task,
        target=context.settings["target"],
        graphs={p: {name: f"{p}/{name}.onnx" for name in specs} for p in (FULL, SMALL)},
        inputs={name: spec.inputs for name, spec in specs.items()},
        outputs={name: spec.outputs for name, spec in specs.items()},
        preprocess=dataset.preprocess.as_dict(),
        labels=dataset.labels,
        model=read_json(exported / "report.json")["size"],
        paddle={name: f"paddle/{name}.pdmodel" for name, program in programs.items() if program.is_file()},
    )


def write_sentinel(context: Context, manifest: Manifest, graphs: Mapping[str, Mapping[str, Path]]) -> Path:
    """The pack of samples and answers that a bundle is checked by without its data set."""
    from edge_kit.pipeline.sentinel import write_pack

    runs = {precision: onnx_runs(named) for precision, named in graphs.items()}
    specs = {name: GraphSpec(inputs, tuple(manifest.outputs[name])) for name, inputs in manifest.inputs.items()}
    path = context.scratch / "sentinel.npz"
    dataset = open_dataset(context, pixels=takes_pixels(context))
    write_pack(path, TASKS.get(manifest.task), dataset, specs, runs)
    return path
