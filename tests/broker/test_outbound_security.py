"""TLS and logins towards other nodes: certificates, host names, mechanisms, sessions, new settings."""

from __future__ import annotations

import socket
import ssl
import threading

import certificates
import pytest
import trio
from answering_node import serve_requests

from kwire.broker.outbound.blocking import BlockingConnection
from kwire.broker.outbound.connection import NodeConnection
from kwire.broker.outbound.interface import Address, Disconnected
from kwire.broker.outbound.listener_security import (
    ListenerSecurity,
    security_towards_brokers,
    security_towards_controllers,
)
from kwire.broker.outbound.secured import secured_later
from kwire.broker.outbound.tls import TlsFailed, TlsStream, start_tls
from kwire.metadata.configs.effective import BrokerSettings, EffectiveConfigs
from kwire.metadata.configs.values import ConfigProblem
from kwire.metadata.entities import ResourceType
from kwire.metadata.image import MetadataImage
from kwire.metadata.settings.quorum_rules import check_quorum
from kwire.security.sasl.client import SaslLogin, begin_exchange
from kwire.server.close_watch import CloseWatch
from kwire.server.tls.transport import TlsTransport
from kwire.server.transport import LastReceived
from kwire.testing.memory.network import MemoryNetwork
from kwire.wire import codec
from kwire.wire.messages import (
    ApiVersionsResponse,
    BrokerHeartbeatRequest,
    BrokerHeartbeatResponse,
    ConfigRecord,
    SaslAuthenticateRequest,
    SaslAuthenticateResponse,
    SaslHandshakeRequest,
    SaslHandshakeResponse,
)

NODE = Address("node", 9093)
PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule required"
SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule required"
LOGIN = 'username="node" password="secret"'


# --- TLS ---


class Pair:
    """The socket of a node that connects, and the transport of the one that accepts."""

    def __init__(self, context: ssl.SSLContext, watch: CloseWatch) -> None:
        self.ours, theirs = socket.socketpair()
        self.ours.setblocking(False)
        self.transport = TlsTransport(theirs, ("127.0.0.1", 9), watch, LastReceived(), context)

    async def connected(self, context: ssl.SSLContext, host: str = "localhost") -> TlsStream:
        made = []

        async def connect():
            made.append(await start_tls(self.ours, context, host))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.transport.handshake, trio.lowlevel.checkpoint)
            nursery.start_soon(connect)
        return made[0]


@pytest.fixture
async def pair_with(nursery):
    watch = CloseWatch()
    nursery.start_soon(watch.run)
    pairs = []

    def make(context: ssl.SSLContext) -> Pair:
        pairs.append(Pair(context, watch))
        return pairs[-1]

    yield make
    for pair in pairs:
        pair.transport.close()
    nursery.cancel_scope.cancel()
    watch.close()


async def refused(pair: Pair, context: ssl.SSLContext, host: str = "localhost") -> str:
    """Why the node that connects does not go on."""

    async def accept() -> None:
        with pytest.raises(OSError):  # noqa: PT011 (the other side's view is tested with the transport)
            await pair.transport.handshake(trio.lowlevel.checkpoint)
        pair.transport.close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(accept)
        with pytest.raises(TlsFailed) as caught:
            await start_tls(pair.ours, context, host)
    return str(caught.value)


async def test_bytes_arrive_in_both_directions_in_every_size(pair_with):
    pair = pair_with(certificates.for_server())
    stream = await pair.connected(certificates.for_client())
    sent = bytes(range(256)) * 4096
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.send, [sent[:10], sent[10:]])
        received = bytearray()
        while len(received) < len(sent):
            received += await pair.transport.recv(65536)
    assert received == sent
    space = memoryview(bytearray(len(sent)))
    filled = 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pair.transport.send, [sent])
        while filled < len(sent):
            filled += await stream.recv_into(space[filled:])
    assert space == sent
    await pair.transport.send([b"x"])
    assert await stream.recv(10) == b"x"
    stream.close()
    stream.close()
    assert await pair.transport.recv(10) == b""


async def test_an_idle_connection_shows_that_the_node_closed_it(pair_with):
    pair = pair_with(certificates.for_server())
    stream = await pair.connected(certificates.for_client())
    assert not stream.peer_closed  # though tickets of TLS itself may have arrived
    pair.transport.close()
    with trio.fail_after(150):
        await trio.lowlevel.wait_readable(stream._tls)
    assert stream.peer_closed
    assert await stream.recv(10) == b""
    stream.close()


