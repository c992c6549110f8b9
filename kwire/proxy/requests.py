"""The header of a passing request, and whether it gets a response.

Responsible for: telling requests from the tokens of an old login, and reading single fields without decoding. Must not
depend on: connections.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import cache
from struct import Struct
from typing import Any, Final, NamedTuple

from kwire.errors import ProtocolViolation
from kwire.wire.codec import api_keys, read_header, request_class
from kwire.wire.splicing import reader

HEAD_BYTES: Final = 8
# The client id and the transactional id before ``acks`` have at most this many bytes together with the header, and
# hardly ever more than the other number.
_ACKS_WITHIN_BYTES: Final = 2 * 0x8000 + 64
_ACKS_MOSTLY_WITHIN_BYTES: Final = 512
PRODUCE: Final = 0
METADATA: Final = 3
SASL_HANDSHAKE: Final = 17
_HEAD: Final = Struct(">hhi")
_ACKS: Final = Struct(">h")
_FLEXIBLE_FROM: Final = 9  # the first version of Produce with tagged fields
# Versions are small numbers; a token that reads as a request of a known API has another one.
_VERSION_MAX: Final = 31


class Head(NamedTuple):
    """The first fields of every request."""

    api_key: int
    api_version: int
    correlation_id: int


def read_head(begin: bytes) -> Head | None:
    """Read the first fields of a request; None if it is too short."""
    return Head(*_HEAD.unpack_from(begin)) if len(begin) >= HEAD_BYTES else None


def may_be_token(head: Head | None) -> bool:
    """Tell whether a frame that follows SaslHandshake version 0 is a token of the login and not a request.

    Such a token has no header. PLAIN, SCRAM and OAUTHBEARER begin with text or with a zero and a name, GSSAPI with an
    ASN.1 tag: none begins with the key of an API and a version.
    """
    return head is None or head.api_key not in api_keys() or not 0 <= head.api_version <= _VERSION_MAX


async def answers_produce(head: Head, size: int, read: Callable[[int], Awaitable[bytes]]) -> bool:
    """Tell whether a Produce request of ``size`` bytes gets a response: with acks=0 it gets none.

    ``read`` gives the first bytes of the request. Raises ProtocolViolation.
    """
    if size > _ACKS_MOSTLY_WITHIN_BYTES:
        try:
            return _answers_produce(head, await read(_ACKS_MOSTLY_WITHIN_BYTES))
        except ProtocolViolation:  # long names are before it
            pass
    return _answers_produce(head, await read(min(size, _ACKS_WITHIN_BYTES)))


def _answers_produce(head: Head, begin: bytes) -> bool:
    versions = request_class(PRODUCE).VERSIONS
    if _FLEXIBLE_FROM <= head.api_version <= versions.highest and len(begin) > HEAD_BYTES + _ACKS.size:
        # As most are: no tagged fields in the header, and no transactional id.
        position = HEAD_BYTES + _ACKS.size + max(_ACKS.unpack_from(begin, HEAD_BYTES)[0], 0)
        if begin[position : position + 2] == b"\0\0" and len(begin) >= position + 2 + _ACKS.size:
            return bool(_ACKS.unpack_from(begin, position + 2)[0] != 0)
    frame = memoryview(begin)
    position = read_header(frame).body_position
    if head.api_version < versions.lowest:
        if len(frame) < position + _ACKS.size:
            raise ProtocolViolation("a Produce request ends before its acks")
        acks = _ACKS.unpack_from(frame, position)[0]  # first up to version 2
    else:
        acks = _acks_reader(min(head.api_version, versions.highest))(frame, position)
    return bool(acks != 0)


@cache
def _acks_reader(version: int) -> Any:
    return reader(request_class(PRODUCE), version, "acks")
