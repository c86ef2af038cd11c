"""`compress --input uint8-nhwc` from end to end: what the bundle says, and that every reader of it goes by that."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_kit.core.bundle import Bundle
from edge_kit.core.errors import UsageError
from edge_kit.core.images import CropPreprocess, ImagePreprocess, pixels_of, read_preprocess
from edge_kit.core.tensors import GraphSpec, TensorSpec, random_inputs
from edge_kit.pipeline.compress import CompressRequest, bundle_name
from edge_kit.pipeline.pixels import check_takes_pixels, normalised_first
from edge_kit.zoo import MODELS, load_all
from runtimes.deploy import load_bundle
from tests.conftest import TOY, Cli, Result

IMAGE = TensorSpec("image", ("N", 3, 32, 32), layout="NCHW")


@pytest.fixture(scope="module")
def pixel_run(toy_run: Result, session_cli: Cli) -> Result:
    """After the run on floats, so that both share what they can."""
    return session_cli(*TOY, "--input", "uint8-nhwc", "--json")


def crops(count: int) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (count, 32, 32, 3), np.uint8)


def test_the_bundle_says_that_both_precisions_take_pixels(pixel_run: Result) -> None:
    assert pixel_run.code == 0, pixel_run.err
    bundle = Bundle(Path(pixel_run.json["bundle"]))
    [spec] = bundle.manifest.inputs["main"]
    assert spec == TensorSpec("image", ("N", 32, 32, 3), "uint8", "NHWC")
    assert bundle.takes_pixels()
    assert bundle.manifest.preprocess["kind"] == "crop"
    assert bundle.manifest.preprocess["channel_order"] == "BGR"
    assert bundle.manifest.paddle == {}
    for precision in bundle.manifest.graphs:
        [taken] = load_bundle(bundle, precision=precision)["main"].inputs
        assert (taken.name, taken.shape, taken.dtype) == ("image", ("N", 32, 32, 3), "uint8")


def test_training_and_quantization_are_those_of_the_run_on_floats(pixel_run: Result, toy_run: Result) -> None:
    fresh = {stage["name"] for stage in pixel_run.json["stages"] if not stage["cached"]}
    assert fresh <= {"lower", "camera", "judge", "measure", "bundle"}
    assert toy_run.json["bundle"] != pixel_run.json["bundle"]


def test_full_precision_scores_the_same_from_pixels(pixel_run: Result, toy_run: Result) -> None:
    ours, floats = (run.json["models"]["fp32"]["metric"] for run in (pixel_run, toy_run))
    assert ours == floats
    assert pixel_run.json["models"]["int8"]["latency"]["input_shape"] == {"image": [1, 32, 32, 3]}
    [check] = [one for one in pixel_run.json["checks"] if one["name"] == "fp32 from pixels main/logits"]
    assert check["ok"] is True
    assert check["value"] < 1e-5


def test_a_picture_through_the_bundle_is_the_picture_through_the_bundle_of_floats(
    pixel_run: Result, toy_run: Result
) -> None:
    """As a board does it: the bundle's own preprocessing, then its graph."""
    picture = np.random.default_rng(6).integers(0, 256, (40, 52, 3), np.uint8)
    answers = []
    for run in (pixel_run, toy_run):
        bundle = Bundle(Path(run.json["bundle"]))
        sample = bundle.preprocess()(picture)
        logits = load_bundle(bundle, precision="fp32")["main"].run({"image": sample[None]})["logits"]
        answers.append((sample, logits))
    (pixels, ours), (floats, theirs) = answers
    assert (pixels.dtype, pixels.shape) == (np.uint8, (32, 32, 3))
    assert (floats.dtype, floats.shape) == (np.float32, (3, 32, 32))
    np.testing.assert_allclose(ours, theirs, atol=1e-5 * np.abs(theirs).max())


def test_a_batch_is_as_its_pictures_one_by_one(pixel_run: Result) -> None:
    session = load_bundle(Path(pixel_run.json["bundle"]))["main"]
    whole = session.run({"image": crops(4)})["logits"]
    single = [session.run({"image": crop[None]})["logits"][0] for crop in crops(4)]
    np.testing.assert_array_equal(whole, np.stack(single))


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_floats_are_refused_in_one_line(precision: str, pixel_run: Result) -> None:
    session = load_bundle(Path(pixel_run.json["bundle"]), precision=precision)["main"]
    with pytest.raises(Exception, match=r"input 'image' must be uint8, got float32"):
        session.run({"image": crops(1).astype(np.float32)})


