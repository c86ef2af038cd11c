"""What is in the picture: the likeliest classes, with their shares.

edge-kit demo classify --camera 0
"""

import numpy as np

from edge_kit.camera.demo import DemoKind, register
from edge_kit.camera.frame import Answer
from edge_kit.camera.overlay import put_lines
from edge_kit.core.bundle import Bundle
from edge_kit.core.errors import BadData
from edge_kit.core.images import Image
from edge_kit.core.tensors import MAIN, Graphs, Tensors
from edge_kit.tasks.classify import rank

TOP = 5  # classes that are kept
DRAWN = 3  # and those of them that are drawn


class Classify:
    """Over any bundle that takes one picture and gives one row of classes; see `Demo` for the methods."""

    def __init__(self, bundle: Bundle) -> None:
        self.preprocess = bundle.preprocess()  # floats or pixels, as the bundle asks for
        [self.input], [self.output] = bundle.manifest.inputs[MAIN], bundle.manifest.outputs[MAIN]
        self.labels = bundle.manifest.labels

    def prepare(self, image: Image) -> Tensors:
        return {self.input.name: self.preprocess(image)[None]}  # (H, W, C) or (C, H, W) -> a batch of one

    def infer(self, graphs: Graphs, inputs: Tensors) -> Tensors:
        return graphs[MAIN](inputs)

    def read(self, outputs: Tensors) -> Answer:
        logits = np.asarray(outputs[self.output])
        if logits.ndim != 2 or len(logits) != 1:
            raise BadData(f"output {self.output!r} of shape {logits.shape} is no row of classes")
        return {"top": [{"label": self.label(c), "class": c, "share": share} for c, share in rank(logits[0], TOP)]}

    def draw(self, image: Image, answer: Answer) -> None:
        put_lines(image, [f"{one['label']}  {one['share']:.0%}" for one in answer["top"][:DRAWN]], bottom=True)

    def same(self, first: Answer, second: Answer) -> bool:
        return bool(first["top"][0]["class"] == second["top"][0]["class"])

    def label(self, place: int) -> str:
        """The name of a class, or its number where the bundle names none."""
        return self.labels[place] if place < len(self.labels) else f"class {place}"


register(DemoKind("classify", "what is in the picture", ("classify",), Classify))
