"""What each stage does: glue between one room's call and files. Runs in a child process; see `worker`."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_kit.core.bundle import write_bundle
from edge_kit.core.errors import EdgeKitError, UsageError
from edge_kit.core.files import read_json, write_json
from edge_kit.core.registry import Registry
from edge_kit.core.tensors import Tensors
from edge_kit.data import FORMATS, MiniSettings
from edge_kit.pipeline.bundles import BUNDLE
from edge_kit.pipeline.contents import manifest_of, write_sentinel
from edge_kit.pipeline.exports import PARITY_SAMPLES, export_graph, export_network
from edge_kit.pipeline.feeds import CALIBRATION_BATCH, calibration_feeds, digest_of, feeds_of, graphs_of
from edge_kit.pipeline.job import Context
from edge_kit.pipeline.networks import build_network, input_shapes, save_network
from edge_kit.pipeline.pixels import normalised_first, picture_of, pixel_specs, takes_pixels
from edge_kit.pipeline.sources import model_of, open_dataset
from edge_kit.pipeline.subject import subject_of
from edge_kit.tasks import TASKS
from edge_kit.train.recipe import Recipe

if TYPE_CHECKING:
    from convert.lower import LowerReport
    from convert.observe import Observer
    from edge_kit.pipeline.mixed import Judge, Lowering

STAGES: Registry[Callable[[Context], None]] = Registry("stage")
JUDGED = "judged.json"
RANKING = "ranking.json"
MIXED = "mixed.json"  # of the stage that left layers in float: which, and why
QUANTIZATION = "quantization.json"  # of the stage that chose the ranges: how, and on what
OBSERVED, SHOWN = "observed.json", "shown.json"  # of a bundle, for a report
MOST_OPERATORS = 2000  # PaddleSlim's last pass takes time by their square: 17 minutes and no end for LAC's 3,404
FIRST_RANGES = 20  # batches that ranges settle on before training


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
    from edge_kit.pipeline import training

    training.train(context)


@stage
def score(context: Context) -> None:
    """The metric of full-precision weights, in Paddle itself."""
    from edge_kit.train.inference import layer_run

    entry = model_of(context.settings)
    dataset = open_dataset(context)
    net = build_network(context, dataset, 0)
    runs = {name: layer_run(net, spec) for name, spec in graphs_of(context).items()}
    metrics = TASKS.get(entry.task).evaluate(runs, dataset, context.progress)
    write_json(context.out / "metrics.json", [asdict(metric) for metric in metrics])


@stage
def weights(context: Context) -> None:
    """Take weights from a file as they are."""
    dataset = open_dataset(context)
    net = build_network(context, dataset, 0)
    save_network(net, context.out, {"id": str(context.settings["id"]), "data": dataset.name})


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
    net = build_network(context, dataset, 0)
    shapes = input_shapes(graphs_of(context))
    chosen = PruneSettings(flops_share=context.settings["share"], criterion=context.settings["criterion"])
    report = prune_filters(net, shapes, chosen)
    save_network(net, context.out, {"id": entry.id, "data": dataset.name})
    write_json(context.out / "report.json", asdict(report))


@stage
def export(context: Context) -> None:
    """Paddle inference model and canonical float ONNX of every graph, and the parity between the two."""
    dataset = open_dataset(context)
    export_network(context, dataset, build_network(context, dataset, 0))


@stage
def settled(context: Context) -> None:
    """The published network with random weights that suit its inputs, exported as `export` does it."""
    import paddle

    from edge_kit.train.inference import layer_run
    from edge_kit.train.settle import settle

    paddle.seed(0)
    entry, dataset = model_of(context.settings), open_dataset(context)
    net = entry.build(**entry.published_sizes)
    runs = {name: layer_run(net, spec) for name, spec in graphs_of(context).items()}
    for name, spec in graphs_of(context).items():
        settle(net, spec, feeds_of(context, dataset, runs, CALIBRATION_BATCH)[name][0])
    export_network(context, dataset, net)


@stage
def parity(context: Context) -> None:
    """Every precision on one runtime, held against full precision on ONNX Runtime."""
    from edge_kit.pipeline.parity import score_runtime

    write_json(context.out / "parity.json", score_runtime(context, open_dataset(context)))


@stage
def camera(context: Context) -> None:
    """Float graphs that take pixels, and how far they are from normalising first."""
    from convert.graph import Graph
    from convert.parity import measure_parity
    from convert.passes.camera import take_pixels
    from runtimes.registry import get_runtime

    preprocess, parity = subject_of(context.settings).preprocess, {}
    specs = graphs_of(context)
    runs = {}
    for name, spec in specs.items():
        before, picture = context.inputs["export"] / f"{name}.onnx", picture_of(spec)
        graph = Graph.load(before)
        if picture is not None:
            take_pixels(graph, picture, preprocess)
        graph.save(context.out / f"{name}.onnx")
        runs[name] = normalised_first(get_runtime("onnx").load(before).run, spec, preprocess)
    feeds = feeds_of(context, open_dataset(context, pixels=True), runs, PARITY_SAMPLES)
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
    for name, spec in graphs_of(context).items():
        export_graph(context, net, name, spec)


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
def pieces(context: Context) -> None:
    """Whether INT8 is right tensor by tensor, however far rounding piles up."""
    from edge_kit.pipeline.parity import compare_pieces

    write_json(context.out / "pieces.json", compare_pieces(context, open_dataset(context)))


@stage
def receive(context: Context) -> None:
    """A user's model in the form that `export` gives one of the zoo, and how far ONNX is off its Paddle program."""
    from convert.export import canonicalise, name_interface
    from convert.intake import count_parameters, take_onnx

    [(name, spec)] = graphs_of(context).items()
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
    feeds = feeds_of(context, open_dataset(context), {graph.stem: onnx.run}, PARITY_SAMPLES)[graph.stem]
    return [asdict(one) for one in measure_parity(paddle.run, onnx.run, feeds)]


