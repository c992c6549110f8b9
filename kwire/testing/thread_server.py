"""What a broker and a proxy in a test's process have in common: a port, certificates, start and stop.

Responsible for: these methods for tests. Must not depend on: what is served, a test framework.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Self

from kwire.testing.loop_thread import LoopThread

if TYPE_CHECKING:  # makes keys, which a server without TLS does not need
    from kwire.testing.certificates import Certificates


class ThreadServer:
    """Serves clients on localhost in a thread, from ``start`` (or ``with``) to ``stop``.

    ``kind`` is what errors call it, such as "broker"; ``serve`` is the loop's (``LoopThread``). ``tls_argument`` names
    the argument that asks for a TLS listener, which it has if ``with_tls``.
    """

    def __init__(
        self,
        kind: str,
        serve: Callable[[], AbstractAsyncContextManager[None]],
        *,
        port: int,
        with_tls: bool,
        tls_argument: str,
    ) -> None:
        self._kind = kind
        self._tls_argument = tls_argument
        self._port = port
        self._certificates = _new_certificates() if with_tls else None
        self._loop = LoopThread(kind, serve)
        self._in_loop, self._in_loop_sync = self._loop.call, self._loop.call_sync

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def bootstrap_servers(self) -> str:
        """``localhost:PORT``, the value of a client's ``bootstrap.servers``."""
        return f"localhost:{self._port}"

    @property
    def ca_file(self) -> str:
        """The path of the certificate that clients must trust (PEM). Raises ValueError without a TLS listener."""
        return str(self._own_certificates.authority)

    @property
    def client_pem_file(self) -> str:
        """The path of a key with its certificate, for clients that show one: they are User:CN=client."""
        return str(self._own_certificates.client)

    @property
    def ssl_context(self) -> ssl.SSLContext:
        """A context for Python clients, with both of these files."""
        return self._own_certificates.context()

    @property
    def _own_certificates(self) -> Certificates:
        if self._certificates is None:
            raise ValueError(f"this {self._kind} has no TLS listener: make it with {self._tls_argument}=True")
        return self._certificates

    def start(self) -> None:
        """Start; returns when clients can connect.

        Raises BrokerStartError, also for a port that cannot be used, and RuntimeError if it runs already.
        """
        self._loop.start()

    def stop(self) -> None:
        """Close all connections and stop cleanly; does nothing when it does not run.

        Raises the exception that ended it, if any.
        """
        self._loop.stop()


def _new_certificates() -> Certificates:
    from kwire.testing.certificates import Certificates

    return Certificates()
