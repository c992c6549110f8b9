"""HTTP for fault rules, their clock, the request log and recordings.

Responsible for: these routes, of a broker and of a proxy. Must not depend on: where requests are handled.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

import trio
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from kwire.broker.clock import Clock
from kwire.control.http.bodies import BadRequest, NotFound, number, read_body, refuse_unknown, text, within
from kwire.control.http.event_stream import Emitter, EventStream
from kwire.control.requests.recording import Recorder, RecordingError
from kwire.control.requests.request_log import Filter, RequestLog, entry_line
from kwire.faults.injector import AnyArmed, Injector
from kwire.faults.rules import RuleError, read_rule

_LAST: Final = 100
_FORMS: Final = ("whole", "lines")


class RequestBench(Protocol):
    """The part of a bench that is needed here."""

    @property
    def log(self) -> RequestLog: ...

    @property
    def injector(self) -> Injector: ...

    @property
    def clock(self) -> Clock: ...

    @property
    def recorder(self) -> Recorder | None: ...

    def record(self, path: str) -> Recorder: ...

    def stop_recording(self) -> Recorder: ...


class RequestRoutes:
    """The handlers, over one bench."""

    def __init__(self, bench: RequestBench) -> None:
        self._bench = bench
        self.log = bench.log
        self.injector = bench.injector

    @property
    def _clock(self) -> Clock:
        return self._bench.clock

    def table(self) -> list[tuple[str, str, Callable[[Request], Awaitable[Response]]]]:
        return [
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
            ("POST", "/v1/recording", self._record),
            ("GET", "/v1/recording", self._show_recording),
            ("DELETE", "/v1/recording", self._stop_recording),
        ]

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
        form = request.query_params.get("form", _FORMS[0])
        if form not in _FORMS:
            raise BadRequest(f"form is {' or '.join(_FORMS)}, not {form!r}")
        entries = self.log.last(int(last), _filter(dict(request.query_params), "last", "form"))
        return JSONResponse([each.to_json() if form == _FORMS[0] else entry_line(each) for each in entries])

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

    async def _record(self, request: Request) -> Response:
        given = await read_body(request)
        refuse_unknown(given, "file")
        try:
            return JSONResponse(_recording(self._bench.record(text(given, "file"))), status_code=201)
        except RecordingError as error:
            raise BadRequest(str(error)) from None

    async def _show_recording(self, _request: Request) -> Response:
        if self._bench.recorder is None:
            raise NotFound("no recording is in progress")
        return JSONResponse(_recording(self._bench.recorder))

    async def _stop_recording(self, _request: Request) -> Response:
        try:
            return JSONResponse(_recording(self._bench.stop_recording()))
        except RecordingError as error:
            raise NotFound(str(error)) from None


def _fault(armed: AnyArmed) -> dict[str, Any]:
    rule = armed.rule
    return {
        "name": rule.name,
        "matched": armed.matched,
        "fired": armed.fired,
        "not_matched": armed.not_matched,
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


def _recording(recorder: Recorder) -> dict[str, Any]:
    return {
        "file": recorder.path,
        "requests": recorder.requests,
        "bytes": recorder.size_bytes,
        "full": recorder.is_full,
    }
