"""TLS listeners of a real broker in this process: settings, principals, new certificates, half-open handshakes."""

from __future__ import annotations

import resource
import socket
import ssl
import struct
from datetime import timedelta

import certificates
import pytest
import trio
import trio.testing
from edge import HEARTBEAT, Edge

from kwire.broker.endpoint import Endpoint
from kwire.errors import Code
from kwire.limits import TLS_HANDSHAKE_MS_MAX
from kwire.metadata.configs.definitions import ConfigProblem
from kwire.metadata.configs.effective import BrokerSettings
from kwire.server.acceptor import Acceptor
from kwire.server.close_watch import CloseWatch
from kwire.server.connections.registry import Listener
from kwire.server.lifecycle import open_server
from kwire.server.tls.listeners import TlsListener
from kwire.testing.memory.files import MemoryFiles
from kwire.wire import codec
from kwire.wire.messages import ApiVersionsRequest, IncrementalAlterConfigsRequest, MetadataRequest

SET = 0
BROKER = 4


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "server.pem").write_text(certificates.server().pem)
    (tmp_path / "ca.pem").write_text(certificates.authority().certificate_pem)
    return tmp_path


def settings(folder, **others: str) -> BrokerSettings:
    named = {key.replace("_", "."): text for key, text in others.items()}
    return BrokerSettings(
        {
            "log.dirs": "/kwire",
            "listeners": "SSL://localhost:0",
            "inter.broker.listener.name": "SSL",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(folder / "server.pem"),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(folder / "ca.pem"),
            **named,
        }
    )


opened: list[trio.SocketStream] = []


@pytest.fixture(autouse=True)
async def close_clients():
    yield
    while opened:
        opened.pop().socket.close()


async def connect(port: int, context: ssl.SSLContext | None = None) -> trio.SSLStream:
    plain = await trio.open_tcp_stream("127.0.0.1", port)
    opened.append(plain)
    stream = trio.SSLStream(
        plain, context or certificates.for_client(), server_hostname="localhost", https_compatible=True
    )
    await stream.do_handshake()
    return stream


async def call(stream: trio.abc.Stream, key: int, version: int, request) -> object:
    await stream.send_all(codec.encode_request(key, version, 7, "test", request))
    frame = b""
    while len(frame) < 4 or len(frame) < 4 + struct.unpack_from(">i", frame)[0]:
        chunk = await stream.receive_some(65536)
        assert chunk, "the broker closed"
        frame += chunk
    return codec.decode_response(key, version, memoryview(frame)[4:])[1]


def names_of(stream: trio.SSLStream) -> str:
    return stream.getpeercert()["subject"][0][0][1]


async def alter(stream: trio.abc.Stream, **values: str):
    entries = [
        IncrementalAlterConfigsRequest.AlterableConfig(
            name=f"listener.name.ssl.{name.replace('_', '.')}", config_operation=SET, value=value
        )
        for name, value in values.items()
    ]
    resource_ = IncrementalAlterConfigsRequest.AlterConfigsResource(
        resource_type=BROKER, resource_name="1", configs=entries
    )
    response = await call(stream, 44, 1, IncrementalAlterConfigsRequest(resources=[resource_]))
    return response.responses[0]


async def test_requests_are_served_over_tls(folder):
    async with open_server(settings(folder), MemoryFiles()) as server:
        stream = await connect(server.bindings[0].port)

        metadata = await call(stream, 3, 12, MetadataRequest(topics=None))

        assert [broker.port for broker in metadata.brokers] == [server.bindings[0].port]
        (connection,) = server.connections._connections
        assert str(connection.client.principal) == "User:ANONYMOUS"


async def test_the_principal_is_the_subject_of_the_clients_certificate(folder):
    async with open_server(settings(folder, ssl_client_auth="requested"), MemoryFiles()) as server:
        streams = [
            await connect(server.bindings[0].port, certificates.for_client(issued))
            for issued in (certificates.client("alice"), None)
        ]
        for stream in streams:
            await call(stream, 18, 0, ApiVersionsRequest())

        assert [str(one.client.principal) for one in server.connections._connections] == [
            "User:CN=alice",
            "User:ANONYMOUS",
        ]


async def test_mapping_rules_make_the_principal(folder):
    rules = "RULE:^CN=([a-z]+)$/$1/U"
    chosen = settings(folder, ssl_client_auth="required", ssl_principal_mapping_rules=rules)
    async with open_server(chosen, MemoryFiles()) as server:
        stream = await connect(server.bindings[0].port, certificates.for_client(certificates.client("alice")))
        await call(stream, 18, 0, ApiVersionsRequest())

        (connection,) = server.connections._connections
        assert str(connection.client.principal) == "User:ALICE"


