"""Answers that refuse a whole request, and how a connection ends.

Responsible for: the response of any API with one code, and the exceptions that end a connection. Must not depend on:
sockets, what a request means.
"""

from __future__ import annotations

from collections.abc import Sequence

from kwire.errors import Code
from kwire.wire.codec import Message, Part, RequestHeader, encode_response, response_class


class Ended(BaseException):
    """This connection ends. Not an Exception, so that no handler catches it."""


class PeerGone(Ended):
    """The peer has closed: the reply cannot be sent."""


def encode_refusal(header: RequestHeader, code: Code, message: str | None) -> Sequence[Part] | None:
    """Encode the answer to a request with one code; None where the response has no place for one."""
    response = refusal_of(header, code, message)
    return None if response is None else encode_response(header, response)


def refusal_of(header: RequestHeader, code: Code, message: str | None) -> Message | None:
    """Make the response of any API with one code; None where it has no place for one."""
    response_type = response_class(header.api_key)
    places = {field.name for field in response_type.FIELDS if header.api_version in field.versions}
    if "error_code" not in places:
        return None
    values = {"error_code": code, "error_message": message}
    return response_type(**{name: values[name] for name in values if name in places})
