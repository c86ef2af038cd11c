"""Samples of the user's own: split in two, held to the graph, and one line where they do not fit."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_kit.core.errors import BadData, UsageError
from edge_kit.core.images import ImagePreprocess
from edge_kit.core.tensors import TensorSpec
from edge_kit.data import FORMATS, OpenOptions
from edge_kit.data.arrays import ArrayInputs, ArraySamples
from edge_kit.data.pictures import PictureInput, PictureSamples

X = TensorSpec("x", ("N", 2))
IMAGE = TensorSpec("image", ("N", 3, 32, 32))


def arrays(path: Path, specs: tuple[TensorSpec, ...] = (X,), **values: np.ndarray) -> ArraySamples:
    np.savez(path / "s.npz", **values)
    made = FORMATS.get("npz").open(path / "s.npz", ArrayInputs(specs), OpenOptions("s.npz", False))
    assert isinstance(made, ArraySamples)
    return made


def numbered(count: int) -> np.ndarray:
    return np.arange(2 * count, dtype=np.float32).reshape(count, 2)


def first_column(batches) -> list[int]:
    return [int(row[0]) // 2 for batch in batches for row in batch["x"]]


def test_calibration_and_evaluation_share_no_sample_and_leave_none_out(tmp_path: Path) -> None:
    data = arrays(tmp_path, x=numbered(11))
    calibration, evaluation = first_column(data.calibration_batches(99, 4)), first_column(data.eval_batches(4))
    assert calibration == [0, 2, 4, 6, 8, 10]
    assert evaluation == [1, 3, 5, 7, 9]
    assert first_column(data.calibration_batches(3, 4)) == [0, 4, 10]
    assert data.name == "s.npz, held out"


def test_a_single_sample_serves_both_and_that_is_said(tmp_path: Path) -> None:
    data = arrays(tmp_path, x=numbered(1))
    assert first_column(data.eval_batches(4)) == first_column(data.calibration_batches(9, 4)) == [0]
    assert data.name == "s.npz, calibrated on"


def test_a_graph_of_one_batch_size_gets_no_other(tmp_path: Path) -> None:
    data = arrays(tmp_path, (TensorSpec("x", (4, 2)),), x=numbered(10))
    assert [batch["x"].shape for batch in data.calibration_batches(99, 20)] == [(4, 2), (4, 2)]


FAULTS = [
    ({}, "holds no array"),
    ({"x": np.zeros((0, 2), np.float32)}, "holds no sample"),
    ({"y": numbered(3)}, r"holds 'y', which the graph does not take; it takes x \(samples, 2\) float32"),
    ({"x": numbered(3), "y": numbered(3)}, "holds 'y', which the graph does not take"),
    ({"x": numbered(3).astype(np.float64)}, r"is float64; the graph takes x \(samples, 2\) float32"),
    ({"x": np.zeros((3, 5), np.float32)}, r"is \(3, 5\); the graph takes x \(samples, 2\) float32"),
    ({"x": np.float32(3)}, r"is \(\); the graph takes"),
    ({"x": np.array([[1, np.nan], [1, 2]], np.float32)}, "1 numbers of input 'x' of 's.npz' are not finite"),
    ({"x": np.zeros((8, 2), np.float32)}, "every number in 's.npz' is the same, 0; no range follows"),
    ({"x": np.array([[{}, []]], object)}, "cannot be read as .npz .it holds Python objects"),
]


@pytest.mark.parametrize(("values", "message"), FAULTS, ids=[text[:30] for _, text in FAULTS])
def test_arrays_that_do_not_fit_are_one_line(values: dict[str, np.ndarray], message: str, tmp_path: Path) -> None:
    with pytest.raises(BadData, match=message) as fault:
        arrays(tmp_path, **values)
    assert "\n" not in str(fault.value)


def test_each_input_needs_its_array_and_as_many_samples(tmp_path: Path) -> None:
    both = (X, TensorSpec("z", ("N", 2)))
    with pytest.raises(BadData, match="lacks input 'z'; the graph takes x .* z"):
        arrays(tmp_path, both, x=numbered(3))
    with pytest.raises(BadData, match="unequal numbers of samples: {'x': 3, 'z': 4}"):
        arrays(tmp_path, both, x=numbered(3), z=numbered(4))


def test_a_file_that_is_no_npz_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "s.npz").write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(BadData, match="cannot be read as .npz"):
        ArraySamples(tmp_path / "s.npz", ArrayInputs((X,)), OpenOptions("s", False))


def picture(seed: int, height: int = 40, width: int = 60) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def folder(root: Path, count: int) -> Path:
    (root / "deep").mkdir(parents=True)
    for i in range(count):
        cv2.imwrite(str(root / ("deep" if i % 2 else ".") / f"{i}.png"), picture(i))
    return root


def test_a_picture_is_prepared_as_imagenet_does_unless_told_otherwise() -> None:
    usual = PictureInput.of((IMAGE,))
    np.testing.assert_array_equal(usual(picture(0)), ImagePreprocess(37, 32)(picture(0)))
    assert "shorter side to 37, centre 32 x 32, RGB, mean 0.485/0.456/0.406" in usual.told()
    plain = PictureInput.of((IMAGE,), 32, (0, 0, 0), (1, 1, 1))(picture(0))
    assert (plain.min() >= 0, plain.max() <= 1, plain.shape) == (True, True, (3, 32, 32))


def test_channels_last_and_bytes_are_what_the_graph_gets() -> None:
    last = PictureInput.of((TensorSpec("image", ("N", 32, 32, 3)),))
    np.testing.assert_array_equal(last(picture(0)).transpose(2, 0, 1), PictureInput.of((IMAGE,))(picture(0)))
    raw = PictureInput.of((TensorSpec("image", (1, 24, 48, 3), "uint8"),))
    red = np.zeros((40, 60, 3), np.uint8)
    red[..., 2] = 200
    assert raw(red).dtype == np.uint8
    assert raw(red).shape == (24, 48, 3)
    assert raw(red)[3, 3].tolist() == [200, 0, 0]


@pytest.mark.parametrize(
    ("specs", "options", "message"),
    [
        ((IMAGE, X), {}, r"fits a graph of one input .* this takes image \(N, 3, 32, 32\) float32, x"),
        ((X,), {}, "fits a graph of one input"),
        ((IMAGE,), {"resize": 8}, "--resize 8 does not fit a graph of 32 x 32"),
        ((IMAGE,), {"mean": (123.0, 117.0, 104.0)}, "--mean takes three numbers in 0..1, red first"),
        ((IMAGE,), {"std": (0.5, 0.5, 0.0)}, "--std takes three numbers"),
        ((TensorSpec("i", (1, 8, 8, 3), "uint8"),), {"mean": (0, 0, 0)}, "uint8 and takes pictures as they are"),
    ],
)
def test_what_does_not_fit_a_picture_is_one_line(specs, options, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        PictureInput.of(specs, **options)


def test_broken_pictures_are_counted_and_named_and_max_bad_leaves_them_out(tmp_path: Path) -> None:
    root = folder(tmp_path / "shots", 6)
    (root / "4.png").write_bytes((root / "4.png").read_bytes()[:-300])
    (root / "x.jpg").write_bytes(b"")
    prepare = PictureInput.of((IMAGE,))
    with pytest.raises(BadData, match=r"2 of 7 pictures in .* first: '4.png' \(truncated\); .* --max-bad 2"):
        PictureSamples(root, prepare, OpenOptions("shots", False))
    data = PictureSamples(root, prepare, OpenOptions("shots", False, 2))
    assert (data.train_size(), data.eval_size()) == (3, 2)
    assert len(data.bad) == 2
    with pytest.raises(BadData, match="holds no picture"):
        PictureSamples(tmp_path / "shots" / "none", prepare, OpenOptions("none", False))


def test_blank_pictures_are_counted(tmp_path: Path) -> None:
    root = folder(tmp_path / "shots", 4)
    cv2.imwrite(str(root / "0.png"), np.zeros((40, 60, 3), np.uint8))
    assert PictureSamples(root, PictureInput.of((IMAGE,)), OpenOptions("shots", False)).count_blank() == 1