async def test_a_certificate_of_another_host_or_authority_is_refused(pair_with):
    other_host = await refused(pair_with(certificates.for_server()), certificates.for_client(), "elsewhere.example")
    assert other_host == "TLS failed: the broker's certificate does not contain the host name that the client uses"
    context = certificates.for_client(trusted=certificates.untrusted())
    other_authority = await refused(pair_with(certificates.for_server()), context)
    assert other_authority == "TLS failed: the client does not trust the authority of the broker's certificate"


@pytest.mark.parametrize(
    ("issued", "words"), [(certificates.expired, "has expired"), (certificates.not_yet_valid, "is not valid yet")]
)
async def test_a_certificate_of_another_time_is_refused(pair_with, issued, words):
    why = await refused(pair_with(certificates.for_server(issued())), certificates.for_client(), "localhost")
    assert why.startswith(f"TLS failed: the broker's certificate {words}")


async def test_without_endpoint_identification_any_host_will_do(pair_with):
    context = certificates.for_client(endpoint_identification_algorithm="")
    stream = await pair_with(certificates.for_server()).connected(context, "elsewhere.example")
    stream.close()


async def test_a_node_without_a_certificate_learns_that_one_is_required(pair_with):
    pair = pair_with(certificates.for_server(client_auth="required"))

    async def accept() -> None:
        with pytest.raises(OSError):  # noqa: PT011 (as above)
            await pair.transport.handshake(trio.lowlevel.checkpoint)
        pair.transport.close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(accept)
        stream = await start_tls(pair.ours, certificates.for_client(), "localhost")  # TLS 1.3 says it after that
        with pytest.raises(TlsFailed, match=r"requires a certificate of the client \(ssl.client.auth=required\)"):
            await stream.recv(1)
        stream.close()
    with_one = pair_with(certificates.for_server(client_auth="required"))
    (await with_one.connected(certificates.for_client(certificates.client()))).close()


async def test_a_name_that_no_certificate_can_have_fails_the_connection(pair_with):
    with pytest.raises(TlsFailed):
        await start_tls(pair_with(certificates.for_server()).ours, certificates.for_client(), ".")


# --- logins ---


class Node:
    """A node that requires a login by PLAIN; ``lifetime_ms`` is that of a session."""

    def __init__(self, lifetime_ms=0):
        self.lifetime_ms = lifetime_ms
        self.connections = 0
        self.logins = []
        self.may_answer = trio.Event()
        self.may_answer.set()

    async def serve(self, transport):
        self.connections += 1
        await serve_requests(transport, self._answer_when_allowed)

    async def _answer_when_allowed(self, _header, request):
        if isinstance(request, BrokerHeartbeatRequest):
            await self.may_answer.wait()
        return self._answer(request)

    def _answer(self, request):
        if isinstance(request, SaslHandshakeRequest):
            known = request.mechanism == "PLAIN"
            return SaslHandshakeResponse(error_code=0 if known else 33, mechanisms=["PLAIN"])
        if isinstance(request, SaslAuthenticateRequest):
            self.logins.append(bytes(request.auth_bytes))
            if self.logins[-1] != b"\0node\0secret":
                return SaslAuthenticateResponse(error_code=58, error_message="Invalid username or password")
            return SaslAuthenticateResponse(session_lifetime_ms=self.lifetime_ms)
        if isinstance(request, BrokerHeartbeatRequest):
            return BrokerHeartbeatResponse(is_caught_up=True)
        keys = ((17, 1), (18, 4), (36, 2), (63, 1))
        served = [ApiVersionsResponse.ApiVersion(api_key=key, max_version=high) for key, high in keys]
        return ApiVersionsResponse(api_keys=served)


def connection_to(node, nursery, login=None):
    network = MemoryNetwork(nursery)
    network.listen(NODE, node.serve)
    dialer = network.dialer("us", login=login or SaslLogin("PLAIN", "node", "secret"))
    return NodeConnection(NODE, dialer=dialer, client_id="test", timeout_ms=5000)


