"""The commands of the transaction coordinator, its answers and its actions.

Responsible for: the values that cross between the API handlers, the broker and the machine. Must not depend on: request
versions (where a KIP gives a version its own meaning, the handler sets a field) and how a transaction works.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from kwire.coordinators.machine import ProducerStamp
from kwire.types import TopicPartition

__all__ = [
    "AbortOverdue",
    "EndTransaction",
    "InitProducerId",
    "ListedTransaction",
    "ProducerStamp",
    "TransactionConfig",
    "TransactionFilter",
    "WriteMarkers",
]


@dataclass(frozen=True, slots=True)
class TransactionConfig:
    """The broker's settings for transactions."""

    max_timeout_ms: int = 900_000
    id_expiration_ms: int = 7 * 24 * 3600 * 1000
    abort_interval_ms: int = 10_000
    expire_interval_ms: int = 3_600_000


@dataclass(frozen=True, slots=True)
class InitProducerId:
    """``expected`` is the producer id and epoch of a producer that continues after an error (KIP-360).

    The reply is a ``ProducerStamp``.
    """

    transactional_id: str
    timeout_ms: int
    expected: ProducerStamp | None = None


@dataclass(frozen=True, slots=True)
class EndTransaction:
    """``client_version`` is 2 from clients that take a new epoch from the answer (KIP-890).

    The reply is a ``ProducerStamp``: the next one of such a client.
    """

    transactional_id: str
    producer: ProducerStamp
    commit: bool
    client_version: int


class ListedTransaction(NamedTuple):
    transactional_id: str
    producer_id: int
    state: str


@dataclass(frozen=True, slots=True)
class TransactionFilter:
    """``states`` by their names, exactly; ``longer_than_ms`` -1 and ``pattern`` None or "" take all."""

    states: frozenset[str] = frozenset()
    producer_ids: frozenset[int] = frozenset()
    longer_than_ms: int = -1
    pattern: str | None = None


@dataclass(frozen=True, slots=True)
class WriteMarkers:
    """An action: the transaction is decided; append this marker to each partition, then call ``complete``."""

    transactional_id: str
    producer: ProducerStamp
    committed: bool
    partitions: tuple[TopicPartition, ...]
    client_version: int


@dataclass(frozen=True, slots=True)
class AbortOverdue:
    """An action: this transaction has timed out; call ``abort_overdue``."""

    transactional_id: str