@stage
def quantize(context: Context) -> None:
    """PaddleSlim's post-training quantization of every graph, as fake-quantized ONNX.

    A program of thousands of written-out steps goes on as it is, and the ranges are found where it is lowered.
    """
    from compress import slim
    from compress.quantize.ptq import PtqSettings, quantize_static
    from convert.export import paddle_to_onnx
    from convert.passes.unrounded import unround_weights_in

    feeds = calibration_feeds(context)
    settings = PtqSettings(algorithm=context.settings["algorithm"])
    for name, spec in graphs_of(context).items():
        program = context.inputs["export"] / name
        if slim.operator_count(program) > MOST_OPERATORS:
            shutil.copyfile(program.with_suffix(".onnx"), context.out / f"{name}.onnx")
            continue
        fake = context.scratch / f"{name}.quantized"
        quantize_static(program, fake, feeds[name], settings)
        quantized = context.out / f"{name}.onnx"
        paddle_to_onnx(fake, quantized, spec)
        unround_weights_in(quantized, program.with_suffix(".onnx"))
    write_json(context.out / QUANTIZATION, {"settings": asdict(settings), "calibration": digest_of(feeds)})


@stage
def qat(context: Context) -> None:
    """Training with the rounding in it, then every graph with the ranges that it learnt, as fake-quantized ONNX.

    What the task's labels allow for is taught by the float network.
    """
    from compress.quantize.qat import Quantizers
    from convert.export import input_specs, paddle_to_onnx
    from convert.passes.learnt import place_ranges_in
    from edge_kit.train.imitate import imitating
    from edge_kit.train.statistics import frozen_statistics
    from edge_kit.train.trainer import fit, run_through

    task, dataset = TASKS.get(model_of(context.settings).task), open_dataset(context)
    recipe = Recipe(**context.settings["recipe"])
    build = partial(build_network, context, dataset, recipe.seed)
    net, objective = build(), imitating(task, build)
    quantizers = Quantizers(*(spec.part(net) for spec in graphs_of(context).values()))
    with frozen_statistics(net), quantizers.growing():
        run_through(net, task, dataset, recipe, FIRST_RANGES)
        report = fit(net, objective, dataset, recipe, context.scratch, context.progress)
    lost: set[str] = set()
    for name, spec in graphs_of(context).items():
        trained, out = context.scratch / f"{name}.trained", context.out / f"{name}.onnx"
        ranges = quantizers.save(spec.part(net), trained, input_specs(spec))
        paddle_to_onnx(trained, out, spec)
        lost |= ranges.keys() - place_ranges_in(out, ranges)
    if lost:
        raise EdgeKitError(
            f"the ranges that {len(lost)} layers learnt were lost on the way to ONNX, first that of {min(lost)!r}; "
            "the network does something that this exporter does not follow: please report it"
        )
    write_json(context.out / QUANTIZATION, {"settings": {"recipe": asdict(recipe)}, "training": asdict(report)})


@stage
def lower(context: Context) -> None:
    """INT8 graphs for one target; ranges are found here where no quantizer did before."""
    feeds = calibration_feeds(context)
    _write_lowering(context, _lowering(context, feeds)({}, context.out), feeds)


@stage
def judge(context: Context) -> None:
    """What INT8 graphs lose, on training samples."""
    write_json(context.out / JUDGED, asdict(_judge(context).check(context.inputs["int8"])))