async def test_a_connection_begins_with_a_login(nursery):
    node = Node()
    connection = connection_to(node, nursery)
    for _ in range(2):
        assert (await connection.request(BrokerHeartbeatRequest())).is_caught_up
    assert node.logins == [b"\0node\0secret"]


@pytest.mark.parametrize(
    ("login", "why"),
    [
        (SaslLogin("PLAIN", "node", "wrong"), "node:9093 refused the login by PLAIN: Invalid username or password"),
        (SaslLogin("SCRAM-SHA-256", "node", "x"), "node:9093 refused the login by SCRAM-SHA-256: it supports PLAIN"),
    ],
)
async def test_a_refused_login_says_why_and_backs_off(nursery, autojump_clock, login, why):
    node = Node()
    connection = connection_to(node, nursery, login)
    began = trio.current_time()
    for _ in range(4):
        with pytest.raises(Disconnected) as caught:
            await connection.request(BrokerHeartbeatRequest())
        assert str(caught.value) == why
    assert trio.current_time() - began > 0.3
    assert node.connections == 4


async def test_a_session_that_ends_is_followed_by_another_connection(nursery, autojump_clock):
    node = Node(lifetime_ms=10_000)
    connection = connection_to(node, nursery)
    await connection.request(BrokerHeartbeatRequest())
    node.may_answer = trio.Event()
    answers = []

    async def wait_long():
        answers.append(await connection.request(BrokerHeartbeatRequest(), timeout_ms=60_000))

    async with trio.open_nursery() as waiting:
        waiting.start_soon(wait_long)
        await trio.sleep(9)  # past the part of the lifetime that is used
        waiting.start_soon(wait_long)
        await trio.testing.wait_all_tasks_blocked()
        assert node.connections == 2  # and the first one still waits for its response
        node.may_answer.set()
    assert len(answers) == 2
    assert node.logins == [b"\0node\0secret"] * 2
    await connection.request(BrokerHeartbeatRequest())
    assert node.connections == 2


def test_a_thread_logs_in_too():
    ours, theirs = socket.socketpair()
    node = Node(lifetime_ms=3_600_000)

    def serve():
        with theirs, theirs.makefile("rb") as reader:
            while size := reader.read(4):
                frame = memoryview(reader.read(int.from_bytes(size, "big")))
                header = codec.read_header(frame)
                answer = node._answer(codec.decode_request(header, frame))
                theirs.sendall(b"".join(codec.encode_response(header, answer)))

    threading.Thread(target=serve, daemon=True).start()
    connection = BlockingConnection(
        NODE,
        client_id="test",
        timeout_ms=5000,
        connect=lambda _address, _timeout_s: ours,
        login=lambda: begin_exchange(SaslLogin("PLAIN", "node", "secret"), "nonce"),
    )
    assert connection.request(BrokerHeartbeatRequest()).is_caught_up
    assert connection.is_usable
    connection.close()
    assert node.logins == [b"\0node\0secret"]


# --- settings ---


def configs(image: MetadataImage | None = None, **more: str) -> EffectiveConfigs:
    settings = {
        "process.roles": "broker",
        "node.id": "1",
        "listeners": "BROKER://localhost:9092",
        "listener.security.protocol.map": "BROKER:SASL_SSL,CONTROLLER:SASL_PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "controller.quorum.bootstrap.servers": "localhost:9093",
        "inter.broker.listener.name": "BROKER",
        "sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "sasl.mechanism.inter.broker.protocol": "SCRAM-SHA-512",
        "sasl.mechanism.controller.protocol": "PLAIN",
        "listener.name.broker.scram-sha-512.sasl.jaas.config": f"{SCRAM} {LOGIN};",
        "listener.name.controller.plain.sasl.jaas.config": f"{PLAIN} {LOGIN};",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.key": certificates.server().key_pem,
        "ssl.keystore.certificate.chain": certificates.server().certificate_pem,
        "ssl.truststore.type": "PEM",
        "ssl.truststore.certificates": certificates.authority().certificate_pem,
    }
    return EffectiveConfigs(image or MetadataImage(), BrokerSettings({**settings, **more}), node_id=1)


def no_random(count: int) -> bytes:
    return bytes(count)


