"""COCO's persons with keypoints: what is read, what is trained on, and what is said of a broken folder."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge_kit.core.errors import BadData
from edge_kit.core.poses import PosePreprocess
from edge_kit.data import MiniSettings, OpenOptions
from edge_kit.data.coco_keypoints import MIRRORED, PersonFolder, PoseChanges, heat_maps
from edge_kit.data.mini.figures import make_mini

STILL = PoseChanges(scale=0.0, turned=0.0, flip=0.0, sigma=1.0)


def ignore(done: int, total: int, note: str = "") -> None:
    pass


def person(number: int = 1, **change: Any) -> dict[str, Any]:
    """Its keypoints lie around the middle of a box of 40 x 60 at (20, 10); the first is hidden, the last absent."""
    keypoints = [[40 + (k % 5 - 2) * 4, 40 + (k % 7 - 3) * 5, 2] for k in range(17)]
    keypoints[0][2], keypoints[16] = 1, [0, 0, 0]
    told = {
        "id": number, "image_id": 7, "category_id": 1, "iscrowd": 0, "bbox": [20, 10, 40, 60], "area": 1200.0,
        "keypoints": sum(keypoints, []), "num_keypoints": 16,
    }  # fmt: skip
    return {**told, **change}


def make_folder(root: Path, persons: list[dict[str, Any]] | None = None, pictures: str = "{}2017") -> Path:
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    for split in ("train", "val"):
        document = {
            "images": [{"id": 7, "file_name": "000000000007.jpg", "height": 100, "width": 80}],
            "annotations": [person()] if persons is None or split == "train" else persons,
            "categories": [{"id": 1, "name": "person"}],
        }
        (root / f"annotations/person_keypoints_{split}2017.json").write_text(json.dumps(document))
        folder = root / pictures.format(split)
        folder.mkdir(parents=True, exist_ok=True)
        encoded = cv2.imencode(".jpg", np.full((100, 80, 3), 128, np.uint8))[1]
        (folder / "000000000007.jpg").write_bytes(encoded.tobytes())
    return root


def opened(root: Path, max_bad: int = 0, changes: PoseChanges = STILL) -> PersonFolder:
    return PersonFolder(root, PosePreprocess(64, 64), OpenOptions("coco_keypoints", True, max_bad, changes))


@pytest.mark.parametrize("pictures", ["{}2017", "images/{}2017"])
def test_a_person_is_a_sample_with_all_that_the_metric_wants(pictures: str, tmp_path: Path) -> None:
    (batch,) = opened(make_folder(tmp_path, pictures=pictures)).eval_batches(4)
    assert batch["image"].shape == (1, 3, 64, 64)
    assert batch["box"].tolist() == [[20, 10, 40, 60]]
    assert (batch["picture"].tolist(), batch["area"].tolist(), batch["centred"].tolist()) == ([7], [1200.0], [True])
    assert batch["keypoints"][0, 16].tolist() == [0, 0, 0] and batch["keypoints"][0, 0, 2] == 1
    centre = batch["back"][0] @ [32, 32, 1]
    assert centre == pytest.approx([40, 40])


def test_crowds_and_persons_without_keypoints_are_no_samples(tmp_path: Path) -> None:
    none = person(3, keypoints=[0] * 51, num_keypoints=0)
    dataset = opened(make_folder(tmp_path, [person(), person(2, iscrowd=1), none]))
    assert dataset.eval_size() == 1


def test_keypoints_far_from_the_middle_of_their_box_are_not_trained_on_and_told_apart_in_the_metric(
    tmp_path: Path,
) -> None:
    """16 keypoints a box's width aside: exp(-40^2 / (2 0.04 2400)) is far below 0.45."""
    aside = person(2, bbox=[60, 10, 20, 60])
    (batch,) = opened(make_folder(tmp_path, [person(), aside])).eval_batches(4)
    assert batch["centred"].tolist() == [True, False]
    document = json.loads((tmp_path / "annotations/person_keypoints_val2017.json").read_text())
    (tmp_path / "annotations/person_keypoints_train2017.json").write_text(json.dumps(document))
    assert opened(tmp_path).train_size() == 1


def test_targets_are_peaks_at_the_nearest_cell_and_absent_keypoints_count_nothing(tmp_path: Path) -> None:
    (batch,) = opened(make_folder(tmp_path)).train_batches(1, 0, 0)
    assert batch["target"].shape == (1, 17, 16, 16)
    assert batch["weight"][0].tolist() == [1.0] * 16 + [0.0]
    assert batch["target"][0, 16].max() == 0
    # keypoint 2 lies on the box's centre line across, 5 above its middle: cell 8 of 16, and 8 - 5 * 64 / 75 / 4
    assert np.unravel_index(batch["target"][0, 2].argmax(), (16, 16)) == (7, 8)
    assert batch["target"][0, 2].max() == 1.0


def test_a_peak_is_a_bell_that_ends_at_three_deviations() -> None:
    points = np.array([[4.4, 3.6], [30.0, 4.0], [-2.0, 4.0], [4.0, 4.0]])
    maps, weights = heat_maps(points, np.array([True, True, True, False]), (8, 12), 1.0)
    assert maps[0, 4, 4] == 1.0
    assert maps[0, 4, 5] == pytest.approx(np.exp(-0.5)) and maps[0, 3, 3] == pytest.approx(np.exp(-1.0))
    assert maps[0, 4, 7] > 0 and maps[0, 4, 8] == 0
    assert weights.tolist() == [1.0, 0.0, 1.0, 0.0], "outside, outside with its edge within, and absent"
    assert maps[2, 4, 0] > 0 and maps[3].max() == 0


