from __future__ import annotations

import errno
import os
import socket

import pytest
import trio
import trio.testing

from kwire.limits import BUSY_POLLS_MAX
from kwire.server import transport as transport_module
from kwire.server.close_watch import CloseWatch
from kwire.server.transport import LastReceived, SocketTransport
from kwire.storage.files import FileSlice
from kwire.storage.os_files import OsFiles
from kwire.testing.memory.transport import MemoryTransport


@pytest.fixture
async def close_watch(nursery):
    watch = CloseWatch()
    nursery.start_soon(watch.run)
    yield watch
    nursery.cancel_scope.cancel()
    watch.close()


@pytest.fixture
async def pair(close_watch):
    ours, theirs = socket.socketpair()
    transport = SocketTransport(ours, ("127.0.0.1", 9), close_watch, LastReceived())
    peer = trio.socket.from_stdlib_socket(theirs)
    yield transport, peer
    transport.close()
    peer.close()


async def receive_all(peer, count: int) -> bytes:
    content = bytearray()
    while len(content) < count:
        chunk = await peer.recv(1 << 20)
        if not chunk:
            break
        content += chunk
    return bytes(content)


class Pinned:
    """A file of which the kernel gives at most ``step`` bytes at once, and nothing beyond ``size``."""

    def __init__(self, content: bytes, *, step: int = 1 << 30, size: int | None = None) -> None:
        self.content = content[:size]
        self.step = step
        self.unpinned = 0
        self.sendfiles = 0

    def pread(self, position, count):
        return self.content[position : position + count]

    def sendfile(self, socket_fd, position, count):
        self.sendfiles += 1
        return os.write(socket_fd, self.content[position : position + min(count, self.step)])

    def unpin(self):
        self.unpinned += 1


async def test_recv_gives_what_is_there_and_then_the_end(pair):
    transport, peer = pair
    await peer.send(b"hello")

    assert await transport.recv(100) == b"hello"
    peer.shutdown(socket.SHUT_WR)
    assert await transport.recv(100) == b""


async def test_recv_waits_without_holding_the_loop(pair, nursery):
    transport, peer = pair
    got = []

    async def read():
        space = bytearray(10)
        count = await transport.recv_into(memoryview(space))
        got.append(bytes(space[:count]))

    nursery.start_soon(read)
    await trio.testing.wait_all_tasks_blocked()
    assert got == []
    await peer.send(b"now")
    while not got:
        await trio.lowlevel.checkpoint()

    assert got == [b"now"]


