"""Metric learning: networks whose answer is an embedding, near to those of pictures of the same thing."""
