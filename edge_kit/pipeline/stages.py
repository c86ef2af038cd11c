"""What each stage does: glue between one room's call and files. Runs in a child process; see `worker`."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edge_kit.core.bundle import Manifest, write_bundle
from edge_kit.core.errors import BadData, UsageError
from edge_kit.core.files import read_json, write_json
from edge_kit.core.registry import Registry
from edge_kit.core.tensors import Graphs, GraphSpec, Tensors, random_inputs
from edge_kit.core.weights import load_weights, save_weights
from edge_kit.data import FORMATS, Dataset, MiniSettings
from edge_kit.pipeline.job import Context
from edge_kit.pipeline.pixels import FLOAT, PIXELS, normalised_first, picture_of, pixel_specs
from edge_kit.pipeline.sources import model_of, open_dataset
from edge_kit.pipeline.subject import subject_of
from edge_kit.tasks import TASKS
from edge_kit.train.recipe import Recipe
from runtimes.faults import one_line

STAGES: Registry[Callable[[Context], None]] = Registry("stage")
WEIGHTS = "weights.safetensors"
BUNDLE = "bundle"
QUANTIZATION = "quantization.json"  # of the stage that chose the ranges: how, and on what
CALIBRATION_BATCH = 20
PARITY_SAMPLES = 40


def stage(work: Callable[[Context], None]) -> Callable[[Context], None]:
    """Register a function as the stage of its own name."""
    return STAGES.add(work.__name__, work)


@stage
def data(context: Context) -> None:
    """Make the mini set in its published format."""
    settings = dict(context.settings)
    form = FORMATS.get(settings.pop("format"))
    if form.make_mini is None:
        raise UsageError(f"data format {form.name!r} has no mini set; pass --data with samples of your own")
    form.make_mini(context.out, MiniSettings(**settings), context.progress)


@stage
def train(context: Context) -> None:
    """Train from given or random weights."""
    from edge_kit.train.trainer import fit

    entry = model_of(context.settings)
    dataset = open_dataset(context)
    recipe = Recipe(**context.settings["recipe"])
    net = _network(context, dataset, recipe.seed)
    report = fit(net, TASKS.get(entry.task), dataset, recipe, context.scratch, context.progress)
    _save_network(net, context.out, {"id": entry.id, "data": dataset.name})
    write_json(context.out / "report.json", asdict(report))


@stage
def score(context: Context) -> None:
    """The metric of full-precision weights, in Paddle itself."""
    from edge_kit.train.inference import layer_run

    entry = model_of(context.settings)
    dataset = open_dataset(context)
    net = _network(context, dataset, 0)
    runs = {name: layer_run(net, spec) for name, spec in _graphs(context).items()}
    metrics = TASKS.get(entry.task).evaluate(runs, dataset, context.progress)
    write_json(context.out / "metrics.json", [asdict(metric) for metric in metrics])


@stage
def weights(context: Context) -> None:
    """Take weights from a file as they are."""
    dataset = open_dataset(context)
    net = _network(context, dataset, 0)
    _save_network(net, context.out, {"id": str(context.settings["id"]), "data": dataset.name})


@stage
def download(context: Context) -> None:
    """Fetch a released file; only ever run when the user asked for it."""
    from edge_kit.pipeline.sources import download_file

    download_file(context.settings["url"], context.out / "released.pdparams", context.progress)


@stage
def prune(context: Context) -> None:
    """Cut filters; training again is a stage of its own."""
    from compress.prune.structured import PruneSettings, prune_filters

    entry = model_of(context.settings)
    dataset = open_dataset(context)
    net = _network(context, dataset, 0)
    shapes = _input_shapes(_graphs(context))
    chosen = PruneSettings(flops_share=context.settings["share"], criterion=context.settings["criterion"])
    report = prune_filters(net, shapes, chosen)
    _save_network(net, context.out, {"id": entry.id, "data": dataset.name})
    write_json(context.out / "report.json", asdict(report))


@stage
def export(context: Context) -> None:
    """Paddle inference model and canonical float ONNX of every graph, and the parity between the two."""
    from convert.parity import measure_parity
    from edge_kit.train.inference import layer_run
    from runtimes.registry import get_runtime

    dataset = open_dataset(context)
    net = _network(context, dataset, 0)
    report: dict[str, Any] = {
        "size": _network_size(net, _graphs(context)),
        "parity": {},
        "passes": {},
    }
    runs = {name: layer_run(net, spec) for name, spec in _graphs(context).items()}
    feeds = _feeds(context, dataset, runs, PARITY_SAMPLES)
    for name, spec in _graphs(context).items():
        report["passes"][name] = _export_graph(context, net, name, spec)
        session = get_runtime("onnx").load(context.out / f"{name}.onnx")
        parity = measure_parity(runs[name], session.run, feeds[name])
        report["parity"][name] = [asdict(one) for one in parity]
    write_json(context.out / "report.json", report)


@stage
def camera(context: Context) -> None:
    """Float graphs that take pixels, and how far they are from normalising first."""
    from convert.graph import Graph
    from convert.parity import measure_parity
    from convert.passes.camera import take_pixels
    from runtimes.registry import get_runtime

    preprocess, parity = subject_of(context.settings).preprocess, {}
    specs = _graphs(context)
    runs = {}
    for name, spec in specs.items():
        before, picture = context.inputs["export"] / f"{name}.onnx", picture_of(spec)
        graph = Graph.load(before)
        if picture is not None:
            take_pixels(graph, picture, preprocess)
        graph.save(context.out / f"{name}.onnx")
        runs[name] = normalised_first(get_runtime("onnx").load(before).run, spec, preprocess)
    feeds = _feeds(context, open_dataset(context, pixels=True), runs, PARITY_SAMPLES)
    for name, run in runs.items():
        session = get_runtime("onnx").load(context.out / f"{name}.onnx")
        parity[name] = [asdict(one) for one in measure_parity(run, session.run, feeds[name])]
    write_json(context.out / "report.json", {"parity": parity})


@stage
def untrained(context: Context) -> None:
    """The published network with random weights, as Paddle inference model and canonical ONNX, for timing only."""
    import paddle

    paddle.seed(0)
    entry = model_of(context.settings)
    net = entry.build(**entry.published_sizes)
    for name, spec in _graphs(context).items():
        _export_graph(context, net, name, spec)


@stage
def adopt(context: Context) -> None:
    """A user's Paddle inference model as canonical ONNX, with the names it has."""
    from convert.export import canonicalise, paddle_to_onnx

    prefix = context.scratch / "main"
    for part, suffix in (("program", ".pdmodel"), ("weights", ".pdiparams")):
        shutil.copyfile(context.inputs[part], prefix.with_suffix(suffix))
    converted = context.scratch / "main.onnx"
    paddle_to_onnx(prefix, converted, None)
    canonicalise(converted, context.out / "main.onnx")


