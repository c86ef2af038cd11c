"""COCO's annotation files: pictures, categories and what every kind of annotation says of its picture."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_kit.core.errors import BadData

LISTS = ("images", "annotations", "categories")
SHOWN = 80  # characters of a faulty value


@dataclass(frozen=True, slots=True)
class CocoPicture:
    """One picture of a set.

    Attributes:
        file: Its name below the folder of pictures.
        annotations: As the file holds them; their `category_id` is known.
    """

    id: int
    file: str
    height: int
    width: int
    annotations: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class CocoFile:
    """One annotation file.

    Attributes:
        pictures: In the order of the file, those without annotations too.
        labels: Names of the categories in the order of their ids.
        places: Place among `labels` by id; ids have gaps.
    """

    pictures: tuple[CocoPicture, ...]
    labels: tuple[str, ...]
    places: Mapping[int, int]


def read_coco(path: Path) -> CocoFile:
    """Read an annotation file.

    Raises:
        BadData: It is missing, no JSON, or not of COCO's form.
    """
    document = _read(path)
    try:
        names = {int(one["id"]): str(one["name"]) for one in document["categories"]}
        own: dict[int, list[Mapping[str, Any]]] = {int(one["id"]): [] for one in document["images"]}
        for one in document["annotations"]:
            if one["image_id"] not in own or one["category_id"] not in names:
                raise BadData(
                    f"{str(path)!r} annotation {one.get('id')!r} is of image {one['image_id']!r} and category "
                    f"{one['category_id']!r}, and the file does not hold both; take it out"
                )
            own[one["image_id"]].append(one)
        pictures = tuple(_picture(path, one, own[int(one["id"])]) for one in document["images"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadData(f"{str(path)!r} is not of COCO's form: {_told(error)}") from None
    ids = sorted(names)
    return CocoFile(pictures, tuple(names[i] for i in ids), {number: place for place, number in enumerate(ids)})


def box_of(annotation: Mapping[str, Any]) -> list[float]:
    """Of one annotation, x1, y1, x2, y2 in pixels.

    Raises:
        BadData: It is no box, without the name of the file.
    """
    told = annotation.get("bbox")
    try:
        x, y, width, height = (float(value) for value in told)  # type: ignore[union-attr]  # caught below
    except (TypeError, ValueError):
        raise BadData(f"annotation {annotation.get('id')!r} has no box of four numbers: {str(told)[:SHOWN]}") from None
    if not (width > 0 and height > 0 and max(abs(x), abs(y), width, height) < 1e6):
        raise BadData(f"annotation {annotation.get('id')!r} has an empty box or one outside of any picture: {told}")
    return [x, y, x + width, y + height]


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise BadData(f"{str(path)!r} cannot be read ({(error.strerror or 'unreadable').lower()})") from None
    except (ValueError, RecursionError) as error:
        raise BadData(f"{str(path)!r} is no JSON: {_told(error)}") from None
    if not isinstance(document, dict) or not all(isinstance(document.get(name), list) for name in LISTS):
        raise BadData(f"{str(path)!r} is not of COCO's form: it has no lists {', '.join(LISTS)}")
    return document


def _picture(path: Path, told: Mapping[str, Any], annotations: list[Mapping[str, Any]]) -> CocoPicture:
    name = str(told["file_name"])
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise BadData(f"{str(path)!r} image {told['id']!r} leaves the data folder: {name[:SHOWN]!r}")
    return CocoPicture(int(told["id"]), name, int(told["height"]), int(told["width"]), tuple(annotations))


def _told(error: Exception) -> str:
    text = " ".join(str(error).split())[:SHOWN]
    return f"no {text}" if isinstance(error, KeyError) else text
