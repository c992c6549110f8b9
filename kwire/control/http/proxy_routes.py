"""The HTTP interface of a proxy: rules, their clock, the request log, recordings, nodes and connections.

Responsible for: its routes, and the answer for routes that only a broker has. Must not depend on: how it listens.
"""

from __future__ import annotations

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from kwire.control.http.bodies import NotFound
from kwire.control.http.openapi import OF_A_PROXY, document
from kwire.control.http.request_routes import RequestRoutes
from kwire.control.http.routing import make_routes
from kwire.control.proxy_bench import ProxyBench
from kwire.control.proxy_metrics import proxy_exposition


def proxy_routes(bench: ProxyBench) -> list[Route]:
    """Return the routes; ``openapi`` describes each, and a test compares them."""

    async def live(_request: Request) -> Response:
        nodes = bench.nodes()
        return JSONResponse({"status": "ok", "nodes": len(nodes), "listeners": [each["listener"] for each in nodes]})

    async def show_document(_request: Request) -> Response:
        return JSONResponse(document(OF_A_PROXY))

    async def show_metrics(_request: Request) -> Response:
        return Response(proxy_exposition(bench.proxy), media_type=CONTENT_TYPE_LATEST)

    async def connections(_request: Request) -> Response:
        return JSONResponse(bench.connections())

    async def nodes(_request: Request) -> Response:
        return JSONResponse(bench.nodes())

    async def of_brokers(request: Request) -> Response:
        raise NotFound(f"this is a proxy, which has no {request.url.path}: that needs a broker of kwire")

    table = [
        ("GET", "/livez", live),
        ("GET", "/readyz", live),
        ("GET", "/metrics", show_metrics),
        ("GET", "/v1/openapi.json", show_document),
        *RequestRoutes(bench).table(),
        ("GET", "/v1/connections", connections),
        ("GET", "/v1/nodes", nodes),
    ]
    return [*make_routes(table), Route("/{path:path}", of_brokers, methods=["GET", "POST", "DELETE", "PUT"])]
