"""The application that answers HTTP requests under ``/v1``, and the routes of a broker.

Responsible for: the table of routes of a broker, and the application. Must not depend on: how it listens, access
control (``guard``).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from kwire.control.bench import Bench
from kwire.control.console import CONSOLE_PATH, console_routes
from kwire.control.decoding import RecordDecoder
from kwire.control.forks import Forks
from kwire.control.http.bodies import BadRequest, NotFound
from kwire.control.http.broker_routes import BrokerRoutes
from kwire.control.http.guard import Guard
from kwire.control.http.openapi import document
from kwire.control.http.record_routes import RecordRoutes
from kwire.control.http.request_routes import RequestRoutes
from kwire.control.http.routing import make_routes
from kwire.control.http.state_routes import StateRoutes
from kwire.control.http.view_routes import ViewRoutes
from kwire.control.metrics import Metrics
from kwire.control.requests.traffic import Traffic


class Control:
    """The handlers, over one bench.

    ``forks`` makes copies of the broker, ``traffic`` counts its requests, ``decoder`` decodes records.
    """

    def __init__(
        self, bench: Bench, forks: Forks, traffic: Traffic, metrics: Metrics, decoder: RecordDecoder | None = None
    ) -> None:
        self._bench = bench
        self._metrics = metrics
        self._server = bench.server
        self._requests = RequestRoutes(bench)
        self._state = StateRoutes(bench, forks)
        self._views = ViewRoutes(bench)
        self._records = RecordRoutes(bench, decoder)
        self._broker = BrokerRoutes(bench, traffic, schema_registry=None if decoder is None else decoder.url)

    def routes(self) -> list[Route]:
        """Return the routes; ``openapi`` describes each, and a test compares them."""
        table: list[tuple[str, str, Callable[[Request], Awaitable[Response]]]] = [
            ("GET", "/livez", self._live),
            ("GET", "/readyz", self._ready),
            ("GET", "/metrics", self._show_metrics),
            ("GET", "/v1/openapi.json", self._document),
            *self._requests.table(),
            *self._broker.table(),
            *self._state.table(),
            *self._views.table(),
            *self._records.table(),
        ]
        return make_routes(table)

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


def make_app(routes: Sequence[Route], *, token: str | None, console: bool = False) -> Starlette:
    """Make the application. With a ``token`` each request must have ``Authorization: Bearer TOKEN``.

    ``console`` adds the page, which needs no token because it holds no data.
    """
    return Starlette(
        routes=[*routes, *(console_routes() if console else ())],
        middleware=[Middleware(Guard, token=token, public=CONSOLE_PATH if console else None)],
        exception_handlers={BadRequest: _answer(400), NotFound: _answer(404)},
    )


def _answer(status: int) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def answer(_request: Request, error: Exception) -> Response:
        return JSONResponse({"error": str(error)}, status_code=status)

    return answer
