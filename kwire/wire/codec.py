"""Encode and decode whole messages with their headers: the interface of ``wire`` for the rest of kwire.

Responsible for: headers and their versions, requests and responses as a broker and as a client see them, and which
generated function is used. Must not depend on: sockets, which APIs are served.

A frame here is what follows the int32 size. Bytes that break the protocol raise ProtocolViolation; an API key or
version without a schema raises UnsupportedVersion, which is a ProtocolViolation.
"""

from __future__ import annotations

import struct
from collections.abc import Sized
from functools import cache
from struct import Struct
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

from kwire.errors import ProtocolViolation, UnsupportedVersion
from kwire.types import quick
from kwire.wire import messages, spec
from kwire.wire.json_form import from_json, to_json
from kwire.wire.message import EncodingError, Message

__all__ = [
    "EncodingError",
    "Message",
    "Part",
    "RequestHeader",
    "api_keys",
    "api_name",
    "coordinator_classes",
    "decode",
    "decode_request",
    "decode_response",
    "encode",
    "encode_parts",
    "encode_request",
    "encode_response",
    "from_json",
    "metadata_class",
    "read_header",
    "request_class",
    "response_body_position",
    "response_class",
    "to_json",
]

# bytes, memoryview, or another object with len() that the transport can send (storage.FileSlice).
Part: TypeAlias = Sized
M = TypeVar("M", bound=Message)

API_VERSIONS = 18
_REQUEST_HEADER = Struct(">hhih")
_REQUEST_HEADER_BYTES: Final = _REQUEST_HEADER.size
_RESPONSE_HEADER = Struct(">ii")
_RESPONSE_HEADER_FLEXIBLE = Struct(">iix")


class RequestHeader(NamedTuple):
    """A request's header, and the position of its body in the frame."""

    api_key: int
    api_version: int
    correlation_id: int
    client_id: str | None
    body_position: int


_as_request_header = quick(RequestHeader)


def api_name(api_key: int) -> str:
    """Give the name of an API, such as Produce, also of one that is not served. Raises UnsupportedVersion."""
    return str(request_class(api_key).NAME).removesuffix("Request")


def read_header(frame: memoryview) -> RequestHeader:
    """Read a request's header. Raises UnsupportedVersion for an API key without a schema.

    A version that has no schema passes here, so that the caller can answer an ApiVersions request of the future as
    Kafka does; ``decode_request`` refuses it.
    """
    try:
        api_key, api_version, correlation_id, length = _REQUEST_HEADER.unpack_from(frame)
    except struct.error:
        raise ProtocolViolation(f"request of {len(frame)} bytes has no header") from None
    position = _REQUEST_HEADER_BYTES
    client_id = None
    if length != -1:
        end = position + length
        if length < 0 or end > len(frame):
            raise ProtocolViolation(f"request header: client id of {length} bytes")
        # Kafka accepts a client id in any encoding; it is only displayed.
        client_id = str(frame[position:end], "utf-8", "replace")
        position = end
    # Header version 2 keeps the client id as it was and adds tagged fields, of which none is defined.
    if api_version >= _flexible_from(api_key):
        if position < len(frame) and not frame[position]:
            position += 1
        else:
            position = _pass_tags(frame, position)
    return _as_request_header((api_key, api_version, correlation_id, client_id, position))


def decode_request(header: RequestHeader, frame: memoryview) -> Message:
    """Decode the body behind ``header``. Raises ProtocolViolation.

    Bytes behind the body are ignored, as in Kafka: librdkafka 2.16 sends three of them in a Metadata request for
    all topics.
    """
    message: Message = _request_decoder(header.api_key, header.api_version)(frame, header.body_position, False)
    return message


def encode_response(header: RequestHeader, body: Message) -> list[Part]:
    """Encode the frame that answers the request of ``header``, size first.

    The value of a ``records`` field is a part of its own, and the same object.
    """
    encode_body, flexible = _response_encoder(header.api_key, header.api_version)
    parts: list[Any] = []
    first = bytearray(9 if flexible else 8)
    last = encode_body(body, first, parts)
    if not parts:
        _RESPONSE_HEADER.pack_into(first, 0, len(first) - 4, header.correlation_id)
        return [bytes(first)]
    if last:
        parts.append(last)
    _RESPONSE_HEADER.pack_into(first, 0, sum(map(len, parts)) - 4, header.correlation_id)
    return [bytes(part) if type(part) is bytearray else part for part in parts]


def encode_request(api_key: int, version: int, correlation_id: int, client_id: str | None, body: Message) -> bytes:
    """Encode a request's frame, size first: the client's side, for tools and tests."""
    _check_version(request_class(api_key), api_key, version)
    header = messages.RequestHeader(
        request_api_key=api_key, request_api_version=version, correlation_id=correlation_id, client_id=client_id
    )
    header_version = 2 if version >= _flexible_from(api_key) else 1
    frame = encode(header, header_version) + encode(body, version)
    return len(frame).to_bytes(4, "big") + frame


def decode_response(api_key: int, version: int, frame: memoryview) -> tuple[int, Message]:
    """Decode a response's frame into correlation id and body. Raises ProtocolViolation."""
    cls = response_class(api_key)
    _check_version(cls, api_key, version)
    position = response_body_position(api_key, version, frame)
    function = _decoders.get((cls, version)) or _new_decoder(cls, version)
    return int.from_bytes(frame[:4], "big", signed=True), function(frame, position, True)


