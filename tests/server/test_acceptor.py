"""Real sockets, on ports that the system picks."""

from __future__ import annotations

import errno
import socket

import pytest
import trio
import trio.testing
from edge import HEARTBEAT, Client, Edge

from kwire.server.acceptor import Acceptor, CannotBind, bind
from kwire.server.bindings import Binding, SocketOptions
from kwire.server.close_watch import CloseWatch
from kwire.testing.memory.transport import MemoryTransport

OPTIONS = SocketOptions()


def binding(host: str = "localhost", port: int = 0) -> Binding:
    return Binding("PLAINTEXT", "PLAINTEXT", host, port)


@pytest.fixture
async def accepting(nursery):
    """A listener that accepts on a free port."""
    edge = Edge(nursery)
    bound = bind(binding(), OPTIONS)
    bound.listen(50)
    close_watch = CloseWatch()
    nursery.start_soon(close_watch.run)
    acceptor = Acceptor(edge.broker, edge.listener, close_watch, nursery)
    for listening in bound.sockets:
        nursery.start_soon(acceptor.run, listening)
    edge.port = bound.binding.port
    yield edge
    nursery.cancel_scope.cancel()
    close_watch.close()


async def ask(port: int, family: int = socket.AF_INET) -> bytes:
    with trio.socket.socket(family) as peer:
        await peer.connect(("127.0.0.1" if family == socket.AF_INET else "::1", port))
        await peer.send(Client(MemoryTransport()).request(HEARTBEAT))
        return await peer.recv(100)


async def test_localhost_is_both_families_on_one_port(accepting):
    assert len(await ask(accepting.port)) == 16
    assert len(await ask(accepting.port, socket.AF_INET6)) == 16


async def test_a_busy_port_is_one_sentence():
    first = bind(binding(), OPTIONS)
    first.listen(1)

    with pytest.raises(CannotBind, match=f"another program listens on port {first.binding.port}"):
        bind(binding(port=first.binding.port), OPTIONS)
    first.close()


async def test_a_port_taken_between_bind_and_listen_is_the_same_sentence():
    first, second = bind(binding("127.0.0.1"), OPTIONS), None
    second = bind(binding("127.0.0.1", first.binding.port), OPTIONS)
    first.listen(1)

    with pytest.raises(CannotBind, match="another program listens"):
        second.listen(1)
    first.close()


def test_a_port_that_is_busy_for_one_family_is_busy():
    with socket.socket(socket.AF_INET6) as other:
        other.bind(("::1", 0))
        other.listen()

        with pytest.raises(CannotBind, match="another program listens"):
            bind(binding(port=other.getsockname()[1]), OPTIONS)


def test_an_address_that_this_machine_does_not_have_is_one_sentence():
    with pytest.raises(CannotBind, match="no such address"):
        bind(binding("192.0.2.1"), OPTIONS)


def test_an_unknown_host_is_one_sentence(monkeypatch):
    def unknown(*_args, **_kwargs):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(CannotBind, match=r"nowhere\.invalid is not a known host"):
        bind(binding("nowhere.invalid"), OPTIONS)


def test_without_ipv6_localhost_is_ipv4_alone(monkeypatch):
    real = socket.socket

    def no_ipv6(family, *args):
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported")
        return real(family, *args)

    monkeypatch.setattr("kwire.server.acceptor.socket.socket", no_ipv6)
    bound = bind(binding(), OPTIONS)

    assert [one.family for one in bound.sockets] == [socket.AF_INET]
    bound.close()


def test_any_free_port_is_tried_again_when_the_other_family_has_it_taken(monkeypatch):
    from kwire.server import acceptor

    real, refused = acceptor._bind_one, []

    def sometimes(family, host, port, options):
        if family == socket.AF_INET6 and len(refused) < 3:
            refused.append(port)
            raise OSError(errno.EADDRINUSE, "Address already in use")
        return real(family, host, port, options)

    monkeypatch.setattr(acceptor, "_bind_one", sometimes)
    bound = bind(binding(), OPTIONS)

    assert len(refused) == 3
    assert {one.getsockname()[1] for one in bound.sockets} == {bound.binding.port}
    bound.close()


def test_socket_buffers_are_set_unless_they_are_the_systems():
    small, systems = SocketOptions(40_000, 50_000), SocketOptions(-1, -1)
    with socket.socket() as plain:
        default = plain.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
    ours, theirs = bind(binding(), small), bind(binding(), systems)

    def buffer(bound, option):
        return bound.sockets[0].getsockopt(socket.SOL_SOCKET, option)

    # Linux counts its own overhead and reports twice what was asked for.
    assert buffer(ours, socket.SO_SNDBUF) in {40_000, 80_000}
    assert buffer(ours, socket.SO_RCVBUF) in {50_000, 100_000}
    assert buffer(theirs, socket.SO_SNDBUF) == default
    ours.close()
    theirs.close()