@stage
def receive(context: Context) -> None:
    """A user's model in the form that `export` gives one of the zoo, and how far ONNX is off its Paddle program."""
    from convert.export import canonicalise, name_interface
    from convert.intake import count_parameters, take_onnx

    [(name, spec)] = _graphs(context).items()
    taken, out = context.scratch / "taken.onnx", context.out / f"{name}.onnx"
    done = take_onnx(context.inputs["graph"], taken, str(context.settings["id"]))
    name_interface(taken, spec)
    report: dict[str, Any] = {
        "done": done,
        "passes": {name: canonicalise(taken, out)},
        "size": {"parameters": count_parameters(out)},
        "parity": {},
    }
    if "program" in context.inputs:
        program = context.out / f"{name}.pdmodel"
        shutil.copyfile(context.inputs["program"], program)
        shutil.copyfile(context.inputs["weights"], program.with_suffix(".pdiparams"))
        report["parity"][name] = _program_parity(context, program, out)
    write_json(context.out / "report.json", report)


def _program_parity(context: Context, program: Path, graph: Path) -> list[dict[str, Any]]:
    from convert.parity import measure_parity
    from runtimes.registry import get_runtime

    paddle, onnx = get_runtime("paddle").load(program), get_runtime("onnx").load(graph)
    feeds = _feeds(context, open_dataset(context), {graph.stem: onnx.run}, PARITY_SAMPLES)[graph.stem]
    return [asdict(one) for one in measure_parity(paddle.run, onnx.run, feeds)]


@stage
def quantize(context: Context) -> None:
    """PaddleSlim's post-training quantization of every graph, as fake-quantized ONNX."""
    from compress.quantize.ptq import PtqSettings, quantize_static
    from convert.export import paddle_to_onnx

    feeds = _calibration(context)
    settings = PtqSettings(algorithm=context.settings["algorithm"])
    for name, spec in _graphs(context).items():
        fake = context.scratch / f"{name}.quantized"
        quantize_static(context.inputs["export"] / name, fake, feeds[name], settings)
        paddle_to_onnx(fake, context.out / f"{name}.onnx", spec)
    write_json(context.out / QUANTIZATION, {"settings": asdict(settings), "calibration": calibration_digest(feeds)})


