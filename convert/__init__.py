"""From a Paddle network to ONNX, and from ONNX to what a target's INT8 kernels want."""
