"""What is where in a scene: each class in a colour of its own, with the share of the picture that it takes.

edge-kit demo segment --camera 0
"""

import numpy as np

from edge_kit.camera.demo import DemoKind, register
from edge_kit.camera.frame import Answer
from edge_kit.camera.opencv import import_cv2
from edge_kit.camera.overlay import put_lines
from edge_kit.core.bundle import Bundle
from edge_kit.core.errors import BadData
from edge_kit.core.images import Image
from edge_kit.core.scenes import IMAGE, ScenePreprocess
from edge_kit.core.tensors import MAIN, Array, Graphs, Tensors

DRAWN = 4  # classes that are written
COLOUR = 0.5  # of a class, over what is seen through it
SAME = 0.99  # of the grid's points, for two answers to say the same
GOLDEN = 0.618034  # turns of the hue from one class to the next: none comes near an earlier one soon


class Segment:
    """Over any bundle that takes a scene and gives classes on a grid; see `Demo` for the methods."""

    def __init__(self, bundle: Bundle) -> None:
        self.preprocess = bundle.preprocess_as(ScenePreprocess)
        [self.output] = bundle.manifest.outputs[MAIN]
        self.labels = bundle.manifest.labels

    def prepare(self, image: Image) -> Tensors:
        return {IMAGE: self.preprocess(image)[None]}  # (C, H, W) -> a batch of one

    def infer(self, graphs: Graphs, inputs: Tensors) -> Tensors:
        return graphs[MAIN](inputs)

    def read(self, outputs: Tensors) -> Answer:
        logits = np.asarray(outputs[self.output])
        if logits.ndim != 4 or len(logits) != 1 or not np.isfinite(logits).all():
            raise BadData(f"output {self.output!r} of shape {logits.shape} is no finite map of classes")
        found = logits[0].argmax(axis=0)
        counts = np.bincount(found.reshape(-1))
        order = [int(one) for one in np.argsort(-counts, kind="stable") if counts[one]]
        shares = [{"label": self.label(c), "class": c, "share": float(counts[c] / found.size)} for c in order]
        return {"classes": shares, "size": list(found.shape), "runs": runs_of(found)}

    def draw(self, image: Image, answer: Answer) -> None:
        cv2 = import_cv2()
        found = map_of(answer)
        hues = (np.arange(found.max() + 1) * GOLDEN % 1 * 180).astype(np.uint8)
        vivid = np.stack([hues, np.full_like(hues, 200), np.full_like(hues, 255)], axis=1)[None]
        colours = cv2.cvtColor(vivid, cv2.COLOR_HSV2BGR)[0]
        over = cv2.resize(colours[found], image.shape[1::-1], interpolation=cv2.INTER_NEAREST)
        image[:] = cv2.addWeighted(over, COLOUR, image, 1 - COLOUR, 0)
        put_lines(image, [f"{one['label']}  {one['share']:.0%}" for one in answer["classes"][:DRAWN]], bottom=True)

    def same(self, first: Answer, second: Answer) -> bool:
        return bool((map_of(first) == map_of(second)).mean() >= SAME)

    def label(self, place: int) -> str:
        """The name of a class, or its number where the bundle names none."""
        return self.labels[place] if place < len(self.labels) else f"class {place}"


def runs_of(found: Array) -> list[list[int]]:
    """A map row by row as pairs of a class and how many points in a row have it."""
    flat = found.reshape(-1)
    starts = np.flatnonzero(np.diff(flat, prepend=-1))
    return np.stack([flat[starts], np.diff(starts, append=flat.size)], axis=1).tolist()  # type: ignore[no-any-return]


def map_of(answer: Answer) -> Array:
    """The map that an answer's runs tell, (h, w)."""
    runs = np.array(answer["runs"])
    return np.repeat(runs[:, 0], runs[:, 1]).reshape(answer["size"])


register(DemoKind("segment", "what is where in a scene", ("segment",), Segment, "icnet"))