async def test_a_certificate_that_no_rule_maps_is_refused(folder):
    chosen = settings(folder, ssl_client_auth="required", ssl_principal_mapping_rules="RULE:^CN=bob$/bob/")
    async with open_server(chosen, MemoryFiles()) as server:
        stream = await connect(server.bindings[0].port, certificates.for_client(certificates.client("alice")))

        with pytest.raises((AssertionError, trio.BrokenResourceError)):
            await call(stream, 18, 0, ApiVersionsRequest())


async def test_each_listener_has_its_own_certificate_and_rules(folder):
    other = certificates.authority().issue("inside", hosts=["localhost"], now=certificates.NOW)
    (folder / "inside.pem").write_text(other.pem)
    chosen = settings(
        folder,
        **{
            "listeners": "PLAINTEXT://localhost:0,OUT://localhost:0,IN://localhost:0",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,OUT:SSL,IN:SSL",
            "inter.broker.listener.name": "PLAINTEXT",
            "listener.name.in.ssl.keystore.location": str(folder / "inside.pem"),
            "listener.name.in.ssl.client.auth": "required",
        },
    )
    async with open_server(chosen, MemoryFiles()) as server:
        _, out, inside = (binding.port for binding in server.bindings)

        assert names_of(await connect(out)) == "localhost"
        assert names_of(await connect(inside, certificates.for_client(certificates.client()))) == "inside"
        with pytest.raises((trio.BrokenResourceError, AssertionError)):
            await call(await connect(inside), 18, 0, ApiVersionsRequest())


@pytest.mark.parametrize(
    ("values", "key", "words"),
    [
        ({"ssl_keystore_location": "/nowhere.pem"}, "ssl.keystore.location", "No such file"),
        ({"ssl_keystore_password": "x"}, "ssl.keystore.password", "cannot be specified with PEM"),
        ({"listener.name.ssl.ssl.keystore.type": "JKS"}, "ssl.keystore.password", "password is not specified"),
        ({"ssl_cipher_suites": "NULL"}, "ssl.cipher.suites", "Unsupported CipherSuite"),
        ({"ssl_principal_mapping_rules": "RULE:x"}, "ssl.principal.mapping.rules", "Invalid rule"),
        (
            {"listener.name.ssl.ssl.truststore.location": "/gone.pem"},
            "listener.name.ssl.ssl.truststore.location",
            "cannot read /gone.pem",
        ),
    ],
)
async def test_a_start_with_settings_that_cannot_be_used_is_refused(folder, values, key, words):
    with pytest.raises(ConfigProblem, match=words) as caught:
        async with open_server(settings(folder, **values), MemoryFiles()):
            pass

    assert caught.value.name == key


async def test_a_tls_listener_needs_a_key(folder):
    chosen = BrokerSettings(
        {"log.dirs": "/kwire", "listeners": "SSL://localhost:0", "inter.broker.listener.name": "SSL"}
    )
    with pytest.raises(ConfigProblem, match="needs a private key"):
        async with open_server(chosen, MemoryFiles()):
            pass


@pytest.mark.parametrize("host", ["localhost", "elsewhere.example"])
async def test_a_certificate_without_the_advertised_host_is_reported(folder, capsys, host):
    async with open_server(settings(folder, advertised_listeners=f"SSL://{host}:9093"), MemoryFiles()) as server:
        server.tls.describe(server.bindings)

    assert ("does not contain the advertised host" in capsys.readouterr().err) == (host != "localhost")


@pytest.mark.parametrize(("days", "words"), [(-1, "has expired"), (13, "expires soon"), (15, None)])
async def test_a_certificate_that_expires_soon_is_reported(folder, capsys, days, words):
    issued = certificates.authority().issue("localhost", now=certificates.NOW, valid=timedelta(days=days, hours=1))
    (folder / "server.pem").write_text(issued.pem)
    async with open_server(settings(folder), MemoryFiles()) as server:
        server.tls.describe(server.bindings)

    printed = capsys.readouterr().err
    assert [each for each in ("has expired", "expires soon") if each in printed] == ([words] if words else [])


def renewed(name: str = "localhost", hosts=("localhost", "127.0.0.1", "::1")) -> certificates.Issued:
    return certificates.authority().issue(name, hosts=hosts, now=certificates.NOW, valid=timedelta(days=99))


