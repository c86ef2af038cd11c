"""Film of the mini sets: held-out digits on photographs, one after the other, filmed by a hand that is not steady."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from edge_kit.core.images import Image
from edge_kit.data.mini.compose import EVALUATION, compose
from edge_kit.data.mini.digits import load_digits

HOLD = 25  # frames that a digit is shown for
SIDE = 240
COMPOSED = 160  # pixels; the val part of a photograph is not wider than 192
SWAY = 0.04  # of the side, the largest shift either way
ROLL_DEG, ZOOM = 4.0, 0.05


def film(index: int, side: int = SIDE) -> Image:
    """One frame; any frame can be made without those before it.

    Returns:
        (side, side, 3) uint8, BGR.
    """
    picture = _picture(index // HOLD, side)
    phase = 2 * np.pi * np.array([index / 37, index / 29, index / 53, index / 41])  # no two swing together
    across, down = SWAY * side * np.sin(phase[:2])
    turn = cv2.getRotationMatrix2D((side / 2, side / 2), ROLL_DEG * np.sin(phase[2]), 1 + ZOOM * np.sin(phase[3]))
    turn[:, 2] += across, down
    moved: Image = cv2.warpAffine(
        picture, turn, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )
    return moved


def digit_of(index: int) -> int:
    """The class of a frame."""
    return int(load_digits("val").labels[_chosen(index // HOLD)])


def _chosen(scene: int) -> int:
    return int(np.random.default_rng([scene, 1]).integers(len(load_digits("val").labels)))


@lru_cache(maxsize=2)
def _picture(scene: int, side: int) -> Image:
    rng = np.random.default_rng([scene, 2])
    picture = compose(load_digits("val"), _chosen(scene), "val", COMPOSED, EVALUATION, rng)
    grown: Image = cv2.resize(picture, (side, side), interpolation=cv2.INTER_CUBIC)
    return grown
