"""Why a client cannot connect: the way of a client to a broker, step by step, each step with its finding.

Owns: the steps, in the order in which a client takes them, and what to do about each thing that can be wrong. May not
know: how findings are shown.

A client connects twice: first to the address that it was given, then to the names that the brokers advertise there
(Metadata). Most trouble is with the second, because those names are chosen on the broker's side and must mean
something on the client's.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal, NamedTuple

from kwire.cli.connection import (
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
from kwire.metadata.features import METADATA_VERSION, METADATA_VERSIONS
from kwire.wire.messages import (
    ApiVersionsRequest,
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
_FETCH_SINCE_KAFKA_4: Final = 4
_ESSENTIAL: Final = (
    ApiVersionsRequest,
    MetadataRequest,
    ProduceRequest,
    FetchRequest,
    ListOffsetsRequest,
    FindCoordinatorRequest,
)
_NOWHERE: Final = ("0.0.0.0", "::", "")  # noqa: S104 (names that a broker must not advertise)


class Finding(NamedTuple):
    """What one step showed, and for what is not well what to do."""

    step: Step
    level: Level
    what: str
    advice: str = ""


class LocalEnvironment(NamedTuple):
    """Where the client runs."""

    in_container: bool

    @classmethod
    def here(cls) -> LocalEnvironment:
        marks = (Path("/.dockerenv"), Path("/run/.containerenv"))
        return cls(any(mark.exists() for mark in marks) or "KUBERNETES_SERVICE_HOST" in os.environ)


def examine(address: Address, security: Security, timeout_s: float, environment: LocalEnvironment) -> Iterator[Finding]:
    """Go the way of a client; ends early where a client could not go on either."""
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
        yield _not_understood(address, security, error, timeout_s)
        return
    with connection:
        yield _introduced(connection)
        yield from _versions(connection)
        if not connection.serves(MetadataRequest):
            return
        try:
            metadata = _metadata(connection)
        except ClientError as error:
            yield _metadata_refused(address, security, error, timeout_s)
            return
    yield from _brokers(address, metadata, security, timeout_s, environment)
    yield from _topics(metadata)


def _resolved(address: Address) -> tuple[list[tuple[int, tuple[str | int, ...]]], Finding]:
    try:
        found = resolve(address)
    except NoSuchHost as error:
        return [], Finding(
            "name",
            "problem",
            str(error),
            "Is it spelled right? The name of a container means something inside the containers of its network only;"
            " from the host use localhost and the port that is published.",
        )
    numbers = list(dict.fromkeys(str(where[0]) for _, where in found))
    if numbers == [address.host]:
        return found, Finding("name", "ok", f"{address.host} needs no resolving")
    return found, Finding("name", "ok", f"{address.host} resolves to {_and(numbers)}")


def _connected(
    address: Address, found: list[tuple[int, tuple[str | int, ...]]], timeout_s: float, environment: LocalEnvironment
) -> tuple[bool, Finding]:
    """Try each number behind the name, as clients differ in which they try first."""
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
        return True, Finding("connection", "ok", f"port {address.port} takes connections")
    if answering:
        return True, Finding(
            "connection",
            "warning",
            f"port {address.port} takes connections at {_and(answering)}, and not at {_and(list(failures))}",
            f"Clients that try {next(iter(failures))} first are slow to connect or fail: give them {answering[0]}, or"
            " have the broker listen on both.",
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
        "Is the address right? A firewall, or a security group in a cloud, swallows connections without a word.",
    )


def _advice_when_refused(address: Address, environment: LocalEnvironment) -> str:
    if _is_loopback(address.host):
        if environment.in_container:
            return (
                f"Inside a container {address.host} is the container itself: does the broker run in here (kwire serve"
                f" --listen PLAINTEXT://localhost:{address.port} starts one)? If it runs elsewhere, use the name of its"
                " container or service, as in kafka:9092; host.docker.internal is the host."
            )
        return (
            f"Does the broker run, and on this port? kwire serve --listen PLAINTEXT://localhost:{address.port}"
            f" starts one. If it runs in a container: is the port published, as with -p {address.port}:{address.port},"
            " and does the broker listen on 0.0.0.0 there?"
        )
    return (
        f"Does the broker run, and on this port? Does it listen on {address.host} or 0.0.0.0, or on localhost only?"
        " See listeners in its settings."
    )


def _not_understood(address: Address, security: Security, error: ClientError, timeout_s: float) -> Finding:
    if isinstance(error, AuthenticationFailed):
        return Finding(
            "security", "problem", str(error), "Check sasl.mechanism and sasl.jaas.config; see the broker's log."
        )
    if isinstance(error, TlsFailed):
        return _tls_failed(error)
    if security.tls is None and _wants_tls(address, error, timeout_s):
        return Finding(
            "protocol",
            "problem",
            f"{address} wants TLS, and the client comes without",
            "Set security.protocol to SSL or SASL_SSL, or use the port of a PLAINTEXT listener.",
        )
    if security.tls is None and _speaks_http(address, error, timeout_s):
        return Finding(
            "protocol",
            "problem",
            f"{address} speaks HTTP, not Kafka",
            "Is this the port of a console, a proxy, or a REST API?",
        )
    if address.port == _ZOOKEEPER_PORT:
        return Finding(
            "protocol",
            "problem",
            f"{address} does not speak Kafka",
            f"{_ZOOKEEPER_PORT} is the port of ZooKeeper, which clients have no use for: give the broker's, which is"
            " usually 9092.",
        )
    return Finding("protocol", "problem", str(error), "Is this the port of a Kafka broker?")


def _tls_failed(error: TlsFailed) -> Finding:
    cause = error.__cause__
    advice = "Is this a listener with TLS? If not, set security.protocol to PLAINTEXT or SASL_PLAINTEXT."
    if isinstance(cause, ssl.SSLCertVerificationError):
        advice = (
            "Set ssl.truststore.certificates or ssl.truststore.location (PEM) to the authority that signed the broker's"
            " certificate, and connect by a name that stands in the certificate."
        )
    return Finding("protocol", "problem", str(error), advice)


def _wants_tls(address: Address, error: ClientError, timeout_s: float) -> bool:
    """Whether there is TLS, whoever signed the certificate: it said so, or said nothing and takes a hello."""
    if not isinstance(error, NotKafka) or error.speaks != "nothing":
        return isinstance(error, NotKafka) and error.speaks == "TLS"
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with (
        suppress(OSError),
        socket.create_connection(address, timeout_s) as stream,
        context.wrap_socket(stream, server_hostname=address.host),
    ):
        return True
    return False


def _speaks_http(address: Address, error: ClientError, timeout_s: float) -> bool:
    """Whether the answer was HTTP, or is when asked for it: some servers are silent until a line has ended."""
    if not isinstance(error, TimedOut):
        return isinstance(error, NotKafka) and error.speaks == "HTTP"
    with suppress(OSError), socket.create_connection(address, timeout_s) as stream:
        stream.sendall(b"GET / HTTP/1.0\r\n\r\n")
        return stream.recv(5).startswith(b"HTTP/")
    return False


def _introduced(connection: Connection) -> Finding:
    supported = {feature.name: feature.max_version for feature in connection.features.supported_features}
    level = supported.get(METADATA_VERSION)
    like = ""
    if level is not None and level in METADATA_VERSIONS:
        like = f", as Kafka {METADATA_VERSIONS[level][0].partition('-')[0]} does"
    elif level is not None and level > max(METADATA_VERSIONS):
        like = ", and is newer than Kafka 4.3"
    return Finding(
        "protocol", "ok", f"{connection.address} speaks Kafka: it serves {len(connection.api_versions)} requests{like}"
    )


def _versions(connection: Connection) -> Iterator[Finding]:
    """Whether clients of today and of yesterday find versions that they know."""
    if not connection.serves(MetadataRequest):
        yield Finding(
            "versions",
            "problem",
            f"{connection.address} serves no Metadata: this is a listener for controllers",
            "Use the port of a broker's listener; see listeners and controller.listener.names in its settings.",
        )
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
                f"the broker serves {name} at versions {low} to {high}; clients of Kafka 4 know {request.VERSIONS}",
                "Use an older client, or a newer broker.",
            )
    if not connection.serves(InitProducerIdRequest):
        yield Finding(
            "versions",
            "warning",
            "the broker does not serve InitProducerId, which producers ask for by default",
            "Set enable.idempotence=false in producers.",
        )
    if connection.api_versions.get(FetchRequest.KEY, (0, -1))[0] >= _FETCH_SINCE_KAFKA_4:
        yield Finding("versions", "ok", "clients older than Kafka 2.1 are too old for it (KIP-896); all others will do")


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
            f"{address} wants SASL ({', '.join(mechanisms)}), and the client comes without",
            f"Set security.protocol={protocol}, sasl.mechanism and sasl.jaas.config; here: --config FILE.",
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
    """Whether each broker can be reached by the name that it tells clients."""
    if not metadata.brokers:
        yield Finding("brokers", "problem", "the cluster has no brokers", "Is it still starting? See the broker's log.")
    for broker in sorted(metadata.brokers, key=lambda each: each.node_id):
        where = Address(broker.host, broker.port)
        told = f"broker {broker.node_id} tells clients to come to {where}"
        if where == address:
            yield Finding("brokers", "ok", f"{told}, which is where we are")
            continue
        trouble = _unreachable(where, metadata.cluster_id, security, timeout_s)
        advice = (
            _advice_for_port(address, where)
            if where.host == address.host or (_is_loopback(where.host) and _is_loopback(address.host))
            else _advice_for_name(address, where, environment)
        )
        if trouble is not None:
            yield Finding("brokers", "problem", f"{told}, and {trouble}", advice)
        elif _is_loopback(where.host) and not _is_loopback(address.host):
            yield Finding("brokers", "warning", f"{told}, which only clients on its own machine can", advice)
        else:
            yield Finding("brokers", "ok", f"{told}, and can be reached there")
    if metadata.brokers and metadata.controller_id < 0:
        yield Finding(
            "controller",
            "warning",
            "the cluster has no controller now: topics cannot be created or changed",
            "Is it still starting? See the broker's log.",
        )


def _unreachable(where: Address, cluster_id: str | None, security: Security, timeout_s: float) -> str | None:
    """Why a client that comes to an advertised name is lost."""
    if where.host in _NOWHERE:
        return "that is no address to connect to"
    try:
        with Connection(where, security=security, timeout_s=timeout_s) as connection:
            theirs = _metadata(connection).cluster_id
    except NoSuchHost:
        return f"the name {where.host} does not resolve here"
    except (CannotConnect, NotKafka, ConnectionLost) as error:
        return str(error)
    except ClientError as error:
        return f"there it fails: {error}"
    if cluster_id is not None and theirs is not None and theirs != cluster_id:
        return f"there is another cluster ({theirs}, not {cluster_id})"
    return None


def _advice_for_port(address: Address, where: Address) -> str:
    """What to do where the name is that of the address that worked, and the port is another."""
    return (
        f"Port {address.port} answers, and {where.port} does not: set in the broker"
        f" advertised.listeners=PLAINTEXT://{address}. If the broker runs in a container, the port that it advertises"
        f" must be the one that is published, as with -p {where.port}:{where.port}."
    )


def _advice_for_name(address: Address, where: Address, environment: LocalEnvironment) -> str:
    """What to do about an advertised name that does not work."""
    advertise = f"Have the broker advertise a name that works here: advertised.listeners=PLAINTEXT://{address}"
    if _is_loopback(where.host) and not _is_loopback(address.host):
        machine = "container" if environment.in_container else "machine"
        return f"{where.host} means the client's own {machine}. {advertise}."
    if _is_loopback(address.host):
        return (
            f"{advertise}. If containers use it by the name {where.host} too, give it two listeners, one for each"
            f" (kwire serve --help has an example); or let {where.host} resolve here, in /etc/hosts."
        )
    return f"{advertise}, or let {where.host} resolve and port {where.port} be open here."


def _topics(metadata: MetadataResponse) -> Iterator[Finding]:
    partitions = [(topic.name, item) for topic in metadata.topics for item in topic.partitions]
    leaderless = [f"{name}-{item.partition_index}" for name, item in partitions if item.leader_id < 0]
    counted = f"{_count(len(metadata.topics), 'topic')} with {_count(len(partitions), 'partition')}"
    if leaderless:
        shown = ", ".join(leaderless[:5]) + (" ..." if len(leaderless) > 5 else "")
        yield Finding(
            "topics",
            "problem",
            f"{counted}; without a leader, hence of no use: {shown}",
            "Are all brokers up? See the broker's log.",
        )
    else:
        yield Finding("topics", "ok", f"{counted}; each has a leader" if partitions else "no topics yet")


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
