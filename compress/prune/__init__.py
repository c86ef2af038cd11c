"""Smaller networks by taking whole filters out."""
