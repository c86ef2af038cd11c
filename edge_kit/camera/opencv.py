"""OpenCV, quiet: what it and FFmpeg print natively would stand beside our one line."""

from __future__ import annotations

import os
from typing import Any

from edge_kit.core.errors import MissingDependency

QUIET = {"OPENCV_LOG_LEVEL": "SILENT", "OPENCV_FFMPEG_LOGLEVEL": "-8"}  # -8 is FFmpeg's own AV_LOG_QUIET


def import_cv2() -> Any:
    """OpenCV; as Any, since it ships no types.

    Raises:
        MissingDependency: It is not installed.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)  # FFmpeg's is read when the first video is opened, not at the import
    try:
        import cv2
    except ImportError:
        raise MissingDependency("a camera, a video or a picture", "opencv-python-headless", "images") from None
    if hasattr(cv2, "setLogLevel") and os.environ["OPENCV_LOG_LEVEL"] == QUIET["OPENCV_LOG_LEVEL"]:
        cv2.setLogLevel(0)
    return cv2
