"""A model of the user's own, from its file to a checked bundle, as the command line does it."""

import hashlib
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import helper

from edge_kit.core.bundle import Bundle
from edge_kit.core.errors import EdgeKitError
from edge_kit.core.tensors import MAIN
from edge_kit.core.workspace import Workspace
from edge_kit.pipeline.own import OwnOptions, take_own
from edge_kit.pipeline.runner import Runner
from edge_kit.report.progress import ConsoleReporter
from tests.conftest import ANY_RATIO, Cli, Result
from tests.convert.graphs import build
from tests.convert.networks import MOBILENETV2, float_graph, untrained

ANY = (*ANY_RATIO, "--min-agreement", "0")
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MobileNetV2 with random weights as a Paddle program and as ONNX, samples for it, and pictures."""
    folder = tmp_path_factory.mktemp("mine")
    float_graph(untrained(lambda: MOBILENETV2.build(num_classes=10)), folder)
    (folder / "converted.onnx").rename(folder / "my net.onnx")
    np.savez(folder / "s.npz", image=RNG.normal(0, 1, (24, 3, 64, 64)).astype(np.float32))
    (folder / "shots").mkdir()
    for i in range(6):
        cv2.imwrite(str(folder / f"shots/{i}.png"), RNG.integers(0, 256, (70, 90, 3), np.uint8))
    return folder


@pytest.fixture(scope="module")
def of_onnx(folder: Path, session_cli: Cli) -> Result:
    return session_cli("compress", str(folder / "my net.onnx"), "--data", str(folder / "s.npz"), *ANY, "--json")


@pytest.fixture(scope="module")
def of_paddle(folder: Path, session_cli: Cli) -> Result:
    return session_cli("compress", str(folder / "float.pdmodel"), "--data", str(folder / "s.npz"), *ANY, "--json")


def test_an_onnx_file_becomes_a_checked_bundle(of_onnx: Result) -> None:
    assert of_onnx.code == 0, of_onnx.err
    report = of_onnx.json
    assert report["id"] == "my-net"
    assert [stage["name"] for stage in report["stages"]] == ["receive", "lower", "judge", "measure", "bundle"]
    assert [check["name"] for check in report["checks"]] == [
        "int8 same argmax",
        "int8 size ratio",
        "int8 latency ratio",
    ]
    assert all(model["metric"] is None for model in report["models"].values())
    assert report["models"]["int8"]["size_bytes"] < 0.3 * report["models"]["fp32"]["size_bytes"]
    assert report["facts"]["lowering"]["main"]["quantized"]["Conv"] == 53
    manifest = Bundle(Path(report["bundle"])).manifest
    assert (manifest.task, manifest.preprocess, manifest.paddle) == ("own", {"kind": "arrays"}, {})
    assert manifest.inputs[MAIN][0].shape == ("N", 3, 64, 64)


def test_the_receipt_holds_the_digest_of_what_was_calibrated_on_and_it_was_not_evaluated(
    of_onnx: Result, folder: Path
) -> None:
    quantization = Bundle(Path(of_onnx.json["bundle"])).receipt()["quantization"]
    calibrated = np.load(folder / "s.npz")["image"][::2]
    digest = hashlib.sha256(b"main/image" + calibrated.tobytes()).hexdigest()
    assert quantization["settings"]["algorithm"] == "hist"
    assert quantization["calibration"] == {"samples": 12, "sha256": digest}
    agreement = of_onnx.json["facts"]["agreement"]["int8"]
    assert (agreement["samples"], agreement["dataset"]) == (12, "s.npz, held out")


def test_a_paddle_program_is_calibrated_by_paddleslim_and_held_to_parity(of_paddle: Result) -> None:
    assert of_paddle.code == 0, of_paddle.err
    stages = [stage["name"] for stage in of_paddle.json["stages"]]
    assert stages == ["adopt", "receive", "quantize", "lower", "judge", "measure", "bundle"]
    [parity] = [check for check in of_paddle.json["checks"] if "parity" in check["name"]]
    assert parity["ok"]
    assert parity["value"] < 1e-5
    assert of_paddle.json["facts"]["quantization"]["settings"]["hist_percent"] == 0.99999
    assert (Path(of_paddle.json["bundle"]) / "paddle/main.pdmodel").is_file()


def test_verify_bench_and_explain_take_the_bundle(of_paddle: Result, folder: Path, session_cli: Cli) -> None:
    name = Path(of_paddle.json["bundle"]).name
    assert name == "float-s"
    done = session_cli("verify", name, "--runtime", "onnx,paddle", "--data", str(folder / "s.npz"), "--json")
    assert done.code == 0, done.err
    rows = {(row["precision"], row["runtime"]): row for row in done.json[0]["parity"]}
    assert rows["fp32", "paddle"]["max_rel"] < 1e-5
    assert rows["int8", "onnx"]["agreement"]["name"] == "same argmax"
    without = session_cli("verify", name, "--runtime", "onnx")
    assert without.code == 2
    assert "a model of your own; pass --data with samples" in without.err
    timed = session_cli("bench", name, "--repeats", "5", "--seconds", "0", "--json")
    assert [row["model"] for row in timed.json["rows"]] == [f"{name} fp32", f"{name} int8"]
    explained = session_cli("explain", name, "--json")
    assert explained.code == 0, explained.err
    assert f"float.pdmodel --data {folder / 's.npz'}" in explained.json["graphs"][0]["remedy"]


def test_pictures_are_prepared_in_a_way_that_is_said_aloud(folder: Path, session_cli: Cli) -> None:
    done = session_cli("compress", str(folder / "my net.onnx"), "--data", str(folder / "shots"), *ANY)
    assert done.code == 0, done.err
    assert "note: pictures: shorter side to 73, centre 64 x 64, RGB, mean 0.485/0.456/0.406" in done.out
    manifest = Bundle(session_cli.workspace / "bundles/my-net-shots").manifest
    assert manifest.preprocess["kind"] == "image"
    assert manifest.preprocess["resize_short"] == 73


def open_net(path: Path) -> Path:
    """A convolution, a sum and an operator without INT8 kernels, of any height and width."""
    nodes = [
        helper.make_node("Conv", ["a", "w"], ["c"]),
        helper.make_node("Add", ["c", "b"], ["s"]),
        helper.make_node("Softsign", ["s"], ["y"]),
    ]
    weights = {"w": RNG.normal(0, 1, (3, 3, 1, 1)).astype(np.float32)}
    axes: list[int | str] = ["batch", 3, "h", "w"]
    onnx.save(build(nodes, weights, {"a": axes, "b": axes}, {"y": axes}).to_model(), path)
    return path


def test_open_axes_take_their_sizes_from_the_samples_and_float_islands_are_told(
    session_cli: Cli, tmp_path: Path
) -> None:
    values = RNG.normal(0, 1, (2, 8, 3, 6, 10)).astype(np.float32)
    np.savez(tmp_path / "s.npz", a=values[0], b=values[1])
    done = session_cli(
        "compress", str(open_net(tmp_path / "open.onnx")), "--data", str(tmp_path / "s.npz"), *ANY, "--json"
    )
    assert done.code == 0, done.err
    bundle = Bundle(Path(done.json["bundle"]))
    assert {spec.name: spec.shape for spec in bundle.manifest.inputs[MAIN]} == dict.fromkeys("ab", ("N", 3, 6, 10))
    assert done.json["facts"]["notes"] == ["left in float, as no INT8 kernel fits: 1 Softsign"]
    agreement = done.json["facts"]["agreement"]["int8"]
    assert (agreement["name"], agreement["unit"]) == ("signal to quantization noise", "dB")
    assert agreement["value"] > 30


def silent_runner(workspace: Path) -> Runner:
    """For requests that are refused before a stage runs."""
    return Runner(Workspace.open(workspace), ConsoleReporter(), workspace / "log")


def test_what_does_not_fit_is_one_line(folder: Path, tmp_path: Path) -> None:
    net, samples, shots = folder / "my net.onnx", folder / "s.npz", folder / "shots"
    black = tmp_path / "black"
    black.mkdir()
    cv2.imwrite(str(black / "0.png"), np.zeros((70, 70, 3), np.uint8))
    axes: list[int | str] = ["N", 3, "h", "w"]
    open_image = build([helper.make_node("Neg", ["x"], ["y"])], {}, {"x": axes}, {"y": axes}).to_model()
    onnx.save(open_image, tmp_path / "any.onnx")
    none = OwnOptions()
    cases: list[tuple[Path, Path | None, OwnOptions, str]] = [
        (net, None, none, "follow from samples; pass --data FILE.npz or a folder of images"),
        (net, tmp_path / "none.npz", none, "none.npz' does not exist"),
        (net, net, none, "neither a folder of images nor a .npz file"),
        (net, black, none, "of one value throughout, as black ones are"),
        (net, samples, OwnOptions(mean=(0.0, 0.0, 0.0)), "arrays are fed as they are"),
        (net, samples, OwnOptions({"imgae": (1, 3, 64, 64)}), "unknown input 'imgae'; did you mean 'image'?"),
        (net, samples, OwnOptions({"image": (1, 3, 32, 32)}), "(1, 3, 32, 32) does not fit"),
        (tmp_path / "any.onnx", shots, none, "input 'x' has open axes (N, 3, h, w); fix them: --shape"),
        (tmp_path / "no.onnx", samples, none, "no.onnx' does not exist"),
        (tmp_path / "no.json", samples, none, "new program format"),
    ]
    for model, data, options, message in cases:
        with pytest.raises(EdgeKitError) as fault:
            take_own(str(model), data, 0, options, silent_runner(tmp_path / "workspace"))
        assert message in str(fault.value)
        assert "\n" not in str(fault.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--prune", "0.5"), "leave out --prune and --weights"),
        (("--mean", "a,b,c"), "--mean takes R,G,B"),
    ],
)
def test_options_that_make_no_sense_are_exit_code_2(
    options: tuple[str, ...], message: str, folder: Path, session_cli: Cli
) -> None:
    done = session_cli("compress", str(folder / "my net.onnx"), "--data", str(folder / "s.npz"), *options)
    assert done.code == 2
    assert done.is_one_line(), done.err
    assert message in done.err


def test_a_zoo_model_brings_its_own_preprocessing(session_cli: Cli) -> None:
    done = session_cli("compress", "toynet", "--resize", "64")
    assert done.code == 2
    assert "are for a model of your own; 'toynet' brings them" in done.err


def test_shape_fixes_what_pictures_do_not(folder: Path, tmp_path: Path) -> None:
    axes: list[int | str] = ["N", 3, "h", "w"]
    graph = build([helper.make_node("Neg", ["x"], ["y"])], {}, {"x": axes}, {"y": axes})
    onnx.save(graph.to_model(), tmp_path / "any.onnx")
    options = OwnOptions({"x": (1, 3, 24, 48)})
    model = take_own(str(tmp_path / "any.onnx"), folder / "shots", 0, options, silent_runner(tmp_path / "workspace"))
    assert model.settings["own"]["inputs"] == [{"name": "x", "shape": ["N", 3, 24, 48], "dtype": "float32"}]
    assert model.notes[0].startswith("pictures: stretched to 24 x 48, RGB")
