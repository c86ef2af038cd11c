"""Weights from elsewhere: fetched only when asked for, and one line when they cannot be had."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from edge_kit.core.errors import EdgeKitError
from edge_kit.pipeline.inputs import base_settings
from edge_kit.pipeline.sources import download_file
from edge_kit.zoo import MODELS, load_all

CONTENT = bytes(range(256)) * 5000


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path != "/weights.pdparams":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def address():
    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_file_is_fetched_whole_with_progress(address: str, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []

    def report(done: int, total: int, note: str = "") -> None:
        seen.append((done, total))

    download_file(f"{address}/weights.pdparams", tmp_path / "out", report)
    assert (tmp_path / "out").read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))


def test_a_missing_file_is_one_line_that_says_what_to_do(address: str, tmp_path: Path) -> None:
    with pytest.raises(EdgeKitError, match=r"cannot download .*Not Found.*--weights FILE"):
        download_file(f"{address}/other", tmp_path / "out", lambda done, total, note="": None)


def test_no_network_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(EdgeKitError, match="cannot download .*refused"):
        download_file("http://127.0.0.1:9/x", tmp_path / "out", lambda done, total, note="": None)


@pytest.mark.parametrize("setup", ["published", "mini"])
def test_every_model_of_the_zoo_has_settings_that_name_its_code(setup: str) -> None:
    load_all()
    for entry in MODELS:
        assert len(base_settings(entry.id, setup, 0)["code"]) == 64, entry.id
