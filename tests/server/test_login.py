"""Logins over a connection in memory: what is allowed when, each refusal, and what follows a login."""

from __future__ import annotations

import functools
from collections import Counter
from random import Random

import pytest
import trio
import trio.testing
from peer import apis_of

from kwire.broker.endpoint import Endpoint
from kwire.broker.start import open_broker
from kwire.errors import Code
from kwire.metadata.configs.effective import BrokerSettings
from kwire.metadata.settings.sasl import settings_for_users
from kwire.security.principal import Principal
from kwire.security.sasl.login import Login
from kwire.security.sasl.scram_client import ScramClient
from kwire.security.sasl.scram_keys import salted_password
from kwire.server.bindings import Limits
from kwire.server.connections.connection import Connection
from kwire.server.connections.registry import ConnectionRegistry, Listener
from kwire.server.initial_users import store_users
from kwire.testing.memory.files import MemoryFiles
from kwire.testing.memory.transport import MemoryTransport
from kwire.wire import codec
from kwire.wire import messages as m

USERS = {"alice": "alice-secret", "bob": "bob-secret"}
LISTENER = "SASL_PLAINTEXT"
ENDPOINT = Endpoint(LISTENER, LISTENER, "localhost", 9092)
SETTINGS = {
    "listeners": "SASL_PLAINTEXT://localhost:9092",
    "inter.broker.listener.name": LISTENER,
    "log.dirs": "/kwire",
    **settings_for_users([LISTENER], USERS),
}
PLAIN_ALICE = b"\0alice\0alice-secret"
UNAUTHENTICATED = "ANONYMOUS"


class Server:
    """A broker, and connections to its SASL listener."""

    def __init__(self, broker, nursery):
        self.broker = broker
        self._nursery = nursery
        self.connections = ConnectionRegistry(apis_of(broker), broker.clock, Limits)
        self.connections.perf_counter = lambda: 0.0

    def connect(self):
        transport = MemoryTransport()
        connection = Connection(self.broker, transport, Listener(ENDPOINT, self.connections))
        self._nursery.start_soon(connection.run)
        return Client(connection, transport)


class Client:
    def __init__(self, connection, transport):
        self.connection = connection
        self.transport = transport
        self._correlation_id = 0

    @property
    def principal(self):
        return self.connection.client.principal.name

    async def call(self, version, request):
        """The response; None when the server closes the connection."""
        self._correlation_id += 1
        self.transport.feed(codec.encode_request(request.KEY, version, self._correlation_id, "c", request))
        frame = await self.transport.next_frame()
        if frame is None:
            return None
        correlation_id, response = codec.decode_response(request.KEY, version, memoryview(frame))
        assert correlation_id == self._correlation_id
        return response

    async def versions(self, version=3):
        return await self.call(version, m.ApiVersionsRequest(client_software_name="t", client_software_version="1"))

    async def handshake(self, mechanism="PLAIN", version=1):
        return await self.call(version, m.SaslHandshakeRequest(mechanism=mechanism))

    async def authenticate(self, token, version=2):
        return await self.call(version, m.SaslAuthenticateRequest(auth_bytes=token))

    async def metadata(self):
        return await self.call(9, m.MetadataRequest(topics=[]))

    async def log_in(self, user="alice"):
        await self.handshake()
        return await self.authenticate(f"\0{user}\0{USERS[user]}".encode())

    async def scram(self, mechanism="SCRAM-SHA-256", user="alice", password=None):
        await self.handshake(mechanism)
        client = ScramClient(mechanism, user, USERS[user] if password is None else password, "nonce")
        first = await self.authenticate(client.first())
        last = await self.authenticate(client.final(first.auth_bytes))
        if not last.error_code:
            client.check(last.auth_bytes)
        return last

    async def is_closed(self):
        return await self.transport.next_frame() is None


def vars_of(message):
    return [(field.name, getattr(message, field.name)) for field in message.FIELDS]


