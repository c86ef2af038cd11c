"""Runs again what a receipt claims, and says claim by claim whether it holds here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from convert.parity import Parity, measure_parity
from edge_kit.core.bundle import FULL, SMALL, Bundle
from edge_kit.core.errors import BadData, EdgeKitError
from edge_kit.core.tensors import Graphs, Tensors, random_inputs
from edge_kit.pipeline.checks import NOT_SHIPPED
from edge_kit.pipeline.exports import PARITY_SAMPLES
from edge_kit.pipeline.feeds import digest_of, training_feeds
from edge_kit.pipeline.gate import Measured, first_difference, measure_on
from edge_kit.pipeline.measure import output_differences
from edge_kit.pipeline.parity import REFERENCE, BundleScene, open_scene
from edge_kit.pipeline.runner import Reporter, Runner, installed_version
from runtimes.deploy import load_bundle
from runtimes.registry import get_runtime
from runtimes.targets import cpu_name, this_machine

HOLDS, DIFFERS, UNCHECKED = "holds", "differs", "cannot be checked here"
ENGINE = "onnxruntime"
ROUNDING = 0.5
"""Points: another engine or instruction set rounds in another way, and samples on the edge fall to the other side."""
ERROR_SHARE = 0.2
"""Of a largest error, which hangs on a single value: it may differ by so much where rounding does."""
SPEED_SHARE = 0.15
"""Of a ratio of latencies, which was measured on another day."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One statement of a receipt.

    Attributes:
        claimed: As the receipt has it.
        found: Here; None where it cannot be checked.
        outcome: `holds`, `differs` or `cannot be checked here`.
        note: By how much it differs, or why it cannot be checked.
    """

    name: str
    claimed: Any
    found: Any
    outcome: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class _Here:
    """A bundle and its receipt on this machine.

    Attributes:
        alike: Whether the engine and the instruction set are those of the receipt, so that numbers must be equal.
    """

    bundle: Bundle
    receipt: Mapping[str, Any]
    alike: bool

    @property
    def models(self) -> Mapping[str, Any]:
        """What the receipt says of each version, but of one that was measured only and left no file."""
        return {version: model for version, model in self.receipt["models"].items() if version != NOT_SHIPPED}


def reproduce(bundle: Bundle, data: Path | None, runner: Runner, reporter: Reporter) -> list[Claim]:
    """Every claim of a bundle's receipt.

    Args:
        data: What it was made on; the mini set where None.

    Raises:
        BadData: The receipt lacks what every receipt has.
    """
    claims = [_files(bundle)]
    receipt = bundle.receipt()
    try:
        engine = receipt["versions"].get(ENGINE)
        alike = engine == installed_version(ENGINE) and receipt["machine"]["isa"] == this_machine().name
        here = _Here(bundle, receipt, alike)
        claims += [*_versions(receipt), *_sizes(here), *_programs(here)]
        made_on = receipt["request"]["data"]
        if made_on != "mini" and data is None:
            return [*claims, *_unchecked(f"it was made on {made_on}; pass --data with it")]
        scene = open_scene(bundle, data, runner, reporter)
        claims.append(_reference(here, scene))
        claims.append(_calibration(here, scene))
        reporter.started("measuring")
        measured = measure_on(scene, REFERENCE)
        claims += [*_scores(here, measured), *_differences(here, scene), *_speed(here, measured)]
    except (KeyError, TypeError, AttributeError) as error:
        raise BadData(
            f"receipt of {str(bundle.path)!r} cannot be read (it lacks {error}); make the bundle again"
        ) from None
    return claims


def _files(bundle: Bundle) -> Claim:
    try:
        bundle.verify()
    except EdgeKitError as fault:
        return Claim("files", "unchanged", "changed", DIFFERS, str(fault))
    return Claim("files", "unchanged", "unchanged", HOLDS, "SHA-256 of every file")


def _versions(receipt: Mapping[str, Any]) -> Iterator[Claim]:
    """Other versions are no fault of the bundle; they are told, as they may be why a number differs."""
    for name, version in receipt["versions"].items():
        found = installed_version(name)
        if found == version:
            yield Claim(f"version of {name}", version, found, HOLDS)
        else:
            yield Claim(f"version of {name}", version, found, UNCHECKED, f"{found or 'none'} is installed here")


def _sizes(here: _Here) -> Iterator[Claim]:
    """The bundle's FP32 is that of the last float version: what was pruned before has left no file."""
    models = here.models
    full = [version for version in models if version != SMALL][-1]
    for version, precision in ((full, FULL), (SMALL, SMALL)):
        claimed, found = models[version]["size_bytes"], here.bundle.size_bytes(precision)
        yield _number(f"{version} bytes", claimed, found, 0.0)


def _programs(here: _Here) -> Iterator[Claim]:
    """Paddle's program against ONNX, on random inputs where the data set is not at hand."""
    limit = here.receipt["limits"]["max_parity"]
    for version, graphs in here.receipt["parity"].items():
        for graph, rows in graphs.items():
            found, fault = _outputs_off(here.bundle, version, graph)
            for row in rows:
                yield _parity(f"{version} parity {graph}/{row['output']}", row, found, fault, limit)


def _outputs_off(bundle: Bundle, version: str, graph: str) -> tuple[list[Parity], str]:
    """How far ONNX is off Paddle, every output of a graph, or why nobody can tell."""
    try:
        if version != FULL or bundle.takes_pixels():
            raise BadData(f"the bundle holds no Paddle program of {version}")
        program = get_runtime("paddle").load(bundle.paddle_graph(graph))
        onnx = get_runtime(REFERENCE).load(bundle.graph(FULL, graph))
        return measure_parity(program.run, onnx.run, _random(bundle, graph)), ""
    except EdgeKitError as fault:
        return [], str(fault)


