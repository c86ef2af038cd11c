"""Sources that are lost and come back, or do not; a real HTTP server stands in for an IP camera."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np
import pytest

from edge_kit.camera.live import Reconnecting, camera, shown, stream
from edge_kit.camera.pipeline import Pipeline
from edge_kit.core.errors import BadData, EdgeKitError, UsageError
from tests.camera.parts import Collect, picture


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Lossy:
    """What is opened: gives so many frames each time, then none."""

    fps = 30.0

    def __init__(self, frames: int) -> None:
        self.left, self.closed = frames, False

    def read(self) -> np.ndarray | None:
        self.left -= 1
        return picture(0) if self.left >= 0 else None

    def close(self) -> None:
        self.closed = True


def test_a_lost_source_is_opened_again_and_a_note_is_kept() -> None:
    opened: list[Lossy] = []

    def open_reader() -> Lossy:
        if len(opened) == 1 and not fails.is_set():
            fails.set()
            raise BadData("not yet")
        opened.append(Lossy(3))
        return opened[-1]

    fails = threading.Event()
    source = Reconnecting(open_reader, "camera 0", first_wait_s=0.01)
    assert all(source.read() for _ in range(9))
    assert len(opened) == 3
    assert [reader.closed for reader in opened] == [True, True, False]
    assert len(source.notes) == 2
    assert source.notes[0].startswith("camera 0 was lost and came back after 0.0")
    source.close()
    assert opened[-1].closed


def test_waits_grow_and_patience_ends_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, waits = Clock(), []
    source = Reconnecting(lambda: Lossy(0), "camera 0", patience_s=20.0, first_wait_s=0.5, clock=clock)

    def wait(seconds: float) -> bool:
        waits.append(seconds)
        clock.now += seconds
        return False

    monkeypatch.setattr(source._stopped, "wait", wait)
    with pytest.raises(EdgeKitError, match="^camera 0 was lost and gave no frame for 20 s, 6 times tried; see to it"):
        source.read()
    assert waits == [0.0, 0.5, 1.0, 2.0, 4.0, 8.0]


def test_a_source_that_waits_to_be_opened_again_stops_at_once() -> None:
    source = Reconnecting(lambda: Lossy(0), "camera 0", first_wait_s=30.0)
    timer = threading.Timer(0.1, source.stop)
    timer.start()
    began = time.monotonic()
    assert source.read() is None
    assert time.monotonic() - began < 5
    timer.join()


def test_what_cannot_be_opened_at_first_is_told_at_once() -> None:
    with pytest.raises(BadData, match=r"^camera 97 cannot be opened; devices on this machine: "):
        camera(97)
    with pytest.raises(BadData, match="^stream 'rtsp://127.0.0.1:9/x' cannot be opened; is it running"):
        stream("rtsp://user:secret@127.0.0.1:9/x")
    with pytest.raises(UsageError, match="rtsp://, .* got 'webcam'$"):
        stream("webcam")
    with pytest.raises(UsageError, match="0 or more, got -1"):
        camera(-1)


def test_a_password_is_not_shown() -> None:
    assert shown("rtsp://user:p@ss@cam.local/1") == "rtsp://cam.local/1"
    assert shown("http://cam.local/video") == "http://cam.local/video"


@contextmanager
def mjpeg_server(frames_each: int) -> Iterator[tuple[str, list[int]]]:
    """Gives so many JPEGs to each who connects, then hangs up; the list counts connections."""
    connections: list[int] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            connections.append(1)
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            for number in range(frames_each):
                jpeg = cv2.imencode(".jpg", picture(number, 64, 96))[1].tobytes()
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                try:
                    self.wfile.write(head.encode() + jpeg + b"\r\n")
                except OSError:
                    return
                time.sleep(0.01)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/video.mjpg", connections
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_network_camera_that_hangs_up_is_gone_back_to() -> None:
    with mjpeg_server(30) as (address, connections):
        source, sink = stream(address), Collect()
        summary = Pipeline(source, [], [sink], limit=80).run()
    assert summary.ended == "enough frames"
    assert summary.frames + summary.dropped == 80
    assert len(connections) >= 3
    assert len(summary.notes) >= 2
    assert {frame.shot.image.shape for frame in sink.frames} == {(64, 96, 3)}
    assert sink.places == sorted(sink.places)


def test_a_network_camera_that_is_gone_for_good_is_one_line() -> None:
    with mjpeg_server(20) as (address, _):
        source = stream(address, patience_s=0.5)
        first = source.read()
        assert first is not None
    sink = Collect()
    with pytest.raises(EdgeKitError, match="was lost and gave no frame for 0.5 s"):
        Pipeline(source, [], [sink]).run()
    assert sink.closed == 1
