"""Routes with Kafka's names in their paths: a group may be called ``a/b`` or ``100%``.

Responsible for: matching the path as the client sent it. Must not depend on: which routes there are.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias
from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Scope

RouteTable: TypeAlias = Sequence[tuple[str, str, Callable[[Request], Awaitable[Response]]]]


def make_routes(table: RouteTable) -> list[Route]:
    """Give the routes of a table of methods, paths and handlers."""
    return [_EncodedRoute(path, handler, methods=[method]) for method, path, handler in table]


class _EncodedRoute(Route):
    """Matches before percent-encoding is decoded, so that ``a%2Fb`` is one name; parameters are decoded afterwards."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] != "http":
            return super().matches(scope)
        match, found = super().matches({**scope, "path": scope["raw_path"].decode("latin-1")})
        if "path_params" in found:
            found["path_params"] = {name: unquote(text) for name, text in found["path_params"].items()}
        return match, found