@pytest.fixture
def more():
    return {}


@pytest.fixture
async def server(nursery, more):
    async with open_broker(BrokerSettings({**SETTINGS, **more}), MemoryFiles(), endpoints=[ENDPOINT]) as broker:
        await store_users(broker, USERS)
        yield Server(broker, nursery)
        nursery.cancel_scope.cancel()


@pytest.fixture
def client(server):
    return server.connect()


@pytest.fixture
def audit(monkeypatch):
    lines = []

    class Recording:
        def info(self, event, **values):
            lines.append((event, values))

        warning = info

    monkeypatch.setattr("kwire.server.connections.login.AUDIT", Recording())
    return lines


# Logins that succeed


async def test_plain_after_api_versions(client, audit):
    assert not (await client.versions()).error_code
    shaken = await client.handshake()
    assert (shaken.error_code, set(shaken.mechanisms)) == (0, {"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"})
    assert client.principal == UNAUTHENTICATED

    answer = await client.authenticate(PLAIN_ALICE)

    assert (answer.error_code, answer.error_message, answer.auth_bytes, answer.session_lifetime_ms) == (0, "", b"", 0)
    assert client.principal == "alice"
    assert (await client.metadata()).brokers
    expected = {"mechanism": "PLAIN", "principal": "User:alice", "peer": "127.0.0.1:50000", "listener": LISTENER}
    assert audit == [("login", expected)]


@pytest.mark.parametrize("version", [0, 1, 2])
async def test_plain_without_api_versions(client, version):
    await client.handshake()
    assert not (await client.authenticate(PLAIN_ALICE, version)).error_code
    assert client.principal == "alice"


async def test_plain_by_tokens_without_headers(client):
    assert not (await client.handshake(version=0)).error_code
    client.transport.feed_frame(PLAIN_ALICE)

    assert await client.transport.next_frame() == b""
    assert (await client.metadata()).brokers


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-512"])
async def test_a_scram_login_gives_the_principal(client, mechanism):
    assert not (await client.scram(mechanism)).error_code
    assert client.connection.client.principal == Principal("User", "alice")


async def test_requests_behind_the_last_token_are_answered(client):
    await client.handshake()
    authenticate = m.SaslAuthenticateRequest(auth_bytes=PLAIN_ALICE)
    client.transport.feed(
        codec.encode_request(36, 2, 7, None, authenticate)
        + codec.encode_request(3, 9, 8, None, m.MetadataRequest(topics=[]))
    )

    assert [(await client.transport.next_frame())[:4] for _ in range(2)] == [bytes([0, 0, 0, 7]), bytes([0, 0, 0, 8])]


async def test_the_time_of_the_login_is_known(client, server):
    server.broker.clock.advance(5000)
    await client.log_in()
    assert abs(client.connection.client.authenticated_at_ms - server.broker.clock.now_ms()) < 5000


# What is allowed when


@pytest.mark.parametrize("begin", [[], ["versions"]])
@pytest.mark.parametrize("request_type", [m.MetadataRequest, m.SaslAuthenticateRequest, m.ProduceRequest])
async def test_another_request_before_the_handshake_closes_the_connection(client, begin, request_type):
    for step in begin:
        await getattr(client, step)()
    assert await client.call(request_type.VERSIONS.highest, request_type()) is None
    assert client.principal == UNAUTHENTICATED


async def test_a_second_api_versions_closes_the_connection(client):
    await client.versions()
    assert await client.versions() is None


async def test_api_versions_may_come_again_after_an_error(client):
    unknown = await client.call(0, m.ApiVersionsRequest())  # answered at any version
    assert not unknown.error_code