@stage
def sensitivity(context: Context) -> None:
    """The harm that each layer's quantization alone does, the most harmful first."""
    from convert.sensitivity import rank_layers
    from runtimes.targets import TARGETS

    feeds, target = calibration_feeds(context), TARGETS[context.settings["target"]]
    ranked = [
        {"graph": path.stem, **asdict(harm)}
        for path in _fake_quantized(context)
        for harm in rank_layers(path, target, feeds[path.stem], context.progress, _observer(context))
    ]
    samples = digest_of(feeds)["samples"]
    write_json(context.out / RANKING, {"samples": samples, "layers": sorted(ranked, key=lambda one: -one["noise"])})


@stage
def mix(context: Context) -> None:
    """INT8 graphs with the fewest layers in float that keep the loss within what is allowed."""
    from edge_kit.pipeline.mixed import Search

    ranking = read_json(context.inputs["sensitivity"] / RANKING)["layers"]
    feeds = calibration_feeds(context)
    search = Search(_lowering(context, feeds), ranking, _judge(context), context.scratch)
    reports, mixed = search.run(context.out, context.progress)
    _write_lowering(context, reports, feeds)
    write_json(context.out / MIXED, mixed)


@stage
def measure(context: Context) -> None:
    """Metric, agreement and latency of every version, on one runtime, latencies in turn."""
    from edge_kit.pipeline.measure import measure_versions

    versions = {name: path for name, path in context.inputs.items() if name != "data"}
    pixels = takes_pixels(context)
    dataset, specs = open_dataset(context, pixels=pixels), pixel_specs(graphs_of(context)) if pixels else None
    write_json(context.out / "measured.json", measure_versions(context, dataset, versions, specs))


@stage
def chance(context: Context) -> None:
    """What answers score that have nothing to do with what is shown."""
    from edge_kit.pipeline.measure import measure_chance

    write_json(context.out / "metrics.json", measure_chance(context, open_dataset(context)))


@stage
def bundle(context: Context) -> None:
    """Put graphs, manifest and receipt together."""
    manifest = manifest_of(context)
    graphs = {
        precision: {name: context.inputs[precision] / f"{name}.onnx" for name in named}
        for precision, named in manifest.graphs.items()
    }
    paddle = {name: context.inputs["export"] / f"{name}.pdmodel" for name in manifest.paddle}
    folder = context.out / BUNDLE
    folder.mkdir()
    sentinel = write_sentinel(context, manifest, graphs)
    write_bundle(folder, manifest, graphs, context.settings["receipt"], paddle, sentinel)


@stage
def observe(context: Context) -> None:
    """A bundle on one runtime: metric, agreement, and every single time."""
    from edge_kit.pipeline.observe import observe_runtime

    dataset = open_dataset(context, pixels=takes_pixels(context))
    write_json(context.out / OBSERVED, observe_runtime(context, dataset))


@stage
def show(context: Context) -> None:
    """Operators, errors and some answers of a bundle."""
    from edge_kit.pipeline.observe import show_bundle

    dataset = open_dataset(context, pixels=takes_pixels(context))
    write_json(context.out / SHOWN, show_bundle(context, dataset))


def _fake_quantized(context: Context) -> list[Path]:
    return sorted(context.inputs["quantize"].glob("*.onnx"))


def _observer(context: Context) -> Observer | None:
    """Of ranges, where no quantizer found them."""
    from convert.observe import Observer

    algorithm = context.settings.get("algorithm")
    return Observer(algorithm) if algorithm else None


def _lowering(context: Context, feeds: Mapping[str, list[Tensors]]) -> Lowering:
    """A function that lowers every graph into a folder, some of its layers left in float."""
    from convert.lower import Camera, lower
    from runtimes.targets import TARGETS

    target, observer = TARGETS[context.settings["target"]], _observer(context)

    def lower_all(keep_float: Mapping[str, Sequence[str]], out: Path) -> dict[str, LowerReport]:
        reports = {}
        for path in _fake_quantized(context):
            name = path.stem
            picture = picture_of(graphs_of(context)[name]) if takes_pixels(context) else None
            entry = Camera(picture, subject_of(context.settings).preprocess) if picture else None
            kept = keep_float.get(name, ())
            reports[name] = lower(path, out / path.name, target, feeds[name], observer, entry, kept)
        return reports

    return lower_all


def _write_lowering(context: Context, reports: Mapping[str, LowerReport], feeds: Mapping[str, list[Tensors]]) -> None:
    write_json(context.out / "report.json", {name: asdict(report) for name, report in reports.items()})
    observer = _observer(context)
    if observer:
        write_json(context.out / QUANTIZATION, {"settings": asdict(observer), "calibration": digest_of(feeds)})


def _judge(context: Context) -> Judge:
    from edge_kit.pipeline.mixed import Judge, TrainingSamples

    samples = TrainingSamples(open_dataset(context, pixels=takes_pixels(context)))
    task = TASKS.get(subject_of(context.settings).task)
    return Judge(task, samples, context.inputs["fp32"], context.settings["max_drop"], context.settings["min_agreement"])
