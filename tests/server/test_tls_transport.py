"""TLS connections over a socket pair: the handshake, why it fails, and bytes in both directions."""

from __future__ import annotations

import contextlib
import socket
import ssl

import certificates
import pytest
import trio

from kwire.limits import TLS_PIECE_BYTES
from kwire.server.close_watch import CloseWatch
from kwire.server.tls.handshake import HandshakeFailed
from kwire.server.tls.transport import TlsTransport
from kwire.server.transport import LastReceived
from kwire.storage.files import FileSlice


class Pinned:
    def __init__(self, content: bytes) -> None:
        self.content = content
        self.unpinned = 0

    def pread(self, position, count):
        return self.content[position : position + count]

    def unpin(self):
        self.unpinned += 1


class Pair:
    """A transport of the server, and the client's end of its socket."""

    def __init__(self, context: ssl.SSLContext, close_watch: CloseWatch) -> None:
        ours, theirs = socket.socketpair()
        self.transport = TlsTransport(ours, ("127.0.0.1", 9), close_watch, LastReceived(), context)
        self.peer = trio.SocketStream(trio.socket.from_stdlib_socket(theirs))
        self.turns = 0

    async def next_turn(self) -> None:
        self.turns += 1
        await trio.lowlevel.checkpoint()

    async def connected(self, context: ssl.SSLContext | None = None) -> trio.SSLStream:
        client = trio.SSLStream(self.peer, context or certificates.for_client(), server_hostname="localhost")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.transport.handshake, self.next_turn)
            nursery.start_soon(client.do_handshake)
        return client


@pytest.fixture
async def make_pair(nursery):
    watch = CloseWatch()
    nursery.start_soon(watch.run)
    pairs = []

    def make(context: ssl.SSLContext | None = None) -> Pair:
        pair = Pair(context or certificates.for_server(), watch)
        pairs.append(pair)
        return pair

    yield make
    for pair in pairs:
        pair.transport.close()
        pair.peer.socket.close()
    nursery.cancel_scope.cancel()
    watch.close()


async def failure_of(pair: Pair, context: ssl.SSLContext) -> str:
    """Why the server says that a handshake with this client failed."""

    def connect(ours: socket.socket) -> None:
        # In a thread, because trio's stream does not send the alert of a handshake that the client refuses.
        with ours, contextlib.suppress(OSError), context.wrap_socket(ours, server_hostname="localhost") as client:
            client.recv(1)

    async with trio.open_nursery() as nursery:
        theirs = socket.socket(fileno=pair.peer.socket.detach())
        theirs.setblocking(True)
        nursery.start_soon(trio.to_thread.run_sync, connect, theirs)
        with pytest.raises(HandshakeFailed) as caught:
            await pair.transport.handshake(pair.next_turn)
        pair.transport.close()
    return str(caught.value)


async def test_bytes_travel_in_both_directions_and_then_comes_the_end(make_pair, nursery):
    pair = make_pair()
    client = await pair.connected()

    await client.send_all(b"hello")
    assert await pair.transport.recv(100) == b"hello"
    await pair.transport.send([b"wo", b"", memoryview(b"rld")])
    assert await client.receive_some(100) == b"world"
    nursery.start_soon(client.aclose)
    assert await pair.transport.recv(100) == b""


async def test_a_client_that_closes_without_close_notify_has_ended_too(make_pair):
    pair = make_pair()
    client = await pair.connected()
    # A close with bytes that were not read, such as session tickets, is a reset instead.
    await pair.transport.send([b"w"])
    assert await client.receive_some(1) == b"w"

    pair.peer.socket.close()

    # OpenSSL 3.5 sends an alert first, which a closed pair of local sockets refuses: a lost connection has ended too.
    with contextlib.suppress(ConnectionError):
        assert await pair.transport.recv(100) == b""


async def test_a_close_shows_the_client_that_nothing_was_cut_off(make_pair):
    pair = make_pair()
    client = await pair.connected()

    pair.transport.close()

    # A connection that ends without TLS's own word raises here.
    assert await client.receive_some(100) == b""