def test_verify_bench_explain_and_parity_go_by_the_manifest(pixel_run: Result, session_cli: Cli) -> None:
    place = pixel_run.json["bundle"]
    verified = session_cli("verify", place, "--json")
    assert verified.code == 0, verified.err
    measured = session_cli("bench", place, "--runtime", "onnx", "--repeats", "10", "--json")
    assert measured.code == 0, measured.err
    assert {tuple(row["latency"]["input_shape"]["image"]) for row in measured.json["rows"]} == {(1, 32, 32, 3)}
    explained = session_cli("explain", place, "--json")
    assert explained.code == 0, explained.err
    [graph] = explained.json["graphs"]
    assert graph["remedy"].endswith(" --input uint8-nhwc")
    compared = session_cli("verify", place, "--runtime", "onnx", "--json")
    assert compared.code == 0, compared.err


def test_the_receipt_says_what_was_asked_and_how_exact_it_is(pixel_run: Result, toy_run: Result) -> None:
    ours, floats = (Bundle(Path(run.json["bundle"])).receipt() for run in (pixel_run, toy_run))
    assert ours["request"]["input"] == "uint8-nhwc"
    assert ours["camera"]["fp32"]["main"][0]["max_rel"] < 1e-5
    assert floats["request"]["input"] == "float"
    assert "camera" not in floats


def test_the_manifest_of_a_run_on_floats_has_nothing_new(toy_run: Result) -> None:
    document = json.loads((Path(toy_run.json["bundle"]) / "bundle.json").read_text())
    assert document["preprocess"]["kind"] == "image"
    assert list(document["preprocess"]) == [
        "kind", "channel_order", "range", "resize_short", "crop", "mean", "std",
    ]  # fmt: skip
    assert document["paddle"] == {"main": "paddle/main.pdmodel"}


def test_another_input_is_refused_with_the_names_there_are(cli: Cli) -> None:
    done = cli("compress", "mobilenetv2", "--input", "uint8-nchw")
    assert done.code == 2
    assert done.is_one_line()
    assert "unknown input 'uint8-nchw'; did you mean 'uint8-nhwc'?" in done.err
    with pytest.raises(UsageError, match="known: float, uint8-nhwc"):
        CompressRequest("mobilenetv2", input="jpeg")


def test_a_model_that_takes_no_pictures_is_refused_in_one_line() -> None:
    load_all()
    entry = MODELS.get("mobilenetv2")
    check_takes_pixels(entry, entry.mini)
    with pytest.raises(UsageError, match="'mobilenetv2' takes no normalised colour picture; leave out --input") as no:
        check_takes_pixels(entry, replace(entry.mini, preprocess="spectrogram"))
    assert "\n" not in str(no.value)
    deaf = replace(entry, graphs=lambda preprocess: {"main": GraphSpec((TensorSpec("x", ("N", 80)),), ("y",))})
    with pytest.raises(UsageError, match="takes no normalised colour picture"):
        check_takes_pixels(deaf, deaf.mini)


def test_a_bundle_of_pixels_has_a_name_of_its_own() -> None:
    assert bundle_name(CompressRequest("toynet", prune=0.5, input="uint8-nhwc")) == "toynet-prune50-uint8-nhwc"
    assert bundle_name(CompressRequest("toynet")) == "toynet"


def test_preprocessing_is_read_back_as_it_was_written() -> None:
    for one in (ImagePreprocess(40, 32), CropPreprocess(40, 32)):
        again = read_preprocess(one.as_dict())
        assert type(again) is type(one)
        assert again == one
    with pytest.raises(UsageError, match="unknown kind of preprocessing 'sound'; known: crop, image"):
        read_preprocess({"kind": "sound"})


def test_inputs_to_time_with_are_pixels_of_any_value_and_only_where_there_are_pixels() -> None:
    pixels = pixels_of(IMAGE)
    made = random_inputs((pixels, TensorSpec("ids", ("N", 4), "uint8")), 2, 0)
    assert made["image"].shape == (2, 32, 32, 3)
    assert (made["image"].dtype, made["image"].min(), made["image"].max()) == (np.uint8, 0, 255)
    assert not made["ids"].any()


def test_normalising_first_leaves_the_other_inputs_alone() -> None:
    spec = GraphSpec((IMAGE, TensorSpec("size", ("N", 2))), ("y",))
    preprocess, size = ImagePreprocess(32, 32), np.ones((2, 2), np.float32)
    given = normalised_first(lambda inputs: inputs, spec, preprocess)({"image": crops(2), "size": size})
    np.testing.assert_array_equal(given["image"][1], preprocess.normalise(crops(2)[1]))
    assert given["size"] is size