async def test_api_versions_of_a_newer_client_is_answered_and_may_come_again(client):
    client.transport.feed(bytes.fromhex("0000000c 0012 007f 00000001 ffff 0000"))
    frame = await client.transport.next_frame()
    _, answer = codec.decode_response(18, 0, memoryview(frame))
    assert (answer.error_code, [api.api_key for api in answer.api_keys]) == (Code.UNSUPPORTED_VERSION, [18])

    assert not (await client.versions()).error_code
    assert not (await client.log_in()).error_code


async def test_api_versions_with_a_bad_software_name_may_come_again(client):
    bad = await client.call(3, m.ApiVersionsRequest(client_software_name="-", client_software_version="-"))
    assert bad.error_code == Code.INVALID_REQUEST

    assert not (await client.versions()).error_code
    assert await client.versions() is None


async def test_an_unknown_mechanism_is_answered_with_the_list_and_ends_the_connection(client, server, audit):
    before = server.broker.clock.monotonic_ms()

    answer = await client.handshake("GSSAPI")

    assert (answer.error_code, len(answer.mechanisms)) == (Code.UNSUPPORTED_SASL_MECHANISM, 3)
    assert server.broker.clock.monotonic_ms() - before >= 100  # connection.failed.authentication.delay.ms
    assert await client.is_closed()
    assert [(event, line["reason"]) for event, line in audit] == [("login failed", "Unsupported SASL mechanism GSSAPI")]


@pytest.mark.parametrize(
    ("request_", "version", "codes"),
    [
        (m.ApiVersionsRequest(), 0, [Code.ILLEGAL_SASL_STATE]),
        (m.SaslHandshakeRequest(mechanism="PLAIN"), 1, [Code.ILLEGAL_SASL_STATE]),
        (m.FindCoordinatorRequest(key="g"), 2, [Code.ILLEGAL_SASL_STATE]),
        (m.MetadataRequest(topics=[]), 9, [Code.NONE]),  # its response has no place for one code, and is empty
    ],
)
async def test_another_request_after_the_handshake_is_refused(client, request_, version, codes):
    await client.handshake()
    answer = await client.call(version, request_)
    assert [value for name, value in vars_of(answer) if name == "error_code"] == codes
    assert await client.is_closed()


@pytest.mark.parametrize(
    "again", [m.SaslHandshakeRequest(mechanism="PLAIN"), m.SaslAuthenticateRequest(auth_bytes=PLAIN_ALICE)]
)
async def test_a_login_after_a_login_is_an_illegal_state(client, again):
    await client.log_in()
    assert (await client.call(1, again)).error_code == Code.ILLEGAL_SASL_STATE
    assert (await client.metadata()).brokers


# Refusals


@pytest.mark.parametrize(
    ("token", "refusal"),
    [
        (b"\0alice\0wrong", ("Authentication failed: Invalid username or password", "wrong password")),
        (b"\0eve\0x", ("Authentication failed: Invalid username or password", "unknown user")),
        (b"\0\0x", ("Authentication failed: username not specified", "Authentication failed: username not specified")),
    ],
)
async def test_a_refusal_comes_late_and_ends_the_connection(client, server, audit, token, refusal):
    message, reason = refusal
    await client.handshake()
    before = server.broker.clock.monotonic_ms()

    answer = await client.authenticate(token)

    assert (answer.error_code, answer.error_message) == (Code.SASL_AUTHENTICATION_FAILED, message)
    assert server.broker.clock.monotonic_ms() - before >= 100
    assert await client.is_closed()
    assert [(event, line["reason"]) for event, line in audit] == [("login failed", reason)]
    assert client.principal == UNAUTHENTICATED


@pytest.mark.parametrize(("user", "password"), [("alice", "wrong"), ("eve", "x")])
async def test_scram_does_not_tell_whether_the_user_exists(client, monkeypatch, user, password):
    answer = await client.scram(user=user, password=password)
    assert (answer.error_code, answer.error_message) == (
        Code.SASL_AUTHENTICATION_FAILED,
        "Authentication failed during authentication due to invalid credentials with SASL mechanism SCRAM-SHA-256",
    )


