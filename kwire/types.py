"""Small values that all packages share.

Responsible for: the types below. Must not depend on: any package of kwire.

A topic id is 16 bytes, as on the wire. Its text form is Kafka's: base64url without padding.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeAlias, TypeVar

Uuid: TypeAlias = bytes
ZERO_UUID: Uuid = bytes(16)
_DASH = 62  # in base64url; command lines read it as the begin of an option
METADATA_TOPIC_ID: Uuid = bytes(15) + b"\x01"

METADATA_TOPIC = "__cluster_metadata"
OFFSETS_TOPIC = "__consumer_offsets"
TRANSACTION_TOPIC = "__transaction_state"
SHARE_STATE_TOPIC = "__share_group_state"
INTERNAL_TOPICS = frozenset({OFFSETS_TOPIC, TRANSACTION_TOPIC, SHARE_STATE_TOPIC})


_T = TypeVar("_T", bound=tuple[Any, ...])


def quick(cls: type[_T]) -> Callable[[tuple[Any, ...]], _T]:
    """Turn a tuple into a value of a NamedTuple class, without the cost of a call of the class.

    For values that every request creates. The length of the tuple is not checked.
    """
    return partial(tuple.__new__, cls)


class TopicPartition(NamedTuple):
    """One partition by its topic's name."""

    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}-{self.partition}"


def random_uuid(random_bytes: Callable[[int], bytes]) -> Uuid:
    """A random (version 4) uuid whose text form does not begin with a dash, as Kafka's own (Uuid.randomUuid)."""
    while True:
        value = bytearray(random_bytes(16))
        value[6] = value[6] & 0x0F | 0x40
        value[8] = value[8] & 0x3F | 0x80
        if value[0] >> 2 != _DASH:
            return bytes(value)


def uuid_text(uuid: Uuid) -> str:
    """The 22 characters that Kafka's tools print for a uuid (Uuid.toString)."""
    return base64.urlsafe_b64encode(uuid).decode("ascii").rstrip("=")


def uuid_from_text(text: str) -> Uuid:
    """The inverse of ``uuid_text``. Raises ValueError unless ``text`` is 16 bytes in base64url."""
    try:
        uuid = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError(f"not a Kafka uuid: {text!r}") from error
    if len(uuid) != 16:
        raise ValueError(f"not a Kafka uuid: {text!r} has {len(uuid)} bytes, not 16")
    return uuid
