"""What happens in the video: the likeliest classes of the last seconds, with their shares.

edge-kit demo act --camera 0
"""

from collections import deque

from demos.classify import Classify
from edge_kit.camera.demo import DemoKind, register
from edge_kit.core.bundle import Bundle
from edge_kit.core.clips import ClipPreprocess
from edge_kit.core.images import Image
from edge_kit.core.tensors import MAIN, Tensors

SPREAD = 4  # frames of the window for each that the network takes: at 25 a second, eight are taken of 1.3 seconds


class Act(Classify):
    """Over any bundle that takes one clip and gives one row of classes; a clip is the last frames, sliding."""

    def __init__(self, bundle: Bundle) -> None:
        self.clips = bundle.preprocess_as(ClipPreprocess)
        [self.input], [self.output] = bundle.manifest.inputs[MAIN], bundle.manifest.outputs[MAIN]
        self.labels = bundle.manifest.labels
        self.window: deque[Image] = deque(maxlen=SPREAD * self.clips.segments)

    def prepare(self, image: Image) -> Tensors:
        self.window.append(self.clips.resized(image))
        return {self.input.name: self.clips(self.window)[None]}  # (T, 3, H, W) -> a batch of one


register(DemoKind("act", "what happens in the video", ("classify_clip",), Act, "tsm"))