async def test_an_unknown_user_gets_the_same_salt_each_time(server):
    salts = set()
    for _ in range(2):
        client = server.connect()
        await client.handshake("SCRAM-SHA-256")
        first = await client.authenticate(b"n,,n=eve,r=nonce")
        salts.add(first.auth_bytes.split(b",s=")[1])
    assert len(salts) == 1


async def test_a_refused_token_without_header_is_not_answered(client):
    await client.handshake(version=0)
    client.transport.feed_frame(b"\0alice\0wrong")
    assert await client.is_closed()


async def test_a_token_may_not_be_larger_than_the_setting(client, audit):
    await client.handshake()
    client.transport.feed((524289).to_bytes(4, "big") + b"x")
    assert await client.is_closed()
    assert [event for event, _ in audit] == ["login failed"]


async def test_a_request_may_be_larger_after_the_login(client):
    await client.log_in()
    topics = [m.MetadataRequest.MetadataRequestTopic(name="t" * 200) for _ in range(3000)]
    answer = await client.call(9, m.MetadataRequest(topics=topics))
    assert len(answer.topics) == 1


@pytest.mark.parametrize("more", [{"sasl.server.max.receive.size": "100"}])
async def test_the_largest_token_can_be_set(client):
    await client.handshake()
    assert await client.authenticate(b"x" * 200) is None


async def test_names_in_audit_lines_cannot_make_lines(client, audit):
    await client.handshake()
    await client.authenticate(b"\0eve\nlogin principal=User:alice\0x")
    assert audit[0][1]["principal"] == "eve\\nlogin principal=User:alice"


async def test_thousands_of_handshakes_that_stop_half_way_disturb_no_other(server):
    stopped = [server.connect() for _ in range(2000)]
    for client in stopped:
        client.transport.feed(codec.encode_request(17, 1, 1, None, m.SaslHandshakeRequest(mechanism="SCRAM-SHA-256")))
    assert not (await server.connect().log_in()).error_code
    for client in stopped:
        client.transport.finish()


BEGINNINGS = {
    "start": [],
    "after versions": [("versions", ())],
    "plain": [("handshake", ("PLAIN",))],
    "scram": [("handshake", ("SCRAM-SHA-256",))],
    "scram, second message": [("handshake", ("SCRAM-SHA-256",)), ("authenticate", (b"n,,n=alice,r=nonce",))],
    "tokens": [("handshake", ("PLAIN", 0))],
}


@pytest.mark.parametrize("beginning", BEGINNINGS)
async def test_random_bytes_at_any_stage_are_refused_or_closed_on(server, capfd, beginning):
    random = Random(beginning)
    for _ in range(60):
        client = server.connect()
        for method, arguments in BEGINNINGS[beginning]:
            await getattr(client, method)(*arguments)
        content = random.randbytes(random.randrange(1, 60))
        kind = random.randrange(3)
        if kind == 0:  # a whole frame of noise
            client.transport.feed_frame(content)
        elif kind == 1:  # a login request with noise in it
            client.transport.feed_frame(random.choice((b"\0\x11", b"\0\x24", b"\0\x12")) + b"\0\1" + content)
        else:
            client.transport.feed(codec.encode_request(36, 2, 1, "c", m.SaslAuthenticateRequest(auth_bytes=content)))
        client.transport.finish()
        await client.transport.wait_closed()
        assert client.principal == UNAUTHENTICATED
    assert "bug in kwire" not in capfd.readouterr().err


# Sessions


REAUTH = {"listener.name.sasl_plaintext.scram-sha-256.connections.max.reauth.ms": "60000"}


@pytest.mark.parametrize("more", [REAUTH])
async def test_a_session_has_the_lifetime_of_its_mechanism(server):
    assert (await server.connect().scram("SCRAM-SHA-256")).session_lifetime_ms == 60000
    assert (await server.connect().scram("SCRAM-SHA-512")).session_lifetime_ms == 0
    assert (await server.connect().log_in()).session_lifetime_ms == 0


