"""What the transaction coordinator is asked, and what it answers and orders.

Owns: the values that cross between the API handlers, the broker and the machine. May not know: request versions (where
a KIP gives a version its own meaning, the handler says so by a field) and how a transaction works.
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
    """The broker's settings that transactions obey."""

    max_timeout_ms: int = 900_000
    id_expiration_ms: int = 7 * 24 * 3600 * 1000
    abort_interval_ms: int = 10_000
    expire_interval_ms: int = 3_600_000


@dataclass(frozen=True, slots=True)
class InitProducerId:
    """``expected`` is the producer id and epoch with which a producer wants to go on (KIP-360).

    A ``ProducerStamp`` follows.
    """

    transactional_id: str
    timeout_ms: int
    expected: ProducerStamp | None = None


@dataclass(frozen=True, slots=True)
class EndTransaction:
    """``client_version`` is 2 from clients that take a new epoch for an answer (KIP-890).

    A ``ProducerStamp`` follows: what the producer goes on with, for such a client.
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
    """An order: the transaction is decided, so write this marker into each partition, then ask for ``complete``."""

    transactional_id: str
    producer: ProducerStamp
    committed: bool
    partitions: tuple[TopicPartition, ...]
    client_version: int


@dataclass(frozen=True, slots=True)
class AbortOverdue:
    """An order: this transaction has been open for too long, so ask for ``abort_overdue``."""

    transactional_id: str
