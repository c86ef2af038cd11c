"""COCO's persons with 17 keypoints each, one sample a person.

    DIR/annotations/person_keypoints_train2017.json, person_keypoints_val2017.json
    DIR/train2017/000000000009.jpg, DIR/val2017/..., or both below DIR/images

A person is cut out by its box in the file, which stands for a detector's. Read are persons with a visible keypoint that
are no crowd. In training, and for the published figures, those are left out whose keypoints lie far from the middle of
their box.

Source: PaddlePaddle/models release/1.6, PaddleCV/human_pose_estimation.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_kit.core.errors import BadData
from edge_kit.core.files import sha256_file
from edge_kit.core.images import Image
from edge_kit.core.poses import IMAGE, STRIDE, Matrix, PosePreprocess, invert, move
from edge_kit.core.tensors import Array, Tensors
from edge_kit.data.coco_json import CocoPicture, box_of, read_coco
from edge_kit.data.dataset import FORMATS, DataFormat, OpenOptions, evenly_spread, shuffled
from edge_kit.data.imagenet import picture_fault
from edge_kit.data.mini.figures import make_mini

KEYPOINTS = (
    "nose", "left eye", "right eye", "left ear", "right ear", "left shoulder", "right shoulder", "left elbow",
    "right elbow", "left wrist", "right wrist", "left hip", "right hip", "left knee", "right knee", "left ankle",
    "right ankle",
)  # fmt: skip
MIRRORED = (0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15)  # the keypoint that a mirror makes of each
SPLITS = ("train2017", "val2017")
PERSON = "person"
SPREAD = 2 * 0.2**2  # of the area: how far keypoints may lie from the middle of their box


@dataclass(frozen=True, slots=True)
class PoseChanges:
    """Random changes to a training sample.

    Attributes:
        scale: Deviation of what is seen, relative, cut off at itself.
        turned: Probability of turning.
        rotation_deg: Deviation of the angle, cut off at twice itself.
        flip: Probability of mirroring, left becoming right.
        sigma: Deviation of a target's peak, in cells of the heat map; it ends at three.

    Source: PaddlePaddle/models release/1.6, PaddleCV/human_pose_estimation.
    """

    scale: float = 0.3
    turned: float = 0.6
    rotation_deg: float = 40.0
    flip: float = 0.5
    sigma: float = 3.0


@dataclass(frozen=True, slots=True)
class Person:
    """One sample.

    Attributes:
        picture: Its file.
        image_id: Of the picture in the file of annotations.
        box: x, y, width and height in pixels, (4,).
        area: Of the person, in pixels, as annotated.
        keypoints: x, y and 0 absent, 1 hidden or 2 visible, (17, 3).
    """

    picture: Path
    image_id: int
    box: NDArray[np.float64]
    area: float
    keypoints: NDArray[np.float64]

    @property
    def centred(self) -> bool:
        """Whether the keypoints lie around the middle of the box, the more strictly the more there are."""
        seen = self.keypoints[self.keypoints[:, 2] > 0]
        apart = seen[:, :2].mean(axis=0) - (self.box[:2] + self.box[2:] / 2)
        nearness = float(np.exp(-(apart @ apart) / (SPREAD * self.box[2] * self.box[3])))
        return bool(nearness > 0.45 + 0.2 / 16 * (len(seen) - 1))


class PersonFolder:
    """A data set in COCO's format; see `Dataset` for the methods.

    Evaluation batches bring what the metric wants to know: `box`, `area`, `keypoints`, `picture`, `centred`, and
    `back`, from the input's pixels to the picture's.

    Attributes:
        bad: Why each picture left out was left out.
    """

    labels: tuple[str, ...] = KEYPOINTS

    def __init__(self, root: Path, preprocess: PosePreprocess, options: OpenOptions) -> None:
        self.name, self.published = options.name, options.published
        self.preprocess = preprocess
        self.changes: PoseChanges = options.augment or PoseChanges()
        self.sizes: Mapping[str, int] = {"keypoints": len(KEYPOINTS)}
        self.bad: list[str] = []
        self._files = [root / "annotations" / f"person_keypoints_{split}.json" for split in SPLITS]
        train, self._eval = (
            self._read_split(root, path, split) for path, split in zip(self._files, SPLITS, strict=True)
        )
        self._train = [person for person in train if person.centred]
        if not self._train:
            raise BadData(f"no person in {str(self._files[0])!r} can be trained on; see that boxes surround keypoints")
        if len(self.bad) > options.max_bad:
            raise BadData(
                f"{len(self.bad)} pictures of {str(root)!r} are missing or broken, first: {self.bad[0]}; "
                f"allowed {options.max_bad}: mend them or pass --max-bad {len(self.bad)}"
            )

    def _read_split(self, root: Path, path: Path, split: str) -> list[Person]:
        file = read_coco(path)
        if PERSON not in file.labels:
            raise BadData(f"{str(path)!r} has no category {PERSON!r}; it holds COCO's persons with keypoints")
        category = next(number for number, place in file.places.items() if file.labels[place] == PERSON)
        folder = next((at for at in (root / split, root / "images" / split) if at.is_dir()), root / split)
        persons: list[Person] = []
        for picture in file.pictures:
            found = _persons(path, folder, picture, category)
            fault = picture_fault(folder / picture.file) if found else None
            if fault:
                self.bad.append(f"'{split}/{picture.file}' ({fault})")
            else:
                persons.extend(found)
        if not persons:
            first = f", first of its pictures: {self.bad[0]}" if self.bad else ""
            raise BadData(f"{str(path)!r} holds no person with a keypoint{first}")
        return persons

    def digest(self) -> str:
        digest = hashlib.sha256(repr((self.preprocess, self.changes)).encode())
        for path in self._files:
            digest.update(sha256_file(path).encode())
        for path in sorted({person.picture for person in (*self._train, *self._eval)}):
            state = path.stat()
            digest.update(f"{path.name} {state.st_size} {state.st_mtime_ns}\n".encode())
        return digest.hexdigest()

    def train_size(self) -> int:
        return len(self._train)

    def eval_size(self) -> int:
        return len(self._eval)

    def train_batches(self, batch: int, epoch: int, seed: int, start: int = 0) -> Iterator[Tensors]:
        for chosen in shuffled(len(self._train), batch, epoch, seed, start):
            rows = [self._changed(self._train[i], np.random.default_rng([seed, epoch, i])) for i in chosen]
            images, targets, weights = (np.stack(column) for column in zip(*rows, strict=True))
            yield {IMAGE: images, "target": targets, "weight": weights}

    def eval_batches(self, batch: int) -> Iterator[Tensors]:
        yield from self._plain_batches(self._eval, batch)

    def calibration_batches(self, samples: int, batch: int) -> Iterator[Tensors]:
        yield from self._plain_batches([self._train[i] for i in evenly_spread(len(self._train), samples)], batch)

    def _plain_batches(self, persons: Sequence[Person], batch: int) -> Iterator[Tensors]:
        for start in range(0, len(persons), batch):
            part = persons[start : start + batch]
            matrices = [self.preprocess.matrix(person.box) for person in part]
            images = [self.preprocess.cut(_decode(p.picture), m) for p, m in zip(part, matrices, strict=True)]
            yield {
                IMAGE: np.stack(images),
                "back": np.stack([invert(matrix) for matrix in matrices]),
                "box": np.stack([person.box for person in part]),
                "area": np.array([person.area for person in part]),
                "keypoints": np.stack([person.keypoints for person in part]),
                "picture": np.array([person.image_id for person in part], np.int64),
                "centred": np.array([person.centred for person in part]),
            }

    def _changed(self, person: Person, rng: np.random.Generator) -> tuple[Array, Array, Array]:
        """Input, heat maps to come to and what each of them counts."""
        changes, scale = self.changes, float(np.clip(1 + self.changes.scale * rng.standard_normal(), *self._scales()))
        angle = float(np.clip(rng.standard_normal(), -2, 2)) * changes.rotation_deg
        matrix = self.preprocess.matrix(person.box, scale, angle if rng.random() < changes.turned else 0.0)
        points, shown = person.keypoints[:, :2], person.keypoints[:, 2] > 0
        if rng.random() < changes.flip:
            matrix = _mirrored(matrix, self.preprocess.width)
            points, shown = points[list(MIRRORED)], shown[list(MIRRORED)]
        size = (self.preprocess.height // STRIDE, self.preprocess.width // STRIDE)
        targets, weights = heat_maps(move(points, matrix) / STRIDE, shown, size, changes.sigma)
        return self.preprocess.cut(_decode(person.picture), matrix), targets, weights

    def _scales(self) -> tuple[float, float]:
        return 1 - self.changes.scale, 1 + self.changes.scale


def heat_maps(
    points: Array, shown: Array, size: tuple[int, int], sigma: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A peak of height 1 around the cell of each keypoint.

    Args:
        points: x, y in cells, (K, 2).
        shown: Whether there is such a keypoint, (K,).
        size: Height and width of a map, in cells.
        sigma: Deviation of a peak, in cells; three of them around it all is 0.

    Returns:
        (K, height, width), and what each map counts, (K,): 0 where there is none, or no cell of it lies within.
    """
    height, width = size
    radius = 3 * sigma
    centres = np.floor(points + 0.5)
    across, down = np.arange(width) - centres[:, :1], np.arange(height) - centres[:, 1:]
    squares = down[:, :, None] ** 2 + across[:, None, :] ** 2
    near = (np.abs(down)[:, :, None] <= radius) & (np.abs(across)[:, None, :] <= radius)
    maps = np.where(near, np.exp(-squares / (2 * sigma**2)), 0.0) * shown[:, None, None]
    return maps.astype(np.float32), (near.any(axis=(1, 2)) & shown).astype(np.float32)


