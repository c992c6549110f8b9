"""HTTP for groups, transactions, producers and the other views, and for waiting until a condition holds.

Responsible for: these routes. Must not depend on: how a view is made.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from kwire.control.bench import Bench
from kwire.control.conditions import ConditionError
from kwire.control.http.bodies import BadRequest, read_body, refuse_unknown, timeout_s
from kwire.control.http.refusals import refused
from kwire.errors import KafkaError


class ViewRoutes:
    """The handlers, over one bench."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    def table(self) -> list[tuple[str, str, Callable[[Request], Awaitable[Response]]]]:
        def named(request: Request) -> str:
            return str(request.path_params["name"])

        return [
            ("GET", "/v1/groups", _shows(self._groups)),
            ("GET", "/v1/groups/{name}", _shows(lambda request: self._bench.views.group(named(request)))),
            ("GET", "/v1/groups/{name}/locks", self._locks),
            ("GET", "/v1/transactions", _shows(lambda _request: self._bench.views.transactions())),
            (
                "GET",
                "/v1/topics/{name}/producers",
                _shows(lambda request: self._bench.views.producers(named(request))),
            ),
            ("GET", "/v1/client-metrics", self._client_metrics),
            ("POST", "/v1/wait", self._wait),
        ]

    async def _groups(self, request: Request) -> list[dict[str, Any]]:
        refuse_unknown(request.query_params, "details")
        details = request.query_params.get("details", "false")
        if details not in ("true", "false"):
            raise BadRequest(f"details is true or false, not {details!r}")
        views = self._bench.views
        return await (views.described_groups() if details == "true" else views.groups())

    async def _locks(self, request: Request) -> Response:
        return JSONResponse(self._bench.views.locks(request.path_params["name"]))

    async def _client_metrics(self, _request: Request) -> Response:
        return JSONResponse(self._bench.views.client_metrics())

    async def _wait(self, request: Request) -> Response:
        given = await read_body(request)
        timeout = timeout_s(given)
        given.pop("timeout_ms", None)
        try:
            holds, text, seen = await self._bench.wait_until(given, timeout)
        except ConditionError as error:
            raise BadRequest(str(error)) from None
        except KafkaError as refusal:
            return refused(refusal)
        return JSONResponse({"waited_for": text, "seen": seen}, status_code=200 if holds else 408)


def _shows(view: Callable[[Request], Awaitable[Any]]) -> Callable[[Request], Awaitable[Response]]:
    async def show(request: Request) -> Response:
        try:
            return JSONResponse(await view(request))
        except KafkaError as refusal:
            return refused(refusal)

    return show
