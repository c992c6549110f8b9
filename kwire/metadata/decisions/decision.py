"""The decision of a command: the records to append, and the result of each item.

Responsible for: the value ``Decision``, and helpers of the functions that decide commands. Such a function changes
nothing; the controller appends ``records`` to the metadata log and applies them to the image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeAlias, TypeVar

from kwire.errors import KafkaError
from kwire.metadata.entities import DIRECTORY_MIGRATING, DIRECTORY_UNASSIGNED, BrokerNode

if TYPE_CHECKING:
    from kwire.metadata.image import MetadataImage
    from kwire.types import Uuid
    from kwire.wire.message import Message

T_co = TypeVar("T_co", covariant=True)

# Counts partition mutations against a client's quota before they are made; raises KafkaError when it is used up.
Charge: TypeAlias = Callable[[int], None]


class Decision(NamedTuple, Generic[T_co]):
    """``results`` has an entry for each item of the command in its order: a value, or the KafkaError that refuses."""

    records: Sequence[Message]
    results: Sequence[T_co | KafkaError]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of an item that succeeded and returns no values."""


DONE = Outcome()


def no_charge(_count: int) -> None:
    """Count nothing: the charge of a command that no quota applies to."""


def is_active(broker: BrokerNode) -> bool:
    """Tell whether a broker may lead and be in sync."""
    return not broker.fenced and not broker.in_controlled_shutdown


def default_directory(image: MetadataImage, broker_id: int) -> Uuid:
    """Return the directory of a new replica (KIP-858).

    It is the broker's only one, or unassigned for the broker to choose; migrating if the broker registered none.
    """
    broker = image.brokers.get(broker_id)
    if broker is not None and not broker.log_dirs:
        return DIRECTORY_MIGRATING
    return DIRECTORY_UNASSIGNED if broker is None or len(broker.log_dirs) > 1 else broker.log_dirs[0]
