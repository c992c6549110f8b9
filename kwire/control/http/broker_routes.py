"""HTTP for the state of a broker: ids, topics, traffic, configs, ACLs, users.

Responsible for: these routes. Must not depend on: how a view is made.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from kwire.broker.controller.interface import only
from kwire.control.bench import Bench
from kwire.control.broker_views import (
    CONFIG_TYPES,
    acls_view,
    broker_view,
    configs_view,
    topic_view,
    traffic_view,
    users_view,
)
from kwire.control.http.bodies import BadRequest, number, read_body, refuse_unknown
from kwire.control.http.refusals import refused
from kwire.control.requests.traffic import Traffic
from kwire.errors import KafkaError
from kwire.metadata.commands.topics import CreateTopics
from kwire.metadata.decisions.topics import NewTopic


class BrokerRoutes:
    """The handlers, over one bench and the counters of ``traffic``. ``schema_registry`` is the URL of one."""

    def __init__(self, bench: Bench, traffic: Traffic, *, schema_registry: str | None) -> None:
        self._schema_registry = schema_registry
        self._bench = bench
        self._traffic = traffic

    def table(self) -> list[tuple[str, str, Callable[[Request], Awaitable[Response]]]]:
        return [
            ("GET", "/v1/broker", self._show),
            ("GET", "/v1/traffic", self._show_traffic),
            ("GET", "/v1/topics", self._list_topics),
            ("POST", "/v1/topics", self._create_topic),
            ("GET", "/v1/topics/{name}", self._show_topic),
            ("GET", "/v1/configs", self._list_configs),
            ("GET", "/v1/acls", self._list_acls),
            ("GET", "/v1/users", self._list_users),
            ("GET", "/v1/connections", self._list_connections),
        ]

    async def _show(self, _request: Request) -> Response:
        return JSONResponse({**broker_view(self._bench.broker), "schema_registry": self._schema_registry})

    async def _show_traffic(self, _request: Request) -> Response:
        return JSONResponse(await traffic_view(self._bench.broker, self._traffic))

    async def _list_topics(self, _request: Request) -> Response:
        topics: dict[str, list[dict[str, int]]] = {}
        for name in sorted(self._bench.broker.image.topics):
            partitions = self._bench.broker.partitions.of_topic(name)
            topics[name] = [
                {"partition": index, "start": one.log.log_start_offset, "end": one.high_watermark}
                for index, one in sorted(partitions.items())
            ]
        return JSONResponse(topics)

    async def _show_topic(self, request: Request) -> Response:
        try:
            return JSONResponse(topic_view(self._bench.broker, request.path_params["name"]))
        except KafkaError as refusal:
            return refused(refusal)

    async def _create_topic(self, request: Request) -> Response:
        given = await read_body(request)
        refuse_unknown(given, "name", "partitions", "configs")
        configs = given.get("configs", {})
        name = given.get("name")
        if not isinstance(name, str) or not isinstance(configs, dict):
            raise BadRequest('a topic is {"name": ..., "partitions": 1, "configs": {...}}')
        texts = {str(key): str(value) for key, value in configs.items()}
        topic = NewTopic(name=name, partitions=number(given, "partitions", 1), configs=texts)
        try:
            only(await self._bench.broker.controller.submit(CreateTopics([topic])))
        except KafkaError as refusal:
            return refused(refusal)
        return JSONResponse({"name": name, "partitions": topic.partitions}, status_code=201)

    async def _list_configs(self, request: Request) -> Response:
        refuse_unknown(request.query_params, "type", "name")
        kind = request.query_params.get("type", "broker")
        if kind not in CONFIG_TYPES:
            raise BadRequest(f"type is one of {', '.join(CONFIG_TYPES)}, not {kind!r}")
        own_id = str(self._bench.broker.node_id) if kind == "broker" else ""
        name = request.query_params.get("name", own_id)
        try:
            return JSONResponse(await configs_view(self._bench.client, kind, name))
        except KafkaError as refusal:
            return refused(refusal)

    async def _list_acls(self, _request: Request) -> Response:
        return JSONResponse(acls_view(self._bench.broker))

    async def _list_users(self, _request: Request) -> Response:
        return JSONResponse(users_view(self._bench.broker))

    async def _list_connections(self, _request: Request) -> Response:
        return JSONResponse(self._bench.views.connections(self._traffic))
