"""The picture in another look: what a CycleGAN's first generator makes of it.

edge-kit demo style --camera 0
"""

import base64

import cv2
import numpy as np

from edge_kit.camera.demo import DemoKind, register
from edge_kit.camera.frame import Answer
from edge_kit.core.bundle import Bundle
from edge_kit.core.errors import BadData
from edge_kit.core.images import Image
from edge_kit.core.tensors import Graphs, Tensors
from edge_kit.tasks.translate import A_TO_B, as_picture

ALIKE = 8.0  # grey levels, the mean difference of pictures that are taken for the same


class Style:
    """Over any bundle with a graph `a_to_b`; see `Demo` for the methods.

    An answer holds the picture as PNG in base64, so that a line of JSON is all of it.
    """

    def __init__(self, bundle: Bundle) -> None:
        if A_TO_B not in bundle.manifest.inputs:
            raise BadData(f"bundle {bundle.manifest.id!r} has no graph {A_TO_B!r}; choose one of a CycleGAN")
        self.preprocess = bundle.preprocess()
        [self.input], [self.output] = bundle.manifest.inputs[A_TO_B], bundle.manifest.outputs[A_TO_B]

    def prepare(self, image: Image) -> Tensors:
        return {self.input.name: self.preprocess(image)[None]}  # (H, W, C) or (C, H, W) -> a batch of one

    def infer(self, graphs: Graphs, inputs: Tensors) -> Tensors:
        return graphs[A_TO_B](inputs)

    def read(self, outputs: Tensors) -> Answer:
        made = np.asarray(outputs[self.output])
        if made.ndim != 4 or made.shape[:2] != (1, 3) or not np.isfinite(made).all():
            raise BadData(f"output {self.output!r} of shape {made.shape} is no picture")
        packed = cv2.imencode(".png", as_picture(made[0]))[1]
        return {"picture": base64.b64encode(packed.tobytes()).decode()}

    def draw(self, image: Image, answer: Answer) -> None:
        """Over the square in the middle, which is what the network saw."""
        side = min(image.shape[:2])
        top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
        grown = cv2.resize(_picture(answer), (side, side), interpolation=cv2.INTER_CUBIC)
        image[top : top + side, left : left + side] = grown

    def same(self, first: Answer, second: Answer) -> bool:
        difference = _picture(first).astype(np.int16) - _picture(second)
        return float(np.abs(difference).mean()) <= ALIKE


def _picture(answer: Answer) -> Image:
    packed = np.frombuffer(base64.b64decode(answer["picture"]), np.uint8)
    picture: Image = cv2.imdecode(packed, cv2.IMREAD_COLOR)
    return picture


register(DemoKind("style", "the picture in another look", ("translate",), Style, "cyclegan"))
