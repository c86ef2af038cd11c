"""What is seen, found among the things that it was shown: press e to keep one, or give a folder of them.

edge-kit demo search --camera 0 --enrol things
"""

from collections import deque

import numpy as np

from edge_kit.camera.demo import DemoKind, register
from edge_kit.camera.frame import Answer
from edge_kit.camera.overlay import put_lines
from edge_kit.core.bundle import Bundle
from edge_kit.core.errors import BadData
from edge_kit.core.images import Image
from edge_kit.core.tensors import MAIN, Graphs, Tensors
from edge_kit.tasks.embed import Embeddings, normalised

TOP = 3  # things that are told
MOST = 10_000  # that are kept: the oldest is forgotten


class Search:
    """Over any bundle that gives a picture an embedding; see `Demo` and `Enrolling` for the methods."""

    def __init__(self, bundle: Bundle) -> None:
        self.preprocess = bundle.preprocess()  # floats or pixels, as the bundle asks for
        [self.input], [self.output] = bundle.manifest.inputs[MAIN], bundle.manifest.outputs[MAIN]
        self.names: deque[str] = deque(maxlen=MOST)
        self.kept: Embeddings = np.zeros((0, 0), np.float32)  # a row for each name
        self.waiting: deque[str] = deque()

    def enrol(self, name: str) -> None:
        self.waiting.append(name)

    def prepare(self, image: Image) -> Tensors:
        return {self.input.name: self.preprocess(image)[None]}  # (H, W, C) or (C, H, W) -> a batch of one

    def infer(self, graphs: Graphs, inputs: Tensors) -> Tensors:
        return graphs[MAIN](inputs)

    def read(self, outputs: Tensors) -> Answer:
        found = normalised(np.asarray(outputs[self.output]))
        if len(found) != 1 or not found.any():
            raise BadData(
                f"output {self.output!r} of shape {found.shape} is no embedding of one picture, or not finite"
            )
        while self.waiting:
            self.kept = np.concatenate([self.kept, found])[-MOST:] if self.names else found
            self.names.append(self.waiting.popleft() or f"thing {len(self.names) + 1}")
        if not self.names:
            return {"found": [], "kept": 0}
        likeness = self.kept @ found[0]  # cosines
        best = np.argsort(-likeness, kind="stable")[:TOP]
        return {
            "found": [{"name": self.names[i], "likeness": float(likeness[i])} for i in best],
            "kept": len(self.names),
        }

    def draw(self, image: Image, answer: Answer) -> None:
        lines = [f"{one['name']}  {one['likeness']:.2f}" for one in answer["found"]]
        put_lines(image, lines or ["press e to keep what is seen"], bottom=True)

    def same(self, first: Answer, second: Answer) -> bool:
        return [one["name"] for one in first["found"][:1]] == [one["name"] for one in second["found"][:1]]


register(DemoKind("search", "what is seen, found among what was shown", ("embed",), Search, "resnet50_arcmargin"))
