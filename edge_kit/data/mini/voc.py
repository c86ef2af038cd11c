"""Mini data in VOC's layout: digits on photographs, ten classes, each digit in a box."""

from __future__ import annotations

from pathlib import Path

from edge_kit.core.images import Image
from edge_kit.core.progress import Progress
from edge_kit.data.card import Card, with_card
from edge_kit.data.dataset import MiniSettings
from edge_kit.data.mini.compose import APART, MATERIAL
from edge_kit.data.mini.scenes import MOST, NAMES, Written, write_picture, write_scenes

KIT = "VOCdevkit/MINI"
LISTS = {"train": "trainval.txt", "val": "test.txt"}


CARD = Card(
    "Digits on photographs in VOC's layout",
    f"No sample of VOC, but {MATERIAL}.",
    (
        f"Up to {MOST} digits a picture, a box around the ink of each, ten classes; none is marked as difficult.",
        APART,
        "mAP on it says that a model learned to find and to read digits, and nothing of VOC.",
    ),
    "mAP below 1 %, from boxes anywhere",
)


@with_card(CARD)
def make_mini(folder: Path, settings: MiniSettings, progress: Progress) -> None:
    """Write the set into `folder`; `progress` is told samples done and samples in all."""
    for name in ("JPEGImages", "Annotations"):
        (folder / KIT / name).mkdir(parents=True, exist_ok=True)
    lines: dict[str, list[str]] = {split: [] for split in LISTS}

    def write(split: str, index: int, picture: Image, written: list[Written]) -> None:
        name = f"{split}_{index:06d}"
        image, annotation = f"{KIT}/JPEGImages/{name}.jpg", f"{KIT}/Annotations/{name}.xml"
        write_picture(folder / image, picture)
        (folder / annotation).write_text(_annotation(f"{name}.jpg", picture, written))
        lines[split].append(f"{image} {annotation}\n")

    write_scenes(settings, progress, write)
    for split, name in LISTS.items():
        (folder / name).write_text("".join(lines[split]))
    (folder / "label_list").write_text("".join(f"{name}\n" for name in ("background", *NAMES)))


def _annotation(name: str, picture: Image, written: list[Written]) -> str:
    height, width = picture.shape[:2]
    objects = "".join(
        f"  <object>\n    <name>{NAMES[one.label]}</name>\n    <difficult>0</difficult>\n    <bndbox>"
        + "".join(f"<{corner}>{value}</{corner}>" for corner, value in zip(_CORNERS, one.box, strict=True))
        + "</bndbox>\n  </object>\n"
        for one in written
    )
    size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
    return f"<annotation>\n  <filename>{name}</filename>\n  {size}\n{objects}</annotation>\n"


_CORNERS = ("xmin", "ymin", "xmax", "ymax")
