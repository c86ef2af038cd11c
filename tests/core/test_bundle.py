"""A bundle is found out whichever byte of it changes."""

import json
from pathlib import Path

import numpy as np
import pytest

from edge_kit.core.bundle import MANIFEST, RECEIPT, SUMS, Bundle, Manifest, write_bundle
from edge_kit.core.errors import BadData
from edge_kit.core.images import ImagePreprocess
from edge_kit.core.tensors import TensorSpec


def make_bundle(folder: Path, receipt: dict[str, object] | None = None) -> Bundle:
    source = folder / "graph.onnx"
    source.write_bytes(b"not really a graph")
    out = folder / "bundle"
    out.mkdir()
    names = ("encoder", "step")
    manifest = Manifest(
        id="toy",
        title="Toy",
        task="classify",
        target="x86-vnni",
        graphs={"fp32": {name: f"fp32/{name}.onnx" for name in names}},
        inputs={name: (TensorSpec("image", ("N", 3, 8, 8), layout="NCHW"),) for name in names},
        outputs={name: ("logits",) for name in names},
        preprocess=ImagePreprocess(8, 8).as_dict(),
        labels=("a", "b"),
        model={"parameters": 3},
        paddle={"step": "paddle/step.pdmodel"},
    )
    program = folder / "program.pdmodel"
    program.write_bytes(b"nor a program")
    program.with_suffix(".pdiparams").write_bytes(b"its weights")
    pack = folder / "pack"
    pack.write_bytes(b"no pack either")
    graphs = {"fp32": {name: source for name in names}}
    write_bundle(out, manifest, graphs, receipt or {"when": 1}, {"step": program}, pack)
    return Bundle(out)


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path)
    bundle.verify()
    assert bundle.manifest.inputs["step"][0].shape == ("N", 3, 8, 8)
    assert bundle.graph("fp32", "encoder").read_bytes() == b"not really a graph"
    assert bundle.preprocess() == ImagePreprocess(8, 8)
    assert bundle.receipt()["when"] == 1


def test_paddle_graphs_lie_beside_the_others_and_count_for_no_size(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path)
    assert bundle.paddle_graph("step").read_bytes() == b"nor a program"
    assert bundle.paddle_graph("step").with_suffix(".pdiparams").read_bytes() == b"its weights"
    assert bundle.size_bytes("fp32") == 2 * len(b"not really a graph")
    with pytest.raises(BadData, match="^bundle 'toy' has no Paddle graph 'encoder'; it holds step$"):
        bundle.paddle_graph("encoder")


def test_a_runtime_is_given_the_form_that_it_reads(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path)
    chosen = {
        forms: bundle.graph_for("fp32", "step", forms).relative_to(bundle.path).as_posix()
        for forms in ((".onnx",), (".pdmodel", ".json"), (".json", ".pdmodel", ".onnx"))
    }
    assert list(chosen.values()) == ["fp32/step.onnx", "paddle/step.pdmodel", "paddle/step.pdmodel"]


def test_a_form_that_the_bundle_does_not_hold_says_who_wanted_it(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path)
    with pytest.raises(BadData) as caught:
        bundle.graph_for("fp32", "encoder", (".pdmodel", ".json"), "runtime 'paddle'")
    assert str(caught.value) == "bundle 'toy' holds no fp32 graph that runtime 'paddle' reads (.pdmodel, .json)"
    with pytest.raises(BadData, match=r"^bundle 'toy' has no graph 'int8/step'; it holds fp32/encoder, fp32/step$"):
        bundle.graph_for("int8", "step", (".onnx",))


def test_a_bundle_made_before_there_were_paddle_graphs_is_read(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path)
    document = json.loads((bundle.path / MANIFEST).read_text())
    del document["paddle"]
    (bundle.path / MANIFEST).write_text(json.dumps(document))
    older = Bundle(bundle.path)
    assert older.manifest.paddle == {}
    assert older.graph_for("fp32", "step", (".onnx", ".pdmodel")) == older.graph("fp32", "step")


@pytest.mark.parametrize("place", ["/etc/passwd", "../program.pdmodel", 7])
def test_a_paddle_graph_may_not_lie_outside(place: object, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path)
    document = json.loads((bundle.path / MANIFEST).read_text())
    document["paddle"]["step"] = place
    (bundle.path / MANIFEST).write_text(json.dumps(document))
    with pytest.raises(BadData, match="cannot be read"):
        Bundle(bundle.path)


def test_the_digest_does_not_depend_on_the_receipt(tmp_path: Path) -> None:
    digests = []
    for name, when in (("one", 1), ("two", 2)):
        (tmp_path / name).mkdir()
        digests.append(make_bundle(tmp_path / name, {"when": when}).digest)
    assert digests[0] == digests[1]


PADDLE = ["paddle/step.pdmodel", "paddle/step.pdiparams"]


@pytest.mark.parametrize("name", ["fp32/encoder.onnx", "fp32/step.onnx", *PADDLE, MANIFEST, RECEIPT])
def test_a_changed_byte_is_found_by_name(name: str, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path)
    path = bundle.path / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(BadData, match=f"'{name}' of bundle .* was changed"):
        bundle.verify()


def test_a_missing_and_an_extra_file_are_found_by_name(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path)
    (bundle.path / "extra.txt").write_text("x")
    with pytest.raises(BadData, match="'extra.txt' is not part of"):
        bundle.verify()
    (bundle.path / "extra.txt").unlink()
    (bundle.path / "fp32/step.onnx").unlink()
    with pytest.raises(BadData, match="'fp32/step.onnx' of bundle .* is missing"):
        bundle.verify()


def test_the_sums_can_be_checked_without_python(tmp_path: Path) -> None:
    import subprocess

    bundle = make_bundle(tmp_path)
    subprocess.run(["sha256sum", "--check", "--quiet", SUMS], cwd=bundle.path, check=True)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"format": 99}', '{"format": 1, "graphs": {"fp32": {"main": "../x"}}}']
)
def test_a_broken_manifest_is_an_error_of_one_line(text: str, tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(BadData, match="cannot be read"):
        Bundle(tmp_path)


def test_a_folder_that_is_no_bundle_says_so(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="is not a bundle"):
        Bundle(tmp_path)


def test_preprocessing_refuses_an_empty_or_grey_image() -> None:
    prepare = ImagePreprocess(8, 8)
    for shape in ((0, 4, 3), (8, 8), (8, 8, 1)):
        with pytest.raises(BadData, match="must be"):
            prepare(np.zeros(shape, np.uint8))


def test_preprocessing_puts_red_first_and_centres_the_mean() -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    image[..., 2] = 255  # red in OpenCV's order
    out = ImagePreprocess(8, 8)(image)
    np.testing.assert_allclose(out[0], (1 - 0.485) / 0.229, rtol=1e-5)
    np.testing.assert_allclose(out[2], -0.406 / 0.225, rtol=1e-5)
