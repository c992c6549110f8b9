"""TLS towards other nodes.

Responsible for: ``TlsStream``, a ``Stream``, and the handshake of one. Must not depend on: requests, where certificates
come from.

It is Python's SSLSocket on the non-blocking socket, as on the side that accepts (``server.tls.transport``).
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Sequence

import trio

from kwire.limits import TLS_RECORD_BYTES, TLS_TURN_BYTES_MAX
from kwire.security.tls.failures import why_client_failed


class TlsFailed(ConnectionError):
    """The handshake failed, or the node refused this node's certificate. The message says why."""


class TlsStream:
    """A TLS connection that this node made."""

    def __init__(self, tls: ssl.SSLSocket) -> None:
        self._tls = tls
        self._turn_bytes = 0

    async def recv(self, max_bytes: int) -> bytes:
        while True:
            try:
                return self._tls.recv(min(max_bytes, TLS_RECORD_BYTES))
            except ssl.SSLWantReadError:
                await trio.lowlevel.wait_readable(self._tls)
            except ssl.SSLWantWriteError:
                await trio.lowlevel.wait_writable(self._tls)
            except ssl.SSLError as error:  # with TLSv1.3 a node refuses this node's certificate after the handshake
                raise TlsFailed(f"TLS: {why_client_failed(error)}") from error

    async def recv_into(self, space: memoryview) -> int:
        if self._turn_bytes >= TLS_TURN_BYTES_MAX:
            # The kernel receives faster than OpenSSL decrypts, so a large response may never have to wait.
            self._turn_bytes = 0
            await trio.lowlevel.checkpoint()
        while True:
            try:
                count = self._tls.recv_into(space)
            except ssl.SSLWantReadError:
                self._turn_bytes = 0
                await trio.lowlevel.wait_readable(self._tls)
            except ssl.SSLWantWriteError:
                await trio.lowlevel.wait_writable(self._tls)
            except ssl.SSLError as error:
                raise TlsFailed(f"TLS: {why_client_failed(error)}") from error
            else:
                self._turn_bytes += count
                return count

    async def send(self, parts: Sequence[bytes | memoryview]) -> None:
        rest = memoryview(b"".join(parts) if len(parts) > 1 else parts[0])
        while rest:
            try:
                rest = rest[self._tls.send(rest) :]
            except ssl.SSLWantWriteError:
                # OpenSSL may have sent a part, and continues there when it is called with the same bytes.
                await trio.lowlevel.wait_writable(self._tls)
            except ssl.SSLWantReadError:
                await trio.lowlevel.wait_readable(self._tls)
            except ssl.SSLError as error:
                raise TlsFailed(f"TLS: {why_client_failed(error)}") from error

    @property
    def peer_closed(self) -> bool:
        # Called while no response is due: bytes that are there are TLS messages, or a violation of the protocol.
        try:
            self._tls.recv(1)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        except OSError:
            return True
        return True

    def close(self) -> None:
        if self._tls.fileno() < 0:
            return
        trio.lowlevel.notify_closing(self._tls)
        with contextlib.suppress(OSError, ValueError):
            self._tls.unwrap()  # sends close_notify, without waiting for the node's own
        self._tls.close()


async def start_tls(connected: socket.socket, context: ssl.SSLContext, host: str) -> TlsStream:
    """Shake hands over a non-blocking socket, which belongs to the stream from then on. Raises TlsFailed."""
    try:
        check_host(host)
    except TlsFailed:
        connected.close()
        raise
    tls = context.wrap_socket(connected, server_hostname=host, do_handshake_on_connect=False)
    try:
        while True:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                await trio.lowlevel.wait_readable(tls)
            except ssl.SSLWantWriteError:
                await trio.lowlevel.wait_writable(tls)
            else:
                return TlsStream(tls)
    except OSError as error:
        tls.close()
        raise TlsFailed(f"TLS failed: {why_client_failed(error)}") from error
    except BaseException:
        tls.close()
        raise


def check_host(host: str) -> None:
    """Refuse a name that no certificate can have, with TlsFailed: Python's ssl would leave a socket open."""
    try:
        host.encode("idna")
    except UnicodeError as error:
        raise TlsFailed(f"TLS failed: {host!r} is not the name of a host ({error})") from error
