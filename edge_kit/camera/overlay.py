"""What is written over a picture: how fast, on what, and what a demo has to say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edge_kit.camera.frame import Region
from edge_kit.camera.meter import Reading
from edge_kit.camera.opencv import import_cv2
from edge_kit.core.images import Image

SMALLEST_SIDE = 360  # of a shown picture, so that text on it can be read
LINE_SHARE = 0.045  # height of a line of text to that of the picture
SHADE = 0.45  # of the picture that is left behind text
WHITE, GREEN = (255, 255, 255), (120, 230, 120)  # BGR
COLOURS = (GREEN, (80, 180, 255), (255, 170, 90), (90, 230, 240), (230, 120, 220), (200, 200, 120))  # BGR, of boxes


def enlarged(image: Image) -> Image:
    """A copy to draw on, grown where it is too small for text."""
    scale = SMALLEST_SIDE / min(image.shape[:2])
    if scale <= 1:
        return image.copy()
    cv2 = import_cv2()
    size = (max(SMALLEST_SIDE, round(image.shape[1] * scale)), max(SMALLEST_SIDE, round(image.shape[0] * scale)))
    grown: Image = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
    return grown


def speed_lines(reading: Reading, model: Mapping[str, str]) -> list[str]:
    """FPS, runtime and precision; then each stage's milliseconds."""
    parts = [f"{reading.fps:.1f} fps", *model.values()]
    return ["  ".join(parts), *(f"{name} {ms:.1f} ms" for name, ms in reading.ms.items())]


def put_lines(image: Image, lines: Sequence[str], *, bottom: bool = False) -> None:
    """Write lines on a darkened panel in the left corner of a picture, in place; the first one stands out."""
    if not lines:
        return
    cv2 = import_cv2()
    height, width = image.shape[:2]
    step = max(12, round(height * LINE_SHARE))
    scale, font = step / 32, cv2.FONT_HERSHEY_SIMPLEX
    wide = max(cv2.getTextSize(line, font, scale, 1)[0][0] for line in lines)
    tall = step * len(lines) + step // 2
    top = height - tall if bottom else 0
    panel = image[max(0, top) : top + tall, : min(width, wide + step)]
    panel[:] = (panel * SHADE).astype(panel.dtype)
    for i, line in enumerate(lines):
        place = (step // 2, top + step * (i + 1))
        cv2.putText(image, line, place, font, scale, GREEN if i == 0 else WHITE, 1, cv2.LINE_AA)


def put_box(image: Image, box: Sequence[float], text: str, colour: int) -> None:
    """Draw a box with its name on a darkened strip above it, or in it where there is no room; in place.

    Args:
        box: x1, y1, x2, y2 in shares of the picture's sides.
        colour: Any number; equal ones look alike.
    """
    cv2 = import_cv2()
    height, width = image.shape[:2]
    x1, y1, x2, y2 = (round(share * side) for share, side in zip(box, (width, height) * 2, strict=True))
    shade, step = COLOURS[colour % len(COLOURS)], max(12, round(height * LINE_SHARE))
    scale, font = step / 32, cv2.FONT_HERSHEY_SIMPLEX
    cv2.rectangle(image, (x1, y1), (x2, y2), shade, max(1, step // 8))
    top = y1 - step if y1 >= step else y1
    wide = cv2.getTextSize(text, font, scale, 1)[0][0]
    strip = image[top : top + step, max(x1, 0) : x1 + wide + step // 2]
    strip[:] = (strip * SHADE).astype(strip.dtype)
    cv2.putText(image, text, (x1 + step // 4, top + step - step // 4), font, scale, shade, 1, cv2.LINE_AA)


def put_frame(image: Image, region: Region) -> None:
    """Draw a line around a part of a picture, in place."""
    part = region.of(image)
    part[[0, -1]] = GREEN
    part[:, [0, -1]] = GREEN
