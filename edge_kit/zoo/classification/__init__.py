"""Image classification: one file a family of networks."""

from edge_kit.core.images import ImagePreprocess
from edge_kit.core.tensors import MAIN, GraphSpec, TensorSpec


def classifier_graphs(preprocess: ImagePreprocess) -> dict[str, GraphSpec]:
    """The one graph of a classifier: `image` (N, 3, side, side) float32 -> `logits` (N, classes)."""
    image = TensorSpec("image", ("N", 3, preprocess.crop, preprocess.crop), layout="NCHW")
    return {MAIN: GraphSpec((image,), ("logits",))}
