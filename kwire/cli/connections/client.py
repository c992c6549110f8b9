"""A cluster as its clients see it: brokers, controller and coordinators.

Responsible for: the connections to the brokers of a cluster, the choice of a broker for a request, and retries after
transient errors. Must not depend on: sockets, the purpose of requests.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Final, NamedTuple, Self, TypeVar

from kwire.cli.connections.connection import (
    PLAINTEXT,
    Address,
    CannotConnect,
    ClientError,
    Connection,
    ConnectionLost,
    Security,
    TimedOut,
)
from kwire.errors import Code, KafkaError
from kwire.wire.message import Message
from kwire.wire.messages import FindCoordinatorRequest, FindCoordinatorResponse, MetadataRequest, MetadataResponse

GROUP, TRANSACTION = 0, 1

# Errors after which a retry helps. UNKNOWN_TOPIC_OR_PARTITION is missing although Kafka's table calls it retriable: a
# topic that does not exist is not created by a retry.
TRANSIENT_ERRORS: Final = frozenset(
    {
        Code.LEADER_NOT_AVAILABLE,
        Code.NOT_LEADER_OR_FOLLOWER,
        Code.NOT_CONTROLLER,
        Code.NOT_COORDINATOR,
        Code.COORDINATOR_NOT_AVAILABLE,
        Code.COORDINATOR_LOAD_IN_PROGRESS,
        Code.OFFSET_NOT_AVAILABLE,
        Code.UNSTABLE_OFFSET_COMMIT,
        Code.THROTTLING_QUOTA_EXCEEDED,
    }
)

AnswerT = TypeVar("AnswerT", bound=Message)
ValueT = TypeVar("ValueT")


class Node(NamedTuple):
    """A broker as Metadata names it."""

    id: int
    host: str
    port: int
    rack: str | None = None

    @property
    def address(self) -> Address:
        return Address(self.host, self.port)


class Cluster:
    """The brokers behind some addresses; connections are made when first needed and kept."""

    def __init__(
        self,
        bootstrap: Sequence[Address],
        *,
        security: Security = PLAINTEXT,
        client_id: str = "kwire",
        timeout_s: float = 10.0,
        connect_timeout_s: float | None = None,
        on_failure: Callable[[Address, ClientError], None] = lambda _address, _error: None,
    ) -> None:
        """``timeout_s`` bounds each request, each retried operation as a whole, and connecting.

        ``connect_timeout_s`` is a separate limit for connecting.

        ``on_failure`` is called for each connection that failed: a retried operation reports only its last error.
        """
        self.bootstrap = tuple(bootstrap)
        self.timeout_s = timeout_s
        self._connect_timeout_s = timeout_s if connect_timeout_s is None else connect_timeout_s
        self._security = security
        self._client_id = client_id
        self._on_failure = on_failure
        self._connections: dict[Address, Connection] = {}
        self._nodes: dict[int, Node] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()

    def any(self) -> Connection:
        """Return a connection to one of the bootstrap addresses. Raises the last ClientError when none answers."""
        for address in self.bootstrap:
            if address in self._connections:
                return self._connections[address]
        failure: ClientError = CannotConnect("no address to connect to")
        for address in self.bootstrap:
            try:
                return self._connect(address)
            except ClientError as error:
                failure = error
        raise failure

    def node(self, node_id: int) -> Connection:
        """Return a connection to a broker by its id. KafkaError(BROKER_NOT_AVAILABLE) when there is none."""
        if node_id not in self._nodes:
            self.nodes()
        if node_id not in self._nodes:
            raise KafkaError(Code.BROKER_NOT_AVAILABLE, f"no broker {node_id} in the cluster")
        address = self._nodes[node_id].address
        return self._connections.get(address) or self._connect(address)

    def nodes(self) -> list[Node]:
        """Request the brokers of the cluster, sorted by id."""
        self.metadata([])
        return [self._nodes[node_id] for node_id in sorted(self._nodes)]

    def metadata(self, topics: Iterable[str] | None, *, auto_create: bool = False) -> MetadataResponse:
        """Metadata of some topics, or of all with None."""
        connection = self.any()
        version = connection.version_of(MetadataRequest)
        wanted = None if topics is None else [MetadataRequest.MetadataRequestTopic(name=name) for name in topics]
        if version == 0 and wanted is None:
            wanted = []  # version 0 has no null; its empty list means all topics
        request = MetadataRequest(
            topics=wanted, allow_auto_topic_creation=auto_create if version >= 4 else True
        )  # KIP-204
        answer = connection.call(request, MetadataResponse, version=version)
        self._nodes = {
            broker.node_id: Node(broker.node_id, broker.host, broker.port, broker.rack) for broker in answer.brokers
        }
        return answer

    def call(self, request: Message, answer: type[AnswerT], *, version: int | None = None) -> AnswerT:
        """Send a request to any broker."""
        return self.call_on(self.any(), request, answer, version=version)

    def call_node(
        self, node_id: int, request: Message, answer: type[AnswerT], *, version: int | None = None
    ) -> AnswerT:
        """Send a request to one broker."""
        return self.call_on(self.node(node_id), request, answer, version=version)

    def controller(self) -> Connection:
        """Return a connection to what Metadata calls the controller (KRaft names any broker, which forwards)."""
        controller_id = self.metadata([]).controller_id
        return self.node(controller_id) if controller_id in self._nodes else self.any()

    def call_controller(self, request: Message, answer: type[AnswerT], *, version: int | None = None) -> AnswerT:
        """Send a request to the controller."""
        return self.call_on(self.controller(), request, answer, version=version)

    def coordinator(self, key: str, key_type: int = GROUP) -> Connection:
        """Return a connection to the coordinator of a group or transactional id. Raises KafkaError."""
        return self.node(self.find_coordinator(key, key_type).id)

    def find_coordinator(self, key: str, key_type: int = GROUP) -> Node:
        """Find the broker that coordinates a group or transactional id. Raises the KafkaError of the answer."""
        connection = self.any()
        version = connection.version_of(FindCoordinatorRequest)
        if version >= 4:  # KIP-699: many keys in one request
            answer = connection.call(
                FindCoordinatorRequest(key_type=key_type, coordinator_keys=[key]),
                FindCoordinatorResponse,
                version=version,
            )
            first = answer.coordinators[0]
            code, message, node = first.error_code, first.error_message, Node(first.node_id, first.host, first.port)
        else:
            answer = connection.call(
                FindCoordinatorRequest(key=key, key_type=key_type), FindCoordinatorResponse, version=version
            )
            code, message, node = (
                answer.error_code,
                answer.error_message,
                Node(answer.node_id, answer.host, answer.port),
            )
        if code:
            raise KafkaError(Code(code), message)
        self._nodes[node.id] = node
        return node

    def with_retries(self, attempt: Callable[[], ValueT]) -> ValueT:
        """Repeat ``attempt`` while it fails with a transient error, such as an election or a lost connection.

        Raises TimedOut, with the last error as its cause, after ``timeout_s``.
        """
        deadline_s = time.monotonic() + self.timeout_s
        while True:
            try:
                return attempt()
            except (KafkaError, CannotConnect, ConnectionLost) as error:
                if isinstance(error, KafkaError) and error.code not in TRANSIENT_ERRORS:
                    raise
                if time.monotonic() >= deadline_s:
                    raise TimedOut(f"no success within {self.timeout_s:g} s: {error}") from error
            time.sleep(0.1)

    def _connect(self, address: Address) -> Connection:
        try:
            connection = Connection(
                address, security=self._security, client_id=self._client_id, timeout_s=self._connect_timeout_s
            )
            connection.timeout_s = self.timeout_s
        except ClientError as error:
            self._on_failure(address, error)
            raise
        self._connections[address] = connection
        return connection

    def call_on(
        self, connection: Connection, request: Message, answer: type[AnswerT], *, version: int | None = None
    ) -> AnswerT:
        """Send a request over a connection of this cluster. After a failure the next call makes a new connection."""
        try:
            return connection.call(request, answer, version=version)
        except (ConnectionLost, TimedOut) as error:
            # A late answer on this connection would be read as the answer to the next request.
            self._connections.pop(connection.address, None)
            connection.close()
            self._on_failure(connection.address, error)
            raise


def no_partition(topic: str, partition: object, count: int) -> str:
    """A sentence for a partition that a topic of ``count`` partitions does not have."""
    known = "one partition, 0" if count == 1 else f"partitions 0 to {count - 1}"
    return f"there is no partition {partition} of topic {topic}, which has {known}"


def check(code: int, message: str | None = None) -> None:
    """Raise KafkaError unless ``code`` is 0."""
    if code:
        raise KafkaError(_code(code), message)


def _code(code: int) -> Code:
    try:
        return Code(code)
    except ValueError:
        return Code.UNKNOWN_SERVER_ERROR
