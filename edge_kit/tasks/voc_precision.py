"""VOC's metric of detection before 2010: mean average precision at eleven points of recall.

Source: Everingham et al. 2010, The PASCAL Visual Object Classes (VOC) Challenge, IJCV 88, section 4.2.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge_kit.core.boxes import Detections, overlaps
from edge_kit.tasks.detect import Precision, Truth

OVERLAP = 0.5
POINTS = np.linspace(0, 1, 11)


def mean_precision(found: Sequence[Detections], truths: Sequence[Truth], classes: int) -> Precision:
    """`mAP` over the classes that there are objects of; see `Measure`."""
    values = [_of_class(found, truths, label) for label in range(classes)]
    known = [value for value in values if value is not None]
    return Precision({"mAP": float(np.mean(known)) if known else 0.0}, values)


def _of_class(found: Sequence[Detections], truths: Sequence[Truth], label: int) -> float | None:
    """In percent; None without an object that counts."""
    scores, right = [], []
    total = 0
    for one, truth in zip(found, truths, strict=True):
        own, there = one.labels == label, truth.labels == label
        total += int((there & ~truth.ignored).sum())
        verdicts = _verdicts(one.boxes[own], truth.boxes[there], truth.ignored[there])
        counted = verdicts >= 0
        scores.append(one.scores[own][counted])
        right.append(verdicts[counted])
    if not total:
        return None
    order = np.argsort(-np.concatenate(scores), kind="stable")
    hits = np.cumsum(np.concatenate(right)[order])
    recall, precision = hits / total, hits / np.arange(1, len(hits) + 1)
    best = [precision[recall >= point].max(initial=0.0) for point in POINTS]
    return 100 * float(np.mean(best))


def _verdicts(boxes: NDArray[np.float32], there: NDArray[np.float32], ignored: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Of each detection, the strongest first: 1 found an object, 0 did not or found it again, -1 does not count.

    A detection belongs to the object that it overlaps most, taken or not.
    """
    verdicts = np.zeros(len(boxes), np.int64)
    if not len(there):
        return verdicts
    shares = overlaps(boxes, there)
    taken = np.zeros(len(there), np.bool_)
    for i, row in enumerate(shares):
        best = int(row.argmax())
        if row[best] < OVERLAP:
            continue
        if ignored[best]:
            verdicts[i] = -1
        elif not taken[best]:
            verdicts[i], taken[best] = 1, True
    return verdicts
