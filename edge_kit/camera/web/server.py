"""Serves the page, the live picture and the switches, from a thread beside the pipeline."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import socket
import threading
import time
from importlib.resources import files
from typing import Literal

import uvicorn
from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import BaseModel

from edge_kit.camera.demo import Demo
from edge_kit.camera.lineup import OTHER, Lineup
from edge_kit.camera.web.browser import MOST_BYTES, BrowserSource
from edge_kit.camera.web.guard import Guard, token_for
from edge_kit.camera.web.hub import Hub
from edge_kit.core.errors import EdgeKitError
from runtimes.faults import one_line
from runtimes.registry import runtime_names

TRY_AGAIN_LATER = 1013  # of web sockets: IANA's registry of close codes
SILENT_S = 30.0  # a browser that has not asked for its next picture by then is gone
START_S, GRACE_S = 10.0, 5.0


class Choice(BaseModel):
    """What a page asks to run."""

    bundle: str
    runtime: str
    precision: Literal["int8", "fp32"]
    compare: bool = False


class WebServer:
    """Serves one pipeline's hub until it is stopped.

    Args:
        host: To listen on; a token guards every other than loopback.
        port: 0 for any that is free.
        browser: Filled by a page's camera, where that is the source.

    Attributes:
        address: Of the page, with its token.

    Raises:
        EdgeKitError: It cannot listen there.
    """

    def __init__(
        self, hub: Hub, lineup: Lineup[Demo], host: str, port: int, browser: BrowserSource | None = None
    ) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            self._socket = socket.create_server((host, port), family=family)
        except OSError as fault:
            why = os.strerror(fault.errno) if fault.errno else str(fault)
            raise EdgeKitError(f"cannot listen on {host} port {port}: {why}; try --port 0") from None
        token, port = token_for(host), int(self._socket.getsockname()[1])
        self.address = f"http://{f'[{host}]' if ':' in host else host}:{port}/{f'?token={token}' if token else ''}"
        app = Guard(application(hub, lineup, browser), token)
        config = uvicorn.Config(
            app, log_level="critical", access_log=False, lifespan="off", ws_max_size=MOST_BYTES,
            timeout_graceful_shutdown=2,
        )  # fmt: skip
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), name="web", daemon=True)

    def start(self) -> None:
        """Answer from now on.

        Raises:
            EdgeKitError: It did not start.
        """
        self._thread.start()
        deadline = time.monotonic() + START_S
        while not self._server.started:
            if time.monotonic() > deadline or not self._thread.is_alive():
                raise EdgeKitError(f"the web server did not start at {self.address}")
            time.sleep(0.01)

    def stop(self) -> None:
        """Hang up and end its thread."""
        self._server.should_exit = True
        self._thread.join(GRACE_S)
        self._socket.close()


def application(hub: Hub, lineup: Lineup[Demo], browser: BrowserSource | None) -> FastAPI:
    """The routes: the page, what can be chosen, the choice, pictures out, pictures in."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    page, policy = compose_page()

    @app.get("/")
    def root() -> HTMLResponse:
        return HTMLResponse(page, headers={"Content-Security-Policy": policy, "Referrer-Policy": "no-referrer"})

    @app.get("/choices")
    def choices() -> dict[str, object]:
        names = [name for name in runtime_names() if name != "null"]
        offered = {"bundles": lineup.bundles, "runtimes": names, "precisions": sorted(OTHER)}
        return {**offered, "camera": browser is not None, "enrols": lineup.enrols(), **lineup.chosen()}

    @app.post("/choose")
    def choose(choice: Choice) -> JSONResponse:
        try:
            lineup.choose(choice.bundle, choice.runtime, choice.precision, compare=choice.compare)
        except Exception as fault:  # an engine's own faults, too: the page shows it, and what ran goes on
            return JSONResponse({"error": one_line(fault), **lineup.chosen()}, 400)
        return JSONResponse(lineup.chosen())

    @app.post("/enrol")
    def enrol() -> JSONResponse:
        try:
            lineup.enrol()
        except EdgeKitError as fault:
            return JSONResponse({"error": one_line(fault)}, 400)
        return JSONResponse({})

    @app.websocket("/live")
    async def live(page: WebSocket) -> None:
        await page.accept()
        with hub.join() as client:
            if client is None:
                await page.close(TRY_AGAIN_LATER, f"{hub.watching()} browsers are watching already")
                return
            try:
                number = 0
                while picture := await client.after(number):
                    number = picture.number
                    await page.send_text(picture.state)
                    await page.send_bytes(picture.jpeg)
                    # It asks for the next one when this one is drawn: a slow browser gets fewer, and no queue grows.
                    await asyncio.wait_for(page.receive_text(), SILENT_S)
                await page.close()
            except (WebSocketDisconnect, asyncio.TimeoutError, KeyError):  # KeyError: it sent bytes
                return

    @app.websocket("/camera")
    async def camera(page: WebSocket) -> None:
        await page.accept()
        if browser is None or not browser.claim():
            why = "no browser's camera is asked for" if browser is None else "another browser sends already"
            await page.close(TRY_AGAIN_LATER, why)
            return
        try:
            while True:
                await page.send_text(browser.offer(await page.receive_bytes()))
        except (WebSocketDisconnect, KeyError):
            return
        finally:
            browser.release()

    return app


def compose_page() -> tuple[str, str]:
    """The page in one piece, and the policy that lets it run its own script and style and nothing else."""
    folder = files("edge_kit.camera.web")
    page, style, script = ((folder / f"page.{kind}").read_text(encoding="utf-8") for kind in ("html", "css", "js"))
    policy = (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; img-src blob: data:; "
        "connect-src 'self' ws: wss:; media-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return page.replace("/* style */", style).replace("/* script */", script), policy


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
