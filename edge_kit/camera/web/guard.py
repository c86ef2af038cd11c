"""Who may speak to the server: pages of its own, and on a network those that know its token."""

from __future__ import annotations

import secrets
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

LOOPBACK = ("127.0.0.1", "localhost", "::1")
MOST_BODY = 4096  # bytes of a request; pictures come over the web socket, which has a limit of its own
POLICY_VIOLATION = 1008  # RFC 6455, 7.4.1


def token_for(host: str) -> str:
    """A token that a page must bring; none on loopback, which nobody else reaches."""
    return "" if host in LOOPBACK else secrets.token_urlsafe(16)


class Guard:
    """Refuses what does not come from a page of ours, before anything reads it."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app, self._token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection, as ASGI has it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        code, reason = self._fault(HTTPConnection(scope))
        if not code:
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await PlainTextResponse(f"{reason}\n", code)(scope, receive, send)
        else:
            await receive()
            await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": reason})

    def _fault(self, asked: HTTPConnection) -> tuple[int, str]:
        host = asked.headers.get("host", "")
        # Another site may make a name of its own point here, or have its page open a socket to us.
        if not self._token and urlsplit(f"//{host}").hostname not in LOOPBACK:
            return 403, f"this server is called {LOOPBACK[0]}, not {host!r}"
        origin = asked.headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            return 403, f"a page of {origin!r} has no business here"
        if self._token and not secrets.compare_digest(
            asked.query_params.get("token", "").encode(), self._token.encode()
        ):
            return 403, "the address lacks its token; take the one that edge-kit printed"
        if asked.scope["type"] == "http" and asked.scope["method"] not in ("GET", "HEAD"):
            length = asked.headers.get("content-length", "")
            if not length.isdecimal():
                return 411, "a request must tell its length"
            if int(length) > MOST_BODY:
                return 413, f"a request has {MOST_BODY} bytes at most, got {length}"
        return 0, ""
