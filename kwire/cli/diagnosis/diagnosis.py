"""Why a client cannot connect: the steps by which a client connects to a broker, with a finding for each step.

Responsible for: the steps, in the order in which a client takes them, and the advice for each problem. Must not depend
on: how findings are printed.

A client connects twice: first to the bootstrap address, then to the addresses that the brokers advertise there
(Metadata). Most problems are with the second, because the broker's settings choose those addresses and the client must
be able to resolve and reach them.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal, NamedTuple

from kwire.cli.connections.connection import (
    Address,
    AuthenticationFailed,
    CannotConnect,
    ClientError,
    Connection,
    ConnectionLost,
    NoSuchHost,
    NotKafka,
    Security,
    TimedOut,
    TlsFailed,
    resolve,
)
from kwire.cli.diagnosis.access_diagnosis import Access, examine_access
from kwire.cli.diagnosis.controller_diagnosis import examine_controller
from kwire.cli.diagnosis.sasl_diagnosis import explain_login
from kwire.cli.diagnosis.tls_diagnosis import explain_tls, requires_tls
from kwire.kafka_release import METADATA_VERSIONS, RELEASE
from kwire.metadata.features import METADATA_VERSION
from kwire.wire.messages import (
    ApiVersionsRequest,
    BrokerRegistrationRequest,
    FetchRequest,
    FindCoordinatorRequest,
    InitProducerIdRequest,
    ListOffsetsRequest,
    MetadataRequest,
    MetadataResponse,
    ProduceRequest,
    SaslHandshakeRequest,
    SaslHandshakeResponse,
)

Level = Literal["ok", "warning", "problem"]
Step = Literal[
    "name",
    "connection",
    "protocol",
    "versions",
    "security",
    "brokers",
    "controller",
    "topics",
    "access",
    "data",
    "lock",
    "identity",
    "stop",
    "checkpoints",
    "metadata",
    "logs",
    "losses",
]

_ZOOKEEPER_PORT: Final = 2181
_FETCH_MIN_KAFKA_4: Final = 4
_ESSENTIAL: Final = (
    ApiVersionsRequest,
    MetadataRequest,
    ProduceRequest,
    FetchRequest,
    ListOffsetsRequest,
    FindCoordinatorRequest,
)
_UNROUTABLE: Final = ("0.0.0.0", "::", "")  # noqa: S104 (hosts that a broker must not advertise)


class Finding(NamedTuple):
    """The result of one step, and advice where something is wrong."""

    step: Step
    level: Level
    what: str
    advice: str = ""


class LocalEnvironment(NamedTuple):
    """The environment of the client."""

    in_container: bool

    @classmethod
    def here(cls) -> LocalEnvironment:
        marks = (Path("/.dockerenv"), Path("/run/.containerenv"))
        return cls(any(mark.exists() for mark in marks) or "KUBERNETES_SERVICE_HOST" in os.environ)


def examine(address: Address, security: Security, timeout_s: float, environment: LocalEnvironment) -> Iterator[Finding]:
    """Take the steps of a client; ends at the step where a client would fail."""
    found, finding = _resolved(address)
    yield finding
    if not found:
        return
    connected, finding = _connected(address, found, timeout_s, environment)
    yield finding
    if not connected:
        return
    try:
        connection = Connection(address, security=security, timeout_s=timeout_s)
    except ClientError as error:
        yield _connection_failed(address, security, error, timeout_s)
        return
    access: Access | None = None
    with connection:
        yield _protocol(connection)
        yield from _versions(connection)
        if not connection.serves(MetadataRequest):
            return
        try:
            metadata = _metadata(connection)
        except ClientError as error:
            yield _metadata_refused(address, security, error, timeout_s)
            return
        with suppress(ClientError):  # the broker closed the connection on this request; the next step connects again
            access = examine_access(connection)
    yield from _brokers(address, metadata, security, timeout_s, environment)
    yield from _topics(metadata)
    if access is not None:
        yield Finding("access", "warning" if access.advice else "ok", access.text, access.advice)


def _resolved(address: Address) -> tuple[list[tuple[int, tuple[str | int, ...]]], Finding]:
    try:
        found = resolve(address)
    except NoSuchHost as error:
        return [], Finding(
            "name",
            "problem",
            str(error),
            "Check the spelling. The name of a container resolves only in containers on the same network; on the host,"
            " use localhost and the published port.",
        )
    numbers = list(dict.fromkeys(str(where[0]) for _, where in found))
    if numbers == [address.host]:
        return found, Finding("name", "ok", f"{address.host} is an IP address")
    return found, Finding("name", "ok", f"{address.host} resolves to {_and(numbers)}")


def _connected(
    address: Address, found: list[tuple[int, tuple[str | int, ...]]], timeout_s: float, environment: LocalEnvironment
) -> tuple[bool, Finding]:
    """Connect to each IP address of the name, because clients differ in which they try first."""
    failures: dict[str, OSError] = {}
    answering = []
    for family, where in found:
        try:
            with socket.socket(family, socket.SOCK_STREAM) as stream:
                stream.settimeout(timeout_s)
                stream.connect(where)
            answering.append(str(where[0]))
        except OSError as error:
            failures[str(where[0])] = error
    if answering and not failures:
        return True, Finding("connection", "ok", f"port {address.port} accepts connections")
    if answering:
        return True, Finding(
            "connection",
            "warning",
            f"port {address.port} accepts connections at {_and(answering)}, but not at {_and(list(failures))}",
            f"Clients that try {next(iter(failures))} first connect slowly or fail: configure them with {answering[0]},"
            " or let the broker listen on both addresses.",
        )
    if all(isinstance(error, ConnectionRefusedError) for error in failures.values()):
        return False, Finding(
            "connection",
            "problem",
            f"nothing listens on port {address.port} of {address.host}: the connection is refused",
            _advice_when_refused(address, environment),
        )
    what = "; ".join(f"{number}: {error.strerror or error}" for number, error in failures.items())
    return False, Finding(
        "connection",
        "problem",
        f"no connection to {address}: {what}",
        "Check the address. A firewall, or a security group in a cloud, can drop connections without an answer.",
    )


def _advice_when_refused(address: Address, environment: LocalEnvironment) -> str:
    if _is_loopback(address.host):
        first = (
            "Check that the broker runs, and on this port. To start one: kwire serve --listen"
            f" PLAINTEXT://localhost:{address.port}."
        )
        if environment.in_container:
            return (
                f"{first} This is a container, and {address.host} is the container itself: for a broker in another"
                " container, use the name of that container or service, such as kafka:9092; for one on the host, use"
                " host.docker.internal."
            )
        return (
            f"{first} If it runs in a container, publish the port (docker run -p {address.port}:{address.port}) and let"
            " the broker listen on 0.0.0.0 in the container."
        )
    return (
        f"Check that the broker runs, and on this port, and that it listens on {address.host} or 0.0.0.0 and not only"
        " on localhost: see listeners in its settings."
    )


def _connection_failed(address: Address, security: Security, error: ClientError, timeout_s: float) -> Finding:
    if isinstance(error, AuthenticationFailed):
        return Finding("security", "problem", *explain_login(error, security))
    if isinstance(error, TlsFailed):
        return Finding("protocol", "problem", *explain_tls(address, error, timeout_s))
    if security.tls is None and requires_tls(address, error, timeout_s):
        return Finding(
            "protocol",
            "problem",
            f"{address} requires TLS, and the client does not use TLS",
            "Set security.protocol to SSL or SASL_SSL, or use the port of a PLAINTEXT listener.",
        )
    if security.tls is None and _is_http(address, error, timeout_s):
        return Finding(
            "protocol",
            "problem",
            f"{address} is an HTTP server, not a Kafka broker",
            "The port may belong to a console, a proxy or a REST API. Use the port of a Kafka listener.",
        )
    if address.port == _ZOOKEEPER_PORT:
        return Finding(
            "protocol",
            "problem",
            f"{address} is not a Kafka broker",
            f"{_ZOOKEEPER_PORT} is the port of ZooKeeper, which Kafka clients do not use. Use the port of the broker,"
            " usually 9092.",
        )
    return Finding("protocol", "problem", str(error), "Check that this is the port of a Kafka broker.")


def _is_http(address: Address, error: ClientError, timeout_s: float) -> bool:
    """Whether the server speaks HTTP; tries a GET, because some servers wait for the end of a line."""
    if not isinstance(error, TimedOut):
        return isinstance(error, NotKafka) and error.protocol == "HTTP"
    with suppress(OSError), socket.create_connection(address, timeout_s) as stream:
        stream.sendall(b"GET / HTTP/1.0\r\n\r\n")
        return stream.recv(5).startswith(b"HTTP/")
    return False


def _protocol(connection: Connection) -> Finding:
    supported = {feature.name: feature.max_version for feature in connection.features.supported_features}
    level = supported.get(METADATA_VERSION)
    release = ""
    if level is not None and level in METADATA_VERSIONS:
        release = f", like Kafka {METADATA_VERSIONS[level][0].partition('-')[0]}"
    elif level is not None and level > max(METADATA_VERSIONS):
        release = f", and is newer than Kafka {RELEASE}"
    return Finding(
        "protocol",
        "ok",
        f"{connection.address} is a Kafka broker: it serves {len(connection.api_versions)} APIs{release}",
    )


def _versions(connection: Connection) -> Iterator[Finding]:
    """Whether current and older clients support a version that the broker serves."""
    if not connection.serves(MetadataRequest):
        is_controller = connection.serves(BrokerRegistrationRequest)
        yield Finding(
            "versions",
            "warning" if is_controller else "problem",
            f"{connection.address} serves no Metadata: this is a listener for controllers",
            "Use the port of a broker's listener; see listeners and controller.listener.names in its settings.",
        )
        if is_controller:
            yield Finding("controller", *examine_controller(connection))
        return
    for request in _ESSENTIAL:
        name = request.NAME.removesuffix("Request")
        low, high = connection.api_versions.get(request.KEY, (0, -1))
        if high < low:
            yield Finding("versions", "problem", f"the broker does not serve {name}, which every client needs")
        elif high < request.VERSIONS.lowest or low > request.VERSIONS.highest:
            yield Finding(
                "versions",
                "problem",
                f"the broker serves {name} at versions {low} to {high}; clients of Kafka 4 support {request.VERSIONS}",
                "Use an older client, or a newer broker.",
            )
    if not connection.serves(InitProducerIdRequest):
        yield Finding(
            "versions",
            "warning",
            "the broker does not serve InitProducerId, which producers use by default",
            "Set enable.idempotence=false in producers.",
        )
    if connection.api_versions.get(FetchRequest.KEY, (0, -1))[0] >= _FETCH_MIN_KAFKA_4:
        yield Finding("versions", "ok", "clients of Kafka 2.1 or later work with it; older clients do not (KIP-896)")


def _metadata(connection: Connection) -> MetadataResponse:
    version = connection.version_of(MetadataRequest)
    # Version 0 has no null; its empty list means all topics.
    request = MetadataRequest(topics=None) if version >= 1 else MetadataRequest(topics=[])
    return connection.call(request, MetadataResponse, version=version)


def _metadata_refused(address: Address, security: Security, error: ClientError, timeout_s: float) -> Finding:
    mechanisms = [] if security.mechanism is not None else _mechanisms(address, security, timeout_s)
    if mechanisms:
        protocol = "SASL_PLAINTEXT" if security.tls is None else "SASL_SSL"
        return Finding(
            "security",
            "problem",
            f"{address} requires SASL ({', '.join(mechanisms)}), and the client does not use SASL",
            f"Set security.protocol={protocol}, sasl.mechanism and sasl.jaas.config. For this command,"
            " put them into a file: --config FILE.",
        )
    return Finding("brokers", "problem", str(error), "See the broker's log.")


def _mechanisms(address: Address, security: Security, timeout_s: float) -> list[str]:
    try:
        with Connection(address, security=security, timeout_s=timeout_s) as connection:
            answer = connection.call(SaslHandshakeRequest(mechanism="NONE"), SaslHandshakeResponse)
    except ClientError:
        return []
    return answer.mechanisms


def _brokers(
    address: Address, metadata: MetadataResponse, security: Security, timeout_s: float, environment: LocalEnvironment
) -> Iterator[Finding]:
    """Whether each broker can be reached at the address that it advertises."""
    if not metadata.brokers:
        yield Finding(
            "brokers", "problem", "the cluster has no brokers", "It may still be starting: see the broker's log."
        )
    for broker in sorted(metadata.brokers, key=lambda each: each.node_id):
        where = Address(broker.host, broker.port)
        advertised = f"broker {broker.node_id} advertises {where}"
        if where == address:
            yield Finding("brokers", "ok", f"{advertised}, the address that was given")
            continue
        trouble = _unreachable(where, metadata.cluster_id, security, timeout_s)
        advice = (
            _advice_for_port(address, where)
            if where.host == address.host or (_is_loopback(where.host) and _is_loopback(address.host))
            else _advice_for_name(address, where, environment)
        )
        if trouble is not None:
            yield Finding("brokers", "problem", f"{advertised}, but {trouble}", advice)
        elif _is_loopback(where.host) and not _is_loopback(address.host):
            yield Finding(
                "brokers", "warning", f"{advertised}, which only clients on its own machine can reach", advice
            )
        else:
            yield Finding("brokers", "ok", f"{advertised}, which can be reached")
    if metadata.brokers and metadata.controller_id < 0:
        yield Finding(
            "controller",
            "warning",
            "the cluster has no controller: topics cannot be created or changed",
            "It may still be starting: see the broker's log.",
        )


def _unreachable(where: Address, cluster_id: str | None, security: Security, timeout_s: float) -> str | None:
    """Why a client cannot use an advertised address; None if it can."""
    if where.host in _UNROUTABLE:
        return "a client cannot connect to that address"
    try:
        with Connection(where, security=security, timeout_s=timeout_s) as connection:
            theirs = _metadata(connection).cluster_id
    except NoSuchHost:
        return f"the name {where.host} does not resolve on this machine"
    except (CannotConnect, NotKafka, ConnectionLost) as error:
        return str(error)
    except ClientError as error:
        return f"a connection to it fails: {error}"
    if cluster_id is not None and theirs is not None and theirs != cluster_id:
        return f"that address belongs to another cluster ({theirs}, not {cluster_id})"
    return None


def _advice_for_port(address: Address, where: Address) -> str:
    """Advice where the advertised host is the one that works, and the advertised port is not."""
    return (
        f"Port {address.port} answers, and port {where.port} does not: set advertised.listeners=PLAINTEXT://{address}"
        f" in the broker. If the broker runs in a container, publish the port that it advertises (docker run -p"
        f" {where.port}:{where.port})."
    )


def _advice_for_name(address: Address, where: Address, environment: LocalEnvironment) -> str:
    """Advice where the advertised host does not work."""
    advertise = f"Let the broker advertise an address that works here: advertised.listeners=PLAINTEXT://{address}"
    if _is_loopback(where.host) and not _is_loopback(address.host):
        machine = "container" if environment.in_container else "machine"
        return f"For a client, {where.host} is the client's own {machine}. {advertise}."
    if _is_loopback(address.host):
        return (
            f"{advertise}. If clients in containers connect to {where.host}, give the broker two listeners, one for"
            f" them and one for clients on this machine (kwire serve --help has an example); or add"
            f" {where.host} to /etc/hosts here."
        )
    return f"{advertise}, or make {where.host} resolve and port {where.port} reachable from this machine."


def _topics(metadata: MetadataResponse) -> Iterator[Finding]:
    partitions = [(topic.name, item) for topic in metadata.topics for item in topic.partitions]
    leaderless = [f"{name}-{item.partition_index}" for name, item in partitions if item.leader_id < 0]
    counted = f"{_count(len(metadata.topics), 'topic')} with {_count(len(partitions), 'partition')}"
    if leaderless:
        shown = ", ".join(leaderless[:5]) + (" ..." if len(leaderless) > 5 else "")
        yield Finding(
            "topics",
            "problem",
            f"{counted}; not available, because they have no leader: {shown}",
            "Check that all brokers run, and see their logs.",
        )
    else:
        yield Finding("topics", "ok", f"{counted}; each partition has a leader" if partitions else "no topics yet")


def _is_loopback(host: str) -> bool:
    if host.lower() in ("localhost", "localhost.localdomain", "ip6-localhost"):
        return True
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _and(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
