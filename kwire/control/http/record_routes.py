"""HTTP for the records of topics: reading, search, following the end, writing.

Responsible for: these routes. Must not depend on: how records are read.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

import trio
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from kwire.control.bench import Bench
from kwire.control.decoding import RecordDecoder
from kwire.control.encoding import KEY_SCHEMA, VALUE_SCHEMA, EncodingError, encode_records, read_choices
from kwire.control.http.bodies import BadRequest, query_number, read_body, refuse_unknown
from kwire.control.http.event_stream import Emitter, EventStream
from kwire.control.http.refusals import refused
from kwire.control.records import (
    RECORDS_MAX,
    Selection,
    Tail,
    read_decoded,
    search_topic,
)
from kwire.errors import KafkaError
from kwire.wire.batches.json_records import JsonRecordError, read_record

_LAST: Final = 100
_SELECTION: Final = ("partition", "offset", "timestamp", "last")


class RecordRoutes:
    """The handlers, over one bench. With a ``decoder`` records are shown and searched decoded too, and encoded."""

    def __init__(self, bench: Bench, decoder: RecordDecoder | None) -> None:
        self._bench = bench
        self._decoder = decoder

    def table(self) -> list[tuple[str, str, Callable[[Request], Awaitable[Response]]]]:
        return [
            ("GET", "/v1/topics/{name}/records", self._read),
            ("POST", "/v1/topics/{name}/records", self._write),
            ("GET", "/v1/topics/{name}/records/stream", self._follow),
            ("GET", "/v1/topics/{name}/search", self._search),
            ("GET", "/v1/topics/{name}/export", self._export),
        ]

    async def _read(self, request: Request) -> Response:
        refuse_unknown(request.query_params, *_SELECTION)
        chosen = _selection(request)
        try:
            topic = request.path_params["name"]
            return JSONResponse(await read_decoded(self._bench.broker, topic, chosen, self._decoder))
        except KafkaError as refusal:
            return refused(refusal)

    async def _search(self, request: Request) -> Response:
        refuse_unknown(request.query_params, "text", *_SELECTION)
        text = request.query_params.get("text")
        if not text:
            raise BadRequest("text is what to search for")
        try:
            topic = request.path_params["name"]
            found = await search_topic(self._bench.broker, topic, text, _selection(request), self._decoder)
        except KafkaError as refusal:
            return refused(refusal)
        return JSONResponse({**found, "next": {str(index): offset for index, offset in found["next"].items()}})

    async def _follow(self, request: Request) -> Response:
        refuse_unknown(request.query_params, "partition")
        topic, partition = request.path_params["name"], query_number(request, "partition")
        server = self._bench.server
        try:
            tail = Tail(self._bench.broker, topic, partition, self._decoder)
        except KafkaError as refusal:
            return refused(refusal)

        async def events(emitter: Emitter) -> None:
            replaced = trio.CancelScope()
            server.on_reopened.append(replaced.cancel)
            try:
                await emitter.comment("records from now on")
                with replaced:
                    await tail.run(emitter.event, partial(_skip, emitter))
            finally:
                server.on_reopened.remove(replaced.cancel)
            await emitter.event({"reason": "the topic was deleted, or the broker was reset"}, name="end")

        return EventStream(events)

    async def _write(self, request: Request) -> Response:
        given = await read_body(request)
        refuse_unknown(given, "records", KEY_SCHEMA, VALUE_SCHEMA)
        records = given.get("records")
        if not isinstance(records, list):
            raise BadRequest('records are a list such as [{"key": ..., "value": ..., "headers": [[..., ...]]}]')
        try:
            choices = read_choices(given)
            read = [read_record(fields, number) for number, fields in enumerate(records, 1)]
            if choices:
                read = await encode_records(self._decoder, choices, records, read)
            written = await self._bench.write(request.path_params["name"], read)
        except (JsonRecordError, EncodingError) as error:
            raise BadRequest(str(error)) from None
        except KafkaError as refusal:
            return refused(refusal)
        return JSONResponse([{"partition": index, "offset": offset} for index, offset in written], status_code=201)

    async def _export(self, request: Request) -> Response:
        try:
            return JSONResponse(self._bench.export(request.path_params["name"]))
        except KafkaError as refusal:
            return refused(refusal)


async def _skip(emitter: Emitter, count: int) -> None:
    await emitter.event({"records": count}, name="skipped")


def _selection(request: Request) -> Selection:
    last = query_number(request, "last")
    numbers: dict[str, Any] = {name: query_number(request, name) for name in ("partition", "offset", "timestamp")}
    if numbers["offset"] is not None and numbers["timestamp"] is not None:
        raise BadRequest("give an offset or a timestamp, not both")
    return Selection(
        partition=numbers["partition"],
        offset=numbers["offset"],
        timestamp_ms=numbers["timestamp"],
        last=min(_LAST if last is None else last, RECORDS_MAX),
    )
