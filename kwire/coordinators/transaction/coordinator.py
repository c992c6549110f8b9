"""The transaction coordinator: one partition of ``__transaction_state`` as a state machine.

Owns: which transactional ids there are, replay, timeouts and expiry, and what is told of transactions. The rules of a
single transaction are in ``transitions``. May not know: the log, clocks, requests, how markers are written.

    EndTxn ──► PrepareCommit appended ──► reply, and the order WriteMarkers ──► complete ──► CompleteCommit appended

After a crash between any two of these the log says what was decided: ``loaded`` orders the markers once more.

Durable: ``transactions``. Soft: ``formers`` (see ``transitions.Former``) and when to look for what is overdue.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable
from typing import Final, NamedTuple

from kwire.coordinators.machine import Effects, ProducerStamp
from kwire.coordinators.transaction import transitions
from kwire.coordinators.transaction.commands import (
    AbortOverdue,
    EndTransaction,
    InitProducerId,
    ListedTransaction,
    TransactionConfig,
    TransactionFilter,
    WriteMarkers,
)
from kwire.coordinators.transaction.records import read_record, tombstone, transaction_record
from kwire.coordinators.transaction.transaction import (
    DECIDED,
    MAY_FOLLOW,
    NEVER_MS,
    NEW_EPOCH_SINCE,
    SETTLED,
    State,
    Transaction,
)
from kwire.coordinators.transaction.transitions import Former, Step
from kwire.errors import Code, KafkaError
from kwire.types import TopicPartition

_OVERDUE: Final = ("overdue",)
_EXPIRED: Final = ("expired",)
_LONG_AGO_MS: Final = -(2**62)


class _Written(NamedTuple):
    """Follow-up: once its record is in the log, a transaction has this former."""

    transactional_id: str
    former: Former


class TransactionCoordinator:
    """A ``Machine``. ``transaction_version`` is the finalized level of the feature, and may change at any time.

    Where a command may need a new producer id (``lacks_producer_id``, ``is_epoch_exhausted``), the caller gives a
    ``spare_id``.
    """

    def __init__(self, config: TransactionConfig, transaction_version: int) -> None:
        self.config = config
        self.transaction_version = transaction_version
        self.transactions: dict[str, Transaction] = {}
        self.formers: dict[str, Former] = {}
        # When the timers are set to, and when they last went off.
        self._overdue_at_ms: int | None = None
        self._expired_at_ms: int | None = None
        self._looked_for_overdue_ms = _LONG_AGO_MS

    # Commands

    def lacks_producer_id(self, command: InitProducerId) -> bool:
        """Whether a producer who comes may need a producer id that was never given.

        Raises KafkaError(INVALID_REQUEST, INVALID_TRANSACTION_TIMEOUT).
        """
        transactional_id = command.transactional_id
        if not transactional_id:
            raise KafkaError(Code.INVALID_REQUEST)
        if not 0 < command.timeout_ms <= self.config.max_timeout_ms:
            raise KafkaError(Code.INVALID_TRANSACTION_TIMEOUT)
        return transactional_id not in self.transactions or self.is_epoch_exhausted(transactional_id)

    def is_epoch_exhausted(self, transactional_id: str) -> bool:
        """Whether the end of a transaction may need one."""
        transaction = self.transactions.get(transactional_id)
        return transaction is not None and transaction.is_epoch_exhausted

    def init_producer_id(self, command: InitProducerId, *, spare_id: int, ticket: int, now_ms: int) -> Effects:
        """A ``ProducerStamp`` follows, or CONCURRENT_TRANSACTIONS when an open transaction had to be aborted first.

        ``lacks_producer_id`` was asked before. Raises KafkaError(PRODUCER_FENCED, CONCURRENT_TRANSACTIONS).
        """
        transactional_id = command.transactional_id
        before = self.transactions.get(transactional_id)
        if before is not None and before.state is State.ONGOING:
            transitions.check_may_go_on(before, self._former(transactional_id), command.expected)
            effects = self._fence(transactional_id, before, spare_id, now_ms)
            # He comes again, and by then gets an epoch that the aborted transaction never had.
            effects.reply(ticket, KafkaError(Code.CONCURRENT_TRANSACTIONS))
            return effects
        step = transitions.initialize(
            before or Transaction(spare_id),
            self._former(transactional_id),
            command.expected,
            timeout_ms=command.timeout_ms,
            spare_id=spare_id,
            now_ms=now_ms,
        )
        effects = self._write(transactional_id, step)
        effects.reply(ticket, ProducerStamp(step.after.producer_id, step.after.producer_epoch))
        return effects

    def add_partitions(
        self,
        transactional_id: str,
        producer: ProducerStamp,
        partitions: Iterable[TopicPartition],
        *,
        client_version: int,
        ticket: int,
        now_ms: int,
    ) -> Effects:
        """None follows.

        Raises KafkaError(INVALID_REQUEST, INVALID_PRODUCER_ID_MAPPING, PRODUCER_FENCED, CONCURRENT_TRANSACTIONS,
        UNSUPPORTED_VERSION).
        """
        step = transitions.add_partitions(
            self._find(transactional_id),
            self._former(transactional_id),
            producer,
            frozenset(partitions),
            client_version=client_version,
            now_ms=now_ms,
        )
        effects = Effects()
        if step is not None:
            self._check_speakable(step.after)
            effects = self._write(transactional_id, step)
            self._watch_for_overdue(effects, step.after, now_ms)
        effects.reply(ticket, None)
        return effects

    def verify_partitions(
        self, transactional_id: str, producer: ProducerStamp, partitions: Iterable[TopicPartition]
    ) -> dict[TopicPartition, Code]:
        """Which of the partitions are in the transaction; TRANSACTION_ABORTABLE for those that are not (KIP-890).

        Raises as ``add_partitions`` does.
        """
        transaction = self._find(transactional_id)
        transitions.check_producer(transaction, producer)
        return {
            each: Code.NONE if each in transaction.partitions else Code.TRANSACTION_ABORTABLE for each in partitions
        }

    def end(self, command: EndTransaction, *, spare_id: int, ticket: int, now_ms: int) -> Effects:
        """The ``ProducerStamp`` with which a client of KIP-890 goes on follows; (-1, -1) for others.

        Raises KafkaError(INVALID_REQUEST, INVALID_PRODUCER_ID_MAPPING, PRODUCER_FENCED, CONCURRENT_TRANSACTIONS,
        INVALID_TXN_STATE, UNSUPPORTED_VERSION).
        """
        transactional_id = command.transactional_id
        before, former = self._find(transactional_id), self._former(transactional_id)
        raises_epoch = command.client_version >= NEW_EPOCH_SINCE
        if raises_epoch:
            step = transitions.end_with_new_epoch(
                before,
                former,
                command.producer,
                commit=command.commit,
                client_version=command.client_version,
                spare_id=spare_id,
                now_ms=now_ms,
            )
        else:
            step = transitions.end(before, former, command.producer, commit=command.commit, now_ms=now_ms)
        if step is None:
            effects, goes_on_as = Effects(), before
        else:
            self._check_speakable(step.after)
            effects = self._decide(transactional_id, step)
            goes_on_as = transitions.complete(step.after, step.former, now_ms=now_ms).after
        stamp = ProducerStamp(goes_on_as.producer_id, goes_on_as.producer_epoch)
        effects.reply(ticket, stamp if raises_epoch else ProducerStamp(-1, -1))
        return effects

    def abort_overdue(self, transactional_id: str, *, spare_id: int, now_ms: int) -> Effects:
        """Abort a transaction that has been open for too long, and fence its producer."""
        transaction = self.transactions.get(transactional_id)
        if transaction is None or not _is_overdue(transaction, now_ms):
            return Effects()
        return self._fence(transactional_id, transaction, spare_id, now_ms)

    def complete(self, transactional_id: str, now_ms: int) -> Effects:
        """All markers of the decided transaction are written."""
        transaction = self.transactions.get(transactional_id)
        if transaction is None or transaction.state not in DECIDED:
            return Effects()
        step = transitions.complete(transaction, self._former(transactional_id), now_ms=now_ms)
        return self._write(transactional_id, step)

    # Questions

    def describe(self, transactional_id: str) -> Transaction:
        """Raises KafkaError(INVALID_REQUEST, TRANSACTIONAL_ID_NOT_FOUND)."""
        if not transactional_id:
            raise KafkaError(Code.INVALID_REQUEST)
        transaction = self.transactions.get(transactional_id)
        if transaction is None:
            raise KafkaError(Code.TRANSACTIONAL_ID_NOT_FOUND)
        return transaction

    def list(self, wanted: TransactionFilter, now_ms: int) -> list[ListedTransaction]:
        """Raises KafkaError(INVALID_REGULAR_EXPRESSION)."""
        matches = _matcher(wanted.pattern)
        return [
            ListedTransaction(transactional_id, each.producer_id, each.state.title)
            for transactional_id, each in self.transactions.items()
            if (not wanted.producer_ids or each.producer_id in wanted.producer_ids)
            and (not wanted.states or each.state.title in wanted.states)
            and (wanted.longer_than_ms < 0 or now_ms - each.start_ms > wanted.longer_than_ms)
            and (matches is None or matches.fullmatch(transactional_id))
        ]

    # Machine

    def replay(
        self,
        key: bytes,
        value: bytes | None,
        *,
        offset: int,
        timestamp_ms: int,
        producer_id: int,
        producer_epoch: int,
    ) -> None:
        del offset, timestamp_ms, producer_id, producer_epoch
        entry = read_record(key, value)
        if entry is None:
            return
        if entry.transaction is not None:
            self.transactions[entry.transactional_id] = entry.transaction
        else:
            self.transactions.pop(entry.transactional_id, None)
            self.formers.pop(entry.transactional_id, None)

    def replay_marker(self, producer_id: int, producer_epoch: int, *, committed: bool) -> None:
        """Nobody writes to ``__transaction_state`` in a transaction."""

    def loaded(self, now_ms: int) -> Effects:
        effects = Effects()
        for transactional_id, transaction in self.transactions.items():
            if transaction.state in DECIDED:
                effects.actions.append(_markers(transactional_id, transaction))
            elif transaction.state is State.ONGOING:
                self._watch_for_overdue(effects, transaction, now_ms)
        if self.transactions:
            self._watch_for_expired(effects, self._next_expiry_ms(now_ms))
        return effects

    def on_timer(self, key: Hashable, now_ms: int) -> Effects:
        return self._order_aborts(now_ms) if key == _OVERDUE else self._expire(now_ms)

    def clock_stepped(self, by_ms: int) -> None:
        """Transactions go by the wall clock, as in Kafka; what is remembered of the timers moves with it."""
        self._looked_for_overdue_ms += by_ms
        if self._overdue_at_ms is not None:
            self._overdue_at_ms += by_ms
        if self._expired_at_ms is not None:
            self._expired_at_ms += by_ms

    def on_append_result(self, follow_up: object, error: Code | None, now_ms: int) -> Effects:
        del now_ms
        assert isinstance(follow_up, _Written)
        if error is None and follow_up.transactional_id in self.transactions:
            self.formers[follow_up.transactional_id] = follow_up.former
        return Effects()

    # Timers
    #
    # They go off when something is due, but not more often than the intervals of Kafka's settings allow.

    def _order_aborts(self, now_ms: int) -> Effects:
        effects = Effects()
        self._overdue_at_ms = None
        self._looked_for_overdue_ms = now_ms
        for transactional_id, transaction in self.transactions.items():
            if transaction.state is State.ONGOING:
                if _is_overdue(transaction, now_ms):
                    effects.actions.append(AbortOverdue(transactional_id))
                self._watch_for_overdue(effects, transaction, now_ms)
        return effects

    def _expire(self, now_ms: int) -> Effects:
        effects = Effects(atomic=False)
        self._expired_at_ms = None
        for transactional_id, transaction in self.transactions.items():
            if transaction.state in SETTLED and transaction.update_ms <= now_ms - self.config.id_expiration_ms:
                effects.records.append(tombstone(transactional_id))
        self._watch_for_expired(effects, self._next_expiry_ms(now_ms))
        return effects

    def _watch_for_overdue(self, effects: Effects, transaction: Transaction, now_ms: int) -> None:
        if transaction.timeout_ms == NEVER_MS:
            return
        due_ms = max(
            transaction.start_ms + transaction.timeout_ms + 1,
            self._looked_for_overdue_ms + self.config.abort_interval_ms,
            now_ms,
        )
        if self._overdue_at_ms is None or due_ms < self._overdue_at_ms:
            self._overdue_at_ms = due_ms
            effects.set_timer(_OVERDUE, due_ms)

    def _watch_for_expired(self, effects: Effects, due_ms: int) -> None:
        if self._expired_at_ms is None:
            self._expired_at_ms = due_ms
            effects.set_timer(_EXPIRED, due_ms)

    def _next_expiry_ms(self, now_ms: int) -> int:
        oldest_ms = min(
            (each.update_ms for each in self.transactions.values() if each.state in SETTLED), default=now_ms
        )
        return max(oldest_ms + self.config.id_expiration_ms, now_ms + self.config.expire_interval_ms)

    # Helpers

    def _find(self, transactional_id: str) -> Transaction:
        if not transactional_id:
            raise KafkaError(Code.INVALID_REQUEST)
        transaction = self.transactions.get(transactional_id)
        if transaction is None:
            raise KafkaError(Code.INVALID_PRODUCER_ID_MAPPING)
        return transaction

    def _former(self, transactional_id: str) -> Former:
        former = self.formers.get(transactional_id)
        if former is None:
            transaction = self.transactions.get(transactional_id)
            former = Former() if transaction is None else Former(transaction.previous_producer_id)
        return former

    def _check_speakable(self, transaction: Transaction) -> None:
        """The records of transaction.version 0 cannot hold what a client of version 2 asks for."""
        if transaction.client_version > 0 and self.transaction_version == 0:
            raise KafkaError(Code.UNSUPPORTED_VERSION)

    def _fence(self, transactional_id: str, transaction: Transaction, spare_id: int, now_ms: int) -> Effects:
        step = transitions.fence(
            transaction,
            self._former(transactional_id),
            transaction_version=self.transaction_version,
            spare_id=spare_id,
            now_ms=now_ms,
        )
        return self._decide(transactional_id, step)

    def _decide(self, transactional_id: str, step: Step) -> Effects:
        effects = self._write(transactional_id, step)
        effects.actions.append(_markers(transactional_id, step.after))
        return effects

    def _write(self, transactional_id: str, step: Step) -> Effects:
        before = self.transactions.get(transactional_id)
        assert before is None or step.after.state in MAY_FOLLOW[before.state], (before, step.after)
        effects = Effects(
            records=[transaction_record(transactional_id, step.after, self.transaction_version)],
            follow_up=_Written(transactional_id, step.former),
        )
        self._watch_for_expired(effects, step.after.update_ms + self.config.id_expiration_ms)
        return effects


def _is_overdue(transaction: Transaction, now_ms: int) -> bool:
    if transaction.state is not State.ONGOING or transaction.timeout_ms == NEVER_MS:
        return False
    return transaction.start_ms + transaction.timeout_ms < now_ms


def _markers(transactional_id: str, decided: Transaction) -> WriteMarkers:
    return WriteMarkers(
        transactional_id,
        ProducerStamp(decided.producer_id, decided.producer_epoch),
        decided.state is State.PREPARE_COMMIT,
        tuple(sorted(decided.partitions)),
        decided.client_version,
    )


def _matcher(pattern: str | None) -> re.Pattern[str] | None:
    if not pattern:
        return None
    try:
        return re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        reason = f"Transaction ID pattern `{pattern}` is not a valid regular expression: {error}."
        raise KafkaError(Code.INVALID_REGULAR_EXPRESSION, reason) from error
