"""What is drawn over a picture, and what is left alone."""

import numpy as np

from edge_kit.camera.frame import Frame, Shot
from edge_kit.camera.meter import KEPT, RECENT, Meter
from edge_kit.camera.overlay import SMALLEST_SIDE, enlarged, put_lines, speed_lines
from tests.camera.parts import picture


def test_the_overlay_says_speed_runtime_precision_and_every_stage() -> None:
    meter = Meter()
    for number in range(11):
        frame = Frame(number, Shot(picture(0), 0.0), number / 20, {"capture": 1.0, "inference": 12.34})
        meter.seen(frame, 0.01 + number / 20)
    lines = speed_lines(meter.now(), {"runtime": "onnx", "precision": "int8"})
    assert lines == ["20.0 fps  onnx  int8", "capture 1.0 ms", "inference 12.3 ms"]


def test_before_the_first_frame_there_is_no_speed() -> None:
    assert speed_lines(Meter().now(), {"runtime": "onnx"}) == ["0.0 fps  onnx"]


def test_figures_are_of_the_last_frames_and_memory_does_not_grow() -> None:
    meter = Meter()
    for number in range(5 * KEPT):
        ms = 1.0 if number < 5 * KEPT - RECENT else 9.0
        meter.seen(Frame(number, Shot(picture(0), 0.0), float(number), {"inference": ms}), number + 0.5)
    assert meter.now().ms == {"inference": 9.0}
    summary = meter.summary("x", 0, 0, "source ended", ())
    assert (summary.frames, summary.ms) == (5 * KEPT, {"inference": 1.0})
    assert summary.latency_ms == {"p50": 500.0, "p99": 500.0}
    assert summary.fps == 5 * KEPT / (5 * KEPT - 0.5)
    assert len(meter._ms["inference"]) == KEPT


def test_a_panel_darkens_its_corner_and_no_more() -> None:
    for bottom in (False, True):
        image = np.full((400, 600, 3), 200, np.uint8)
        put_lines(image, ["20.0 fps", "inference 12.3 ms"], bottom=bottom)
        corner = image[-20:, :20] if bottom else image[:5, :20]
        assert corner.mean() < 120
        opposite = image[:200] if bottom else image[200:]
        assert (opposite == 200).all()
        assert (image[:, 400:] == 200).all()
        assert (image[..., 1] > image[..., 0].astype(int) + 50).any(), "no text was written"


def test_lines_that_do_not_fit_are_cut_and_not_an_error() -> None:
    image = np.zeros((20, 30, 3), np.uint8)
    put_lines(image, ["a line that is much wider than the picture"] * 9)
    put_lines(image, ["again"] * 9, bottom=True)
    put_lines(image, [])


def test_small_pictures_are_grown_and_large_ones_copied() -> None:
    small, large = np.zeros((32, 64, 3), np.uint8), np.zeros((480, 640, 3), np.uint8)
    assert enlarged(small).shape == (SMALLEST_SIDE, 2 * SMALLEST_SIDE, 3)
    copy = enlarged(large)
    copy[:] = 1
    assert not large.any()
