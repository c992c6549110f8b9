"""The transitions of a transaction: which are allowed in each state, and the next record.

Responsible for: the rules of KIP-98, KIP-360 (recovery of a producer after an error) and KIP-890 (a new epoch with each
end), as functions from a ``Transaction`` to a ``Step``. Must not depend on: records, the log, timers, the use of a
step.

Ending with transaction.version 2 (KIP-890), where "again" is a request whose answer was lost, recognized by an epoch
that is one behind, and "now" has the current epoch:

                      abort again   abort now   commit again   commit now
    Empty             fenced        raise       fenced         invalid
    CompleteAbort     done          raise       invalid        invalid
    CompleteCommit    invalid       raise       done           invalid

Before that version the epoch must be the current one, and Empty can neither commit nor abort.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from kwire.coordinators.machine import ProducerStamp
from kwire.coordinators.transaction.transaction import (
    EMPTY_OR_COMPLETE,
    EPOCH_MAX,
    NEW_EPOCH_SINCE,
    NO_EPOCH,
    NO_PRODUCER_ID,
    PREPARED,
    State,
    Transaction,
)
from kwire.errors import Code, KafkaError
from kwire.types import TopicPartition


class PreviousProducer(NamedTuple):
    """The id and epoch before the current ones, which a producer sends if the answer with the new ones was lost.

    Not all of it is in the records, so after a restart such a producer may be fenced, as in Kafka.
    """

    producer_id: int = NO_PRODUCER_ID
    epoch: int = NO_EPOCH


class Step(NamedTuple):
    """``after`` is the state in the record; ``previous`` is valid once the record is committed."""

    after: Transaction
    previous: PreviousProducer


def initialize(
    before: Transaction,
    previous: PreviousProducer,
    expected: ProducerStamp | None,
    *,
    timeout_ms: int,
    spare_id: int,
    now_ms: int,
) -> Step:
    """A producer starts, or recovers from an error: it gets a new epoch, and all earlier producers are fenced.

    ``spare_id`` is needed when the epochs of the producer id are exhausted. Raises KafkaError(PRODUCER_FENCED,
    CONCURRENT_TRANSACTIONS); an open transaction must be aborted first.
    """
    check_may_go_on(before, previous, expected)
    if before.state in PREPARED:
        raise KafkaError(Code.CONCURRENT_TRANSACTIONS)
    assert before.state in EMPTY_OR_COMPLETE, before.state
    current = before.producer_epoch
    if before.is_epoch_exhausted and (expected is None or expected.producer_epoch == current):
        assert spare_id != NO_PRODUCER_ID
        stamp, previous_epoch = ProducerStamp(spare_id, 0), NO_EPOCH if expected is None else current
    elif expected is None:
        stamp, previous_epoch = ProducerStamp(before.producer_id, current + 1), NO_EPOCH
    elif current in (NO_EPOCH, expected.producer_epoch):
        stamp, previous_epoch = ProducerStamp(before.producer_id, current + 1), current
    elif expected.producer_epoch == previous.epoch:
        # The request is repeated, as its answer was lost. No other producer has started in between, as that would
        # have cleared the previous epoch.
        stamp, previous_epoch = ProducerStamp(before.producer_id, current), previous.epoch
    else:
        raise KafkaError(Code.PRODUCER_FENCED)
    after = replace(
        before,
        producer_id=stamp.producer_id,
        producer_epoch=stamp.producer_epoch,
        previous_producer_id=before.producer_id,
        timeout_ms=timeout_ms,
        state=State.EMPTY,
        partitions=frozenset(),
        start_ms=-1,
        update_ms=now_ms,
    )
    return Step(after, PreviousProducer(before.producer_id, previous_epoch))


def check_may_go_on(before: Transaction, previous: PreviousProducer, expected: ProducerStamp | None) -> None:
    """Whether the producer id of the request is valid: the current one, or the previous one with exhausted epochs.

    Any is valid until the first producer has started. Raises KafkaError(PRODUCER_FENCED).
    """
    if expected is None or before.producer_epoch == NO_EPOCH or expected.producer_id == before.producer_id:
        return
    if expected.producer_id != previous.producer_id or expected.producer_epoch < EPOCH_MAX - 1:
        raise KafkaError(Code.PRODUCER_FENCED)


def add_partitions(
    before: Transaction,
    previous: PreviousProducer,
    producer: ProducerStamp,
    partitions: frozenset[TopicPartition],
    *,
    client_version: int,
    now_ms: int,
) -> Step | None:
    """The transaction will write to ``partitions``, and begins with the first. None: they are in it already.

    Raises KafkaError as ``check_producer`` does.
    """
    check_producer(before, producer)
    is_open = before.state is State.ONGOING
    if is_open and partitions <= before.partitions:
        return None
    after = replace(
        before,
        previous_producer_id=before.producer_id,
        state=State.ONGOING,
        partitions=before.partitions | partitions,
        start_ms=before.start_ms if is_open else now_ms,
        update_ms=now_ms,
        client_version=client_version,
    )
    return Step(after, PreviousProducer(before.producer_id, previous.epoch))


def check_producer(transaction: Transaction, producer: ProducerStamp) -> None:
    """Whether ``producer`` may write in the transaction.

    Raises KafkaError(INVALID_PRODUCER_ID_MAPPING, PRODUCER_FENCED, CONCURRENT_TRANSACTIONS).
    """
    if transaction.producer_id != producer.producer_id:
        raise KafkaError(Code.INVALID_PRODUCER_ID_MAPPING)
    if transaction.producer_epoch != producer.producer_epoch:
        raise KafkaError(Code.PRODUCER_FENCED)
    if transaction.state in PREPARED:
        raise KafkaError(Code.CONCURRENT_TRANSACTIONS)


def end(
    before: Transaction, previous: PreviousProducer, producer: ProducerStamp, *, commit: bool, now_ms: int
) -> Step | None:
    """A client without KIP-890 commits or aborts. None: it is done already.

    Raises KafkaError(INVALID_PRODUCER_ID_MAPPING, PRODUCER_FENCED, CONCURRENT_TRANSACTIONS, INVALID_TXN_STATE).
    """
    if before.producer_id != producer.producer_id:
        raise KafkaError(Code.INVALID_PRODUCER_ID_MAPPING)
    if before.producer_epoch != producer.producer_epoch:
        raise KafkaError(Code.PRODUCER_FENCED)
    if before.state is State.ONGOING:
        return _decide(before, previous, commit=commit, client_version=0, spare_id=NO_PRODUCER_ID, now_ms=now_ms)
    _check_ends_alike(before.state, commit=commit)
    return None


def end_with_new_epoch(
    before: Transaction,
    previous: PreviousProducer,
    producer: ProducerStamp,
    *,
    commit: bool,
    client_version: int,
    spare_id: int,
    now_ms: int,
) -> Step | None:
    """A client with KIP-890 commits or aborts; see the table above. None: it is done already.

    Raises as ``end`` does.
    """
    current = before.producer_epoch
    asks_again = current == producer.producer_epoch + 1
    asks_again_with_old_id = (
        previous.producer_id == producer.producer_id and producer.producer_epoch == EPOCH_MAX - 1 and current == 0
    )
    if before.producer_id != producer.producer_id and not asks_again_with_old_id:
        raise KafkaError(Code.INVALID_PRODUCER_ID_MAPPING)
    is_current = current == producer.producer_epoch
    if before.state in PREPARED:
        is_valid = asks_again
    elif before.state in (State.COMPLETE_COMMIT, State.COMPLETE_ABORT):
        is_valid = is_current or asks_again or asks_again_with_old_id
    else:
        is_valid = is_current
    if not is_valid:
        raise KafkaError(Code.PRODUCER_FENCED)
    if before.state is State.ONGOING or (is_current and before.state in EMPTY_OR_COMPLETE and not commit):
        return _decide(before, previous, commit=commit, client_version=client_version, spare_id=spare_id, now_ms=now_ms)
    if is_current:
        raise KafkaError(Code.INVALID_TXN_STATE)
    _check_ends_alike(before.state, commit=commit)
    return None


def fence(
    before: Transaction, previous: PreviousProducer, *, transaction_version: int, spare_id: int, now_ms: int
) -> Step:
    """Abort an open transaction and fence its producer, which has timed out or was replaced."""
    assert before.state is State.ONGOING, before.state
    if transaction_version >= NEW_EPOCH_SINCE:
        return _decide(
            before, previous, commit=False, client_version=transaction_version, spare_id=spare_id, now_ms=now_ms
        )
    fenced = replace(before, producer_epoch=min(before.producer_epoch + 1, EPOCH_MAX))
    step = _decide(fenced, previous, commit=False, client_version=0, spare_id=NO_PRODUCER_ID, now_ms=now_ms)
    return Step(step.after, PreviousProducer(before.producer_id, NO_EPOCH))


def complete(before: Transaction, previous: PreviousProducer, *, now_ms: int) -> Step:
    """All markers are written."""
    assert before.state in PREPARED, before.state
    rotates = before.client_version >= NEW_EPOCH_SINCE and before.next_producer_id != NO_PRODUCER_ID
    after = replace(
        before,
        producer_id=before.next_producer_id if rotates else before.producer_id,
        producer_epoch=0 if rotates else before.producer_epoch,
        previous_producer_id=before.producer_id,
        next_producer_id=NO_PRODUCER_ID,
        state=State.COMPLETE_COMMIT if before.state is State.PREPARE_COMMIT else State.COMPLETE_ABORT,
        partitions=frozenset(),
        update_ms=now_ms,
    )
    return Step(after, PreviousProducer(before.producer_id, previous.epoch))


def _decide(
    before: Transaction, previous: PreviousProducer, *, commit: bool, client_version: int, spare_id: int, now_ms: int
) -> Step:
    raises_epoch = client_version >= NEW_EPOCH_SINCE
    rotates = raises_epoch and before.is_epoch_exhausted
    assert not rotates or spare_id != NO_PRODUCER_ID
    after = replace(
        before,
        producer_epoch=min(before.producer_epoch + 1, EPOCH_MAX) if raises_epoch else before.producer_epoch,
        previous_producer_id=before.producer_id,
        next_producer_id=spare_id if rotates else NO_PRODUCER_ID,
        state=State.PREPARE_COMMIT if commit else State.PREPARE_ABORT,
        # A transaction without a partition begins and ends in this step.
        start_ms=before.start_ms if before.state is State.ONGOING else now_ms,
        update_ms=now_ms,
        client_version=client_version,
    )
    return Step(after, PreviousProducer(before.producer_id, before.producer_epoch if raises_epoch else previous.epoch))


def _check_ends_alike(state: State, *, commit: bool) -> None:
    """Check that a request repeated after the decision asks for the same end."""
    if state not in (
        (State.PREPARE_COMMIT, State.COMPLETE_COMMIT) if commit else (State.PREPARE_ABORT, State.COMPLETE_ABORT)
    ):
        raise KafkaError(Code.INVALID_TXN_STATE)
    if state in PREPARED:
        raise KafkaError(Code.CONCURRENT_TRANSACTIONS)
