"""A game played by what a Q network thinks of each action.

edge-kit demo play --synthetic
"""

import numpy as np

from edge_kit.camera.demo import DemoKind, register
from edge_kit.camera.frame import Answer
from edge_kit.camera.overlay import put_lines
from edge_kit.camera.sources import Source
from edge_kit.camera.table import Table
from edge_kit.core.bundle import Bundle
from edge_kit.core.errors import BadData
from edge_kit.core.frames import FrameStack
from edge_kit.core.images import Image
from edge_kit.core.tensors import MAIN, Graphs, Tensors


class Play:
    """Over any bundle of a Q network; see `Demo` and `Acting` for the methods. One frame is under way at a time."""

    def __init__(self, bundle: Bundle) -> None:
        self.preprocess = bundle.preprocess_as(FrameStack)
        self.labels, [self.output] = bundle.manifest.labels, bundle.manifest.outputs[MAIN]
        self.table = Table(self.preprocess, 0)

    def source(self, frames: int) -> Source:
        self.table = Table(self.preprocess, frames)
        return self.table

    def prepare(self, image: Image) -> Tensors:
        return self.preprocess([self.table.seen])

    def infer(self, graphs: Graphs, inputs: Tensors) -> Tensors:
        return graphs[MAIN](inputs)

    def read(self, outputs: Tensors) -> Answer:
        q = np.asarray(outputs[self.output])
        if q.shape != (1, len(self.labels)) or not np.isfinite(q).all():
            raise BadData(f"output {self.output!r} of shape {q.shape} does not tell {len(self.labels)} actions apart")
        worth = dict(zip(self.labels, map(float, q[0]), strict=True))
        return {"action": int(q[0].argmax()), "worth": worth, "points": self.table.points}

    def act(self, answer: Answer) -> None:
        self.table.actions.put(answer["action"])

    def draw(self, image: Image, answer: Answer) -> None:
        lines = [f"{name}  {worth:+.2f}" for name, worth in answer["worth"].items()]
        put_lines(image, [f"points {answer['points']:+g}", *lines], bottom=True)

    def same(self, first: Answer, second: Answer) -> bool:
        return bool(first["action"] == second["action"])


register(DemoKind("play", "a game, played", ("control",), Play, "dqn"))
