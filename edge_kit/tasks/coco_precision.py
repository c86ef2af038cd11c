"""COCO's metric of detection, as its own package computes it.

Published results were written a pixel wider and taller than they were; here they are written as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

import numpy as np

from edge_kit.core.boxes import Detections
from edge_kit.core.errors import MissingDependency
from edge_kit.tasks.detect import Precision, Truth

HEADLINE = "mAP@[.50:.95]"


def mean_precision(found: Sequence[Detections], truths: Sequence[Truth], classes: int) -> Precision:
    """`mAP@[.50:.95]`, `AP50` and `AP75` over the classes that there are objects of; see `Measure`.

    Raises:
        MissingDependency: pycocotools is not installed.
    """
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError:
        raise MissingDependency("COCO's metric", "pycocotools", "coco") from None
    with redirect_stdout(StringIO()):  # it tells its progress there
        truth = COCO()
        truth.dataset = _truth(truths, classes)
        truth.createIndex()
        rows = _results(found, truths)
        if not rows:
            return Precision({HEADLINE: 0.0, "AP50": 0.0, "AP75": 0.0}, [0.0] * classes)
        scoring = COCOeval(truth, truth.loadRes(rows), "bbox")
        scoring.evaluate()
        scoring.accumulate()
    # (overlaps, recalls, classes, areas, most detections); -1 where there is no object
    precision = scoring.eval["precision"][:, :, :, 0, -1]
    values = {HEADLINE: _mean(precision), "AP50": _mean(precision[0]), "AP75": _mean(precision[5])}
    own = [_mean(precision[:, :, label]) for label in range(classes)]
    return Precision({name: value or 0.0 for name, value in values.items()}, own)


def _mean(precision: Any) -> float | None:
    """In percent; None where there is no object."""
    known = precision[precision > -1]
    return 100 * float(np.mean(known)) if known.size else None


def _truth(truths: Sequence[Truth], classes: int) -> dict[str, Any]:
    annotations: list[dict[str, Any]] = []
    for image, truth in enumerate(truths):
        for box, label, ignored in zip(_written(truth.boxes, truth), truth.labels, truth.ignored, strict=True):
            number = len(annotations) + 1  # 0 would count as no object
            one = {"id": number, "image_id": image, "category_id": int(label), "bbox": box, "iscrowd": int(ignored)}
            annotations.append({**one, "area": box[2] * box[3]})
    sizes = [{"id": i, "height": one.size[0], "width": one.size[1]} for i, one in enumerate(truths)]
    return {"images": sizes, "annotations": annotations, "categories": [{"id": label} for label in range(classes)]}


def _results(found: Sequence[Detections], truths: Sequence[Truth]) -> list[dict[str, Any]]:
    return [
        {"image_id": image, "category_id": int(label), "bbox": box, "score": float(score)}
        for image, (one, truth) in enumerate(zip(found, truths, strict=True))
        for box, label, score in zip(_written(one.boxes, truth), one.labels, one.scores, strict=True)
    ]


def _written(boxes: Any, truth: Truth) -> list[list[float]]:
    """x, y, width and height in pixels."""
    height, width = truth.size
    scaled = boxes.astype(np.float64) * [width, height, width, height]
    written: list[list[float]] = np.concatenate([scaled[:, :2], scaled[:, 2:] - scaled[:, :2]], axis=1).tolist()
    return written
