"""COCO's boxes.

    DIR/annotations/instances_train2017.json, instances_val2017.json
    DIR/train2017/x.jpg, DIR/val2017/x.jpg

Crowds are not learned from, and neither count as found nor as missed. Categories are numbered in the order of their
ids, from 0.

Source: PaddlePaddle/models release/1.6, PaddleCV/yolov3 (data section).
"""

from __future__ import annotations

from pathlib import Path

from edge_kit.core.errors import BadData
from edge_kit.core.images import StretchPreprocess
from edge_kit.data.coco_json import CocoFile, CocoPicture, box_of, read_coco
from edge_kit.data.dataset import FORMATS, DataFormat, OpenOptions
from edge_kit.data.mini.coco import make_mini
from edge_kit.data.objects import Objects
from edge_kit.data.scenes import SceneFolder, Shot

PARTS = {"train2017": "annotations/instances_train2017.json", "val2017": "annotations/instances_val2017.json"}


def open_folder(root: Path, preprocess: StretchPreprocess, options: OpenOptions) -> SceneFolder:
    """Read a folder of that layout.

    Raises:
        BadData: It is not, or more is broken than the options allow.
    """
    for name in PARTS.values():
        if not (root / name).is_file():
            raise BadData(
                f"data folder {str(root)!r} has no {name}; COCO's format is {' and '.join(PARTS.values())} beside "
                f"{' and '.join(PARTS)}"
            )
    files = {folder: read_coco(root / name) for folder, name in PARTS.items()}
    train, evaluation = files.values()
    if train.labels != evaluation.labels:
        raise BadData(f"the files of annotations in {str(root)!r} name different categories; give both the same")
    bad: list[str] = []
    shots = {folder: _shots(root / folder, file, bad) for folder, file in files.items()}
    learned = [Shot(one.path, one.objects.take(~one.objects.ignored)) for one in shots["train2017"]]
    return SceneFolder(root, preprocess, options, train.labels, (learned, shots["val2017"]), bad)


def _shots(folder: Path, file: CocoFile, bad: list[str]) -> list[Shot]:
    shots = []
    for picture in file.pictures:
        try:
            shots.append(Shot(folder / picture.file, _objects(picture, file)))
        except BadData as fault:
            bad.append(f"'{folder.name}/{picture.file}' {fault}")
    return shots


def _objects(picture: CocoPicture, file: CocoFile) -> Objects:
    told = picture.annotations
    return Objects.of(
        [box_of(one) for one in told],
        [file.places[one["category_id"]] for one in told],
        [bool(one.get("iscrowd", 0)) for one in told],
    )


FORMATS.add("coco", DataFormat("coco", open_folder, make_mini, published="coco2017"))
