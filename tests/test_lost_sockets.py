"""What ``lost_sockets`` closes. A ResourceWarning in one of these tests fails it."""

import errno
import gc
import socket
import ssl
import threading

import pytest
from kafka.net.inet import KafkaNetSocket
from kafka.net.selector import NetworkSelector
from kafka.net.transport import KafkaSSLTransport, KafkaTCPTransport
from lost_sockets import check_clients_are_closed


@pytest.fixture
def net():
    selector = NetworkSelector()
    yield selector
    selector.close()


@pytest.fixture
def server():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


def connected(server):
    ours = KafkaNetSocket().socket(socket.AF_INET)
    ours.connect(server.getsockname())
    ours.setblocking(False)
    return ours, server.accept()[0]


def test_a_client_that_is_closed_while_it_connects_closes_its_socket(monkeypatch, net, server):
    monkeypatch.setattr(KafkaNetSocket, "connect_ex", lambda *_: errno.EINPROGRESS)
    (address,) = socket.getaddrinfo(*server.getsockname(), socket.AF_INET, socket.SOCK_STREAM)
    net.call_soon(lambda: KafkaNetSocket().connect(net, address))
    for _ in range(3):
        net.poll(timeout_ms=0)
    net.close()
    gc.collect()


def test_a_client_that_is_closed_while_it_sends_closes_its_socket(net, server):
    ours, peer = connected(server)
    with peer:
        transport = KafkaTCPTransport(net, ours)
        transport.write(b"request")
        transport.close()
        net.close()
        del ours, transport
        gc.collect()
        assert peer.recv(1) == b""


def test_a_connection_with_tls_that_is_lost_is_closed(net, server):
    ours, peer = connected(server)
    with peer:
        transport = KafkaSSLTransport(net, ours, host="localhost", ssl_context=ssl.create_default_context())
        del ours, transport
        gc.collect()
        assert peer.recv(1) == b""


def test_a_warning_about_any_other_socket_is_raised():
    with pytest.warns(ResourceWarning, match="unclosed"):
        socket.socket()


@pytest.mark.parametrize("name", ["kafka-io-one", "one-network-thread"])
def test_a_client_that_is_not_closed_fails_one_test(monkeypatch, name):
    monkeypatch.setattr("lost_sockets._END_S", 0)
    ended = threading.Event()
    thread = threading.Thread(target=ended.wait, name=name)
    thread.start()
    with pytest.raises(AssertionError, match=name):
        check_clients_are_closed()
    check_clients_are_closed()
    ended.set()
    thread.join()
