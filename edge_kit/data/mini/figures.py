"""Mini data in COCO's format of persons with keypoints: drawn figures on photographs.

No package that is installed brings people with their joints marked, so figures are generated: a head, a trunk and limbs
of random pose and colours, seen from the front, on crops of scikit-learn's photographs, a handwritten digit on the
chest. Some stand partly outside of their picture.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_kit.core.images import Image
from edge_kit.core.progress import Progress
from edge_kit.core.tensors import Array
from edge_kit.data.card import Card, with_card
from edge_kit.data.dataset import MiniSettings
from edge_kit.data.mini.compose import APART, background, ink_for
from edge_kit.data.mini.digits import load_digits

REPORT_EVERY = 64
JPEG_QUALITY = 95
BLUR, CONTRAST = 0.06, 90.0
SUBPIXEL = 4  # bits behind the point of OpenCV's coordinates
HEAD, SHOULDERS, HIPS = 0.09, 0.12, 0.08  # radius, and half widths, in heights of a figure
ARM, FOREARM, THIGH, SHIN = 0.17, 0.16, 0.23, 0.23
LIMBS = ((5, 7), (7, 9), (6, 8), (8, 10), (11, 13), (13, 15), (12, 14), (14, 16))  # keypoints that limbs connect
TRUNK = (5, 6, 12, 11)


CARD = Card(
    "Drawn figures in COCO's format of persons with keypoints",
    "These are not people and no sample of COCO, but figures drawn on crops of scikit-learn's photographs.",
    (
        "Poses, sizes and colours are random; each figure faces the viewer and has all 17 keypoints, but for those "
        "outside of the picture.",
        "On each is one of scikit-learn's handwritten digits.",
        APART,
        "AP on it says that a model learned to find joints, and nothing of COCO.",
    ),
    "AP below 1 %, from keypoints anywhere in the box",
)


@with_card(CARD)
def make_mini(folder: Path, settings: MiniSettings, progress: Progress) -> None:
    """Write the set into `folder`, a figure a picture; `progress` is told samples done and samples in all."""
    total, done = settings.train + settings.evaluation, 0
    (folder / "annotations").mkdir(parents=True, exist_ok=True)
    for split, count in (("train", settings.train), ("val", settings.evaluation)):
        images, annotations = [], []
        for i in range(count):
            name = f"{split}2017/{i + 1:012d}.jpg"
            rng = np.random.default_rng([settings.seed, split == "val", i])
            picture, annotation = figure(split, settings.side, rng)
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            # Not cv2.imwrite: on a full disk it returns False and says nothing.
            encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
            (folder / name).write_bytes(encoded.tobytes())
            size = {"height": settings.side, "width": settings.side}
            images.append({"id": i + 1, "file_name": Path(name).name, **size})
            annotations.append({"id": i + 1, "image_id": i + 1, "category_id": 1, "iscrowd": 0, **annotation})
            done += 1
            if done % REPORT_EVERY == 0 or done == total:
                progress(done, total)
        document = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "person"}]}
        (folder / "annotations" / f"person_keypoints_{split}2017.json").write_text(json.dumps(document))


def figure(split: str, side: int, rng: np.random.Generator) -> tuple[Image, dict[str, Any]]:
    """A picture (side, side, 3) BGR of one figure, and what COCO tells of it."""
    behind = background(split, side, BLUR, rng)
    tall = side * float(rng.uniform(0.6, 0.85))
    points = _pose(rng) * tall
    points += np.array([rng.uniform(0.35, 0.65), rng.uniform(0.0, 0.2)]) * side - [0, points[:, 1].min() - HEAD * tall]
    picture, mask = behind.copy(), np.zeros((side, side), np.uint8)
    colours = [ink_for(behind, CONTRAST, rng).tolist() for _ in range(3)]
    for canvas, inks in ((picture, colours), (mask, [255] * 3)):
        _draw(canvas, points, tall, inks)
    digits = load_digits(split)
    _print(picture, digits.images[int(rng.integers(len(digits.images)))], points[list(TRUNK)].mean(axis=0), 0.2 * tall)
    inside = ((points >= 0) & (points < side)).all(axis=1)
    shown = np.where(inside[:, None], np.column_stack([points, np.full(len(points), 2)]), 0.0)
    rows, columns = np.nonzero(mask)
    left, top, right, bottom = (int(v) for v in (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1))
    return picture, {
        "bbox": [left, top, right - left, bottom - top],
        "area": len(rows),
        "keypoints": [round(float(value), 2) for value in shown.reshape(-1)],
        "num_keypoints": int(inside.sum()),
    }


def _pose(rng: np.random.Generator) -> NDArray[np.float64]:
    """Keypoints in heights of the figure, (17, 2); its left is on the right, as of one who faces us."""
    points = np.zeros((17, 2))
    points[0] = [rng.uniform(-0.01, 0.01), HEAD]
    for place, (across, down) in enumerate(((0.035, -0.025), (HEAD, 0.0))):
        points[1 + 2 * place], points[2 + 2 * place] = points[0] + [across, down], points[0] + [-across, down]
    for left, sign in ((True, 1), (False, -1)):
        shoulder, hip = np.array([sign * SHOULDERS, 0.24]), np.array([sign * HIPS, 0.54])
        arm, leg = rng.uniform(-10, 150), rng.uniform(-3, 30)
        elbow = shoulder + ARM * _towards(arm, sign)
        wrist = elbow + FOREARM * _towards(arm + rng.uniform(-80, 60), sign)
        knee = hip + THIGH * _towards(leg, sign)
        ankle = knee + SHIN * _towards(leg + rng.uniform(-30, 10), sign)
        for place, point in zip((5, 7, 9, 11, 13, 15), (shoulder, elbow, wrist, hip, knee, ankle), strict=True):
            points[place if left else place + 1] = point
    angle = np.deg2rad(rng.uniform(-12, 12))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    turned: NDArray[np.float64] = (points - [0, 0.5]) @ turn.T + [0, 0.5]
    return turned


def _towards(angle_deg: float, sign: int) -> NDArray[np.float64]:
    """A direction, so far outwards from straight down."""
    angle = np.deg2rad(angle_deg)
    return np.array([sign * np.sin(angle), np.cos(angle)])


def _draw(canvas: Array, points: Array, tall: float, inks: list[Any]) -> None:
    """Trunk, limbs and head; legs and arms have an ink each, and so has the rest."""
    fine = np.rint(points * 2**SUBPIXEL).astype(np.int32)
    how = {"lineType": cv2.LINE_AA, "shift": SUBPIXEL}
    cv2.fillPoly(canvas, [fine[list(TRUNK)]], inks[0], **how)
    for number, (start, end) in enumerate(LIMBS):
        ink, ends = inks[1 if number < 4 else 2], (fine[start].tolist(), fine[end].tolist())
        cv2.line(canvas, *ends, ink, max(1, round(0.05 * tall)), **how)
    radius = round(HEAD * tall * 2**SUBPIXEL)
    cv2.circle(canvas, fine[0].tolist(), radius, inks[0], -1, **how)
    for eye in (1, 2):
        cv2.circle(canvas, fine[eye].tolist(), radius // 6, inks[2], -1, **how)


def _print(picture: Image, digit: Array, centre: Array, size: float) -> None:
    """A digit in white around a place, as far as the picture reaches."""
    matrix = np.array([[size / 8, 0, centre[0] - size / 2], [0, size / 8, centre[1] - size / 2]])
    ink = cv2.warpAffine(digit, matrix, picture.shape[1::-1], flags=cv2.INTER_LINEAR)[..., None]  # (H, W) -> (H, W, 1)
    picture[:] = np.rint(picture * (1 - ink) + 255 * ink).astype(np.uint8)