@stage
def lower(context: Context) -> None:
    """INT8 graphs for one target; ranges are found here where no quantizer did before."""
    from convert.lower import Camera
    from convert.lower import lower as lower_graph
    from convert.observe import Observer
    from runtimes.targets import TARGETS

    feeds = _calibration(context)
    target = TARGETS[context.settings["target"]]
    algorithm = context.settings.get("algorithm")
    observer = Observer(algorithm) if algorithm else None
    report = {}
    for path in sorted(context.inputs["quantize"].glob("*.onnx")):
        picture = picture_of(_graphs(context)[path.stem]) if _takes_pixels(context) else None
        entry = Camera(picture, subject_of(context.settings).preprocess) if picture else None
        report[path.stem] = asdict(
            lower_graph(path, context.out / path.name, target, feeds[path.stem], observer, entry)
        )
    write_json(context.out / "report.json", report)
    if observer:
        write_json(context.out / QUANTIZATION, {"settings": asdict(observer), "calibration": calibration_digest(feeds)})


@stage
def measure(context: Context) -> None:
    """Metric, agreement and latency of every version, on one runtime, latencies in turn."""
    from edge_kit.pipeline.measure import measure_versions

    versions = {name: path for name, path in context.inputs.items() if name != "data"}
    pixels = _takes_pixels(context)
    dataset, specs = open_dataset(context, pixels=pixels), pixel_specs(_graphs(context)) if pixels else None
    write_json(context.out / "measured.json", measure_versions(context, dataset, versions, specs))


@stage
def bundle(context: Context) -> None:
    """Put graphs, manifest and receipt together."""
    manifest = _manifest(context)
    graphs = {
        precision: {name: context.inputs[precision] / f"{name}.onnx" for name in named}
        for precision, named in manifest.graphs.items()
    }
    paddle = {name: context.inputs["export"] / f"{name}.pdmodel" for name in manifest.paddle}
    folder = context.out / BUNDLE
    folder.mkdir()
    sentinel = _sentinel(context, manifest, graphs)
    write_bundle(folder, manifest, graphs, context.settings["receipt"], paddle, sentinel)


def _sentinel(context: Context, manifest: Manifest, graphs: Mapping[str, Mapping[str, Path]]) -> Path:
    from edge_kit.pipeline.sentinel import write_pack
    from runtimes.registry import get_runtime

    runs = {
        p: {name: get_runtime("onnx").load(path).run for name, path in named.items()} for p, named in graphs.items()
    }
    specs = {name: GraphSpec(inputs, tuple(manifest.outputs[name])) for name, inputs in manifest.inputs.items()}
    path = context.scratch / "sentinel.npz"
    dataset = open_dataset(context, pixels=_takes_pixels(context))
    write_pack(path, TASKS.get(manifest.task), dataset, specs, runs)
    return path


def _manifest(context: Context) -> Manifest:
    subject = subject_of(context.settings)
    specs, preprocess, exported = subject.graphs, subject.preprocess, context.inputs["export"]
    pixels = _takes_pixels(context)
    if pixels:
        specs, preprocess = pixel_specs(specs), preprocess.without_normalise()
    programs = {} if pixels else {name: exported / f"{name}.pdmodel" for name in specs}
    return Manifest(
        id=subject.id,
        title=subject.title,
        task=subject.task,
        target=context.settings["target"],
        graphs={p: {name: f"{p}/{name}.onnx" for name in specs} for p in ("fp32", "int8")},
        inputs={name: spec.inputs for name, spec in specs.items()},
        outputs={name: spec.outputs for name, spec in specs.items()},
        preprocess=preprocess.as_dict(),
        labels=open_dataset(context).labels,
        model=read_json(exported / "report.json")["size"],
        paddle={name: f"paddle/{name}.pdmodel" for name, program in programs.items() if program.is_file()},
    )


def _takes_pixels(context: Context) -> bool:
    return bool(context.settings.get("input", FLOAT) == PIXELS)


def _graphs(context: Context) -> Mapping[str, GraphSpec]:
    return subject_of(context.settings).graphs


