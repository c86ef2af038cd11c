"""Whatever is done to a bundle is found, and the file it was done to is named."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_kit.core.bundle import MANIFEST, RECEIPT, SUMS, Bundle
from edge_kit.core.errors import BadData
from edge_kit.core.files import sha256_file
from tests.core.test_bundle import make_bundle

FILES = [
    "fp32/encoder.onnx", "fp32/step.onnx", "paddle/step.pdmodel", "paddle/step.pdiparams", "sentinel.npz",
    MANIFEST, RECEIPT, SUMS,
]  # fmt: skip


def fault(folder: Path) -> str:
    with pytest.raises(BadData) as caught:
        Bundle(folder).verify()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_list_above_is_whole(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path)
    assert sorted(FILES) == sorted(p.relative_to(bundle.path).as_posix() for p in bundle.path.rglob("*") if p.is_file())


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("bit", [1, 0x20, 0x80])
def test_a_bit_of_any_byte_is_found_and_the_file_is_named(name: str, bit: int, tmp_path: Path) -> None:
    path = make_bundle(tmp_path).path / name
    content = path.read_bytes()
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= bit
        path.write_bytes(bytes(changed))
        said = fault(path.parents[name.count("/")])
        if name == SUMS:  # a name in it that was changed is that of no file
            assert f"{SUMS!r}" in said, (place, said)
        else:
            assert f"{path.name}'" in said and "changed" in said or "cannot be read" in said, (place, said)
            assert name == MANIFEST or name in said, (place, said)


@pytest.mark.parametrize("name", FILES)
def test_bytes_added_or_cut_off_are_found(name: str, tmp_path: Path) -> None:
    path = make_bundle(tmp_path).path / name
    content = path.read_bytes()
    for changed in (content + b"\n", content[:-1], b""):
        path.write_bytes(changed)
        assert Path(name).name in fault(path.parents[name.count("/")])


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_removed_or_renamed_is_named(name: str, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path).path
    (bundle / name).rename(bundle / f"{name}.old")
    assert Path(name).name in fault(bundle)
    (bundle / f"{name}.old").unlink()
    assert Path(name).name in fault(bundle)


def extra_file(bundle: Path) -> None:
    (bundle / "fp32/more.onnx").write_bytes(b"x")


def hidden_file(bundle: Path) -> None:
    (bundle / "fp32/.more.onnx").write_bytes(b"")


def link_to_the_same_bytes(bundle: Path) -> None:
    place = bundle / "fp32/step.onnx"
    shutil.move(place, bundle.parent / "elsewhere.onnx")
    place.symlink_to(bundle.parent / "elsewhere.onnx")


def link_to_a_folder(bundle: Path) -> None:
    (bundle / "more").symlink_to(bundle.parent)


def dangling_link(bundle: Path) -> None:
    (bundle / "fp32/more.onnx").symlink_to("nowhere")


def pipe(bundle: Path) -> None:
    os.mkfifo(bundle / "fp32/pipe")


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (extra_file, "fp32/more.onnx"),
        (hidden_file, "fp32/.more.onnx"),
        (link_to_the_same_bytes, "fp32/step.onnx"),
        (link_to_a_folder, "more"),
        (dangling_link, "fp32/more.onnx"),
        (pipe, "fp32/pipe"),
    ],
)
def test_what_does_not_belong_there_is_named(change: Callable[[Path], None], name: str, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path).path
    change(bundle)
    assert fault(bundle).startswith(f"'{name}' ")


def test_a_graph_changed_together_with_its_line_is_found(tmp_path: Path) -> None:
    """Whoever mends the sums too is given away by the manifest."""
    bundle = make_bundle(tmp_path).path
    before = sha256_file(bundle / "fp32/step.onnx")
    (bundle / "fp32/step.onnx").write_bytes(b"another graph")
    sums = (bundle / SUMS).read_text().splitlines()
    after = [
        line.replace(before, sha256_file(bundle / "fp32/step.onnx")) if "step.onnx" in line else line for line in sums
    ]
    (bundle / SUMS).write_text("\n".join(after) + "\n")
    assert "'fp32/step.onnx'" in fault(bundle)
