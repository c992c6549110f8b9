"""Answers that refuse a whole request.

Responsible for: the response of any API with one code. Must not depend on: connections, what a request means.
"""

from __future__ import annotations

from kwire.errors import Code
from kwire.wire.codec import Message, RequestHeader, response_class


def refusal_of(header: RequestHeader, code: Code, message: str | None) -> Message | None:
    """Make the response of any API with one code; None where it has no place for one."""
    response_type = response_class(header.api_key)
    places = {field.name for field in response_type.FIELDS if header.api_version in field.versions}
    if "error_code" not in places:
        return None
    values = {"error_code": code, "error_message": message}
    return response_type(**{name: values[name] for name in values if name in places})
