"""One request to one node, over a connection of its own.

Responsible for: encoding, waiting, decoding. Must not depend on: which node that is, what the answer means.
"""

from __future__ import annotations

import socket
from typing import Any

from kwire.wire import codec

_WAIT_S = 10.0


def ask(port: int, request: Any, *, version: int, timeout_s: float = _WAIT_S) -> Any:
    """The response. Raises OSError (also TimeoutError) if there is none."""
    with socket.create_connection(("127.0.0.1", port), timeout_s) as connection:
        connection.settimeout(timeout_s)
        connection.sendall(codec.encode_request(request.KEY, version, 1, "interop", request))
        size = int.from_bytes(_receive(connection, 4), "big")
        return codec.decode_response(request.KEY, version, memoryview(_receive(connection, size)))[1]


def _receive(connection: socket.socket, count: int) -> bytes:
    received = b""
    while len(received) < count:
        chunk = connection.recv(count - len(received))
        if not chunk:
            raise ConnectionResetError("closed before the whole response came")
        received += chunk
    return received