def _mirrored(matrix: Matrix, width: int) -> Matrix:
    """The same, and left and right exchanged behind it."""
    mirrored: Matrix = np.array([[-1.0, 0.0], [0.0, 1.0]]) @ matrix
    mirrored[0, 2] += width - 1
    return mirrored


def _persons(path: Path, folder: Path, picture: CocoPicture, category: int) -> list[Person]:
    persons = []
    for one in picture.annotations:
        if one["category_id"] != category or one.get("iscrowd") or not one.get("num_keypoints", 1):
            continue
        keypoints = _keypoints(path, one)
        if not (keypoints[:, 2] > 0).any():
            continue
        try:
            left, top, right, bottom = box_of(one)
        except BadData as error:
            raise BadData(f"{str(path)!r} {error}") from None
        box = _within([left, top, right, bottom], picture)
        if box[2] <= 0 or box[3] <= 0:
            raise BadData(f"{str(path)!r} annotation {one.get('id')!r} lies outside of its picture: {one['bbox']}")
        area = float(one.get("area", 0.0)) or float(box[2] * box[3])
        persons.append(Person(folder / picture.file, picture.id, box, area, keypoints))
    return persons


def _within(corners: list[float], picture: CocoPicture) -> NDArray[np.float64]:
    """x, y, width and height of what a picture shows of a box."""
    left, top = max(corners[0], 0.0), max(corners[1], 0.0)
    right, bottom = min(corners[2], float(picture.width)), min(corners[3], float(picture.height))
    return np.array([left, top, right - left, bottom - top])


def _keypoints(path: Path, annotation: Mapping[str, Any]) -> NDArray[np.float64]:
    told = annotation.get("keypoints")
    try:
        values = np.asarray(told, np.float64)
    except (TypeError, ValueError):
        values = np.zeros(0)
    if values.size != 3 * len(KEYPOINTS) or values.ndim != 1 or not np.isfinite(values).all():
        raise BadData(
            f"{str(path)!r} annotation {annotation.get('id')!r} has no {len(KEYPOINTS)} keypoints of x, y and "
            f"visibility: {str(told)[:60]}"
        )
    return values.reshape(-1, 3)


def _decode(path: Path) -> Image:
    # As stored: keypoints are told of the pixels of the file, whatever its EXIF says of turning it.
    image: Image | None = cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None:
        raise BadData(f"picture {str(path)!r} cannot be decoded; mend it or take its annotations away")
    return image


FORMATS.add("coco_keypoints", DataFormat("coco_keypoints", PersonFolder, make_mini))