async def new_serial(port: int, before: int) -> int:
    """The serial number of the certificate, once it is another one."""
    while True:
        stream = await connect(port)
        serial = int(stream.getpeercert()["serialNumber"], 16)
        await stream.aclose()
        if serial != before:
            return serial
        await trio.sleep(0.01)


async def test_an_alter_to_the_same_path_reads_the_file_again_and_connections_live_on(folder):
    async with open_server(settings(folder), MemoryFiles()) as server:
        port = server.bindings[0].port
        stream = await connect(port)
        before = certificates.server().certificate.serial_number
        for _ in range(2):
            issued = renewed()
            (folder / "server.pem").write_text(issued.pem)

            altered = await alter(stream, ssl_keystore_location=str(folder / "server.pem"), ssl_keystore_type="PEM")

            assert (altered.error_code, altered.error_message) == (Code.NONE, None)
            before = await new_serial(port, before)
            assert before == issued.certificate.serial_number
        await call(stream, 18, 0, ApiVersionsRequest())


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (renewed("other").pem, "DistinguishedName does not match:  existing={alias=kafka, DN=CN=localhost}"),
        (renewed(hosts=["localhost"]).pem, "SubjectAltNames do not match"),
        ("", "No private key"),
        (certificates.client().key_pem + certificates.server().certificate_pem, "does not belong"),
    ],
)
async def test_a_certificate_that_cannot_take_the_place_of_the_old_one_is_refused(folder, content, words):
    (folder / "new.pem").write_text(content)
    async with open_server(settings(folder), MemoryFiles()) as server:
        stream = await connect(server.bindings[0].port)

        altered = await alter(stream, ssl_keystore_location=str(folder / "new.pem"))

        assert altered.error_code == Code.INVALID_REQUEST
        assert words in altered.error_message
        after = await connect(server.bindings[0].port)
        assert int(after.getpeercert()["serialNumber"], 16) == certificates.server().certificate.serial_number


async def test_a_change_of_another_config_neither_checks_nor_reads_the_files(folder):
    async with open_server(settings(folder), MemoryFiles()) as server:
        stream = await connect(server.bindings[0].port)
        loaded = server.tls.get("SSL").loaded
        assert (await alter(stream, ssl_keystore_location=str(folder / "server.pem"))).error_code == Code.NONE
        (folder / "server.pem").unlink()

        altered = await alter(stream, max_connections="500")

        assert altered.error_code == Code.NONE
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert server.tls.get("SSL").loaded is loaded


async def test_a_trust_store_cannot_be_added_to_a_listener_that_has_none(folder):
    static = {key: text for key, text in settings(folder).texts.items() if "truststore" not in key}
    async with open_server(BrokerSettings(static), MemoryFiles()) as server:
        stream = await connect(server.bindings[0].port)

        altered = await alter(stream, ssl_truststore_type="PEM", ssl_truststore_location=str(folder / "ca.pem"))

        assert altered.error_code == Code.INVALID_REQUEST
        assert "Cannot add SSL truststore" in altered.error_message


async def test_other_names_are_accepted_where_the_settings_say_so(folder):
    (folder / "new.pem").write_text(renewed("other", ["localhost"]).pem)
    chosen = settings(folder, ssl_allow_dn_changes="true", ssl_allow_san_changes="true")
    async with open_server(chosen, MemoryFiles()) as server:
        stream = await connect(server.bindings[0].port)

        altered = await alter(stream, ssl_keystore_location=str(folder / "new.pem"))

        assert altered.error_code == Code.NONE


async def test_a_restart_uses_the_certificate_that_was_altered(folder):
    files = MemoryFiles()
    issued = renewed()
    (folder / "new.pem").write_text(issued.pem)
    async with open_server(settings(folder), files) as server:
        stream = await connect(server.bindings[0].port)
        assert (await alter(stream, ssl_keystore_location=str(folder / "new.pem"))).error_code == Code.NONE

    async with open_server(settings(folder), files) as server:
        stream = await connect(server.bindings[0].port)

    assert int(stream.getpeercert()["serialNumber"], 16) == issued.certificate.serial_number


async def test_a_reload_that_fails_keeps_the_certificate(folder):
    async with open_server(settings(folder), MemoryFiles()) as server:
        (folder / "server.pem").write_text("nothing")
        server.tls.reload_all()
        await trio.testing.wait_all_tasks_blocked(0.05)

        stream = await connect(server.bindings[0].port)

        assert int(stream.getpeercert()["serialNumber"], 16) == certificates.server().certificate.serial_number


