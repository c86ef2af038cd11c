"""How somebody stands: the joints of the one person that fills the picture, and the bones between them.

edge-kit demo pose --camera 0
"""

import numpy as np

from edge_kit.camera.demo import DemoKind, register
from edge_kit.camera.frame import Answer
from edge_kit.camera.opencv import import_cv2
from edge_kit.camera.overlay import GREEN, WHITE
from edge_kit.core.bundle import Bundle
from edge_kit.core.errors import BadData
from edge_kit.core.images import Image
from edge_kit.core.poses import IMAGE, ROOM, STRIDE, PosePreprocess, invert, move, peaks
from edge_kit.core.tensors import MAIN, Graphs, Tensors

BONES = (
    (5, 7), (7, 9), (6, 8), (8, 10), (11, 13), (13, 15), (12, 14), (14, 16), (5, 6), (11, 12), (5, 11), (6, 12),
    (0, 1), (0, 2), (1, 3), (2, 4),
)  # fmt: skip
LEAST_HEIGHT = 0.2  # of a peak, for its keypoint to be drawn
NEAR = 0.02  # of the picture's height: how far apart keypoints of two answers may lie and be the same
BACK, SIZE = "back", "size"  # handed from `prepare` to `read`: the way to the picture's pixels, and its size


class Pose:
    """Over any bundle that takes a person and gives heat maps; see `Demo` for the methods."""

    def __init__(self, bundle: Bundle) -> None:
        self.preprocess = bundle.preprocess_as(PosePreprocess)
        [self.output] = bundle.manifest.outputs[MAIN]
        self.labels = bundle.manifest.labels

    def prepare(self, image: Image) -> Tensors:
        height, width = image.shape[:2]
        box = np.array([0.0, 0.0, width, height])
        matrix = self.preprocess.matrix(box, scale=1 / ROOM)  # no room around: all there is is the picture
        return {IMAGE: self.preprocess.cut(image, matrix)[None], BACK: invert(matrix), SIZE: np.array([height, width])}

    def infer(self, graphs: Graphs, inputs: Tensors) -> Tensors:
        return {**graphs[MAIN]({IMAGE: inputs[IMAGE]}), BACK: inputs[BACK], SIZE: inputs[SIZE]}

    def read(self, outputs: Tensors) -> Answer:
        maps = np.asarray(outputs[self.output])
        if maps.ndim != 4 or len(maps) != 1 or not np.isfinite(maps).all():
            raise BadData(f"output {self.output!r} of shape {maps.shape} is no finite stack of heat maps")
        points, heights = peaks(maps[0])
        pixels = move(points * STRIDE, outputs[BACK])
        rows = zip(pixels.tolist(), heights.tolist(), strict=True)
        found = [{"name": self.label(i), "x": x, "y": y, "height": high} for i, ((x, y), high) in enumerate(rows)]
        return {"keypoints": found, "size": outputs[SIZE].tolist()}

    def draw(self, image: Image, answer: Answer) -> None:
        cv2, zoom = import_cv2(), image.shape[0] / answer["size"][0]
        ends = [(round(one["x"] * zoom), round(one["y"] * zoom)) for one in answer["keypoints"]]
        sure = [one["height"] > LEAST_HEIGHT for one in answer["keypoints"]]
        thick = max(1, image.shape[0] // 180)
        for start, end in BONES:
            if max(start, end) < len(ends) and sure[start] and sure[end]:
                cv2.line(image, ends[start], ends[end], GREEN, thick, cv2.LINE_AA)
        for place in (end for end, seen in zip(ends, sure, strict=True) if seen):
            cv2.circle(image, place, 2 * thick, WHITE, -1, cv2.LINE_AA)

    def same(self, first: Answer, second: Answer) -> bool:
        pairs = list(zip(first["keypoints"], second["keypoints"], strict=True))
        apart = [np.hypot(a["x"] - b["x"], a["y"] - b["y"]) for a, b in pairs if a["height"] > LEAST_HEIGHT]
        return bool(max(apart, default=0.0) <= NEAR * first["size"][0])

    def label(self, place: int) -> str:
        """The name of a keypoint, or its number where the bundle names none."""
        return self.labels[place] if place < len(self.labels) else f"keypoint {place}"


register(DemoKind("pose", "how somebody stands", ("keypoints",), Pose, "simple_baselines"))
