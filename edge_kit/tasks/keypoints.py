"""Keypoints of persons by heat maps: weighted squares, and COCO's average precision by object keypoint similarity."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_kit.core.errors import MissingDependency
from edge_kit.core.poses import IMAGE, STRIDE, move, peaks
from edge_kit.core.progress import Progress
from edge_kit.core.records import Metric
from edge_kit.core.tensors import MAIN, Array, Graphs, Tensors
from edge_kit.data.coco_keypoints import MIRRORED
from edge_kit.data.dataset import Dataset
from edge_kit.tasks.task import TASKS

BATCH = 20
LEAST_HEIGHT = 0.2  # of a peak, to count for how sure a person is
ALIKE = 0.9  # similarity from which two answers are of one person
DEVIATIONS = (
    np.array([26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89]) / 1000
)  # COCO's, a keypoint
SUMMARY = ("AP", "AP50", "AP75", "AP_M", "AP_L", "AR", "AR50", "AR75", "AR_M", "AR_L")  # in COCOeval's order
SAME_CELLS = 0.5  # how far apart two answers may lie and be the same


@dataclass(frozen=True, slots=True)
class Pose:
    """What was found of one person.

    Attributes:
        picture: It is in.
        points: x, y in the picture's pixels, (K, 2).
        score: How sure it is.
        area: Of its box, in pixels.
    """

    picture: int
    points: NDArray[np.float64]
    score: float
    area: float


class Keypoints:
    """Graph `main`: `image` (N, 3, H, W) float32 -> `heatmaps` (N, K, H / 4, W / 4)."""

    name = "keypoints"

    def loss(self, net: Any, batch: Any) -> Any:
        squares = ((net(batch[IMAGE]) - batch["target"]) ** 2).mean(axis=[2, 3])
        return 0.5 * (batch["weight"] * squares).mean()

    def feeds(self, graphs: Graphs, batch: Tensors) -> dict[str, Tensors]:
        return {MAIN: {IMAGE: batch[IMAGE]}}

    def evaluate(self, graphs: Graphs, dataset: Dataset, progress: Progress) -> tuple[Metric, ...]:
        """`AP` and what goes with it are of the persons that the published code scored, `AP all` is of all."""
        truths: list[dict[str, Any]] = []
        poses: list[Pose] = []
        centred: list[bool] = []
        for batch in dataset.eval_batches(BATCH):
            poses += read_poses(heat_maps_of(graphs, batch[IMAGE]), batch)
            truths += _annotations(batch, len(truths))
            centred += [bool(one) for one in batch["centred"]]
            progress(len(truths), dataset.eval_size())
        metrics = []
        for suffix, chosen in (("", [i for i, one in enumerate(centred) if one]), (" all", range(len(truths)))):
            values = precision([truths[i] for i in chosen], keep_best([poses[i] for i in chosen]))
            names = SUMMARY if not suffix else SUMMARY[:1]
            found = {name: 100 * max(value, 0.0) for name, value in zip(names, values, strict=False)}
            metrics += [Metric(n + suffix, v, "%", f"{dataset.name} val", len(chosen)) for n, v in found.items()]
        return tuple(metrics)

    def agreement(self, reference: Graphs, candidate: Graphs, dataset: Dataset, samples: int) -> Metric:
        same = points = seen = 0
        for batch in dataset.eval_batches(BATCH):
            inputs = self.feeds(reference, batch)[MAIN]
            first, second = (peaks(graphs[MAIN](inputs)["heatmaps"])[0] for graphs in (reference, candidate))
            near = np.abs(first - second).max(axis=2) <= SAME_CELLS
            same, points, seen = same + int(near.sum()), points + near.size, seen + len(near)
            if seen >= samples:
                break
        return Metric("keypoints within half a cell", 100 * same / points, "%", f"{dataset.name} val", seen)


def heat_maps_of(graphs: Graphs, images: Array) -> Array:
    """The mean of the maps of each picture and of its mirror image, put back and shifted by a cell.

    The last cell of a mirrored map shows what lies half a cell beyond the first one of the other.

    Args:
        images: (N, 3, H, W).
    """
    plain = graphs[MAIN]({IMAGE: images})["heatmaps"]
    mirrored = graphs[MAIN]({IMAGE: np.ascontiguousarray(images[..., ::-1])})["heatmaps"]
    back = mirrored[:, list(MIRRORED), :, ::-1].copy()
    back[..., 1:] = back[..., :-1].copy()
    mean: Array = (plain + back) / 2
    return mean


def read_poses(maps: Array, batch: Tensors) -> list[Pose]:
    """One answer a person of an evaluation batch."""
    points, heights = peaks(maps)
    found = []
    for i, back in enumerate(batch["back"]):
        high = heights[i][heights[i] > LEAST_HEIGHT]
        score = float(high.mean()) if high.size else 0.0
        area = float(batch["box"][i][2] * batch["box"][i][3])
        found.append(Pose(int(batch["picture"][i]), move(points[i] * STRIDE, back), score, area))
    return found


def keep_best(poses: list[Pose]) -> list[Pose]:
    """Without those that lie where a surer one of the same picture lies; the surest first, picture by picture."""
    kept: dict[int, list[Pose]] = {}
    for pose in sorted(poses, key=lambda one: -one.score):
        own = kept.setdefault(pose.picture, [])
        if all(similarity(other, pose) <= ALIKE for other in own):
            own.append(pose)
    return [pose for own in kept.values() for pose in own]


def similarity(first: Pose, second: Pose) -> float:
    """Mean over the keypoints of exp(-d^2 / (2 s^2 k^2)); s^2 is the mean of the areas.

    Source: COCO's keypoint evaluation; variances as cocoapi has them.
    """
    squares = ((first.points - second.points) ** 2).sum(axis=1)
    area = (first.area + second.area) / 2
    return float(np.exp(-squares / (2 * (2 * DEVIATIONS) ** 2 * max(area, 1e-9))).mean())


def precision(truths: list[dict[str, Any]], poses: list[Pose]) -> list[float]:
    """What COCO's own package tells, in the order of `SUMMARY`, 0..1; -1 where there is nothing of the kind.

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
        pictures = sorted({one["image_id"] for one in truths})
        truth.dataset = {"images": [{"id": number} for number in pictures], "annotations": truths}
        truth.dataset["categories"] = [{"id": 1, "name": "person"}]
        truth.createIndex()
        if not poses:
            return [0.0] * len(SUMMARY)
        scoring = COCOeval(truth, truth.loadRes([_result(pose) for pose in poses]), "keypoints")
        scoring.evaluate()
        scoring.accumulate()
        scoring.summarize()
    return [float(value) for value in scoring.stats]


def _result(pose: Pose) -> dict[str, Any]:
    points = np.column_stack([pose.points, np.ones(len(pose.points))])
    written = points.reshape(-1).tolist()
    return {"image_id": pose.picture, "category_id": 1, "keypoints": written, "score": pose.score}


def _annotations(batch: Tensors, before: int) -> Iterator[dict[str, Any]]:
    """The persons of an evaluation batch as COCO writes them; numbers start at 1, as 0 would count as none."""
    for i, keypoints in enumerate(batch["keypoints"]):
        yield {
            "id": before + i + 1,
            "image_id": int(batch["picture"][i]),
            "category_id": 1,
            "iscrowd": 0,
            "bbox": batch["box"][i].tolist(),
            "area": float(batch["area"][i]),
            "keypoints": keypoints.reshape(-1).tolist(),
            "num_keypoints": int((keypoints[:, 2] > 0).sum()),
        }


TASKS.add("keypoints", Keypoints())