# --- clients that stop half way ---


class TlsEdge(Edge):
    """An edge whose connections arrive at a TLS listener, without a port."""

    def __init__(self, nursery: trio.Nursery, close_watch: CloseWatch, **limits) -> None:
        super().__init__(nursery, **limits)
        self.listener = Listener(
            Endpoint("SSL", "SSL", "localhost", 9093),
            self.connections,
            TlsListener("SSL", loaded_server(), failure_delay_ms=1),
        )
        self.acceptor = Acceptor(self.broker, self.listener, close_watch, nursery)

    def accept(self) -> socket.socket:
        """Return the client's end of a new connection."""
        ours, theirs = socket.socketpair()
        self.acceptor._admit(_Accepted(ours), ("127.0.0.1", 9))
        return theirs


class _Accepted(socket.socket):
    """A socket pair takes no TCP options."""

    def __init__(self, pair: socket.socket) -> None:
        super().__init__(fileno=pair.detach())

    def setsockopt(self, *_arguments) -> None:
        pass


def loaded_server():
    from kwire.server.tls.listeners import _load

    return _load(certificates.settings(certificates.server()))


@pytest.fixture
async def edge(nursery):
    watch = CloseWatch()
    nursery.start_soon(watch.run)
    yield TlsEdge(nursery, watch)
    nursery.cancel_scope.cancel()
    watch.close()


class Steps(trio.abc.Instrument):
    """The most steps of handshakes in one pass of the event loop."""

    def __init__(self, monkeypatch) -> None:
        self.most = self._in_this_pass = 0
        do_handshake = ssl.SSLSocket.do_handshake

        def counted(connection, *arguments):
            self._in_this_pass += 1
            self.most = max(self.most, self._in_this_pass)
            return do_handshake(connection, *arguments)

        monkeypatch.setattr(ssl.SSLSocket, "do_handshake", counted)

    def before_io_wait(self, timeout: float) -> None:
        self._in_this_pass = 0


@pytest.fixture
def descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2000 * 2 + 500
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip("2,000 connections need more descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_2000_handshakes_that_stop_half_way_take_one_step_in_each_pass_of_the_loop(
    edge, monkeypatch, descriptors, autojump_clock
):
    steps = Steps(monkeypatch)
    hello = _client_hello()
    other = edge.connect()
    trio.lowlevel.add_instrument(steps)
    half_way = [edge.accept() for _ in range(2000)]
    for number, peer in enumerate(half_way):
        # A third sends nothing, a third half a hello, a third a whole one.
        peer.send(hello[: (0, len(hello) // 2, len(hello))[number % 3]])

    other.send(HEARTBEAT)
    assert await other.response() is not None

    await trio.testing.wait_all_tasks_blocked()
    assert steps.most == 1
    assert len(edge.connections) == 2001
    other.send(HEARTBEAT)
    assert await other.response() is not None
    edge.broker.clock.advance(TLS_HANDSHAKE_MS_MAX)
    await trio.testing.wait_all_tasks_blocked()
    assert len(edge.connections) == 1
    trio.lowlevel.remove_instrument(steps)
    for peer in half_way:
        peer.close()


def _client_hello() -> bytes:
    outgoing = ssl.MemoryBIO()
    client = certificates.for_client().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


async def test_a_handshake_counts_as_a_connection(edge):
    peer = edge.accept()
    await trio.testing.wait_all_tasks_blocked()

    assert len(edge.connections) == 1
    peer.close()
    await trio.testing.wait_all_tasks_blocked()
    assert len(edge.connections) == 0


async def test_a_stop_ends_handshakes(edge):
    peer = edge.accept()
    await trio.testing.wait_all_tasks_blocked()

    edge.connections.end_all("the broker stops")

    await edge.connections.empty()
    peer.close()


async def test_failures_are_logged_up_to_a_number_and_then_counted(edge, monkeypatch):
    lines = []

    class Log:
        def warning(self, event, **values):
            lines.append(event)

    monkeypatch.setattr("kwire.server.tls.handshake.log", Log())
    peers = [edge.accept() for _ in range(30)]
    for peer in peers:
        peer.send(b"\x00\x00\x00\x0a\x00\x12")
    await edge.connections.empty()
    edge.broker.clock.advance(20_000)
    late = edge.accept()
    late.send(b"plain")
    await edge.connections.empty()

    assert lines.count("TLS handshake failed") == 21
    assert lines.count("more TLS handshakes failed") == 1
    for peer in [*peers, late]:
        peer.close()
