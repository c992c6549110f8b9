"""Answers that refuse a whole request, and how a connection ends.

Responsible for: encoding the response of any API with one code, and the exceptions that end a connection. Must not
depend on: sockets, what a request means.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import trio

from kwire.broker.requests.refusals import refusal_of
from kwire.errors import Code
from kwire.limits import READ_CHUNK_BYTES
from kwire.server.transport import Transport
from kwire.wire.codec import Part, RequestHeader, encode_response


class Ended(BaseException):
    """This connection ends. Not an Exception, so that no handler catches it."""


class PeerGone(Ended):
    """The peer has closed: the reply cannot be sent."""


async def discard(transport: Transport) -> None:
    """Read until the peer closes, or the transport is closed, and keep nothing."""
    with suppress(ConnectionError, trio.ClosedResourceError):
        while await transport.recv(READ_CHUNK_BYTES):
            pass


def encode_refusal(header: RequestHeader, code: Code, message: str | None) -> Sequence[Part] | None:
    """Encode the answer to a request with one code; None where the response has no place for one."""
    response = refusal_of(header, code, message)
    return None if response is None else encode_response(header, response)
