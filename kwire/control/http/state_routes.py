"""HTTP for the state of a broker: reset, snapshots, seeds, events, recordings, copies.

Responsible for: these routes. Must not depend on: how state is kept.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from kwire.control.bench import Bench
from kwire.control.events import EventError
from kwire.control.forks import Forks
from kwire.control.http.bodies import BadRequest, NotFound, read_body, refuse_unknown, text
from kwire.control.http.refusals import refused
from kwire.control.seeding.seed_error import SeedError
from kwire.control.seeding.seeds import read_seed
from kwire.control.state import Snapshot, StateError
from kwire.errors import KafkaError, StorageFailure


class StateRoutes:
    """The handlers, over one bench. ``forks`` makes copies."""

    def __init__(self, bench: Bench, forks: Forks) -> None:
        self._bench = bench
        self._forks = forks

    def table(self) -> list[tuple[str, str, Callable[[Request], Awaitable[Response]]]]:
        return [
            ("POST", "/v1/reset", self._reset),
            ("GET", "/v1/snapshots", self._list),
            ("POST", "/v1/snapshots", self._make),
            ("DELETE", "/v1/snapshots/{name}", self._remove),
            ("POST", "/v1/snapshots/{name}/restore", self._restore),
            ("POST", "/v1/restore", self._load),
            ("GET", "/v1/forks", self._list_forks),
            ("POST", "/v1/forks", self._fork),
            ("DELETE", "/v1/forks/{name}", self._end_fork),
            ("POST", "/v1/seed", self._seed),
            ("POST", "/v1/events", self._happen),
        ]

    async def _reset(self, request: Request) -> Response:
        refuse_unknown(await read_body(request, empty=True))
        try:
            await self._bench.reset()
        except (StateError, StorageFailure) as error:
            raise BadRequest(str(error)) from None
        return Response(status_code=204)

    async def _list(self, _request: Request) -> Response:
        snapshots = self._bench.state.snapshots
        return JSONResponse([_shown(one, name=name) for name, one in snapshots.items()])

    async def _make(self, request: Request) -> Response:
        given = await read_body(request)
        refuse_unknown(given, "name", "directory")
        if ("name" in given) == ("directory" in given):
            raise BadRequest("a snapshot has a name, or is written to a directory")
        try:
            if "name" in given:
                shown = _shown(await self._bench.state.snapshot(text(given, "name")), name=given["name"])
            else:
                directory = text(given, "directory")
                shown = _shown(await self._bench.state.save(directory), directory=directory)
        except (StateError, StorageFailure) as error:
            raise BadRequest(str(error)) from None
        return JSONResponse(shown, status_code=201)

    async def _remove(self, request: Request) -> Response:
        name = request.path_params["name"]
        return JSONResponse(_shown(_found(self._bench.state.remove, name), name=name))

    async def _restore(self, request: Request) -> Response:
        name = request.path_params["name"]
        snapshot: Snapshot = _found(self._bench.state.find, name)
        try:
            await self._bench.state.restore(snapshot)
        except (StateError, StorageFailure) as error:
            raise BadRequest(str(error)) from None
        return JSONResponse(_shown(snapshot, name=name))

    async def _load(self, request: Request) -> Response:
        given = await read_body(request)
        refuse_unknown(given, "directory")
        directory = text(given, "directory")
        try:
            return JSONResponse(_shown(await self._bench.state.load(directory), directory=directory))
        except Exception as error:  # noqa: BLE001 (whatever keeps a broker from starting with it)
            raise BadRequest(f"cannot restore {directory}: {_innermost(error)}") from None

    async def _list_forks(self, _request: Request) -> Response:
        return JSONResponse(self._forks.shown())

    async def _fork(self, request: Request) -> Response:
        refuse_unknown(await read_body(request, empty=True))
        try:
            return JSONResponse(await self._forks.add(self._bench), status_code=201)
        except StateError as error:
            raise BadRequest(str(error)) from None

    async def _end_fork(self, request: Request) -> Response:
        name = request.path_params["name"]
        if not await self._forks.end(name):
            raise NotFound(f"there is no fork {name!r}")
        return Response(status_code=204)

    async def _seed(self, request: Request) -> Response:
        given = await read_body(request)
        try:
            return JSONResponse(await self._bench.seed(read_seed(given)), status_code=201)
        except SeedError as error:
            raise BadRequest(str(error)) from None
        except KafkaError as refusal:
            return refused(refusal)

    async def _happen(self, request: Request) -> Response:
        given = await read_body(request)
        event = given.pop("event", None)
        try:
            return JSONResponse(await self._bench.happen(str(event), given))
        except EventError as error:
            raise BadRequest(str(error)) from None
        except KafkaError as refusal:
            return refused(refusal)


def _found(find: Callable[[str], Snapshot], name: str) -> Snapshot:
    try:
        return find(name)
    except StateError as error:
        raise NotFound(str(error)) from None


def _shown(snapshot: Snapshot, **where: Any) -> dict[str, Any]:
    return {**where, "bytes": snapshot.size_bytes, "made_at_ms": snapshot.made_at_ms}


def _innermost(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