def _parity(name: str, row: Mapping[str, Any], found: list[Parity], fault: str, limit: float) -> Claim:
    if fault:
        return Claim(name, row["max_rel"], None, UNCHECKED, fault)
    try:
        off = _find(found, row["output"]).max_rel
    except EdgeKitError as error:
        return Claim(name, row["max_rel"], None, UNCHECKED, str(error))
    outcome = HOLDS if off <= limit else DIFFERS
    return Claim(name, row["max_rel"], off, outcome, f"at most {limit:g}; random inputs here")


def _random(bundle: Bundle, graph: str) -> Iterator[Tensors]:
    for seed in range(PARITY_SAMPLES):
        yield random_inputs(bundle.manifest.inputs[graph], 1, seed)


def _reference(here: _Here, scene: BundleScene) -> Claim:
    claimed, rows = here.receipt["reference"], [asdict(row) for row in scene.subject.references]
    difference = first_difference(claimed, rows)
    note = f"{difference[0]} is {difference[1]!r} there and {difference[2]!r} in this zoo" if difference else ""
    return Claim("published rows", len(claimed), len(rows), DIFFERS if difference else HOLDS, note)


def _calibration(here: _Here, scene: BundleScene) -> Claim:
    """The very samples that ranges were found on, once more."""
    claimed = here.receipt["quantization"]["calibration"]
    wanted = here.receipt["request"]["calibration"]
    if here.bundle.takes_pixels():
        return Claim(
            "calibration set", claimed["sha256"], None, UNCHECKED, "the graphs take pixels, and floats were used"
        )
    full = _runs(here.bundle, FULL)
    feeds = training_feeds(scene.task, scene.dataset, full, wanted, scene.progress)
    found = digest_of(feeds)
    same = found == claimed
    note = f"{claimed['samples']} samples" if same else "the samples are others, or are read in another way here"
    return Claim("calibration set", claimed["sha256"], found["sha256"], HOLDS if same else DIFFERS, note)


def _scores(here: _Here, measured: Measured) -> Iterator[Claim]:
    if measured.agreement is None:
        yield Claim("metrics", None, None, UNCHECKED, measured.reason)
        return
    models = here.models
    full = [version for version in models if version != SMALL][-1]
    slack = 0.0 if here.alike else ROUNDING
    for version, precision in ((full, FULL), (SMALL, SMALL)):
        for claimed, found in zip(models[version]["metrics"], measured.metrics[precision], strict=True):
            note = f"{found.samples} samples of {found.dataset}, {claimed['samples']} of {claimed['dataset']} there"
            yield _number(f"{version} {found.name}", claimed["value"], found.value, slack, note)
    agreement = here.receipt["agreement"][SMALL]
    if full == FULL:  # a pruned network was compared with the whole one, which the bundle does not hold
        yield _number(f"{SMALL} {agreement['name']}", agreement["value"], measured.agreement.value, slack)


def _differences(here: _Here, scene: BundleScene) -> Iterator[Claim]:
    if FULL not in here.models or len(here.models) > 2:
        return
    found = output_differences(scene.task, _runs(here.bundle, FULL), _runs(here.bundle, SMALL), scene.dataset)
    for graph, rows in here.receipt["differences"][SMALL].items():
        for row in rows:
            error = _find(found[graph], row["output"]).max_rel
            slack = (1e-6 if here.alike else ERROR_SHARE) * abs(row["max_rel"])
            yield _number(f"{SMALL} largest error {graph}/{row['output']}", row["max_rel"], error, slack)


def _speed(here: _Here, measured: Measured) -> Iterator[Claim]:
    models = here.models
    if measured.speed is None or FULL not in models or len(models) > 2:
        return
    claimed = models[SMALL]["latency"]["p50_ms"] / models[FULL]["latency"]["p50_ms"]
    found, there = 1 / measured.speed.ratio, here.receipt["machine"]["cpu"]
    name = f"{SMALL} latency ratio"
    if there != cpu_name() or not here.alike:
        note = f"{found:.3f} here; it was measured on {there}, {here.receipt['machine']['isa']}"
        yield Claim(name, claimed, None, UNCHECKED, note)
    elif measured.noise and abs(found / claimed - 1) > SPEED_SHARE:
        yield Claim(
            name, claimed, None, UNCHECKED, f"{found:.3f} here, on a machine that is not quiet: {measured.noise}"
        )
    else:
        yield _number(name, claimed, found, SPEED_SHARE * claimed)


def _number(name: str, claimed: float, found: float, slack: float, note: str = "") -> Claim:
    off = found - claimed
    if abs(off) <= slack + 1e-9:
        return Claim(name, claimed, found, HOLDS, note)
    return Claim(name, claimed, found, DIFFERS, f"by {off:+.6g}; {note}".strip("; "))


def _unchecked(why: str) -> list[Claim]:
    names = ("published rows", "calibration set", "metrics", f"{SMALL} latency ratio")
    return [Claim(name, None, None, UNCHECKED, why) for name in names]


def _runs(bundle: Bundle, precision: str) -> Graphs:
    return {name: session.run for name, session in load_bundle(bundle, precision=precision).items()}


def _find(rows: list[Parity], output: str) -> Parity:
    for row in rows:
        if row.output == output:
            return row
    raise BadData(f"no graph gives an output {output!r}")