def test_each_listener_has_its_own_protocol_and_login():
    chosen = configs()
    check_quorum(chosen)
    brokers = security_towards_brokers(chosen, no_random)
    assert brokers.uses_tls
    assert brokers.context().check_hostname
    assert brokers.login().first().startswith(b"n,,n=node,r=")
    controllers = security_towards_controllers(chosen, no_random)
    assert not controllers.uses_tls
    assert controllers.login().first() == b"\0node\0secret"
    plain = configs(**{"listener.security.protocol.map": "BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT"})
    assert security_towards_brokers(plain, no_random) is None
    assert security_towards_controllers(plain, no_random) is None


@pytest.mark.parametrize(
    ("key", "value", "name", "message"),
    [
        (
            "listener.name.controller.plain.sasl.jaas.config",
            f'{PLAIN} user_node="secret";',
            "listener.name.controller.plain.sasl.jaas.config",
            (
                "This node logs in at the listener CONTROLLER of other nodes by PLAIN, but no username and password are"
                " given."
            ),
        ),
        (
            "sasl.mechanism.controller.protocol",
            "GSSAPI",
            "sasl.mechanism.controller.protocol",
            "This node cannot log in at other nodes by GSSAPI.",
        ),
        (
            "sasl.mechanism.controller.protocol",
            "SCRAM-SHA-256",
            "listener.name.controller.scram-sha-256.sasl.jaas.config",
            (
                "This node logs in at the listener CONTROLLER of other nodes by SCRAM-SHA-256,"
                " but no JAAS configuration is given for it."
            ),
        ),
    ],
)
def test_a_broker_that_cannot_log_in_is_refused_at_the_start(key, value, name, message):
    with pytest.raises(ConfigProblem) as caught:
        check_quorum(configs(**{key: value}))
    assert (caught.value.name, str(caught.value)) == (name, message)
    assert "secret" not in f"{caught.value!r} {caught.value.value}"


def test_files_that_cannot_be_used_are_refused_at_the_start(tmp_path):
    chosen = configs(
        **{
            "listener.name.broker.ssl.truststore.location": str(tmp_path / "none.pem"),
            "ssl.truststore.certificates": "",
        }
    )
    security = security_towards_brokers(chosen, no_random)
    with pytest.raises(ConfigProblem) as caught:
        security.load()
    assert caught.value.name == "listener.name.broker.ssl.truststore.location"


def test_a_changed_file_is_used_for_the_next_connection_and_a_broken_one_is_not(tmp_path):
    path = tmp_path / "trust.pem"
    path.write_text(certificates.authority().certificate_pem)
    chosen = configs(**{"ssl.truststore.location": str(path), "ssl.truststore.certificates": ""})
    security = ListenerSecurity(chosen, "BROKER", "SSL", mechanism_key="", random=no_random)
    security.load()
    first = security.context()
    assert security.context() is first
    other = certificates.untrusted().certificate_pem
    path.write_text(other + other)
    second = security.context()
    assert second is not first
    path.write_text("no certificate")
    assert security.context() is second
    assert security.login() is None


def test_settings_that_are_changed_dynamically_count_for_the_next_connection():
    image = MetadataImage()
    security = security_towards_brokers(configs(image), no_random)
    security.load()

    def change(name: str, value: str) -> None:
        record = ConfigRecord(resource_type=ResourceType.BROKER, resource_name="1", name=name, value=value)
        security.on_metadata_delta(image.apply([record]))

    assert security.context().check_hostname
    change("listener.name.broker.ssl.endpoint.identification.algorithm", "")
    assert not security.context().check_hostname
    change("ssl.truststore.password", "no password belongs to PEM")  # left by another broker, say
    assert not security.context().check_hostname


async def test_a_node_with_its_own_controller_reads_how_to_connect_at_the_first_connection(nursery):
    network = MemoryNetwork(nursery)
    network.listen(NODE, Node().serve)
    broken = configs(
        **{
            "sasl.enabled.mechanisms": "PLAIN",
            "sasl.mechanism.inter.broker.protocol": "PLAIN",
            "listener.name.broker.plain.sasl.jaas.config": f'{PLAIN} user_alice="secret";',
        }
    )
    dialer = secured_later(network.dialer("us"), lambda: security_towards_brokers(broken, no_random))
    connection = NodeConnection(NODE, dialer=dialer, client_id="test", timeout_ms=1000)
    with pytest.raises(Disconnected, match=r"plain.sasl.jaas.config: This node .* no username and password"):
        await connection.request(BrokerHeartbeatRequest())
