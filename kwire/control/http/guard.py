"""Access control of the HTTP interface: the token, the Host header, and the origin of a browser's request.

Responsible for: refusing a request before it reaches a route, and headers that keep a browser from running scripts in
an answer. Must not depend on: routes.

A page of another site must not reach this interface through a browser on this machine:

- Without a token the Host header must name this machine's loopback address, so that a name of another site that
  resolves to it (DNS rebinding) is refused.
- A request that a browser sends for a page of another origin has an Origin header, or Sec-Fetch-Site says so: refused.
- A body must say that it is JSON, which a form cannot.
- With a token each request has it in its Authorization header, which a browser does not add by itself.
"""

from __future__ import annotations

import hmac
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
_READS: Final = frozenset({"GET", "HEAD"})
_NOTHING_RUNS: Final = "default-src 'none'; frame-ancestors 'none'"


class Guard:
    """Checks each request before ``app`` handles it.

    ``public`` is a prefix of paths without data, which need no token.
    """

    def __init__(self, app: ASGIApp, token: str | None, public: str | None) -> None:
        self._app = app
        self._token = token
        self._public = public

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["X-Content-Type-Options"] = "nosniff"
                headers.setdefault("Content-Security-Policy", _NOTHING_RUNS)
            await send(message)

        refusal = self._refusal(Request(scope))
        await (self._app if refusal is None else refusal)(scope, receive, send_safely)

    def _refusal(self, request: Request) -> Response | None:
        if _is_of_another_origin(request):
            return JSONResponse({"error": "this request comes from a page of another origin"}, status_code=403)
        if self._token is None:
            host = request.headers.get("host", "")
            if _without_port(host) not in _HOSTS:
                return JSONResponse({"error": f"the Host header names {host!r}, not this machine"}, status_code=403)
        elif not self._is_public(request):
            given = request.headers.get("authorization", "").encode()
            if not hmac.compare_digest(given, f"Bearer {self._token}".encode()):
                return JSONResponse({"error": "this needs the header Authorization: Bearer TOKEN"}, status_code=401)
        if request.method not in _READS and not _is_json(request):
            sentence = "the body is JSON: send the header Content-Type: application/json"
            return JSONResponse({"error": sentence}, status_code=400)
        return None

    def _is_public(self, request: Request) -> bool:
        path = request.url.path
        return self._public is not None and request.method in _READS and (path == "/" or path.startswith(self._public))


def _is_of_another_origin(request: Request) -> bool:
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host", ""):
        return True
    # A link on another site may open the page here; that site cannot read the answer.
    is_link = request.method in _READS and request.headers.get("sec-fetch-mode") == "navigate"
    return not is_link and request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin")


def _is_json(request: Request) -> bool:
    """Whether Content-Type is JSON; a request without a body needs none."""
    kind = request.headers.get("content-type")
    return kind is None or kind.partition(";")[0].strip().lower() == "application/json"


def _without_port(host: str) -> str:
    return host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
