"""Keypoints of persons."""

from edge_kit.core.poses import IMAGE, PosePreprocess
from edge_kit.core.tensors import MAIN, GraphSpec, TensorSpec


def keypoint_graphs(preprocess: PosePreprocess) -> dict[str, GraphSpec]:
    """The one graph: `image` (N, 3, H, W) -> `heatmaps` (N, keypoints, H / 4, W / 4)."""
    image = TensorSpec(IMAGE, ("N", 3, preprocess.height, preprocess.width), layout="NCHW")
    return {MAIN: GraphSpec((image,), ("heatmaps",))}
