"""A proxy inside a test: between any client and any Kafka cluster, with kwire's fault rules and request log.

Responsible for: running a proxy in a thread of the test's process, and its methods for tests. Must not depend on: a
test framework.

    with proxy(upstream="localhost:9092") as kafka, kafka.faults.add(api="Produce", drop=True, times=1):
        send_an_order(kafka.bootstrap_servers)
"""

from __future__ import annotations

import contextlib
import os
import ssl
from collections.abc import AsyncIterator
from typing import Any

from kwire.broker.clock import Clock
from kwire.broker.outbound.interface import Address
from kwire.control.proxy_bench import ProxyBench
from kwire.proxy.serving import Sockets
from kwire.testing.faults import Faults
from kwire.testing.requests import Requests
from kwire.testing.thread_server import ThreadServer


class KafkaProxy(ThreadServer):
    """One proxy on free ports of localhost, from ``start`` (or ``with``) to ``stop``.

    ``upstream`` is ``HOST:PORT`` of a broker; the others are found by what it answers, and each gets a port. ``port``:
    that of the first broker; 0 takes a free one. ``tls``: a context for TLS to the brokers. ``listener_tls``: clients
    connect with TLS; see ``ca_file``.

    ``faults`` arms rules that disturb requests, ``requests`` are those that passed. Raises ValueError for an upstream
    that is not an address.
    """

    def __init__(
        self, upstream: str, *, port: int = 0, tls: ssl.SSLContext | None = None, listener_tls: bool = False
    ) -> None:
        host, _, number = upstream.rpartition(":")
        if not host or not number.isdigit():
            raise ValueError(f"upstream is HOST:PORT, not {upstream!r}")
        self._upstream = Address(host.strip("[]"), int(number))
        self._tls = tls
        self._bench: ProxyBench | None = None
        super().__init__("proxy", self._serve, port=port, with_tls=listener_tls, tls_argument="listener_tls")
        self.faults = Faults(self._in_loop, self._in_loop_sync, lambda: self._current_bench().injector)
        self.requests = Requests(self._in_loop, self._in_loop_sync, lambda: self._current_bench().log)

    def nodes(self) -> dict[str, str]:
        """Give the brokers that are known, ``HOST:PORT``, with the addresses at which clients reach them."""
        shown = self._in_loop_sync(lambda: self._current_bench().nodes())
        return {each["node"]: each["listener"] for each in shown}

    def connections(self) -> list[dict[str, Any]]:
        """Give peer, node and number of requests of each client that is connected."""
        return self._in_loop_sync(lambda: self._current_bench().connections())

    def record(self, file: str | os.PathLike[str]) -> None:
        """Record requests and answers from now on to a new file, which ``kwire replay`` sends again.

        Raises RecordingError if the file exists or a recording is in progress already.
        """
        self._in_loop_sync(lambda: self._current_bench().record(os.fspath(file)))

    def stop_recording(self) -> None:
        """End the recording. Raises RecordingError if none is in progress."""
        self._in_loop_sync(lambda: self._current_bench().stop_recording())

    def advance(self, milliseconds: float) -> None:
        """Move the clock of the rules forward; that of the brokers stays."""
        self._in_loop_sync(lambda: self._current_bench().proxy.clock.advance(milliseconds))

    def _current_bench(self) -> ProxyBench:
        assert self._bench is not None
        return self._bench

    @contextlib.asynccontextmanager
    async def _serve(self) -> AsyncIterator[None]:
        certificates = self._certificates
        sockets = Sockets(
            "localhost",
            self._port,
            security_protocol="PLAINTEXT" if certificates is None else "SSL",
            listener_settings=None if certificates is None else certificates.settings,
            tls=self._tls,
        )
        async with sockets.serve(self._upstream, Clock()) as running:
            self._bench = ProxyBench(running)
            self._port = running.nodes[self._upstream].port
            yield
            self._bench.close()


def proxy(upstream: str, *, port: int = 0, tls: ssl.SSLContext | None = None, listener_tls: bool = False) -> KafkaProxy:
    """Make a proxy in front of a broker, to be used in a with block; see ``KafkaProxy``."""
    return KafkaProxy(upstream, port=port, tls=tls, listener_tls=listener_tls)
