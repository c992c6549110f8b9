"""Sockets that kafka-python 3.0 loses, and its clients that a test leaves open.

A client that is closed while it connects cancels the task that holds the new socket, and one that is closed while
requests are still to be sent cancels the task that would close the connection after them. Python then warns of an
unclosed socket, from wherever it collects the object: in the middle of any test. These sockets are closed here when
they are collected. A warning about a socket of kwire, or of a test, still fails a test.
"""

import socket
import ssl
import threading

from kafka.net.inet import KafkaNetSocket
from kafka.net.transport import KafkaSSLTransport

_END_S = 150
_reported = set()


class _Closing(socket.socket):
    def __del__(self):
        self.close()


class _ClosingTls(ssl.SSLSocket):
    def __del__(self):
        self.close()


def close_lost_sockets():
    """Let every socket that kafka-python makes from now on be closed when it is collected."""
    wrap = KafkaSSLTransport.__init__

    def make(_self, family=socket.AF_UNSPEC, kind=socket.SOCK_STREAM, protocol=socket.IPPROTO_TCP):
        return _Closing(family, kind, protocol)

    def wrapped(self, *args, **configs):
        wrap(self, *args, **configs)
        self._sock.__class__ = _ClosingTls

    KafkaNetSocket.socket = make
    KafkaSSLTransport.__init__ = wrapped


def check_clients_are_closed():
    """Wait for the threads of kafka-python's clients. One that does not end fails one test: its client is open."""
    for thread in set(threading.enumerate()) - _reported:
        if thread.name.startswith("kafka-io-") or thread.name.endswith("-network-thread"):
            thread.join(_END_S)
            if thread.is_alive():
                _reported.add(thread)
                raise AssertionError(f"a client of kafka-python was not closed: {thread.name}")
