"""A broker inside a test: real sockets, data in memory, ready in milliseconds.

Responsible for: running a broker in a thread of the test's process, and its methods for tests. Must not
depend on: a test framework (``plugin.py`` is for pytest).

    with KafkaBroker(topics={"orders": 3}) as kafka:
        producer = KafkaProducer(bootstrap_servers=kafka.bootstrap_servers)

The data is gone when the block ends, unless ``data`` names a directory.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Unpack

from kwire.broker.clock import Clock
from kwire.broker.controller.interface import only
from kwire.control.bench import Bench
from kwire.control.conditions import ConditionKeys
from kwire.control.requests.request_log import RequestLog
from kwire.control.seeding.seeds import load_document, read_seed
from kwire.control.state import Snapshot, write_trees
from kwire.errors import KafkaError
from kwire.faults.disk import FaultyFiles
from kwire.faults.injector import Injector
from kwire.metadata.commands.security import CreateAcls
from kwire.metadata.commands.topics import CreateTopics
from kwire.metadata.configs.effective import BrokerSettings
from kwire.metadata.settings.authorizer import STANDARD_AUTHORIZER
from kwire.metadata.settings.sasl import settings_for_users
from kwire.server.initial_topics import create_missing_topics
from kwire.server.initial_users import store_users
from kwire.server.lifecycle import Server, open_server
from kwire.storage.files import Files
from kwire.storage.os_files import OsFiles
from kwire.testing.arguments import (
    BrokerConfigError,
    Config,
    Topics,
    appears_as,
    broker_texts,
    checked_users,
    new_acls,
    new_topic,
    new_topics,
)
from kwire.testing.faults import Faults
from kwire.testing.frozen_time import keep_real_time
from kwire.testing.memory.files import MemoryFiles
from kwire.testing.requests import Requests
from kwire.testing.start_errors import start_error
from kwire.testing.thread_server import ThreadServer
from kwire.testing.waiting import never_happened

keep_real_time()


class KafkaBroker(ThreadServer):
    """One broker on a free port of localhost, from ``start`` (or ``with``) to ``stop``. Ten may run side by side.

    ``topics``: names to numbers of partitions, or names alone, created at the start unless they exist. ``config``:
    broker settings under Kafka's names; numbers and booleans may be Python's. ``data``: a directory for the files;
    without one they are kept in memory, across ``restart`` too. ``port``: 0 takes a free one, which ``restart`` keeps.
    ``users``: names to passwords; with users the only listener is SASL_PLAINTEXT, and clients must log in with PLAIN,
    SCRAM-SHA-256 or SCRAM-SHA-512. ``tls``: the listener is SSL, or with users SASL_SSL; see ``ca_file``. ``acls``:
    rules such as ``"alice may read topic orders"`` (docs/authorization.md has the grammar); everything else is refused,
    to clients without login too (``anyone``), except to ``super.users`` of ``config``. ``persona``: the release of
    Apache Kafka that the broker appears as, such as "3.9".

    ``faults`` arms rules that disturb requests, ``requests`` are those that clients sent. Raises BrokerConfigError for
    invalid topics, settings and rules.
    """

    def __init__(
        self,
        *,
        topics: Topics | None = None,
        config: Config | None = None,
        data: str | os.PathLike[str] | None = None,
        port: int = 0,
        users: Mapping[str, str] | None = None,
        acls: Sequence[str] | None = None,
        tls: bool = False,
        persona: str | None = None,
    ) -> None:
        self._topics = new_topics(topics)
        self._config = broker_texts({**(config or {}), **appears_as(persona)})
        self._acls = new_acls(acls)
        if acls is not None:
            self._config.setdefault("authorizer.class.name", STANDARD_AUTHORIZER)
        self._files: Files = MemoryFiles() if data is None else OsFiles()
        self._data = "/kwire" if data is None else os.fspath(data)
        self._users = checked_users(users)
        self._clock_shift_ms = 0.0
        self._server: Server | None = None
        self._bench: Bench | None = None
        super().__init__("broker", self._serve, port=port, with_tls=tls, tls_argument="tls")
        self.faults = Faults(self._in_loop, self._in_loop_sync, self._current_injector)
        self.requests = Requests(self._in_loop, self._in_loop_sync, self._current_log)

    @property
    def port(self) -> int:
        """The port on localhost; 0 before the first start, unless one was given."""
        return self._port

    @property
    def is_running(self) -> bool:
        """Whether clients can connect."""
        return self._loop.is_running

    def restart(self) -> None:
        """Stop and start on the same port with the same data. To clients this looks like a rolling update."""
        self.stop()
        self.start()

    def reset(self) -> None:
        """Empty the broker, disarm its rules, clear its request log; make its topics, users and ACLs again.

        Clients see a restart. The clock is real again.
        """
        self._in_loop(self._current_bench().reset)
        self._clock_shift_ms = 0.0

    def snapshot(self, name: str = "default") -> None:
        """Keep the state under a name, until the broker stops; one that has the name is replaced."""
        self._in_loop(lambda: self._current_bench().state.snapshot(name))

    def restore(self, name: str = "default") -> None:
        """Restore a snapshot. Clients see a restart; rules and the clock stay.

        Raises StateError if there is no snapshot of that name.
        """
        state = self._current_bench().state
        self._in_loop(lambda: state.restore(state.find(name)))

    def save(self, directory: str | os.PathLike[str]) -> None:
        """Write the state to a new or empty directory, which ``data`` and ``kwire serve --data`` can use.

        Raises StateError if the directory is not empty.
        """
        self._in_loop(lambda: self._current_bench().state.save(os.fspath(directory)))

    def load(self, directory: str | os.PathLike[str]) -> None:
        """Restore a directory that ``save`` wrote, or another data directory that is not in use.

        Raises StateError if it is not a data directory, BrokerStartError if no broker can start with it; the previous
        state then stays.
        """
        try:
            self._in_loop(lambda: self._current_bench().state.load(os.fspath(directory)))
        except Exception as error:  # noqa: BLE001 (whatever keeps a broker from starting)
            raise start_error(error) from None

    def fork(self) -> KafkaBroker:
        """Make a second broker with the current state, in memory, on a free port; start it like this one.

        It has the settings, users and certificates of this one. Later changes of one do not affect the other.
        """
        snapshot: Snapshot = self._in_loop(self._current_bench().state.capture)
        other = KafkaBroker()
        other._config, other._users, other._acls = self._config, self._users, self._acls
        other._certificates = self._certificates
        other._clock_shift_ms = self._clock_shift_ms
        other._files.make_directory(other._data)
        write_trees(other._files, [other._data], snapshot.trees)
        return other

    def record(self, file: str | os.PathLike[str]) -> None:
        """Record requests and answers from now on to a new file, which ``kwire replay`` sends again.

        Raises RecordingError if the file exists or a recording is in progress already.
        """
        self._in_loop_sync(lambda: self._current_bench().record(os.fspath(file)))

    def stop_recording(self) -> None:
        """End the recording. Raises RecordingError if none is in progress."""
        self._in_loop_sync(self._current_bench().stop_recording)

    def happen(self, event: str, **what: str | int) -> dict[str, Any]:
        """Trigger an event that clients must handle: ``kafka.happen("rebalance", group="billing")``.

        Events are leader_epoch_bumped, coordinator_moved, rebalance, member_fenced, producer_fenced,
        transaction_left_hanging and locks_expired; docs/faults.md describes them. Raises EventError for one that is not
        possible, KafkaError for a refusal by the broker.
        """
        return self._in_loop(lambda: self._current_bench().happen(event, what))

    def seed(self, document: Mapping[str, Any] | str | os.PathLike[str]) -> None:
        """Create topics, configs, users and ACLs, and write records: from a file, or from a value of its form.

        docs/testing-state.md has the format. Raises SeedError for an invalid seed, KafkaError for a refusal.
        """
        given = document if isinstance(document, Mapping) else load_document(os.fspath(document))
        seed = read_seed(given)
        self._in_loop(lambda: self._current_bench().seed(seed))

    def export(self, topic: str) -> dict[str, Any]:
        """Return a topic with its configs and records as a seed. Raises KafkaError if it does not exist."""
        return self._in_loop_sync(lambda: self._current_bench().export(topic))

    def records(
        self, topic: str, *, partition: int | None = None, offset: int | None = None, last: int = 100
    ) -> list[dict[str, Any]]:
        """Give records without a group: the last ones of each partition, or those from ``offset`` on.

        Keys: topic, partition, offset, timestamp, key, value, headers. Bytes that are not UTF-8 are {"base64": ...}.
        Records of open and aborted transactions are there too. Raises KafkaError for a topic that does not exist.
        """
        bench = self._current_bench()
        return self._in_loop_sync(lambda: bench.records(topic, partition=partition, offset=offset, last=last))

    def groups(self) -> list[dict[str, Any]]:
        """Give group, kind (classic, consumer, share, streams) and state of each group."""
        return self._in_loop(self._current_bench().views.groups)

    def group(self, group_id: str) -> dict[str, Any]:
        """Return a group with members, offsets and lag. Raises KafkaError if it does not exist."""
        return self._in_loop(lambda: self._current_bench().views.group(group_id))

    def transactions(self) -> list[dict[str, Any]]:
        """Give id, state, producer and partitions of each transactional id."""
        return self._in_loop(self._current_bench().views.transactions)

    def producers(self, topic: str) -> list[dict[str, Any]]:
        """Return the producers that wrote to a topic, by partition. Raises KafkaError if it does not exist."""
        return self._in_loop(lambda: self._current_bench().views.producers(topic))

    def connections(self) -> list[dict[str, Any]]:
        """Give peer, listener, principal and software of each client that is connected."""
        return self._in_loop_sync(self._current_bench().views.connections)

    def client_metrics(self) -> list[dict[str, Any]]:
        """Give the last values of the metrics that connected clients have pushed (KIP-714)."""
        return self._in_loop_sync(self._current_bench().views.client_metrics)

    def locks(self, group_id: str) -> list[dict[str, Any]]:
        """Give the runs of records that members of a share group have acquired."""
        return self._in_loop_sync(lambda: self._current_bench().views.locks(group_id))

    def wait_until(self, timeout: float = 10.0, **condition: Unpack[ConditionKeys]) -> None:
        """Return once a condition holds: ``kafka.wait_until(group="billing", lag=0)``; docs/testing.md lists them.

        Raises NeverHappened after ``timeout`` seconds, ConditionError for an unknown condition.
        """
        holds, text, seen = self._in_loop(lambda: self._current_bench().wait_until(condition, timeout))
        if not holds:
            raise never_happened(text, timeout, seen)

    def create_topic(self, name: str, partitions: int = 1, **config: str | float | bool) -> None:
        """Create a topic. Names of its configs are Kafka's with underscores for dots: ``retention_ms=1000``.

        Raises BrokerConfigError for a bad name or number, KafkaError for a refusal by the broker, such as for a topic
        that exists; its ``code`` is Kafka's error code.
        """
        topic = new_topic(name, partitions, {key.replace("_", "."): value for key, value in config.items()})

        async def create() -> None:
            assert self._server is not None
            only(await self._server.broker.controller.submit(CreateTopics([topic])))

        self._in_loop(create)

    def add_acls(self, *rules: str) -> None:
        """Add rules, which apply from the next request on.

        Raises BrokerConfigError for an invalid rule, RuntimeError for a broker that was made without ``acls``.
        """
        acls = new_acls(rules)

        async def add() -> None:
            assert self._server is not None
            if self._server.broker.authorizer is None:
                raise RuntimeError("this broker asks no rules: make it with acls=[...]")
            for outcome in await self._server.broker.controller.submit(CreateAcls(acls)):
                if isinstance(outcome, KafkaError):
                    raise BrokerConfigError(outcome.message)

        self._in_loop(add)

    def offsets(self, topic: str) -> list[tuple[int, int]]:
        """Return the first and the next offset of each partition of a topic; an empty list without the topic."""

        def read() -> list[tuple[int, int]]:
            assert self._server is not None
            partitions = self._server.broker.partitions.of_topic(topic)
            return [(one.log.log_start_offset, one.high_watermark) for _, one in sorted(partitions.items())]

        return self._in_loop_sync(read)

    def topics(self) -> list[str]:
        """Give the names of all topics, internal ones too."""

        def read() -> list[str]:
            assert self._server is not None
            return sorted(self._server.broker.image.topics)

        return self._in_loop_sync(read)

    def advance(self, milliseconds: float) -> None:
        """Move the broker's clock forward: sessions time out, records expire, timestamps follow, without any wait.

        The clock stays moved across ``restart``.
        """

        def move() -> None:
            assert self._server is not None
            self._clock_shift_ms += milliseconds
            self._server.broker.clock.advance(milliseconds)

        self._in_loop_sync(move)

    def _current_injector(self) -> Injector:
        return self._current_bench().injector

    def _current_log(self) -> RequestLog:
        return self._current_bench().log

    def _current_bench(self) -> Bench:
        assert self._bench is not None
        return self._bench

    @contextlib.asynccontextmanager
    async def _serve(self) -> AsyncIterator[None]:
        protocol = ("SASL_" if self._users else "") + ("PLAINTEXT" if self._certificates is None else "SSL")
        settings = {"log.dirs": self._data, "listeners": f"{protocol}://localhost:{self._port}"}
        if protocol != "PLAINTEXT":
            settings["inter.broker.listener.name"] = protocol
        if self._users:
            settings |= settings_for_users([protocol], self._users)
        if self._certificates is not None:
            settings |= self._certificates.settings
        settings |= self._config
        clock = Clock()
        clock.advance(self._clock_shift_ms)
        async with open_server(BrokerSettings(settings), FaultyFiles(self._files), clock=clock) as server:
            self._server = server
            self._bench = Bench(server, prepare=self._prepare)
            self._port = server.bindings[0].port
            await self._prepare()
            yield
            self._bench.close()  # so that injected failures of the disk do not disturb the clean stop
        self._server = None

    async def _prepare(self) -> None:
        """Make the topics, users and ACLs of this broker."""
        assert self._server is not None
        broker = self._server.broker
        for user, refusal in (await store_users(broker, self._users)).items():
            raise BrokerConfigError(f"cannot store user {user}: {refusal.message or refusal.code.name}")
        for topic, error in await create_missing_topics(broker, self._topics):
            raise BrokerConfigError(f"cannot create topic {topic.name}: {error.message or error.code.name}")
        for outcome in await broker.controller.submit(CreateAcls(self._acls)):
            if isinstance(outcome, KafkaError):
                raise BrokerConfigError(outcome.message)
