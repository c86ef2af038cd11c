"""A window, and what is done where there can be none."""

import numpy as np
import pytest

from edge_kit.camera import window
from edge_kit.camera.window import WindowSink, display_fault
from tests.camera.parts import shown


class Screen:
    """The window functions of OpenCV, on no screen."""

    error = RuntimeError
    WINDOW_NORMAL = WINDOW_KEEPRATIO = WND_PROP_VISIBLE = 0

    def __init__(self, keys: list[int]) -> None:
        self.keys, self.shown = keys, list[np.ndarray]()
        self.visible: float | None = 1.0
        self.gone = False

    def namedWindow(self, title: str, flags: int) -> None: ...
    def resizeWindow(self, title: str, width: int, height: int) -> None: ...

    def imshow(self, title: str, image: np.ndarray) -> None:
        self.shown.append(image)

    def waitKey(self, ms: int) -> int:
        return self.keys.pop(0) if self.keys else -1

    def getWindowProperty(self, title: str, which: int) -> float:
        if self.visible is None:
            raise self.error("NULL guiReceiver (please create a window)")
        return self.visible

    def destroyAllWindows(self) -> None:
        self.gone = True


def on(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> WindowSink:
    monkeypatch.setattr(window, "import_cv2", lambda: screen)
    return WindowSink("edge-kit classify")


@pytest.mark.parametrize("key", [ord("q"), 27])
def test_a_key_ends_it(key: int, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = on(screen := Screen([-1, ord("x"), key]), monkeypatch)
    frames = [shown(number, number / 25) for number in range(3)]
    assert [sink.write(frame) for frame in frames] == [True, True, False]
    assert all(image is frame.shown for image, frame in zip(screen.shown, frames, strict=True))
    sink.close()
    assert screen.gone


@pytest.mark.parametrize("visible", [0.0, -1.0, None], ids=["GTK", "no such window", "Qt, which raises"])
def test_closing_it_ends_it(visible: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = on(screen := Screen([]), monkeypatch)
    assert sink.write(shown(0, 0.0))
    screen.visible = visible
    assert not sink.write(shown(1, 0.04))


def test_a_machine_without_a_display_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert display_fault() == "this machine has no display"


def test_a_display_that_is_not_there_does_not_take_the_process_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenCV's Qt aborts where it cannot connect; this is the real one."""
    monkeypatch.setenv("DISPLAY", ":93")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert display_fault() == "OpenCV cannot open a window here"
