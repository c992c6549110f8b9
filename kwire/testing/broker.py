"""A broker inside a test: real sockets, in memory, ready in milliseconds.

Owns: running a broker in a thread of the test's process, and what a test may do to it from outside. May not know: any
test framework (``plugin.py`` is for pytest).

    with KafkaBroker(topics={"orders": 3}) as kafka:
        producer = KafkaProducer(bootstrap_servers=kafka.bootstrap_servers)

Everything is lost when the block ends, unless ``data`` names a folder.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self, TypeVar

import trio

from kwire.broker.clock import Clock
from kwire.broker.controller.interface import only
from kwire.metadata.commands import CreateTopics
from kwire.metadata.configs import parse_broker_config
from kwire.metadata.effective import BrokerSettings
from kwire.metadata.topics import NewTopic
from kwire.server.initial_topics import create_missing_topics
from kwire.server.lifecycle import Server, open_server
from kwire.storage.files import Files, OsFiles
from kwire.testing.files import MemoryFiles

T = TypeVar("T")

_STOP_S = 30.0


class KafkaBroker:
    """One broker on a free port of localhost, from ``start`` (or ``with``) to ``stop``. Ten may run side by side.

    ``topics``: name to number of partitions, created at the start. ``config``: broker settings under Kafka's names.
    ``data``: a folder for the files; without one they are kept in memory. ``port``: 0 picks a free one, and keeps it
    across ``restart``. Raises what a start can meet: ConfigProblem, CannotBind, StorageFailure.
    """

    def __init__(
        self,
        *,
        topics: Mapping[str, int] | None = None,
        config: Mapping[str, str] | None = None,
        data: str | None = None,
        port: int = 0,
    ) -> None:
        self._topics = dict(topics or {})
        self._config = dict(config or {})
        self._files: Files = MemoryFiles() if data is None else OsFiles()
        self._data = "/kwire" if data is None else data
        self._port = port
        self._clock_shift_ms = 0.0
        self._thread: threading.Thread | None = None
        self._token: trio.lowlevel.TrioToken | None = None
        self._server: Server | None = None
        self._stop: trio.Event | None = None
        self._failure: BaseException | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def port(self) -> int:
        return self._port

    @property
    def bootstrap_servers(self) -> str:
        """What every client calls ``bootstrap.servers``."""
        return f"localhost:{self._port}"

    def start(self) -> None:
        """Serve; returns when clients can connect."""
        assert self._thread is None, "this broker runs already"
        ready = threading.Event()
        self._failure = None
        self._thread = threading.Thread(target=self._run, args=(ready,), name="kwire", daemon=True)
        self._thread.start()
        ready.wait()
        failure = self._take_failure()
        if failure is not None:
            self._thread.join()
            self._thread = None
            raise failure

    def stop(self) -> None:
        """Stop in order. Harmless when it does not run. Raises what went wrong inside, if anything did."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        assert self._token is not None
        assert self._stop is not None
        with contextlib.suppress(trio.RunFinishedError):  # it ended by itself: the failure is raised below
            self._token.run_sync_soon(self._stop.set)
        thread.join(_STOP_S)
        assert not thread.is_alive(), f"the broker did not stop within {_STOP_S} s"
        failure = self._take_failure()
        if failure is not None:
            raise failure

    def restart(self) -> None:
        """Stop and start on the same port with the same data, as clients see it when a broker is updated."""
        self.stop()
        self.start()

    def create_topic(self, name: str, partitions: int = 1, **config: str) -> None:
        """Create a topic; config names are Kafka's with underscores for dots. Raises KafkaError."""
        topic = NewTopic(name, partitions, configs={key.replace("_", "."): value for key, value in config.items()})

        async def create() -> None:
            assert self._server is not None
            only(await self._server.broker.controller.submit(CreateTopics([topic])))

        assert self._token is not None, "this broker does not run"
        trio.from_thread.run(create, trio_token=self._token)

    def advance(self, milliseconds: float) -> None:
        """Move the broker's clock: sessions time out, records expire, timestamps jump, without anybody waiting.

        It stays moved across ``restart``: a broker's time does not step back.
        """

        def move() -> None:
            assert self._server is not None
            self._clock_shift_ms += milliseconds
            self._server.broker.clock.advance(milliseconds)

        self._call(move)

    def _take_failure(self) -> BaseException | None:
        failure, self._failure = self._failure, None
        return failure

    def _call(self, function: Callable[[], T]) -> T:
        """Call inside the broker's event loop, between two of its turns."""
        assert self._token is not None, "this broker does not run"
        return trio.from_thread.run_sync(function, trio_token=self._token)

    def _run(self, ready: threading.Event) -> None:
        try:
            trio.run(self._serve, ready)
        except BaseException as error:  # noqa: BLE001 (handed to whoever starts or stops us)
            self._failure = error
        finally:
            ready.set()

    async def _serve(self, ready: threading.Event) -> None:
        settings = {"log.dirs": self._data, "listeners": f"PLAINTEXT://localhost:{self._port}", **self._config}
        for key, text in self._config.items():
            parse_broker_config(key, text)
        clock = Clock()
        clock.advance(self._clock_shift_ms)
        async with open_server(BrokerSettings(settings), self._files, clock=clock) as server:
            self._server = server
            self._port = server.bindings[0].port
            self._token = trio.lowlevel.current_trio_token()
            self._stop = trio.Event()
            refusals = await create_missing_topics(
                server.broker, [NewTopic(name, count) for name, count in self._topics.items()]
            )
            for _, error in refusals:
                raise error
            ready.set()
            await self._stop.wait()
        self._server = None
