"""COCO's layout: what is read, what the mini set is, and what is said of a broken file."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge_kit.core.errors import BadData
from edge_kit.core.images import SquarePreprocess
from edge_kit.data import MiniSettings, OpenOptions
from edge_kit.data.coco import open_folder
from edge_kit.data.mini.coco import make_mini
from edge_kit.data.scenes import SceneFolder


def ignore(done: int, total: int, note: str = "") -> None:
    pass


def document() -> dict[str, Any]:
    return {
        "images": [
            {"id": 7, "file_name": "a.jpg", "height": 40, "width": 80},
            {"id": 3, "file_name": "b.jpg", "height": 40, "width": 80},
        ],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 90, "bbox": [8, 4, 32, 16], "area": 1, "iscrowd": 0},
            {"id": 2, "image_id": 7, "category_id": 18, "bbox": [40, 20, 50.5, 20], "area": 1, "iscrowd": 1},
        ],
        "categories": [{"id": 90, "name": "brush"}, {"id": 18, "name": "dog"}],
    }


def make_folder(root: Path) -> Path:
    (root / "annotations").mkdir()
    for part in ("train2017", "val2017"):
        (root / part).mkdir()
        for name in ("a", "b"):
            cv2.imwrite(str(root / part / f"{name}.jpg"), np.full((40, 80, 3), 90, np.uint8))
        (root / f"annotations/instances_{part}.json").write_text(json.dumps(document()))
    return root


def opened(root: Path, max_bad: int = 0) -> SceneFolder:
    return open_folder(root, SquarePreprocess(16), OpenOptions("coco", True, max_bad))


def test_categories_are_numbered_by_id_boxes_end_within_the_picture_and_crowds_are_only_scored(tmp_path: Path) -> None:
    dataset = opened(make_folder(tmp_path))
    assert dataset.labels == ("dog", "brush")
    assert dataset.sizes == {"num_classes": 2}
    (batch,) = dataset.eval_batches(4)
    np.testing.assert_allclose(batch["boxes"][0], [[0.1, 0.1, 0.5, 0.5], [0.5, 0.5, 1, 1]])
    assert batch["label"].tolist() == [[1, 0], [0, 0]]
    assert batch["ignored"].tolist() == [[False, True], [False, False]]
    assert batch["weight"].tolist() == [[1, 1], [0, 0]], "a picture of nothing counts, too"
    (trained,) = dataset.calibration_batches(2, 2)
    assert trained["weight"].tolist() == [[1], [0]]


def change(edit: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def write(root: Path) -> None:
        told = document()
        edit(told)
        (root / "annotations/instances_val2017.json").write_text(json.dumps(told))

    return write


def set_to(path: str, value: Any) -> Callable[[Path], None]:
    *way, last = path.split("/")

    def edit(told: Any) -> None:
        for step in way:
            told = told[int(step) if step.isdigit() else step]
        told[int(last) if last.isdigit() else last] = value

    return change(edit)


@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        (set_to("annotations/0/bbox", [1, 2, 3]), "'val2017/a.jpg' annotation 1 has no box of four numbers"),
        (set_to("annotations/0/bbox", [1, 2, 0, 4]), "annotation 1 has an empty box"),
        (set_to("annotations/0/bbox", [1, 2, float("nan"), 4]), "annotation 1 has an empty box"),
        (set_to("annotations/0/bbox", None), "annotation 1 has no box"),
        (set_to("annotations/0/category_id", 5), "annotation 1 is of image 7 and category 5"),
        (set_to("annotations/0/image_id", 5), "annotation 1 is of image 5 and category 90"),
        (set_to("images/0/file_name", "../../x.jpg"), "image 7 leaves the data folder: '../../x.jpg'"),
        (set_to("images/0/file_name", "c.jpg"), "'val2017/c.jpg' (no such file or directory)"),
        (set_to("images", "many"), "it has no lists images, annotations, categories"),
        (set_to("images/0", "a"), "is not of COCO's form"),
        (change(lambda told: told["images"][0].pop("height")), "is not of COCO's form: no 'height'"),
        (set_to("categories/0/name", "comb"), "name different categories"),
        (lambda root: (root / "annotations/instances_val2017.json").write_text("["), "is no JSON"),
        (lambda root: (root / "annotations/instances_val2017.json").write_text("[" * 100_000), "is no JSON"),
        (lambda root: (root / "annotations/instances_val2017.json").unlink(), "COCO's format is"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_a_bad_folder_is_one_line_that_names_the_place(
    spoil: Callable[[Path], None], word: str, tmp_path: Path
) -> None:
    spoil(make_folder(tmp_path))
    with pytest.raises(BadData) as fault:
        opened(tmp_path)
    assert word in str(fault.value)
    assert "\n" not in str(fault.value)
    assert len(str(fault.value)) < 500


def test_the_mini_set_has_gaps_in_its_ids_and_shows_what_vocs_shows(tmp_path: Path) -> None:
    from edge_kit.data.mini.voc import make_mini as make_voc
    from edge_kit.data.voc import open_folder as open_voc

    settings = MiniSettings(train=3, evaluation=4, side=64)
    make_mini(tmp_path / "coco", settings, ignore)
    make_voc(tmp_path / "voc", settings, ignore)
    told = json.loads((tmp_path / "coco/annotations/instances_val2017.json").read_text())
    assert [one["id"] for one in told["categories"]][:3] == [1, 3, 5]
    assert all(0 < one["area"] <= one["bbox"][2] * one["bbox"][3] for one in told["annotations"])
    ours, theirs = opened(tmp_path / "coco"), open_voc(tmp_path / "voc", SquarePreprocess(16), OpenOptions("voc", True))
    assert ours.labels == theirs.labels
    for one, other in zip(ours.eval_batches(2), theirs.eval_batches(2), strict=True):
        for name, value in one.items():
            np.testing.assert_array_equal(value, other[name])