@pytest.mark.parametrize("more", [REAUTH])
async def test_a_session_that_has_expired_ends_at_the_next_request(client, server, audit):
    await client.scram()
    server.broker.clock.advance(59_000)
    assert (await client.metadata()).brokers
    server.broker.clock.advance(1_001)
    await trio.testing.wait_all_tasks_blocked()
    assert not client.transport.closed

    assert await client.metadata() is None
    assert [event for event, _ in audit] == ["login", "session expired"]


@pytest.mark.parametrize("more", [REAUTH])
@pytest.mark.parametrize("wait_ms", [1_001, 61_000])
async def test_a_session_is_renewed(client, server, audit, wait_ms):
    await client.scram()
    server.broker.clock.advance(wait_ms)
    await trio.testing.wait_all_tasks_blocked()

    assert (await client.scram()).session_lifetime_ms == 60000

    server.broker.clock.advance(59_000)
    await trio.testing.wait_all_tasks_blocked()
    assert (await client.metadata()).brokers
    assert [event for event, _ in audit] == ["login", "login renewed"]


@pytest.mark.parametrize("more", [REAUTH])
async def test_a_session_is_renewed_once_a_second_at_most(client, server):
    await client.scram()
    await client.scram()
    assert (await client.handshake("SCRAM-SHA-256")).error_code == Code.ILLEGAL_SASL_STATE
    assert (await client.metadata()).brokers


@pytest.mark.parametrize("more", [REAUTH])
async def test_a_renewal_must_keep_the_principal(client):
    await client.scram()
    answer = await client.scram(user="bob")
    assert (answer.error_code, answer.error_message) == (
        Code.SASL_AUTHENTICATION_FAILED,
        "Cannot change principals during re-authentication from User.alice: User.bob",
    )
    assert client.principal == "alice"
    assert await client.is_closed()


@pytest.mark.parametrize("more", [REAUTH])
async def test_a_renewal_must_keep_the_mechanism(client, audit):
    await client.scram()
    assert not (await client.handshake("PLAIN")).error_code
    assert await client.authenticate(PLAIN_ALICE) is None
    assert "is not supported for re-authentication of mechanism 'SCRAM-SHA-256'" in audit[-1][1]["reason"]


@pytest.mark.parametrize("more", [REAUTH])
async def test_a_refused_renewal_says_so(client):
    await client.scram()
    answer = await client.scram(password="wrong")
    assert answer.error_message == (
        "Authentication failed during re-authentication due to invalid credentials with SASL mechanism SCRAM-SHA-256"
    )


@pytest.mark.parametrize("more", [REAUTH])
async def test_other_requests_during_a_renewal_are_refused(client):
    await client.scram()
    await client.handshake("SCRAM-SHA-256")
    assert not (await client.metadata()).brokers
    assert await client.is_closed()


# Many


async def test_a_thousand_logins_at_once_take_two_steps_each_at_most_while_a_request_waits(server, monkeypatch):
    other = server.connect()
    await other.log_in()
    steps = Counter()
    evaluate = Login.evaluate

    def counted(login, token):
        steps[login] += 1
        return evaluate(login, token)

    monkeypatch.setattr(Login, "evaluate", counted)
    monkeypatch.setattr("kwire.security.sasl.scram_client.salted_password", functools.cache(salted_password))
    most = []
    done = trio.Event()

    async def ask():
        while not done.is_set():
            steps.clear()
            assert (await other.metadata()).brokers
            most.append(max(steps.values(), default=0))

    clients = [server.connect() for _ in range(1000)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        async with trio.open_nursery() as logins:
            for client in clients:
                logins.start_soon(client.scram)
        done.set()

    assert {client.principal for client in clients} == {"alice"}
    assert max(most) <= 2  # one while its frame was on the way in, one while its answer was on the way out
