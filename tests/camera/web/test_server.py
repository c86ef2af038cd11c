"""The page's server, asked over real connections while a real pipeline runs."""

import json
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from edge_kit.camera.lineup import Lineup
from edge_kit.camera.meter import Meter, Summary
from edge_kit.camera.model import Model
from edge_kit.camera.pipeline import Pipeline
from edge_kit.camera.sources import Source
from edge_kit.camera.stages import stages_of
from edge_kit.camera.web.browser import MOST_BYTES, BrowserSource, jpeg_size
from edge_kit.camera.web.hub import Hub
from edge_kit.camera.web.server import WebServer, compose_page
from edge_kit.core.errors import BadData, EdgeKitError
from tests.camera.parts import Script, picture
from tests.camera.test_pipeline import no_thread_is_left  # noqa: F401  # for every test here, too

FRAME_MS = 10


class Mean:
    """A demo whose answer is how bright a picture is."""

    def prepare(self, image):
        return {"x": image}

    def infer(self, graphs, inputs):
        return graphs["main"](inputs)

    def read(self, outputs):
        return {"mean": float(outputs["y"])}

    def draw(self, image, answer):
        pass

    def same(self, first, second):
        return first == second


class Keeping(Mean):
    """One that finds things again."""

    def __init__(self) -> None:
        self.kept: list[str] = []

    def enrol(self, name: str) -> None:
        self.kept.append(name)


