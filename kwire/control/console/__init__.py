"""The console: one page in the browser that shows and controls a broker over ``/v1``.

Responsible for: the files of the page, and their HTTP headers. Must not depend on: the content of the page.

The page is plain HTML, CSS and ES modules, and loads nothing from elsewhere. Its Content-Security-Policy allows only
its own files, and no HTML made of strings (Trusted Types): data of clients is shown as text.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.resources import files
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

CONSOLE_PATH: Final = "/console/"

_PAGE: Final = "index.html"
_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none';"
        " form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Not cached, because a newer kwire on the same port has newer files.
    "Cache-Control": "no-cache",
}


def console_routes() -> list[Route]:
    """Return a route for each file, read now, and a redirect from ``/`` to the page."""

    async def lead(_request: Request) -> Response:
        return RedirectResponse(CONSOLE_PATH)

    routes = [Route("/", lead, methods=["GET"])]
    for name, content in sorted(console_files().items()):
        answer = _answering(content, _TYPES[name[name.rindex(".") :]])
        routes.append(Route(CONSOLE_PATH + ("" if name == _PAGE else name), answer, methods=["GET"]))
    return routes


def console_files() -> dict[str, bytes]:
    """Give the files of the page by their names."""
    folder = files(__name__) / "static"
    return {each.name: each.read_bytes() for each in folder.iterdir() if "." in each.name}


def _answering(content: bytes, media_type: str) -> Callable[[Request], Awaitable[Response]]:
    async def answer(_request: Request) -> Response:
        return Response(content, media_type=media_type, headers=_HEADERS)

    return answer
