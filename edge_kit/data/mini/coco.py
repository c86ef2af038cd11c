"""Mini data in COCO's layout: digits on photographs, ten categories whose ids have gaps, as COCO's have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edge_kit.core.files import write_json
from edge_kit.core.images import Image
from edge_kit.core.progress import Progress
from edge_kit.data.card import Card, with_card
from edge_kit.data.dataset import MiniSettings
from edge_kit.data.mini.compose import APART, MATERIAL
from edge_kit.data.mini.scenes import MOST, NAMES, Written, write_picture, write_scenes

SPLITS = {"train": "train2017", "val": "val2017"}
CATEGORIES = [{"id": 2 * digit + 1, "name": name, "supercategory": "digit"} for digit, name in enumerate(NAMES)]


CARD = Card(
    "Digits on photographs in COCO's layout",
    f"No sample of COCO, but {MATERIAL}.",
    (
        f"Up to {MOST} digits a picture, a box around the ink of each, ten categories whose ids have gaps.",
        APART,
        "AP on it says that a model learned to find and to read digits, and nothing of COCO.",
    ),
    "AP below 1 %, from boxes anywhere",
)


@with_card(CARD)
def make_mini(folder: Path, settings: MiniSettings, progress: Progress) -> None:
    """Write the set into `folder`; `progress` is told samples done and samples in all."""
    for name in (*SPLITS.values(), "annotations"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    images: dict[str, list[dict[str, Any]]] = {split: [] for split in SPLITS}
    annotations: dict[str, list[dict[str, Any]]] = {split: [] for split in SPLITS}

    def write(split: str, index: int, picture: Image, written: list[Written]) -> None:
        name = f"{index:012d}.jpg"
        write_picture(folder / SPLITS[split] / name, picture)
        height, width = picture.shape[:2]
        images[split].append({"id": index, "file_name": name, "height": height, "width": width})
        for one in written:
            annotations[split].append(_annotation(len(annotations[split]) + 1, index, one))

    write_scenes(settings, progress, write)
    for split, name in SPLITS.items():
        document = {"images": images[split], "annotations": annotations[split], "categories": CATEGORIES}
        write_json(folder / "annotations" / f"instances_{name}.json", document)


def _annotation(number: int, image: int, written: Written) -> dict[str, Any]:
    left, top, right, bottom = written.box
    return {
        "id": number,
        "image_id": image,
        "category_id": CATEGORIES[written.label]["id"],
        "bbox": [left, top, right - left, bottom - top],
        "area": written.area,
        "iscrowd": 0,
    }