def load(bundle: str, runtime: str, precision: str) -> Model:
    if runtime == "mnn":
        raise BadData("mnn runs the FP32 graphs\nonly")
    coarse = 8 if precision == "int8" else 1  # so that the two differ on some pictures
    return Model(
        {"bundle": bundle, "runtime": runtime, "precision": precision},
        {"main": lambda inputs: {"y": inputs["x"].mean() // coarse * coarse}},
    )


@dataclass
class Site:
    """A pipeline with its page, both running."""

    server: WebServer
    pipeline: Pipeline
    hub: Hub
    ended: list[Summary] = field(default_factory=list)

    @property
    def address(self) -> str:
        return self.server.address

    def socket(self, path: str, **options: object) -> ClientConnection:
        base, _, query = self.address.partition("?")
        address = base.replace("http", "ws", 1).rstrip("/") + path + (f"?{query}" if query else "")
        return connect(address.replace("0.0.0.0", "127.0.0.1"), max_size=None, proxy=None, **options)


def endless(number: int) -> np.ndarray:
    time.sleep(FRAME_MS / 1000)
    return picture(number)


@contextmanager
def running(source: Source | None = None, host: str = "127.0.0.1", most_clients: int = 32) -> Iterator[Site]:
    source = source or Script(endless, live=True)
    meter, lineup = Meter(), Lineup({"small": Mean, "keeping": Keeping}, load)
    lineup.choose("small", "onnx", "int8", compare=False)
    hub = Hub(meter, lineup, most_clients=most_clients)
    server = WebServer(hub, lineup, host, 0, source if isinstance(source, BrowserSource) else None)
    server.start()
    site = Site(server, Pipeline(source, stages_of(lineup, meter), [hub], meter=meter), hub)
    thread = threading.Thread(target=lambda: site.ended.append(site.pipeline.run()))
    thread.start()
    try:
        yield site
    finally:
        site.pipeline.stop()
        thread.join()
        server.stop()


@pytest.fixture
def site() -> Iterator[Site]:
    with running() as one:
        yield one


def next_picture(socket: ClientConnection) -> tuple[dict, np.ndarray]:
    """What a page is sent, and its thanks."""
    state = json.loads(socket.recv(timeout=5))
    image = cv2.imdecode(np.frombuffer(socket.recv(timeout=5), np.uint8), cv2.IMREAD_COLOR)
    socket.send("next")
    return state, image


def until(socket: ClientConnection, wanted) -> dict:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        state, _ = next_picture(socket)
        if wanted(state):
            return state
    raise AssertionError(state)


def test_the_page_is_one_file_that_loads_nothing_from_elsewhere(site: Site) -> None:
    answer = httpx.get(site.address)
    assert answer.status_code == 200
    assert not re.findall(r"""(?:src|href)=["'](?!data:)""", answer.text)
    assert not re.findall(r"https?://(?!\$)", answer.text)
    assert '<meta name="viewport" content="width=device-width' in answer.text
    assert "prefers-color-scheme: dark" in answer.text and "max-width: 720px" in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_the_policy_lets_just_this_script_run() -> None:
    from base64 import b64encode
    from hashlib import sha256

    page, policy = compose_page()
    for tag, kind in (("script", "script-src"), ("style", "style-src")):
        [inline] = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digest = b64encode(sha256(inline.encode()).digest()).decode()
        assert f"{kind} 'sha256-{digest}'" in policy


@pytest.mark.skipif(shutil.which("node") is None, reason="node reads the script")
def test_the_script_is_read_by_an_engine(tmp_path: Path) -> None:
    script = Path(__file__).parent.parent.parent.parent / "edge_kit/camera/web/page.js"
    done = subprocess.run(["node", "--check", str(script)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_part_that_the_script_asks_for_is_on_the_page() -> None:
    page, _ = compose_page()
    asked = set(re.findall(r'part\("(\w+)"\)', page))
    assert {"view", "plot", "camera", "runtime"} <= asked
    assert asked <= set(re.findall(r' id="(\w+)"', page))


def test_frames_move_in_order_and_come_with_their_figures(site: Site) -> None:
    with site.socket("/live") as socket:
        seen = [next_picture(socket) for _ in range(10)]
    places = [state["frame"] for state, _ in seen]
    assert places == sorted(set(places))
    assert len({round(float(image[200:].mean())) for _, image in seen}) > 3
    state = seen[-1][0]
    assert state["fps"] > 0
    assert {"capture", "preprocess", "inference", "postprocess", "draw", "sink"} == set(state["ms"])
    assert [(run["bundle"], run["runtime"], run["precision"]) for run in state["runs"]] == [("small", "onnx", "int8")]


def test_what_runs_is_switched_while_it_runs_and_two_are_held_against_each_other(site: Site) -> None:
    with site.socket("/live") as socket:
        until(socket, lambda state: state["runs"][0]["precision"] == "int8")
        choice = {"bundle": "small", "runtime": "onnx", "precision": "fp32"}
        assert httpx.post(f"{site.address}choose", json=choice).json() == {**choice, "compare": False}
        until(socket, lambda state: state["runs"][0]["precision"] == "fp32")
        httpx.post(f"{site.address}choose", json={**choice, "compare": True})
        state = until(socket, lambda state: state["compared"]["frames"] >= 20)
        assert [run["precision"] for run in state["runs"]] == ["fp32", "int8"]
        assert 0 < state["compared"]["differing"] < state["compared"]["frames"]
        assert next_picture(socket)[1].shape[1] == 2 * 540  # 360 high, side by side


def test_another_model_is_chosen_while_it_runs_and_told_to_keep_what_it_sees(site: Site) -> None:
    offered = httpx.get(f"{site.address}choices").json()
    assert offered["bundles"] == ["small", "keeping"] and not offered["enrols"]
    refused = httpx.post(f"{site.address}enrol")
    assert (refused.status_code, refused.json()) == (400, {"error": "this demo finds nothing again; 'search' does"})
    choice = {"bundle": "keeping", "runtime": "onnx", "precision": "int8"}
    assert httpx.post(f"{site.address}choose", json=choice).json() == {**choice, "compare": False}
    with site.socket("/live") as socket:
        until(socket, lambda state: state["runs"][0]["bundle"] == "keeping")
    assert httpx.get(f"{site.address}choices").json()["enrols"]
    assert httpx.post(f"{site.address}enrol").status_code == 200
    unknown = httpx.post(f"{site.address}choose", json={**choice, "bundle": "keepin"})
    assert unknown.json()["error"].startswith("unknown bundle 'keepin'; did you mean 'keeping'?")


def test_a_choice_that_cannot_be_had_is_told_in_one_line_and_what_ran_goes_on(site: Site) -> None:
    refused = httpx.post(f"{site.address}choose", json={"bundle": "small", "runtime": "mnn", "precision": "int8"})
    assert refused.status_code == 400
    assert refused.json() == {
        "error": "mnn runs the FP32 graphs only",
        "bundle": "small", "runtime": "onnx", "precision": "int8", "compare": False,
    }  # fmt: skip
    assert (
        httpx.post(
            f"{site.address}choose", json={"bundle": "small", "runtime": "onnx", "precision": "int4"}
        ).status_code
        == 422
    )
    with site.socket("/live") as socket:
        assert next_picture(socket)[0]["runs"][0]["runtime"] == "onnx"
    choices = httpx.get(f"{site.address}choices").json()
    assert {"onnx", "openvino", "paddle"} <= set(choices["runtimes"])
    assert (choices["precision"], choices["precisions"], choices["camera"]) == ("int8", ["fp32", "int8"], False)


def test_a_slow_browser_misses_frames_and_is_then_given_the_newest(site: Site) -> None:
    with site.socket("/live") as slow:
        first = json.loads(slow.recv(timeout=5))
        slow.recv(timeout=5)
        before = site.pipeline.meter.frames
        with pytest.raises(TimeoutError):
            slow.recv(timeout=0.5)  # it has not said that it is done with the first
        assert site.pipeline.meter.frames - before > 10, "the pipeline waited"
        slow.send("next")
        second = json.loads(slow.recv(timeout=5))
    assert second["frame"] - first["frame"] > 10


def frames_in(site: Site, seconds: float) -> int:
    before = site.pipeline.meter.frames
    time.sleep(seconds)
    return site.pipeline.meter.frames - before


def test_twenty_browsers_half_of_them_asleep_do_not_slow_the_pipeline(site: Site) -> None:
    before = frames_in(site, 1.0)
    with ExitStack() as stack:
        sockets = [stack.enter_context(site.socket("/live")) for _ in range(20)]
        stopped = threading.Event()

        def watch(socket: ClientConnection) -> None:
            while not stopped.is_set():
                next_picture(socket)

        watchers = [threading.Thread(target=watch, args=(socket,)) for socket in sockets[:10]]
        for thread in watchers:
            thread.start()
        together = max(frames_in(site, 1.0) for _ in range(3))  # the best: this machine may be shared
        stopped.set()
        for thread in watchers:
            thread.join()
    alone = min(before, frames_in(site, 1.0))  # on either side, as other work comes and goes
    assert alone > 20
    assert together > 0.7 * alone  # the ten watchers decode JPEGs in this very process


def test_there_is_an_end_to_browsers() -> None:
    with running(most_clients=2) as site, ExitStack() as stack:
        for _ in range(2):
            next_picture(stack.enter_context(site.socket("/live")))
        third = stack.enter_context(site.socket("/live"))
        with pytest.raises(ConnectionClosed) as closed:
            third.recv(timeout=5)
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1013, "2 browsers are watching already")


def test_a_browser_that_leaves_makes_room_again() -> None:
    with running(most_clients=1) as site:
        for _ in range(3):
            with site.socket("/live") as socket:
                next_picture(socket)
            deadline = time.monotonic() + 5
            while site.hub.watching() and time.monotonic() < deadline:
                time.sleep(0.01)
            assert site.hub.watching() == 0


def test_nothing_is_encoded_while_nobody_watches(site: Site) -> None:
    assert frames_in(site, 0.2) > 3
    assert site.hub.latest is None


def test_pages_hang_up_when_the_pipeline_ends() -> None:
    with running(Script(lambda n: endless(n) if n < 40 else None, live=True)) as site, site.socket("/live") as socket:
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                next_picture(socket)
        assert closed.value.rcvd.code == 1000
    assert site.ended[0].ended == "source ended"


def test_on_loopback_a_page_of_another_site_and_another_name_are_refused(site: Site) -> None:
    assert "token" not in site.address
    assert httpx.get(site.address, headers={"Host": "evil.example"}).status_code == 403
    evil = {"Origin": "http://evil.example"}
    assert (
        httpx.post(f"{site.address}choose", json={"runtime": "onnx", "precision": "fp32"}, headers=evil).status_code
        == 403
    )
    with pytest.raises(InvalidStatus, match="403"):
        site.socket("/live", origin="http://evil.example")
    own = site.address.rstrip("/")
    with site.socket("/live", origin=own) as socket:
        next_picture(socket)


def test_on_a_network_a_random_token_is_asked_for() -> None:
    with running(host="0.0.0.0") as site, running(host="0.0.0.0") as other:
        address = site.address.replace("0.0.0.0", "127.0.0.1")
        bare, _, token = address.partition("?token=")
        assert len(token) >= 20
        assert not other.address.endswith(token)
        assert httpx.get(address).status_code == 200
        for wrong in (bare, f"{bare}?token=", f"{bare}?token={token[:-1]}", f"{bare}?token=%C3%A4"):
            refused = httpx.get(wrong)
            assert (refused.status_code, "Content-Security-Policy" in refused.headers) == (403, False)
        with site.socket("/live") as socket:
            next_picture(socket)
        with pytest.raises(InvalidStatus, match="403"):
            connect(bare.replace("http", "ws", 1) + "live", proxy=None)


def test_a_request_has_an_end(site: Site) -> None:
    large = httpx.post(f"{site.address}choose", content=b"{" + b" " * 5000 + b"}")
    assert large.status_code == 413
    chunked = httpx.post(f"{site.address}choose", content=iter([b"{}"]))
    assert chunked.status_code == 411


def test_a_port_that_is_taken_is_one_line(site: Site) -> None:
    port = int(site.address.rstrip("/").rpartition(":")[2])
    with pytest.raises(EdgeKitError, match=f"^cannot listen on 127.0.0.1 port {port}: .*in use; try --port 0$"):
        WebServer(site.hub, Lineup({"small": Mean}, load), "127.0.0.1", port)


def jpeg(number: int, height: int = 48, width: int = 64) -> bytes:
    return cv2.imencode(".jpg", picture(number, height, width))[1].tobytes()


def test_the_camera_of_a_browser_is_a_source_and_what_is_no_frame_is_refused() -> None:
    source = BrowserSource()
    with running(source) as site, site.socket("/live") as live, site.socket("/camera") as own:
        assert httpx.get(f"{site.address}choices").json()["camera"] is True
        for number in (1, 30):
            own.send(jpeg(number))
            assert own.recv(timeout=5) == ""
            state, image = next_picture(live)
            assert state["runs"][0]["answer"]["mean"] == pytest.approx(20 + 3 * number, abs=9)
            assert image.shape[:2] == (360, 480)
        for bad, says in (
            (b"GIF89a", "a frame must be a JPEG"),
            (jpeg(0, 1100, 1920), "2,073,600 pixels at most, got 1920 x 1100"),
        ):
            own.send(bad)
            assert says in own.recv(timeout=5)
        own.send(jpeg(2)[:120] + bytes(50))  # a header and no picture
        own.recv(timeout=5)
        own.send(jpeg(50))
        assert own.recv(timeout=5) == ""
        until(live, lambda state: state["runs"][0]["answer"]["mean"] > 150)
        with site.socket("/camera") as second, pytest.raises(ConnectionClosed) as closed:
            second.recv(timeout=5)
        assert closed.value.rcvd.reason == "another browser sends already"
        with pytest.raises(ConnectionClosed) as closed:
            own.send(bytes(MOST_BYTES + 1))
            own.recv(timeout=5)
        assert closed.value.rcvd.code == 1009
    assert site.ended[0].ended == "interrupted"


def test_a_camera_that_nobody_asked_for_is_refused(site: Site) -> None:
    with site.socket("/camera") as socket, pytest.raises(ConnectionClosed) as closed:
        socket.recv(timeout=5)
    assert closed.value.rcvd.reason == "no browser's camera is asked for"


@pytest.mark.parametrize("progressive", [0, 1])
def test_the_size_of_a_jpeg_is_read_without_decoding_it(progressive: int) -> None:
    flags = [cv2.IMWRITE_JPEG_PROGRESSIVE, progressive]
    whole = cv2.imencode(".jpg", picture(3, 123, 45), flags)[1].tobytes()
    assert jpeg_size(whole) == (123, 45)
    for bad in (b"", b"\xff\xd8", whole[:20], b"\xff\xd8" + bytes(100), b"\xff\xd8\xff\xe0\x00\x00" * 9, b"\x89PNG"):
        assert jpeg_size(bad) is None