def _export_graph(context: Context, net: Any, name: str, spec: GraphSpec) -> dict[str, int]:
    """One graph as Paddle inference model and canonical ONNX; returns rewrites by pass."""
    from convert.export import canonicalise, export_paddle, paddle_to_onnx

    export_paddle(net, spec, context.out / name)
    converted = context.scratch / f"{name}.onnx"
    paddle_to_onnx(context.out / name, converted, spec)
    return canonicalise(converted, context.out / f"{name}.onnx")


def _network(context: Context, dataset: Dataset, seed: int) -> Any:
    """The model's network for the data set, with the weights among the inputs, else random ones."""
    import paddle

    paddle.seed(seed)
    net = model_of(context.settings).build(**dataset.sizes)
    if "weights" in context.inputs:
        path = context.inputs["weights"]
        _load(context, net, path / WEIGHTS if path.is_dir() else path)
    net.eval()
    return net


def _load(context: Context, net: Any, path: Path) -> None:
    """Load weights, of a pruned network too; what the network gives out must keep its shape.

    Raises:
        BadData: They are of another network, or of another number of classes.
    """
    from compress.prune.reshape import fit_to_weights

    wanted = _output_shapes(context, net)
    try:
        fit_to_weights(net, load_weights(path))
        given = _output_shapes(context, net)
    except (BadData, ValueError) as error:
        raise BadData(f"weights {path.name!r} do not fit {context.settings['id']!r}: {one_line(error)}") from None
    for name, shape in wanted.items():
        if given[name] != shape:
            raise BadData(
                f"weights {path.name!r} do not fit this data set: {name!r} would be {given[name]} and must be {shape}"
            )


def _output_shapes(context: Context, net: Any) -> dict[str, tuple[int, ...]]:
    from edge_kit.train.inference import layer_run

    shapes = {}
    for graph, spec in _graphs(context).items():
        outputs = layer_run(net, spec)(random_inputs(spec.inputs, 1, 0))
        shapes.update({f"{graph}/{name}": value.shape for name, value in outputs.items()})
    return shapes


def _save_network(net: Any, out: Path, metadata: dict[str, str]) -> None:
    save_weights(out / WEIGHTS, {name: value.numpy() for name, value in net.state_dict().items()}, metadata)


def _network_size(net: Any, specs: Mapping[str, GraphSpec]) -> dict[str, int]:
    from compress.prune.macs import count_macs

    parameters = sum(int(p.size) for p in net.parameters() if not p.stop_gradient)
    macs = sum(count_macs(spec.part(net), _input_shapes({name: spec})) for name, spec in specs.items())
    return {"parameters": parameters, "macs": macs}


def _input_shapes(specs: Mapping[str, GraphSpec]) -> dict[str, tuple[int, ...]]:
    return {tensor.name: tensor.with_batch(1) for spec in specs.values() for tensor in spec.inputs}


def _calibration(context: Context) -> dict[str, list[Tensors]]:
    """What every graph is calibrated on; a graph that reads another's output is fed by the float one."""
    from runtimes.registry import get_runtime

    paths = {name: context.inputs["export"] / f"{name}.onnx" for name in _graphs(context)}
    runs = {name: get_runtime("onnx").load(path).run for name, path in paths.items()}
    return _feeds(context, open_dataset(context), runs, context.settings["calibration"])


def _feeds(context: Context, dataset: Dataset, runs: Graphs, samples: int) -> dict[str, list[Tensors]]:
    task = TASKS.get(subject_of(context.settings).task)
    found: dict[str, list[Tensors]] = {name: [] for name in runs}
    total = min(samples, dataset.train_size())
    for i, batch in enumerate(dataset.calibration_batches(samples, CALIBRATION_BATCH)):
        for name, inputs in task.feeds(runs, batch).items():
            found[name].append(inputs)
        context.progress(min(i * CALIBRATION_BATCH, total), total, "calibration samples")
    return found


def calibration_digest(feeds: Mapping[str, list[Tensors]]) -> dict[str, Any]:
    """What the calibration set was, so that a receipt can be held to it."""
    digest = hashlib.sha256()
    for graph in sorted(feeds):
        for batch in feeds[graph]:
            for name in sorted(batch):
                digest.update(f"{graph}/{name}".encode() + batch[name].tobytes())
    first = next(iter(feeds.values()))
    samples = sum(len(next(iter(batch.values()))) for batch in first)
    return {"samples": samples, "sha256": digest.hexdigest()}