async def test_every_interface_shows_ipv4_peers_by_their_ipv4_address(nursery):
    edge = Edge(nursery)
    bound = bind(binding(""), OPTIONS)
    bound.listen(5)
    close_watch = CloseWatch()
    acceptor = Acceptor(edge.broker, edge.listener, close_watch, nursery)
    nursery.start_soon(acceptor.run, bound.sockets[0])
    with trio.socket.socket() as peer:
        await peer.connect(("127.0.0.1", bound.binding.port))
        while not len(edge.connections):
            await trio.lowlevel.checkpoint()

        (connection,) = edge.connections._connections
        assert connection.client.peer == f"127.0.0.1:{peer.getsockname()[1]}"
    nursery.cancel_scope.cancel()
    close_watch.close()


async def test_a_peer_over_its_share_is_closed_at_once_and_named(accepting, capsys):
    accepting.limits = accepting.limits._replace(connections_per_ip_max=1)
    with trio.socket.socket() as first, trio.socket.socket() as second:
        await first.connect(("127.0.0.1", accepting.port))
        await second.connect(("127.0.0.1", accepting.port))

        assert await second.recv(10) == b""
    assert "127.0.0.1 already has 1 connections (max.connections.per.ip)" in capsys.readouterr().err


async def test_beyond_max_connections_peers_wait_until_one_ends(accepting, capsys):
    accepting.limits = accepting.limits._replace(connections_max=1)
    with trio.socket.socket() as first, trio.socket.socket() as second:
        await first.connect(("127.0.0.1", accepting.port))
        while not len(accepting.connections):
            await trio.lowlevel.checkpoint()
        await second.connect(("127.0.0.1", accepting.port))
        await second.send(Client(MemoryTransport()).request(HEARTBEAT))
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert len(accepting.connections) == 1
        first.close()

        assert len(await second.recv(100)) == 16
    assert capsys.readouterr().err.count("accept paused") == 1


async def test_peers_beyond_the_creation_rate_wait(accepting, autojump_clock):
    accepting.limits = accepting.limits._replace(creation_rate_max=0)
    with trio.socket.socket() as first, trio.socket.socket() as second:
        for peer in (first, second):
            await peer.connect(("127.0.0.1", accepting.port))
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert len(accepting.connections) == 1  # the rate counts from there
        accepting.limits = accepting.limits._replace(creation_rate_max=10)
        await second.send(Client(MemoryTransport()).request(HEARTBEAT))

        assert len(await second.recv(100)) == 16


class Failing:
    """A listening socket whose accept fails a few times."""

    def __init__(self, real: socket.socket, *errors: int) -> None:
        self._real = real
        self._errors = list(errors)

    def accept(self):
        if self._errors:
            number = self._errors.pop(0)
            raise OSError(number, errno.errorcode[number])
        return self._real.accept()

    def __getattr__(self, name):
        return getattr(self._real, name)


@pytest.mark.parametrize(("number", "lines"), [(errno.EMFILE, 2), (errno.ENOBUFS, 2), (errno.ECONNABORTED, 0)])
async def test_accepting_continues_after_a_transient_error(nursery, autojump_clock, capsys, number, lines):
    edge = Edge(nursery)
    bound = bind(binding("127.0.0.1"), OPTIONS)
    bound.listen(5)
    close_watch = CloseWatch()
    acceptor = Acceptor(edge.broker, edge.listener, close_watch, nursery)
    with socket.create_connection(("127.0.0.1", bound.binding.port)):
        nursery.start_soon(acceptor.run, Failing(bound.sockets[0], number, number))
        while not len(edge.connections):  # noqa: ASYNC110 (the clock is to jump)
            await trio.sleep(0.1)

    assert len(capsys.readouterr().err.splitlines()) == lines
    nursery.cancel_scope.cancel()
    close_watch.close()


async def test_an_error_of_the_listening_socket_itself_is_not_hidden():
    async def accept():
        async with trio.open_nursery() as nursery:
            edge = Edge(nursery)
            bound = bind(binding("127.0.0.1"), OPTIONS)
            close_watch = CloseWatch()
            try:
                await Acceptor(edge.broker, edge.listener, close_watch, nursery).run(
                    Failing(bound.sockets[0], errno.EBADF)
                )
            finally:
                close_watch.close()

    with pytest.raises(BaseExceptionGroup) as failed:
        await accept()
    assert failed.group_contains(OSError, match="EBADF")
