"""What a command decides: the records to append, and what to answer for each item.

Owns: the shape, and what several commands share. A command is a function ``(image, values, ...) -> Decision`` that
changes nothing: who runs it appends ``records`` to the metadata log, which applies them to the image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from kwire.errors import KafkaError
from kwire.metadata.entities import DIRECTORY_UNASSIGNED, BrokerNode

if TYPE_CHECKING:
    from kwire.metadata.image import MetadataImage
    from kwire.types import Uuid
    from kwire.wire.message import Message

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Decision(Generic[T]):
    """``results`` has an entry for each item of the command in its order: a value, or the KafkaError that refuses."""

    records: list[Message]
    results: list[T | KafkaError]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of an item that has nothing to say but that it was done."""


DONE = Outcome()


def is_active(broker: BrokerNode) -> bool:
    """Tell whether a broker may lead and be in sync."""
    return not broker.fenced and not broker.in_controlled_shutdown


def default_directory(image: MetadataImage, broker_id: int) -> Uuid:
    """Give the directory of a new replica: the broker's only one, or unassigned for the broker to choose (KIP-858)."""
    broker = image.brokers.get(broker_id)
    if broker is None or len(broker.log_dirs) != 1:
        return DIRECTORY_UNASSIGNED
    return broker.log_dirs[0]
