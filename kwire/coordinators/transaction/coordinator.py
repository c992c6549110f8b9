"""The transaction coordinator: one partition of ``__transaction_state`` as a state machine.

Responsible for: which transactional ids there are, replay, timeouts and expiry, describing and listing. The rules of a
single transaction are in ``transitions``. Must not depend on: the log, clocks, requests, how markers are written.

    EndTxn ──► PrepareCommit appended ──► reply, and the action WriteMarkers ──► complete ──► CompleteCommit appended

After a crash between any two of these the decision is in the log: ``loaded`` requests the markers again.

Durable: ``transactions``. Soft: ``previous`` (see ``transitions.PreviousProducer``) and when the timers fire.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Final

from kwire.coordinators.machine import ClusterMetadata, Effects, MetadataChange, ProducerStamp
from kwire.coordinators.patterns import transaction_matcher
from kwire.coordinators.timeline import Table, Timeline
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
    EMPTY_OR_COMPLETE,
    MAY_FOLLOW,
    NEVER_MS,
    NEW_EPOCH_SINCE,
    PREPARED,
    State,
    Transaction,
)
from kwire.coordinators.transaction.transitions import PreviousProducer, Step
from kwire.errors import Code, KafkaError
from kwire.types import TopicPartition

# Keys of timers and of ``deadlines``: abort transactions that timed out, the next step of that, expire transactional
# ids.
_OVERDUE: Final = ("overdue",)
_OVERDUE_REST: Final = ("overdue", "rest")
_EXPIRED: Final = ("expired",)
# The ids that are checked, and the transactions that are aborted, in one turn of the event loop.
_CHECKED_IN_TURN: Final = 500
_ABORTED_IN_TURN: Final = 20
_LONG_AGO_MS: Final = -(2**62)
TRANSACTION_VERSION: Final = "transaction.version"


class TransactionCoordinator:
    """A ``Machine``. ``transaction_version`` is the finalized level of the feature, once the machine is loaded.

    Where a command may need a new producer id (``lacks_producer_id``, ``is_epoch_exhausted``), the caller gives a
    ``spare_id``.
    """

    def __init__(self, config: TransactionConfig) -> None:
        self.config = config
        self.transaction_version = 0
        self.timeline = Timeline()
        self.transactions: Table[str, Transaction] = Table(self.timeline)
        self.previous: Table[str, PreviousProducer] = Table(self.timeline)
        # When the timers fire.
        self.deadlines: Table[tuple[str], int] = Table(self.timeline)
        self._overdue_checked_ms = _LONG_AGO_MS
        # The ids that a pass over all of them has not checked yet.
        self._to_check: list[str] = []
        self._to_expire: list[str] = []
        # The oldest update of an id that the pass did not expire.
        self._oldest_ms = 0

    # Commands

    def lacks_producer_id(self, command: InitProducerId) -> bool:
        """Whether InitProducerId may need a producer id that was never given out.

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
        """The reply is a ``ProducerStamp``, or CONCURRENT_TRANSACTIONS when an open transaction is aborted first.

        ``lacks_producer_id`` was asked before. Raises KafkaError(PRODUCER_FENCED, CONCURRENT_TRANSACTIONS).
        """
        transactional_id = command.transactional_id
        before = self.transactions.get(transactional_id)
        if before is not None and before.state is State.ONGOING:
            transitions.check_may_go_on(before, self._previous(transactional_id), command.expected)
            effects = self._fence(transactional_id, before, spare_id, now_ms)
            # The client sends InitProducerId again, and then gets an epoch above that of the aborted transaction.
            effects.reply(ticket, KafkaError(Code.CONCURRENT_TRANSACTIONS))
            return effects
        step = transitions.initialize(
            before or Transaction(spare_id),
            self._previous(transactional_id),
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
        """The reply is None.

        Raises KafkaError(INVALID_REQUEST, INVALID_PRODUCER_ID_MAPPING, PRODUCER_FENCED, CONCURRENT_TRANSACTIONS,
        UNSUPPORTED_VERSION).
        """
        step = transitions.add_partitions(
            self._find(transactional_id),
            self._previous(transactional_id),
            producer,
            frozenset(partitions),
            client_version=client_version,
            now_ms=now_ms,
        )
        effects = Effects()
        if step is not None:
            self._check_recordable(step.after)
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
        """The reply is the next ``ProducerStamp`` of a client with KIP-890; (-1, -1) for other clients.

        Raises KafkaError(INVALID_REQUEST, INVALID_PRODUCER_ID_MAPPING, PRODUCER_FENCED, CONCURRENT_TRANSACTIONS,
        INVALID_TXN_STATE, UNSUPPORTED_VERSION).
        """
        transactional_id = command.transactional_id
        before, previous = self._find(transactional_id), self._previous(transactional_id)
        raises_epoch = command.client_version >= NEW_EPOCH_SINCE
        if raises_epoch:
            step = transitions.end_with_new_epoch(
                before,
                previous,
                command.producer,
                commit=command.commit,
                client_version=command.client_version,
                spare_id=spare_id,
                now_ms=now_ms,
            )
        else:
            step = transitions.end(before, previous, command.producer, commit=command.commit, now_ms=now_ms)
        if step is None:
            effects, next_state = Effects(), before
        else:
            self._check_recordable(step.after)
            effects = self._decide(transactional_id, step)
            next_state = transitions.complete(step.after, step.previous, now_ms=now_ms).after
        stamp = ProducerStamp(next_state.producer_id, next_state.producer_epoch)
        effects.reply(ticket, stamp if raises_epoch else ProducerStamp(-1, -1))
        return effects

    def abort_overdue(self, transactional_id: str, *, spare_id: int, now_ms: int) -> Effects:
        """Abort a transaction that has timed out, and fence its producer."""
        transaction = self.transactions.get(transactional_id)
        if transaction is None or not _is_overdue(transaction, now_ms):
            return Effects()
        return self._fence(transactional_id, transaction, spare_id, now_ms)

    def complete(self, transactional_id: str, now_ms: int) -> Effects:
        """All markers of the decided transaction are written."""
        transaction = self.transactions.get(transactional_id)
        if transaction is None or transaction.state not in PREPARED:
            return Effects()
        step = transitions.complete(transaction, self._previous(transactional_id), now_ms=now_ms)
        return self._write(transactional_id, step)

    # Queries

    def describe(self, transactional_id: str) -> Transaction:
        """Describe the committed state. Raises KafkaError(INVALID_REQUEST, TRANSACTIONAL_ID_NOT_FOUND)."""
        if not transactional_id:
            raise KafkaError(Code.INVALID_REQUEST)
        transaction = self.transactions.committed(transactional_id)
        if transaction is None:
            raise KafkaError(Code.TRANSACTIONAL_ID_NOT_FOUND)
        return transaction

    def list(self, wanted: TransactionFilter, now_ms: int) -> Iterator[ListedTransaction | None]:
        """List the committed transactions. Each is read when the iterator gets there: the caller may pause.

        Gives None for an id that is not wanted, or deleted by then.

        Raises KafkaError(INVALID_REGULAR_EXPRESSION) at once.
        """
        matches = transaction_matcher(wanted.pattern)
        return self._list(self._ids(), wanted, matches, now_ms)

    def _ids(self) -> Iterable[str]:
        """All ids, also those whose deletion is not committed yet."""
        return dict.fromkeys([*self.transactions, *self.transactions.history])

    def _list(
        self, ids: Iterable[str], wanted: TransactionFilter, matches: Callable[[str], object] | None, now_ms: int
    ) -> Iterator[ListedTransaction | None]:
        for transactional_id in ids:
            each = self.transactions.committed(transactional_id)
            if (
                each is not None
                and (not wanted.producer_ids or each.producer_id in wanted.producer_ids)
                and (not wanted.states or each.state.title in wanted.states)
                and (wanted.longer_than_ms < 0 or now_ms - each.start_ms > wanted.longer_than_ms)
                and (matches is None or matches(transactional_id))
            ):
                yield ListedTransaction(transactional_id, each.producer_id, each.state.title)
            else:
                yield None

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
            self.transactions.pop(entry.transactional_id)
            self.previous.pop(entry.transactional_id)

    def replay_marker(self, producer_id: int, producer_epoch: int, *, committed: bool) -> None:
        """No transaction writes to ``__transaction_state``."""

    def loaded(self, metadata: ClusterMetadata, now_ms: int) -> Effects:
        # Read now, because ``on_metadata_change`` was not called for changes during the replay.
        self.transaction_version = metadata.feature_level(TRANSACTION_VERSION)
        effects = Effects()
        for transactional_id, transaction in self.transactions.items():
            if transaction.state in PREPARED:
                effects.actions.append(_markers(transactional_id, transaction))
            elif transaction.state is State.ONGOING:
                self._watch_for_overdue(effects, transaction, now_ms)
        if self.transactions:
            self._watch_for_expired(effects, now_ms + self.config.expire_interval_ms)
        return effects

    def on_metadata_change(self, change: MetadataChange, metadata: ClusterMetadata, now_ms: int) -> Effects:
        del metadata, now_ms
        self.transaction_version = change.features.get(TRANSACTION_VERSION, self.transaction_version)
        return Effects()

    def unloaded(self) -> None:
        """There is nothing to release."""

    def on_timer(self, key: Hashable, now_ms: int) -> Effects:
        if key == _EXPIRED:
            return self._expire(now_ms)
        return self._abort_overdue(now_ms) if key == _OVERDUE else self._abort_some_overdue(now_ms)

    def clock_stepped(self, by_ms: int) -> None:
        """Transactions time out by the wall clock, as in Kafka; when the timers fire moves with it."""
        self._overdue_checked_ms += by_ms
        for key, deadline_ms in self.deadlines.items():
            self.deadlines[key] = deadline_ms + by_ms

    def on_append_result(self, follow_up: object, error: Code | None, now_ms: int) -> Effects:
        raise AssertionError(f"no command of transactions has a follow-up: {follow_up!r}, {error}, {now_ms}")

    # Timers
    #
    # They fire when something is due, but not more often than the intervals of Kafka's settings allow.

    # A pass over all ids is made in slices, each of which is a timer of its own.

    def _abort_overdue(self, now_ms: int) -> Effects:
        self.deadlines.pop(_OVERDUE)
        self._overdue_checked_ms = now_ms
        if not self._to_check:
            self._to_check = list(self.transactions)[::-1]
        return self._abort_some_overdue(now_ms)

    def _abort_some_overdue(self, now_ms: int) -> Effects:
        effects = Effects()
        ids = self._to_check
        for _ in range(min(_CHECKED_IN_TURN, len(ids))):
            transactional_id = ids.pop()
            transaction = self.transactions.get(transactional_id)
            if transaction is None or transaction.state is not State.ONGOING:
                continue
            self._watch_for_overdue(effects, transaction, now_ms)
            if _is_overdue(transaction, now_ms):
                effects.actions.append(AbortOverdue(transactional_id))
                if len(effects.actions) == _ABORTED_IN_TURN:
                    break
        if ids:
            effects.set_timer(_OVERDUE_REST, now_ms)
        return effects

    def _expire(self, now_ms: int) -> Effects:
        effects = Effects(atomic=False)
        if not self._to_expire:
            self._to_expire = list(self.transactions)[::-1]
            self._oldest_ms = now_ms
        some, self._to_expire = self._to_expire[-_CHECKED_IN_TURN:], self._to_expire[:-_CHECKED_IN_TURN]
        for transactional_id in some:
            transaction = self.transactions.get(transactional_id)
            if transaction is None or transaction.state not in EMPTY_OR_COMPLETE:
                continue
            if transaction.update_ms <= now_ms - self.config.id_expiration_ms:
                effects.records.append(tombstone(transactional_id))
            else:
                self._oldest_ms = min(self._oldest_ms, transaction.update_ms)
        if self._to_expire:
            # Until the pass ends its deadline stays, so that no other one is set.
            effects.set_timer(_EXPIRED, now_ms)
            return effects
        self.deadlines.pop(_EXPIRED)
        due_ms = max(self._oldest_ms + self.config.id_expiration_ms, now_ms + self.config.expire_interval_ms)
        self._watch_for_expired(effects, due_ms)
        return effects

    def _watch_for_overdue(self, effects: Effects, transaction: Transaction, now_ms: int) -> None:
        if transaction.timeout_ms == NEVER_MS:
            return
        due_ms = max(
            transaction.start_ms + transaction.timeout_ms + 1,
            self._overdue_checked_ms + self.config.abort_interval_ms,
            now_ms,
        )
        set_to_ms = self.deadlines.get(_OVERDUE)
        if set_to_ms is None or due_ms < set_to_ms:
            self.deadlines[_OVERDUE] = due_ms
            effects.set_timer(_OVERDUE, due_ms)

    def _watch_for_expired(self, effects: Effects, due_ms: int) -> None:
        if _EXPIRED not in self.deadlines:
            self.deadlines[_EXPIRED] = due_ms
            effects.set_timer(_EXPIRED, due_ms)

    # Helpers

    def _find(self, transactional_id: str) -> Transaction:
        if not transactional_id:
            raise KafkaError(Code.INVALID_REQUEST)
        transaction = self.transactions.get(transactional_id)
        if transaction is None:
            raise KafkaError(Code.INVALID_PRODUCER_ID_MAPPING)
        return transaction

    def _previous(self, transactional_id: str) -> PreviousProducer:
        previous = self.previous.get(transactional_id)
        if previous is None:
            transaction = self.transactions.get(transactional_id)
            previous = PreviousProducer() if transaction is None else PreviousProducer(transaction.previous_producer_id)
        return previous

    def _check_recordable(self, transaction: Transaction) -> None:
        """Refuse a client of version 2 while transaction.version is 0, whose records lack its fields."""
        if transaction.client_version > 0 and self.transaction_version == 0:
            raise KafkaError(Code.UNSUPPORTED_VERSION)

    def _fence(self, transactional_id: str, transaction: Transaction, spare_id: int, now_ms: int) -> Effects:
        step = transitions.fence(
            transaction,
            self._previous(transactional_id),
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
        effects = Effects([transaction_record(transactional_id, step.after, self.transaction_version)])
        self.previous[transactional_id] = step.previous
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
