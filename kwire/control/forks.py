"""Copies of a broker: each is a broker of its own in this process, with its data in memory and its own control.

Responsible for: starting and ending copies. Must not depend on: the content of the copied state.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

import trio

from kwire.control.bench import Bench
from kwire.control.state import StateError, write_trees
from kwire.faults.disk import FaultyFiles
from kwire.metadata.configs.effective import BrokerSettings
from kwire.server.lifecycle import Server, open_server
from kwire.storage.files import Files

FORKS_MAX: Final = 20
_DIRECTORY: Final = "/kwire"
# ``await serve(server, task_status=...)`` serves HTTP for a copy and reports its URL.
Serve = Callable[..., Awaitable[None]]


class Forks:
    """The copies of one broker, by name. ``new_files`` makes empty files in memory."""

    def __init__(self, nursery: trio.Nursery, new_files: Callable[[], Files], serve: Serve) -> None:
        self._nursery = nursery
        self._new_files = new_files
        self._serve = serve
        self._numbers = itertools.count(1)
        self._running: dict[str, tuple[dict[str, Any], trio.CancelScope, trio.Event]] = {}

    def shown(self) -> list[dict[str, Any]]:
        """Give name, bootstrap servers and control URL of each."""
        return [shown for shown, _, _ in self._running.values()]

    async def add(self, bench: Bench) -> dict[str, Any]:
        """Start a copy of a broker in its current state, on free ports, with the same time. Raises StateError."""
        if len(self._running) >= FORKS_MAX:
            raise StateError(f"there are {FORKS_MAX} forks: end one")
        if len(bench.broker.dirs.dirs) > 1:
            raise StateError("a broker with several log directories cannot be forked")
        snapshot = await bench.state.capture()
        files = self._new_files()
        files.make_directory(_DIRECTORY)
        write_trees(files, [_DIRECTORY], snapshot.trees)
        name = f"fork-{next(self._numbers)}"
        shown: dict[str, Any] = await self._nursery.start(self._run, name, fork_settings(bench.server), files, bench)
        return shown

    async def end(self, name: str) -> bool:
        """End a copy; False if there is none of that name."""
        found = self._running.get(name)
        if found is None:
            return False
        _, scope, ended = found
        scope.cancel()
        await ended.wait()
        return True

    async def _run(
        self,
        name: str,
        settings: BrokerSettings,
        files: Files,
        bench: Bench,
        *,
        task_status: trio.TaskStatus[dict[str, Any]],
    ) -> None:
        ended = trio.Event()
        try:
            with trio.CancelScope() as scope:
                clock = bench.broker.clock.successor()
                async with (
                    open_server(settings, FaultyFiles(files), clock=clock) as server,
                    trio.open_nursery() as nursery,
                ):
                    url = await nursery.start(partial(self._serve, server))
                    servers = ",".join(f"{each.endpoint.host}:{each.port}" for each in server.bindings)
                    shown = {"name": name, "bootstrap_servers": servers, "control": url}
                    self._running[name] = (shown, scope, ended)
                    task_status.started(shown)
                    await trio.sleep_forever()
        finally:
            self._running.pop(name, None)
            ended.set()


def fork_settings(server: Server) -> BrokerSettings:
    """Give the settings of a broker for a copy of it: any free ports, and the data in memory."""
    texts = dict(server.settings.texts)
    listeners = texts.get("listeners", "PLAINTEXT://localhost:0")
    texts["listeners"] = ",".join(re.sub(r":\d+$", ":0", each.strip()) for each in listeners.split(","))
    texts.pop("advertised.listeners", None)
    for name in ("log.dir", "metadata.log.dir"):
        texts.pop(name, None)
    texts["log.dirs"] = _DIRECTORY
    return BrokerSettings(texts)
