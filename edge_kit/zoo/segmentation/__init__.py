"""Segmentation of scenes into classes."""

from edge_kit.core.scenes import IMAGE, ScenePreprocess
from edge_kit.core.tensors import MAIN, GraphSpec, TensorSpec


def segmentation_graphs(preprocess: ScenePreprocess) -> dict[str, GraphSpec]:
    """The one graph: `image` (N, 3, H, W) -> `logits` (N, classes, h, w), a row for each corner-aligned grid point."""
    image = TensorSpec(IMAGE, ("N", 3, preprocess.height, preprocess.width), layout="NCHW")
    return {MAIN: GraphSpec((image,), ("logits",))}
