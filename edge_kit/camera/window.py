"""A window on this machine's screen, where it has one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping

from edge_kit.camera.frame import Frame
from edge_kit.camera.opencv import import_cv2

PROBE = "import cv2; cv2.namedWindow('edge-kit'); cv2.waitKey(1); cv2.destroyAllWindows()"
PROBE_S = 20.0
END_KEYS = (27, ord("q"))  # Esc


def display_fault() -> str:
    """Why no window can be opened; empty where one can."""
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return "this machine has no display"
    # Where it cannot connect, the window system of OpenCV's wheels ends the process: let that be another one.
    try:
        done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, timeout=PROBE_S, check=False)
    except subprocess.TimeoutExpired:
        return f"the display did not answer in {PROBE_S:g} s"
    return "" if done.returncode == 0 else "OpenCV cannot open a window here"


class WindowSink:
    """Shows frames until q or Esc is pressed or the window is closed.

    Args:
        title: Of the window.
        keys: What else a key does.
    """

    def __init__(self, title: str, keys: Mapping[str, Callable[[], None]] | None = None) -> None:
        self.name, self._title, self._sized = "window", title, False
        self._keys = {ord(key): do for key, do in (keys or {}).items()}
        self._cv2 = import_cv2()
        self._cv2.namedWindow(title, self._cv2.WINDOW_NORMAL | self._cv2.WINDOW_KEEPRATIO)

    def write(self, frame: Frame) -> bool:
        if not self._sized:
            self._sized = True
            height, width = frame.shown.shape[:2]
            self._cv2.resizeWindow(self._title, width, height)
        self._cv2.imshow(self._title, frame.shown)
        key = self._cv2.waitKey(1) & 0xFF
        if key in self._keys:
            self._keys[key]()
        return key not in END_KEYS and self._is_open()

    def _is_open(self) -> bool:
        try:
            visible = self._cv2.getWindowProperty(self._title, self._cv2.WND_PROP_VISIBLE)
        except self._cv2.error:  # Qt, once its last window is closed
            return False
        return bool(visible >= 1)

    def close(self) -> None:
        self._cv2.destroyAllWindows()
        self._cv2.waitKey(1)  # the window goes away when events are handled
