"""What is where in the picture: a box around every object that is found, with its name and score.

edge-kit demo detect --camera 0
"""

import numpy as np

from edge_kit.camera.demo import DemoKind, register
from edge_kit.camera.frame import Answer
from edge_kit.camera.overlay import put_box
from edge_kit.core.boxes import Detections
from edge_kit.core.bundle import Bundle
from edge_kit.core.errors import BadData
from edge_kit.core.images import Image
from edge_kit.core.tensors import MAIN, Graphs, Tensors
from edge_kit.tasks import TASKS
from edge_kit.tasks.detect import SURE, Detector, found_again

KINDS = ("detect_ssd", "detect_yolo")


class Detect:
    """Over any bundle of a detector; see `Demo` for the methods."""

    def __init__(self, bundle: Bundle) -> None:
        task = TASKS.get(bundle.manifest.task)
        if not isinstance(task, Detector):
            raise BadData(f"bundle {bundle.manifest.id!r} finds no objects: its task is {bundle.manifest.task!r}")
        self.task, self.preprocess, self.labels = task, bundle.preprocess(), bundle.manifest.labels
        [self.input] = bundle.manifest.inputs[MAIN]

    def prepare(self, image: Image) -> Tensors:
        return {self.input.name: self.preprocess(image)[None]}  # (H, W, C) or (C, H, W) -> a batch of one

    def infer(self, graphs: Graphs, inputs: Tensors) -> Tensors:
        return graphs[MAIN](inputs)

    def read(self, outputs: Tensors) -> Answer:
        [found] = self.task.detect(outputs, int(self.input.shape[2]))
        sure = found.at_least(SURE)
        rows = zip(sure.labels.tolist(), sure.scores.tolist(), sure.boxes.tolist(), strict=True)
        return {"found": [{"label": self.labels[c], "class": c, "score": s, "box": box} for c, s, box in rows]}

    def draw(self, image: Image, answer: Answer) -> None:
        for one in reversed(answer["found"]):  # the surest on top
            put_box(image, one["box"], f"{one['label']}  {one['score']:.0%}", one["class"])

    def same(self, first: Answer, second: Answer) -> bool:
        """Whether each finds every object of the other, at the same place."""
        one, other = _detections(first), _detections(second)
        return len(one.labels) == len(other.labels) == found_again(one, other, 0.0)


def _detections(answer: Answer) -> Detections:
    rows = answer["found"]
    boxes = np.array([one["box"] for one in rows], np.float32).reshape(-1, 4)
    scores = np.array([one["score"] for one in rows], np.float32)
    return Detections(boxes, scores, np.array([one["class"] for one in rows], np.int64))


register(DemoKind("detect", "what is where in the picture", KINDS, Detect, "ssd"))