def test_a_mirrored_sample_is_the_mirror_image_with_left_and_right_exchanged(tmp_path: Path) -> None:
    make_mini(tmp_path, MiniSettings(train=2, evaluation=1, side=64), ignore)
    plain = next(iter(opened(tmp_path).train_batches(2, 0, 0)))
    mirror = PoseChanges(scale=0.0, turned=0.0, flip=1.0, sigma=1.0)
    mirrored = next(iter(opened(tmp_path, changes=mirror).train_batches(2, 0, 0)))
    assert np.abs(mirrored["image"][..., ::-1] - plain["image"]).mean() < 0.01
    assert np.array_equal(mirrored["weight"], plain["weight"][:, list(MIRRORED)])
    where = [m.reshape(2, 17, -1).argmax(-1) % 16 for m in (plain["target"][:, list(MIRRORED)], mirrored["target"])]
    shown = mirrored["weight"] > 0
    assert np.abs(15 - where[0] - where[1])[shown].max() <= 1


def test_changes_are_repeatable_and_move_targets_with_the_picture(tmp_path: Path) -> None:
    """A black picture but for a white spot on a keypoint: the input is brightest where the target is highest."""
    make_folder(tmp_path)
    picture = np.zeros((100, 80, 3), np.uint8)
    picture[29:32, 35:38] = 255  # around keypoint 1
    (tmp_path / "train2017/000000000007.jpg").write_bytes(cv2.imencode(".jpg", picture)[1].tobytes())
    dataset = opened(tmp_path, changes=PoseChanges(sigma=1.0))
    places = set()
    for epoch in range(12):
        (first,), (again,) = dataset.train_batches(1, epoch, 3), dataset.train_batches(1, epoch, 3)
        assert all(np.array_equal(first[name], again[name]) for name in first)
        row, column = np.unravel_index(first["image"][0].mean(axis=0).argmax(), (64, 64))
        apart = min(  # a mirror makes a right eye of the left one
            np.hypot(*(np.array(np.unravel_index(one.argmax(), (16, 16))) - [row / 4, column / 4]))
            for one in first["target"][0, 1:3]
        )
        assert apart < 1.0
        places.add((int(row), int(column)))
    assert len(places) > 8


def annotations(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    def spoil(root: Path) -> None:
        path = root / "annotations/person_keypoints_val2017.json"
        document = json.loads(path.read_text())
        change(document)
        path.write_text(json.dumps(document))

    return spoil


def set_first(**values: Any) -> Callable[[Path], None]:
    return annotations(lambda document: document["annotations"][0].update(values))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda root: (root / "annotations/person_keypoints_val2017.json").unlink(), "cannot be read (no such file"),
        (lambda root: (root / "val2017/000000000007.jpg").write_bytes(b""), "holds no person with a keypoint, first"),
        (set_first(keypoints=[1, 2, 3]), "annotation 1 has no 17 keypoints of x, y and visibility: [1, 2, 3]"),
        (set_first(keypoints=["a"] * 51), "annotation 1 has no 17 keypoints"),
        (set_first(bbox=[1, 2, 0, 4]), "annotation 1 has an empty box"),
        (set_first(bbox=[200, 2, 5, 4]), "annotation 1 lies outside of its picture: [200, 2, 5, 4]"),
        (set_first(num_keypoints=0), "holds no person with a keypoint"),
        (annotations(lambda d: d["categories"][0].update(name="dog")), "has no category 'person'"),
        (annotations(lambda d: d["images"][0].update(file_name="../x.jpg")), "leaves the data folder: '../x.jpg'"),
    ],
)  # fmt: skip
def test_a_bad_folder_is_one_line_that_names_the_place(
    change: Callable[[Path], None], said: str, tmp_path: Path
) -> None:
    change(make_folder(tmp_path))
    with pytest.raises(BadData) as fault:
        opened(tmp_path)
    assert said in str(fault.value)
    assert "\n" not in str(fault.value)
    assert len(str(fault.value)) < 500


def test_mini_figures_have_their_keypoints_on_them_and_a_card(tmp_path: Path) -> None:
    make_mini(tmp_path, MiniSettings(train=8, evaluation=8, side=96), ignore)
    document = json.loads((tmp_path / "annotations/person_keypoints_val2017.json").read_text())
    counts = [one["num_keypoints"] for one in document["annotations"]]
    assert min(counts) >= 8 and max(counts) == 17
    for one in document["annotations"]:
        x, y, width, height = one["bbox"]
        points = np.array(one["keypoints"]).reshape(17, 3)
        shown = points[points[:, 2] > 0]
        assert (shown[:, 0] >= x).all() and (shown[:, 0] <= x + width).all()
        assert (shown[:, 1] >= y).all() and (shown[:, 1] <= y + height).all()
        assert 0 < one["area"] < width * height
    assert "These are not people" in (tmp_path / "README.md").read_text()
