"""The records of ``__transaction_state``.

Responsible for: which versions are written, and reading them. Must not depend on: what a state means, the log.

    key    int16 record type (0), then TransactionLogKey         always at version 0
    value  int16 value version, then TransactionLogValue         none at all: the transactional id is deleted

The value is written at version 0 while transaction.version is 0, else at 1 (KIP-890, KIP-915), which has three more
fields, all tagged: the producer ids before and after, and the version of the client.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from kwire.coordinators.machine import Record
from kwire.coordinators.transaction.transaction import State, Transaction
from kwire.types import TopicPartition
from kwire.wire.codec import decode, encode
from kwire.wire.messages import TransactionLogKey, TransactionLogValue

_INT16 = struct.Struct(">h")
_TRANSACTION_LOG: Final = 0
_VALUE_VERSION_MAX: Final = 1


class Entry(NamedTuple):
    """``transaction`` None: a tombstone."""

    transactional_id: str
    transaction: Transaction | None


def transaction_record(transactional_id: str, transaction: Transaction, transaction_version: int) -> Record:
    """The record of ``transaction``, in the format of the level of transaction.version."""
    version = min(transaction_version, _VALUE_VERSION_MAX)
    value = TransactionLogValue(
        producer_id=transaction.producer_id,
        producer_epoch=transaction.producer_epoch,
        transaction_timeout_ms=transaction.timeout_ms,
        transaction_status=transaction.state,
        transaction_partitions=None if transaction.state is State.EMPTY else _by_topic(transaction),
        transaction_last_update_timestamp_ms=transaction.update_ms,
        transaction_start_timestamp_ms=transaction.start_ms,
    )
    if version:
        value.previous_producer_id = transaction.previous_producer_id
        value.next_producer_id = transaction.next_producer_id
        value.client_transaction_version = transaction.client_version
    return Record(_key(transactional_id), _INT16.pack(version) + encode(value, version))


def tombstone(transactional_id: str) -> Record:
    return Record(_key(transactional_id), None)


def read_record(key: bytes, value: bytes | None) -> Entry | None:
    """Read a record; None for a version that Kafka 4.3 does not know. ProtocolViolation when it cannot be read."""
    if _INT16.unpack_from(key)[0] != _TRANSACTION_LOG:
        return None
    transactional_id = decode(TransactionLogKey, 0, memoryview(key)[2:]).transactional_id
    if value is None:
        return Entry(transactional_id, None)
    version = _INT16.unpack_from(value)[0]
    if not 0 <= version <= _VALUE_VERSION_MAX:
        return None
    stored = decode(TransactionLogValue, version, memoryview(value)[2:])
    return Entry(
        transactional_id,
        Transaction(
            producer_id=stored.producer_id,
            producer_epoch=stored.producer_epoch,
            previous_producer_id=stored.previous_producer_id,
            next_producer_id=stored.next_producer_id,
            timeout_ms=stored.transaction_timeout_ms,
            state=State(stored.transaction_status),
            partitions=frozenset(
                TopicPartition(each.topic, index)
                for each in stored.transaction_partitions or ()
                for index in each.partition_ids
            ),
            start_ms=stored.transaction_start_timestamp_ms,
            update_ms=stored.transaction_last_update_timestamp_ms,
            client_version=stored.client_transaction_version,
        ),
    )


def _key(transactional_id: str) -> bytes:
    return _INT16.pack(_TRANSACTION_LOG) + encode(TransactionLogKey(transactional_id=transactional_id), 0)


def _by_topic(transaction: Transaction) -> list[TransactionLogValue.PartitionsSchema]:
    topics: dict[str, list[int]] = {}
    for topic, partition in sorted(transaction.partitions):
        topics.setdefault(topic, []).append(partition)
    return [TransactionLogValue.PartitionsSchema(topic=topic, partition_ids=ids) for topic, ids in topics.items()]