@pytest.mark.parametrize("count", [1, 2, 3000])
async def test_parts_larger_than_the_socket_takes_at_once_arrive_in_order(pair, nursery, count):
    transport, peer = pair
    parts = [bytes([n % 256]) * (3_000_000 // count) for n in range(count)]
    expected = b"".join(parts)

    nursery.start_soon(transport.send, parts)

    assert await receive_all(peer, len(expected)) == expected


async def test_memoryviews_and_slices_of_files_are_sent_between_bytes(pair, nursery, tmp_path):
    transport, peer = pair
    content = os.urandom(2_000_000)
    file = OsFiles().open(str(tmp_path / "log"))
    file.append([content], len(content))
    parts = [b"head", file.slice(0, 100), memoryview(b"-mid-"), file.slice(1000, 1_500_000), b"", b"tail"]

    nursery.start_soon(transport.send, parts)

    expected = b"head" + content[:100] + b"-mid-" + content[1000:1_501_000] + b"tail"
    assert await receive_all(peer, len(expected)) == expected
    file.close()


async def test_a_large_slice_goes_by_sendfile_and_a_small_one_with_its_surroundings(pair):
    transport, peer = pair
    small, large = Pinned(bytes(1000)), Pinned(bytes(100_000), step=14_000)

    await transport.send([b"a", FileSlice(small, 0, 1000), b"b"])
    await transport.send([b"a", FileSlice(large, 0, 100_000), b"b"])

    assert len(await receive_all(peer, 101_004)) == 101_004
    assert (small.sendfiles, large.sendfiles) == (0, 8)


async def test_slices_are_closed_after_sending(pair):
    transport, _ = pair
    pinned = Pinned(bytes(100_000))

    await transport.send([FileSlice(pinned, 0, 10), FileSlice(pinned, 0, 90_000)])

    assert pinned.unpinned == 2


async def test_slices_are_closed_when_the_peer_is_gone(pair):
    transport, peer = pair
    pinned = Pinned(bytes(100_000))
    peer.close()

    with pytest.raises(ConnectionError):
        await transport.send([b"x" * 10, FileSlice(pinned, 0, 90_000), FileSlice(pinned, 0, 90_000)])
    assert pinned.unpinned == 2


@pytest.mark.parametrize("size", [100, 90_000])
async def test_a_file_that_lost_its_tail_ends_the_connection(pair, size):
    transport, _ = pair
    pinned = Pinned(bytes(size), size=size - 1)

    with pytest.raises(ConnectionAbortedError):
        await transport.send([FileSlice(pinned, 0, size)])
    assert pinned.unpinned == 1


async def test_a_peer_that_reads_slowly_does_not_hold_the_loop(pair, nursery):
    transport, peer = pair
    pinned = Pinned(bytes(5_000_000))
    nursery.start_soon(transport.send, [FileSlice(pinned, 0, 5_000_000)])

    await trio.testing.wait_all_tasks_blocked()  # would never return while a task polls

    assert len(await receive_all(peer, 5_000_000)) == 5_000_000


async def test_the_loss_of_the_connection_is_a_connection_error_whatever_the_errno(pair, monkeypatch):
    transport, _ = pair

    class Dead:
        def recv(self, _count):
            raise OSError(errno.ETIMEDOUT, "timed out")

        recv_into = send = recv

        def close(self):
            pass

    real = transport._socket
    transport._socket = Dead()
    with pytest.raises(ConnectionError):
        await transport.recv(10)
    with pytest.raises(ConnectionError):
        await transport.recv_into(memoryview(bytearray(10)))
    transport._socket = real


async def test_a_closed_peer_is_noticed_behind_unread_bytes(pair):
    transport, peer = pair
    noticed = trio.Event()
    transport.on_peer_closed(noticed.set)
    transport.on_peer_closed(noticed.set)
    await peer.send(b"unread")
    await trio.testing.wait_all_tasks_blocked(0.01)
    assert not noticed.is_set()

    peer.close()

    await noticed.wait()
    assert await transport.recv(100) == b"unread"


async def test_closing_wakes_a_reader(pair, nursery):
    transport, _ = pair
    ended = trio.Event()

    async def read():
        with pytest.raises(trio.ClosedResourceError):
            await transport.recv(10)
        ended.set()

    nursery.start_soon(read)
    await trio.testing.wait_all_tasks_blocked()
    transport.close()
    transport.close()

    await ended.wait()


async def test_an_aborted_connection_is_reset(close_watch):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        peer = socket.create_connection(listening.getsockname())
        ours, _ = listening.accept()
    SocketTransport(ours, ("127.0.0.1", 9), close_watch, LastReceived()).abort()
    with peer, pytest.raises(ConnectionResetError):
        peer.recv(1)


async def test_a_descriptor_that_is_used_again_has_a_watch_of_its_own(close_watch):
    fired = []
    for turn in range(3):
        ours, theirs = socket.socketpair()
        transport = SocketTransport(ours, ("::1", 9), close_watch, LastReceived())
        transport.on_peer_closed(lambda turn=turn: fired.append(turn))
        if turn != 1:
            theirs.close()
            while turn not in fired:
                await trio.lowlevel.checkpoint()
        transport.close()
        theirs.close()

    await trio.testing.wait_all_tasks_blocked(0.01)
    assert fired == [0, 2]


async def test_the_memory_transport_holds_a_sender_back_at_its_window(nursery):
    transport = MemoryTransport(window_bytes=5)
    nursery.start_soon(transport.send, [b"0123456789"])
    await trio.testing.wait_all_tasks_blocked()

    assert transport.take(100) == b"01234"
    await trio.testing.wait_all_tasks_blocked()
    assert transport.take(100) == b"56789"


async def test_the_memory_transport_ends_and_breaks_as_a_socket_does():
    transport = MemoryTransport()
    closed = []
    transport.feed(b"last")
    transport.on_peer_closed(lambda: closed.append(True))
    transport.finish()

    assert closed == [True]
    assert await transport.recv(10) == b"last"
    assert await transport.recv(10) == b""
    broken = MemoryTransport()
    broken.reset()
    with pytest.raises(ConnectionError):
        await broken.recv(10)
    with pytest.raises(ConnectionError):
        await broken.send([b"x"])


class Scripted:
    """A socket whose reads follow a script: bytes, or None for "nothing there yet"."""

    def __init__(self, real):
        self._real = real
        self.script = []
        self.reads = 0

    def __getattr__(self, name):
        return getattr(self._real, name)

    def recv(self, max_bytes):
        self.reads += 1
        if self.script:
            chunk = self.script.pop(0)
            if chunk is None:
                raise BlockingIOError
            return chunk
        return self._real.recv(max_bytes)


@pytest.fixture
def asked_alone(pair, monkeypatch):
    """A transport whose peer has just been heard, twice in a row and soon; and the socket below it."""
    transport, peer = pair
    monkeypatch.setattr(transport_module, "_MAY_BUSY_POLL", True)
    monkeypatch.setattr(transport_module, "BUSY_POLL_IF_WITHIN_US", 60_000_000)
    monkeypatch.setattr(transport_module, "BUSY_POLL_US", 60_000_000)
    scripted = transport._socket = Scripted(transport._socket)

    async def ask(times=2):
        for _ in range(times):
            scripted.script = [None]
            await peer.send(b"x")
            assert await transport.recv(10) == b"x"

    return transport, scripted, ask


async def test_a_peer_whose_next_request_is_soon_is_busy_polled(asked_alone):
    transport, scripted, ask = asked_alone
    await ask()
    scripted.script = [None, None, None, b"soon"]
    with trio.testing.assert_no_checkpoints():
        assert await transport.recv(10) == b"soon"


async def test_busy_polls_in_a_row_are_bounded(asked_alone):
    transport, scripted, ask = asked_alone
    await ask()
    for _ in range(BUSY_POLLS_MAX):
        scripted.script = [None, b"soon"]
        with trio.testing.assert_no_checkpoints():
            await transport.recv(10)
    scripted.script = [None, b"late"]
    with trio.testing.assert_checkpoints(), trio.move_on_after(0):
        await transport.recv(10)
    assert scripted.script == [b"late"]


async def test_a_busy_poll_ends_when_another_client_sends(asked_alone):
    transport, scripted, ask = asked_alone
    await ask()
    transport._last_received.transport = None
    scripted.script = [None, b"later"]
    with trio.testing.assert_checkpoints(), trio.move_on_after(0):
        await transport.recv(10)
    assert scripted.script == [b"later"]


async def test_no_busy_poll_while_the_client_reads_a_large_answer(asked_alone):
    transport, scripted, ask = asked_alone
    await ask()
    await transport.send([FileSlice(Pinned(b"x" * 90_000, step=10_000), 0, 90_000)])
    scripted.script = [None, b"later"]
    with trio.testing.assert_checkpoints(), trio.move_on_after(0):
        await transport.recv(10)
    assert scripted.script == [b"later"]


async def test_after_a_busy_poll_in_vain_the_peer_must_be_soon_once_more(asked_alone, monkeypatch):
    transport, _, ask = asked_alone
    await ask()
    monkeypatch.setattr(transport_module, "BUSY_POLL_US", 0)
    await ask(times=1)
    assert transport._polls == 0
    await ask(times=1)
    assert transport._polls == BUSY_POLLS_MAX
