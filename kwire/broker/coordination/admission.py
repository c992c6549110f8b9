"""Whether a producer may write to a partition in a transaction: verified before the append (KIP-890).

Responsible for: when the coordinator is asked, and its refusals as clients of each version understand them. Must not
depend on: requests, what is written.

Between the coordinator's answer and the append no other task may run, or a transaction that ended in between would be
left open in the partition. So ``admit`` ends with a question that is answered at once, and its caller appends in the
same turn of the event loop.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

import trio

from kwire.broker.coordination.transactions import Transactions
from kwire.broker.partitions.partition import Partition
from kwire.broker.requests.context import Context
from kwire.coordinators.machine import ProducerStamp
from kwire.coordinators.transaction.transaction import NEW_EPOCH_SINCE
from kwire.errors import Code, KafkaError, StorageFailure
from kwire.types import TopicPartition


class Dialect(Enum):
    """What a client of a request's version understands."""

    # Before KIP-890: it gets INVALID_TXN_STATE for TRANSACTION_ABORTABLE.
    OLD = 0
    ABORTABLE = 1
    # It writes without having added the partition: the broker adds it.
    ADDS = 2


async def admit(
    context: Context,
    transactional_id: str,
    producer: ProducerStamp,
    first_sequences: Mapping[Partition, int],
    dialect: Dialect,
) -> dict[TopicPartition, Code]:
    """The refusals by partition; partitions that are not in the answer may be appended to, in this turn.

    ``first_sequences``: the partitions, and with which sequence each batch begins.
    """
    transactions = context.broker.transactions
    refused, asked = _to_ask(context, producer, first_sequences, dialect)
    if not asked:
        return refused
    try:
        if dialect is Dialect.ADDS:
            await _add(context, transactions, transactional_id, producer, asked)
        machine = await transactions.machine(context, transactional_id)
        answers = machine.verify_partitions(transactional_id, producer, asked)
    except KafkaError as refusal:
        answers = dict.fromkeys(asked, refusal.code)
    for where, code in answers.items():
        if code is not Code.NONE:
            refused[where] = _as_client_knows(code, dialect)
    return refused


def _to_ask(
    context: Context, producer: ProducerStamp, first_sequences: Mapping[Partition, int], dialect: Dialect
) -> tuple[dict[TopicPartition, Code], list[TopicPartition]]:
    """Refusals that need no coordinator, and the partitions in which the transaction is not open yet."""
    refused: dict[TopicPartition, Code] = {}
    asked: list[TopicPartition] = []
    adds = dialect is Dialect.ADDS
    if not adds and not context.broker.configs.broker["transaction.partition.verification.enable"]:
        return refused, asked
    now_ms = context.broker.clock.now_ms()
    for partition, sequence in first_sequences.items():
        try:
            if partition.log.producers.must_verify(*producer, sequence, begins_at_zero=adds, now_ms=now_ms):
                asked.append(partition.topic_partition)
        except KafkaError as refusal:
            refused[partition.topic_partition] = refusal.code
        except StorageFailure as failure:
            context.broker.storage_failures.report(failure)
            refused[partition.topic_partition] = Code.KAFKA_STORAGE_ERROR
    return refused, asked


async def _add(
    context: Context,
    transactions: Transactions,
    transactional_id: str,
    producer: ProducerStamp,
    asked: list[TopicPartition],
) -> None:
    """Add the partitions; while the transaction before this one is being completed, try again for a limited time."""
    configs, clock = context.broker.configs, context.broker.clock
    give_up_ms = clock.monotonic_ms() + configs.broker["add.partitions.to.txn.retry.backoff.max.ms"]
    while True:
        try:
            await transactions.add_partitions(
                context, transactional_id, producer, asked, client_version=NEW_EPOCH_SINCE
            )
        except KafkaError as refusal:
            if refusal.code is not Code.CONCURRENT_TRANSACTIONS or clock.monotonic_ms() >= give_up_ms:
                raise
        else:
            return
        backoff_ms = configs.broker["add.partitions.to.txn.retry.backoff.ms"]
        await context.wait(trio.Event(), backoff_ms)


def _as_client_knows(code: Code, dialect: Dialect) -> Code:
    if code is Code.PRODUCER_FENCED:
        return Code.INVALID_PRODUCER_EPOCH
    if code is Code.TRANSACTION_ABORTABLE and dialect is Dialect.OLD:
        return Code.INVALID_TXN_STATE
    return code