def response_body_position(api_key: int, version: int, frame: memoryview) -> int:
    """Give the position of the body in a response's frame. Raises ProtocolViolation."""
    if len(frame) < 4:
        raise ProtocolViolation(f"response of {len(frame)} bytes has no header")
    return _pass_tags(frame, 4) if _response_header_is_flexible(api_key, version) else 4


def encode(message: Message, version: int) -> bytes:
    """Encode a message alone: records in logs, embedded protocols. Raises EncodingError."""
    parts = encode_parts(message, version)
    return b"".join(parts) if len(parts) > 1 else bytes(parts[0])


def encode_parts(message: Message, version: int) -> list[bytes | bytearray | memoryview]:
    """The same, with the value of a ``records`` field as a part of its own."""
    cls = type(message)
    function = _encoders.get((cls, version)) or _new_encoder(cls, version)
    parts: list[Any] = []
    parts.append(function(message, bytearray(), parts))
    return parts


def decode(cls: type[M], version: int, buffer: bytes | memoryview, *, exact: bool = True) -> M:
    """Decode a message from ``buffer``. Raises ProtocolViolation, also for a version that it does not have.

    Unless ``exact``, bytes behind the message are ignored, as newer versions of an embedded protocol may add some.
    """
    function = _decoders.get((cls, version)) or _new_decoder(cls, version)
    message: M = function(buffer, 0, exact)
    return message


# Which class


def api_keys() -> tuple[int, ...]:
    """Every API key that has a schema."""
    return spec.api_keys()


@cache
def request_class(api_key: int) -> type[Message]:
    """Find the request of an API key. Raises UnsupportedVersion for a key without a schema."""
    return _api_class(api_key, "request")


@cache
def response_class(api_key: int) -> type[Message]:
    """Find the response of an API key. Raises UnsupportedVersion for a key without a schema."""
    return _api_class(api_key, "response")


@cache
def metadata_class(record_type: int) -> type[Message] | None:
    """Find the record of the metadata log with this type, or None if no record has it."""
    return next((cls for cls in _records("metadata") if record_type == cls.KEY), None)


@cache
def coordinator_classes(family: str, record_type: int) -> tuple[type[Message], type[Message]] | None:
    """Find key and value of a record type in an internal topic, or None if no record has it.

    ``family`` is "group", "transaction" or "share".
    """
    found = [cls for cls in _records(family) if record_type == cls.KEY]
    keys = [cls for cls in found if cls.NAME.endswith("Key")]
    values = [cls for cls in found if cls.NAME.endswith("Value")]
    return (keys[0], values[0]) if keys and values else None


@cache
def _records(family: str) -> tuple[type[Message], ...]:
    return tuple(_message(name) for name in spec.record_names(family))


def _message(name: str) -> type[Message]:
    cls: type[Message] = getattr(messages, name)
    return cls


def _api_class(api_key: int, kind: str) -> type[Message]:
    try:
        return _message(spec.load_api(api_key, kind).name)
    except KeyError:
        raise UnsupportedVersion(api_key, 0, f"no API has key {api_key}") from None


# Which function. The compiler, and construct with it, is imported when the first message is coded.


_decoders: dict[tuple[type[Message], int], Any] = {}
_encoders: dict[tuple[type[Message], int], Any] = {}


def _new_decoder(cls: type[Message], version: int) -> Any:
    from kwire.wire.compilation.compiler import decoder  # noqa: PLC0415

    if version not in cls.VERSIONS:
        raise ProtocolViolation(f"{cls.NAME} has no version {version}")
    function = _decoders[cls, version] = decoder(cls, version)
    return function


def _new_encoder(cls: type[Message], version: int) -> Any:
    from kwire.wire.compilation.compiler import encoder  # noqa: PLC0415

    if version not in cls.VERSIONS:
        raise EncodingError(f"{cls.NAME} has no version {version}")
    function = _encoders[cls, version] = encoder(cls, version)
    return function


@cache
def _request_decoder(api_key: int, version: int) -> Any:
    cls = request_class(api_key)
    _check_version(cls, api_key, version)
    return _decoders.get((cls, version)) or _new_decoder(cls, version)


@cache
def _response_encoder(api_key: int, version: int) -> tuple[Any, bool]:
    cls = response_class(api_key)
    _check_version(cls, api_key, version)
    function = _encoders.get((cls, version)) or _new_encoder(cls, version)
    return function, _response_header_is_flexible(api_key, version)


def _check_version(cls: type[Message], api_key: int, version: int) -> None:
    if version not in cls.VERSIONS:
        raise UnsupportedVersion(api_key, version, f"{cls.NAME} has no version {version}, only {cls.VERSIONS}")


# Headers


_NEVER = 1 << 16


@cache
def _flexible_from(api_key: int) -> int:
    flexible_from = request_class(api_key).FLEXIBLE_FROM
    return _NEVER if flexible_from is None else flexible_from


def _response_header_is_flexible(api_key: int, version: int) -> bool:
    # A client with a newer version must be able to read the answer, so ApiVersions always has header 0 (KIP-511).
    return api_key != API_VERSIONS and version >= _flexible_from(api_key)


def _pass_tags(frame: memoryview, position: int) -> int:
    if position >= len(frame):
        raise ProtocolViolation("header ends before its tagged fields")
    count = frame[position]
    position += 1
    if count:
        from kwire.wire.compilation.decoding import skip_tags  # noqa: PLC0415

        try:
            return skip_tags(frame, position, count)
        except IndexError as error:
            raise ProtocolViolation("header ends inside its tagged fields") from error
    return position
