"""What a line of text says: the whole picture, or the part of it that `--region` tells.

edge-kit demo read --camera 0 --region 0.2,0.4,0.6,0.2
"""

import numpy as np

from edge_kit.camera.demo import DemoKind, register
from edge_kit.camera.frame import Answer
from edge_kit.camera.overlay import put_lines
from edge_kit.core.bundle import Bundle
from edge_kit.core.errors import BadData
from edge_kit.core.images import Image, resize_image
from edge_kit.core.lines import LinePreprocess
from edge_kit.core.tensors import MAIN, Graphs, Tensors
from edge_kit.tasks.read_text import read_greedily


class Read:
    """Over any bundle that takes a line and gives a row of characters a step; see `Demo` for the methods."""

    def __init__(self, bundle: Bundle) -> None:
        self.preprocess = bundle.preprocess_as(LinePreprocess)
        [self.input], [self.output] = bundle.manifest.inputs[MAIN], bundle.manifest.outputs[MAIN]
        self.labels = bundle.manifest.labels

    def prepare(self, image: Image) -> Tensors:
        height, width = image.shape[:2]  # of a picture of any size, letters keep their shape
        fitted = resize_image(image, (max(1, round(width * self.preprocess.height / height)), self.preprocess.height))
        return {self.input.name: self.preprocess(fitted)[None]}  # (1, H, W) -> a batch of one

    def infer(self, graphs: Graphs, inputs: Tensors) -> Tensors:
        return graphs[MAIN](inputs)

    def read(self, outputs: Tensors) -> Answer:
        logits = np.asarray(outputs[self.output])
        if logits.ndim != 3 or len(logits) != 1 or logits.shape[2] != len(self.labels) + 1:
            raise BadData(
                f"output {self.output!r} of shape {logits.shape} is no line of {len(self.labels)} ids and a blank"
            )
        [reading] = read_greedily(logits)
        if reading is None:
            raise BadData(f"output {self.output!r} is not finite")
        return {"text": "".join(self.labels[i] for i in reading), "ids": list(reading)}

    def draw(self, image: Image, answer: Answer) -> None:
        put_lines(image, [answer["text"] or "(nothing)"], bottom=True)

    def same(self, first: Answer, second: Answer) -> bool:
        return bool(first["ids"] == second["ids"])


register(DemoKind("read", "what a line of text says", ("read_text",), Read, "crnn_ctc"))