async def test_a_reply_with_slices_arrives_whole_over_a_slow_connection(make_pair):
    pair = make_pair()
    client = await pair.connected()
    small, large = b"s" * 1000, bytes(range(256)) * (TLS_PIECE_BYTES // 100)
    pinned = [Pinned(small), Pinned(large)]
    parts = [b"head", FileSlice(pinned[0], 0, len(small)), b"m" * 20_000, FileSlice(pinned[1], 5, len(large) - 5)]
    wanted = b"head" + small + b"m" * 20_000 + large[5:] + b"tail"
    received = bytearray()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(pair.transport.send, [*parts, b"tail"])
        while len(received) < len(wanted):
            received += await client.receive_some(5000)

    assert received == wanted
    assert [one.unpinned for one in pinned] == [1, 1]


async def test_a_file_that_became_shorter_ends_the_connection(make_pair):
    pair = make_pair()
    await pair.connected()

    with pytest.raises(ConnectionError, match="shorter"):
        await pair.transport.send([b"head", FileSlice(Pinned(b"abc"), 0, 10)])


async def test_a_large_request_is_read_into_its_buffer(make_pair, nursery):
    pair = make_pair()
    client = await pair.connected()
    content = bytes(range(256)) * 2000
    nursery.start_soon(client.send_all, content)
    space = memoryview(bytearray(len(content)))

    filled = 0
    while filled < len(space):
        filled += await pair.transport.recv_into(space[filled:])

    assert space == content


async def test_closing_ends_what_waits(make_pair, nursery):
    pair = make_pair()
    await pair.connected()
    ended = trio.Event()

    async def read():
        with pytest.raises(trio.ClosedResourceError):
            await pair.transport.recv(10)
        ended.set()

    nursery.start_soon(read)
    await trio.testing.wait_all_tasks_blocked()
    pair.transport.close()
    await ended.wait()


async def test_a_peer_that_closes_is_noticed_behind_unread_bytes(make_pair):
    pair = make_pair()
    client = await pair.connected()
    closed = trio.Event()
    pair.transport.on_peer_closed(closed.set)

    await client.send_all(b"unread")
    pair.peer.socket.close()

    await closed.wait()


async def test_each_step_of_a_handshake_waits_for_its_turn(make_pair):
    pair = make_pair()

    await pair.connected()

    assert pair.turns >= 2


async def test_plain_text_is_named(make_pair):
    pair = make_pair()
    await pair.peer.send_all(b"\x00\x00\x00\x0a\x00\x12")

    with pytest.raises(HandshakeFailed, match="does not use TLS"):
        await pair.transport.handshake(pair.next_turn)


async def test_an_http_request_is_named(make_pair):
    pair = make_pair()
    await pair.peer.send_all(b"GET / HTTP/1.1\r\n\r\n")

    with pytest.raises(HandshakeFailed, match="HTTP request"):
        await pair.transport.handshake(pair.next_turn)


async def test_a_client_that_closes_at_once_is_no_failed_handshake(make_pair):
    pair = make_pair()
    pair.peer.socket.close()

    with pytest.raises(ConnectionAbortedError):
        await pair.transport.handshake(pair.next_turn)


@pytest.mark.parametrize(
    ("issued", "words"),
    [
        (None, "the client sent no certificate"),
        (certificates.expired, "the client's certificate has expired"),
        (certificates.not_yet_valid, "the client's certificate is not valid yet"),
        (certificates.of_another_authority, "signed by an unknown authority"),
        (certificates.for_servers_only, "may not be used by clients"),
    ],
)
@pytest.mark.parametrize("protocol", ["TLSv1.2", "TLSv1.3"])
async def test_a_client_without_a_valid_certificate_is_named(make_pair, issued, words, protocol):
    pair = make_pair(certificates.for_server(client_auth="required"))
    client = certificates.for_client(None if issued is None else issued(), enabled_protocols=(protocol,))

    assert words in await failure_of(pair, client)


@pytest.mark.parametrize(
    ("server", "client", "words"),
    [
        ({}, {"trusted": certificates.untrusted}, "the client does not trust the broker's certificate"),
        ({"issued": certificates.expired}, {}, "the broker's certificate has expired"),
        ({"issued": certificates.for_another_host}, {}, "may not contain the host name"),
        ({"enabled_protocols": ("TLSv1.3",)}, {"enabled_protocols": ("TLSv1.2",)}, "no TLS version"),
        ({"enabled_protocols": ("TLSv1.2",)}, {"enabled_protocols": ("TLSv1.3",)}, "no TLS version"),
        (
            {"cipher_suites": ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",)},
            {"cipher_suites": ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",)},
            "no cipher suite",
        ),
    ],
)
async def test_a_missing_common_version_or_suite_is_named(make_pair, server, client, words):
    made = [{key: value() if callable(value) else value for key, value in side.items()} for side in (server, client)]
    pair = make_pair(certificates.for_server(**made[0]))

    assert words in await failure_of(pair, certificates.for_client(**made[1]))


async def test_a_client_that_stops_half_way_and_closes_is_named(make_pair, nursery):
    pair = make_pair()
    hello = bytes.fromhex("160301020001000001fc0303") + bytes(100)
    await pair.peer.send_all(hello)
    pair.peer.socket.shutdown(socket.SHUT_WR)

    with pytest.raises(HandshakeFailed, match="closed the connection during the handshake"):
        await pair.transport.handshake(pair.next_turn)


async def test_renegotiation_is_refused(make_pair):
    context = certificates.for_server(enabled_protocols=("TLSv1.2",))

    assert context.options & ssl.OP_NO_RENEGOTIATION
