"""The guard of the pages: it passes on a browser of this machine that was given the URL with the token, and refuses all others.

The token is the first part of every path, not a cookie: browsers send the cookies of a host to every port of it. The Host header
is compared, so that a web page whose name an attacker resolves to this machine reads nothing. Only GET and HEAD are answered, so there
is nothing for another site to trigger.
"""

from __future__ import annotations

import secrets
from typing import Final

from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS: Final = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
"""Added to every answer: nothing is stored, no script runs, and no other site learns the URL."""


def new_token() -> str:
    """Return a token that cannot be guessed."""
    return secrets.token_urlsafe(24)


class Guard:
    """Passes requests on that have an allowed Host header, a safe method and the token; refuses all others.

    Args:
        app: answers the requests that pass.
        token: the first part of their paths.
        port: the port that the server listens on.
    """

    def __init__(self, app: ASGIApp, token: str, port: int) -> None:
        self._app = app
        self._token = token
        self._hosts = {f"{name}:{port}" for name in ("127.0.0.1", "localhost")}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        refused = self._refusal(scope)
        await (refused or self._app)(scope, receive, _with_headers(send))

    def _refusal(self, scope: Scope) -> Response | None:
        if scope["type"] != "http":
            return PlainTextResponse("only HTTP is served", 400)
        hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        if len(hosts) != 1 or hosts[0].lower() not in self._hosts:
            return PlainTextResponse("this server answers to 127.0.0.1 and localhost only", 421)
        token = scope["path"].removeprefix("/").partition("/")[0]
        if not secrets.compare_digest(token.encode(), self._token.encode()):
            return PlainTextResponse("open the whole URL that keyweave studio printed", 403)
        if scope["method"] not in ("GET", "HEAD"):
            return PlainTextResponse("these pages only show", 405, {"allow": "GET, HEAD"})
        return None


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            given = {name for name, _ in message["headers"]}
            more = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
            message["headers"] = [*message["headers"], *[each for each in more if each[0] not in given]]
        await send(message)

    return sending
