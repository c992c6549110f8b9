"""A connection for a thread: blocking, one request at a time.

Responsible for: ``BlockingConnection``, by which heartbeats do not depend on the event loop. Must not depend on: trio,
what is requested.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any

from kwire import __version__
from kwire.broker.outbound.interface import Address, Disconnected, NotServed, TimedOut
from kwire.broker.outbound.login import NodeLogin
from kwire.errors import ProtocolViolation
from kwire.security.sasl.exchange import ClientExchange
from kwire.wire.codec import api_name, decode_response, encode_request
from kwire.wire.message import Message
from kwire.wire.messages import ApiVersionsRequest

_API_VERSIONS_VERSION = 4
_RESPONSE_BYTES_MAX = 1 << 20


class BlockingConnection:
    """Connects when made, by ``connect(address, timeout_s)``, and logs in by what ``login()`` returns.

    Raises Disconnected, TimedOut; after either it must be closed.
    """

    def __init__(
        self,
        address: Address,
        *,
        client_id: str,
        timeout_ms: float,
        connect: Callable[[Address, float], socket.socket] = socket.create_connection,
        login: Callable[[], ClientExchange | None] = lambda: None,
    ) -> None:
        self.address = address
        self._client_id = client_id
        self._correlation_id = 0
        self._ranges: dict[int, int] = {}
        self._ends_s = float("inf")
        try:
            self._socket = connect(address, timeout_ms / 1000)
        except TimeoutError as error:
            raise TimedOut(f"no connection to {address} within {timeout_ms:g} ms") from error
        except OSError as error:
            raise Disconnected(f"cannot connect to {address}: {error.strerror or error}") from error
        self._socket.settimeout(timeout_ms / 1000)
        if self._socket.family in {socket.AF_INET, socket.AF_INET6}:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            hello = ApiVersionsRequest(client_software_name="kwire", client_software_version=__version__)
            served = self.request(hello, version=_API_VERSIONS_VERSION)
            self._ranges = {api.api_key: api.max_version for api in served.api_keys}
            self._log_in(login())
        except BaseException:
            self.close()
            raise

    @property
    def is_usable(self) -> bool:
        """Whether requests can be sent: False when the session of a login is about to end (KIP-368)."""
        return time.monotonic() < self._ends_s

    def request(self, message: Message, *, version: int | None = None) -> Any:
        """Send a request and return its response. Raises Disconnected, TimedOut, NotServed."""
        name = api_name(message.KEY)
        if version is None:
            if message.KEY not in self._ranges:
                raise NotServed(f"{self.address} does not serve {name}")
            version = min(message.VERSIONS.highest, self._ranges[message.KEY])
        self._correlation_id += 1
        frame = encode_request(message.KEY, version, self._correlation_id, self._client_id, message)
        try:
            self._socket.sendall(frame)
            size = int.from_bytes(self._read(4), "big", signed=True)
            if not 4 <= size <= _RESPONSE_BYTES_MAX:
                raise Disconnected(f"{self.address} sent bytes that are no response")
            correlation_id, response = decode_response(message.KEY, version, memoryview(self._read(size)))
        except TimeoutError as error:
            raise TimedOut(f"{self.address} did not answer {name}") from error
        except OSError as error:
            raise Disconnected(f"the connection to {self.address} was lost: {error}") from error
        except ProtocolViolation as violation:
            raise Disconnected(f"{self.address} sent bytes that are no response: {violation}") from violation
        if correlation_id != self._correlation_id:
            raise Disconnected(f"{self.address} answered another request")
        return response

    def _log_in(self, exchange: ClientExchange | None) -> None:
        if exchange is None:
            return
        login = NodeLogin(self.address, exchange)
        while login.request is not None:
            try:
                response = self.request(login.request)
            except NotServed as error:
                raise Disconnected(str(error)) from error
            login.answered(response)
        if login.lasts_s is not None:
            self._ends_s = time.monotonic() + login.lasts_s

    def close(self) -> None:
        self._socket.close()

    def _read(self, count: int) -> bytes:
        read = bytearray()
        while len(read) < count:
            chunk = self._socket.recv(count - len(read))
            if not chunk:
                raise ConnectionResetError("the node closed it")
            read += chunk
        return bytes(read)
