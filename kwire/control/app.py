"""HTTP: the application that answers requests under ``/v1``.

Responsible for: the table of routes, and those for faults, the clock and the request log. Must not depend on: how it
listens, who may ask (``guard``).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import trio
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from kwire.broker.clock import Clock
from kwire.control.bench import Bench
from kwire.control.bodies import BadRequest, NotFound, number, read_body, refuse_unknown, within
from kwire.control.broker_routes import BrokerRoutes
from kwire.control.console import CONSOLE_PATH, console_routes
from kwire.control.event_stream import Emitter, EventStream
from kwire.control.forks import Forks
from kwire.control.guard import Guard
from kwire.control.metrics import Metrics
from kwire.control.openapi import document
from kwire.control.record_routes import RecordRoutes
from kwire.control.request_log import Filter
from kwire.control.state_routes import StateRoutes
from kwire.control.traffic import Traffic
from kwire.control.view_routes import ViewRoutes
from kwire.faults.injector import AnyArmed
from kwire.faults.rules import RuleError, read_rule

_LAST: Final = 100


class Control:
    """The handlers, over one bench. ``forks`` makes copies of the broker, ``traffic`` counts its requests."""

    def __init__(self, bench: Bench, forks: Forks, traffic: Traffic, metrics: Metrics) -> None:
        self._bench = bench
        self._metrics = metrics
        self._server = bench.server
        self.log = bench.log
        self.injector = bench.injector
        self._state = StateRoutes(bench, forks)
        self._views = ViewRoutes(bench)
        self._records = RecordRoutes(bench)
        self._broker = BrokerRoutes(bench, traffic)

    @property
    def _clock(self) -> Clock:
        return self._bench.broker.clock

    def routes(self) -> list[Route]:
        """Give the routes; ``openapi`` describes each, and a test compares them."""
        table: list[tuple[str, str, Callable[[Request], Awaitable[Response]]]] = [
            ("GET", "/livez", self._live),
            ("GET", "/readyz", self._ready),
            ("GET", "/metrics", self._show_metrics),
            ("GET", "/v1/openapi.json", self._document),
            ("GET", "/v1/faults", self._list_faults),
            ("POST", "/v1/faults", self._add_fault),
            ("DELETE", "/v1/faults", self._clear_faults),
            ("GET", "/v1/faults/{name}", self._get_fault),
            ("DELETE", "/v1/faults/{name}", self._remove_fault),
            ("POST", "/v1/faults/{name}/release", self._release_fault),
            ("POST", "/v1/faults/{name}/wait", self._wait_fault),
            ("GET", "/v1/clock", self._get_clock),
            ("POST", "/v1/clock", self._set_clock),
            ("GET", "/v1/requests", self._list_requests),
            ("DELETE", "/v1/requests", self._clear_requests),
            ("GET", "/v1/requests/stream", self._stream_requests),
            ("POST", "/v1/requests/wait", self._wait_request),
            *self._broker.table(),
            *self._state.table(),
            *self._views.table(),
            *self._records.table(),
        ]
        return [Route(path, handler, methods=[method]) for method, path, handler in table]

    async def _live(self, _request: Request) -> Response:
        listeners = [binding.url for binding in self._server.bindings]
        return JSONResponse({"status": "ok", "cluster_id": self._bench.broker.cluster_id, "listeners": listeners})

    async def _ready(self, request: Request) -> Response:
        if self._server.reopening is not None:
            return JSONResponse({"status": "the broker restarts"}, status_code=503)
        return await self._live(request)

    async def _show_metrics(self, _request: Request) -> Response:
        return Response(await self._metrics.exposition(), media_type=CONTENT_TYPE_LATEST)

    async def _document(self, _request: Request) -> Response:
        return JSONResponse(document())

    async def _list_faults(self, _request: Request) -> Response:
        return JSONResponse([_fault(each) for each in self.injector.armed.values()])

    async def _add_fault(self, request: Request) -> Response:
        given = await read_body(request)
        try:
            armed = self.injector.add(read_rule(given))
        except RuleError as error:
            raise BadRequest(str(error)) from None
        return JSONResponse(_fault(armed), status_code=201)

    async def _clear_faults(self, _request: Request) -> Response:
        removed = [_fault(each) for each in self.injector.armed.values()]
        self.injector.clear()
        return JSONResponse(removed)

    async def _get_fault(self, request: Request) -> Response:
        return JSONResponse(_fault(self._armed(request)))

    async def _remove_fault(self, request: Request) -> Response:
        return JSONResponse(_fault(self.injector.remove(self._armed(request).rule.name)))

    async def _release_fault(self, request: Request) -> Response:
        armed = self._armed(request)
        armed.release()
        return JSONResponse(_fault(armed))

    async def _wait_fault(self, request: Request) -> Response:
        given = await read_body(request, empty=True)
        armed = self._armed(request)
        in_time = await within(given, armed.wait_fired, number(given, "times", 1))
        return JSONResponse(_fault(armed), status_code=200 if in_time else 408)

    async def _get_clock(self, _request: Request) -> Response:
        clock = self._clock
        return JSONResponse({"now_ms": clock.now_ms(), "rate": clock.rate})

    async def _set_clock(self, request: Request) -> Response:
        given = await read_body(request)
        refuse_unknown(given, "advance_ms", "rate")
        rate = number(given, "rate", self._clock.rate)
        advance_ms = number(given, "advance_ms", 0)
        if rate != self._clock.rate:
            self._clock.set_rate(rate)
        if advance_ms:
            self._clock.advance(advance_ms)
            await trio.lowlevel.checkpoint()
        return await self._get_clock(request)

    async def _list_requests(self, request: Request) -> Response:
        last = request.query_params.get("last", str(_LAST))
        if not last.isdigit():
            raise BadRequest(f"last is a number, not {last!r}")
        entries = self.log.last(int(last), _filter(dict(request.query_params), "last"))
        return JSONResponse([each.to_json() for each in entries])

    async def _clear_requests(self, _request: Request) -> Response:
        self.log.clear()
        return Response(status_code=204)

    async def _stream_requests(self, request: Request) -> Response:
        wanted = _filter(dict(request.query_params))

        async def events(emitter: Emitter) -> None:
            await emitter.comment("requests from now on")
            async for entry in self.log.follow(wanted):
                await emitter.event(entry.to_json(), number=entry.number)

        return EventStream(events)

    async def _wait_request(self, request: Request) -> Response:
        given = await read_body(request, empty=True)
        wanted = _filter(given, "times", "timeout_ms", "since")
        times, since = number(given, "times", 1), number(given, "since", 0)
        in_time = await within(given, self.log.wait_for, wanted, times, since)
        seen = [each.to_json() for each in self.log.last(times, wanted) if each.number > since]
        return JSONResponse(seen, status_code=200 if in_time else 408)

    def _armed(self, request: Request) -> AnyArmed:
        name = request.path_params["name"]
        armed = self.injector.armed.get(name)
        if armed is None:
            raise NotFound(f"no rule named {name!r} is armed")
        return armed


def make_app(control: Control, *, token: str | None, console: bool = False) -> Starlette:
    """Make the application. With a ``token`` each request must have ``Authorization: Bearer TOKEN``.

    ``console`` adds the page, which needs no token because it holds no data.
    """
    return Starlette(
        routes=[*control.routes(), *(console_routes() if console else ())],
        middleware=[Middleware(Guard, token=token, public=CONSOLE_PATH if console else None)],
        exception_handlers={BadRequest: _answer(400), NotFound: _answer(404)},
    )


def _answer(status: int) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def answer(_request: Request, error: Exception) -> Response:
        return JSONResponse({"error": str(error)}, status_code=status)

    return answer


def _fault(armed: AnyArmed) -> dict[str, Any]:
    rule = armed.rule
    return {
        "name": rule.name,
        "matched": armed.matched,
        "fired": armed.fired,
        "released": armed.is_released,
        "rule": dict(armed.rule.given),
    }


def _filter(given: dict[str, Any], *others: str) -> Filter:
    names = ("api", "client_id", "principal", "topic", "group")
    refuse_unknown(given, *names, "fields", *others)
    fields = given.get("fields", {})
    if not isinstance(fields, dict):
        raise BadRequest("fields is an object of field names and values")
    return Filter(**{name: given.get(name) for name in names}, fields=tuple(fields.items()))
