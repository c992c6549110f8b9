"""The state of each producer of a log: its last batches, its epoch, its open transaction.

Responsible for: the checks of sequences and epochs that recognize duplicates and fence zombies (KIP-98), and which
transactions are open. Must not depend on: files, segments, what a batch contains beyond its header and its
end-transaction marker.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from kwire.errors import Code, KafkaError
from kwire.storage.segments.index import AbortedTransaction
from kwire.storage.segments.segment import AppendedBatch
from kwire.wire.batches.batch import NO_PRODUCER_EPOCH, NO_SEQUENCE, BatchHeader, EndMarker, read_end_marker

# A producer may have five requests in flight, so it may send any of its last five batches again.
BATCHES_KEPT: Final = 5
_SEQUENCE_MAX: Final = 2**31 - 1
_EPOCH_MAX: Final = 2**15 - 1


class ProducerBatch(NamedTuple):
    """One of the last batches of a producer."""

    last_sequence: int
    last_offset: int
    offset_delta: int
    timestamp_ms: int

    @property
    def base_offset(self) -> int:
        return self.last_offset - self.offset_delta

    @property
    def base_sequence(self) -> int:
        return (self.last_sequence - self.offset_delta) & _SEQUENCE_MAX


class Producer(NamedTuple):
    """State of one producer id; a value, replaced with each of its batches."""

    producer_id: int
    epoch: int = NO_PRODUCER_EPOCH
    coordinator_epoch: int = -1
    last_timestamp_ms: int = -1
    # By the broker's clock: expiry goes by this, never by the time that records carry.
    last_seen_ms: int = -1
    transaction_first_offset: int = -1
    # Oldest first.
    batches: tuple[ProducerBatch, ...] = ()

    @property
    def last_sequence(self) -> int:
        return self.batches[-1].last_sequence if self.batches else NO_SEQUENCE

    @property
    def last_offset(self) -> int:
        return self.batches[-1].last_offset if self.batches else -1

    def find(self, header: BatchHeader) -> ProducerBatch | None:
        """Find the earlier copy of a batch that is sent again."""
        if header.producer_epoch != self.epoch:
            return None
        for batch in self.batches:
            if batch.last_sequence == header.last_sequence and batch.base_sequence == header.base_sequence:
                return batch
        return None


class CompletedTransaction(NamedTuple):
    producer_id: int
    first_offset: int
    last_offset: int
    aborted: bool


class Change(NamedTuple):
    """The change that one batch makes to its producer: checked, not yet applied."""

    producer: Producer
    completed: CompletedTransaction | None
    is_transactional: bool


class Unverified(NamedTuple):
    """A producer whose first batch of a transaction waits for verification: its epoch and lowest sequence.

    The batch with that sequence may have been refused, and then later ones must not be accepted (KIP-890).
    """

    epoch: int
    lowest_sequence: int
    begins_at_zero: bool
    seen_ms: int


class ProducerStates:
    """All producers of one log, and which of their transactions are open."""

    __slots__ = ("open", "producers", "undecided", "unverified")

    def __init__(self) -> None:
        self.producers: dict[int, Producer] = {}
        # First offset -> producer id of open transactions, in order of first offsets.
        self.open: dict[int, int] = {}
        # First offset -> offset of the marker, for transactions whose marker is not below the high watermark yet.
        self.undecided: dict[int, int] = {}
        # By producer id: producers that wait for verification. Not persisted; a transactional batch removes it.
        self.unverified: dict[int, Unverified] = {}

    def __len__(self) -> int:
        return len(self.producers)

    def must_verify(self, producer_id: int, epoch: int, sequence: int, *, begins_at_zero: bool, now_ms: int) -> bool:
        """Whether the coordinator must be asked before a transactional batch may be appended (KIP-890).

        Not so once the transaction is open here. ``begins_at_zero``: a producer of transaction version 2, whose first
        sequence with each epoch is 0. Raises KafkaError(INVALID_PRODUCER_EPOCH).
        """
        producer = self.producers.get(producer_id)
        if producer is not None:
            if epoch < producer.epoch:
                raise KafkaError(Code.INVALID_PRODUCER_EPOCH)
            if epoch == producer.epoch and producer.transaction_first_offset >= 0:
                return False
        known = self.unverified.get(producer_id)
        if known is None:
            self.unverified[producer_id] = Unverified(epoch, sequence, begins_at_zero, now_ms)
        elif epoch > known.epoch:
            self.unverified[producer_id] = known._replace(epoch=epoch, lowest_sequence=sequence)
        elif epoch == known.epoch and sequence < known.lowest_sequence:
            self.unverified[producer_id] = known._replace(lowest_sequence=sequence)
        return True

    def find_duplicate(self, headers: Sequence[BatchHeader]) -> ProducerBatch | None:
        """Find the earlier copy of a batch among ``headers``, if there is one."""
        for header in headers:
            producer = self.producers.get(header.producer_id)
            if producer is not None:
                batch = producer.find(header)
                if batch is not None:
                    return batch
        return None

    def check_all(
        self,
        batches: memoryview,
        headers: Sequence[BatchHeader],
        rows: Sequence[AppendedBatch],
        *,
        now_ms: int,
        check_sequence: bool,
        fenced: bool = True,
        transaction_version: int = 0,
    ) -> list[Change]:
        """Check the batches of one append, each after those before it; nothing changes yet. Raises KafkaError.

        ``check_sequence`` is for clients; coordinators write without sequences. ``fenced`` is false for a follower and
        for a replay, which accept every batch that the leader has accepted.
        """
        changes: list[Change] = []
        drafts: dict[int, Producer] = {}
        position = 0
        for header, row in zip(headers, rows, strict=True):
            at = position
            position += row.size_bytes
            producer_id = header.producer_id
            if producer_id < 0:
                continue
            before = drafts.get(producer_id) or self.producers.get(producer_id) or Producer(producer_id)
            if header.is_control:
                marker = read_end_marker(batches, at)
                if marker is None:
                    continue
                change = check_marker(
                    before,
                    header,
                    marker,
                    row.base_offset,
                    now_ms=now_ms,
                    transaction_version=transaction_version,
                    fenced=fenced,
                )
            else:
                change = check_batch(
                    before,
                    header,
                    row,
                    now_ms=now_ms,
                    check_sequence=check_sequence and fenced,
                    fenced=fenced,
                    unverified=self.unverified.get(producer_id) if self.unverified else None,
                )
            drafts[producer_id] = change.producer
            changes.append(change)
        return changes

    def apply(self, change: Change) -> None:
        """Apply a change once its batch is in the log."""
        producer = change.producer
        self.producers[producer.producer_id] = producer
        if self.unverified and change.is_transactional:
            self.unverified.pop(producer.producer_id, None)
        if change.completed is not None:
            self.open.pop(change.completed.first_offset, None)
            self.undecided[change.completed.first_offset] = change.completed.last_offset
        elif producer.transaction_first_offset >= 0 and producer.transaction_first_offset not in self.open:
            self.open[producer.transaction_first_offset] = producer.producer_id

    def aborted(self, completed: CompletedTransaction) -> AbortedTransaction:
        """Make the index entry of a transaction that was just aborted."""
        others = (first for first, producer_id in self.open.items() if producer_id != completed.producer_id)
        stable_offset = next(others, completed.last_offset + 1)
        return AbortedTransaction(completed.producer_id, completed.first_offset, completed.last_offset, stable_offset)

    @property
    def first_unstable_offset(self) -> int | None:
        """First offset of the oldest transaction that is open or has its marker above the high watermark."""
        first_open = next(iter(self.open), None)
        if not self.undecided:
            return first_open
        first_undecided = min(self.undecided)
        return first_undecided if first_open is None else min(first_open, first_undecided)

    def high_watermark_moved(self, high_watermark: int) -> None:
        """Transactions whose marker is below ``high_watermark`` no longer hold back the last stable offset."""
        if self.undecided:
            self.undecided = {first: last for first, last in self.undecided.items() if last >= high_watermark}

    def expire(self, now_ms: int, expiration_ms: int) -> list[int]:
        """Remove producers idle for so long, except those with an open transaction. Returns their ids."""
        expired = [
            producer.producer_id
            for producer in self.producers.values()
            if producer.transaction_first_offset < 0 and now_ms - producer.last_seen_ms >= expiration_ms
        ]
        for producer_id in expired:
            del self.producers[producer_id]
        for producer_id in [each for each, one in self.unverified.items() if now_ms - one.seen_ms >= expiration_ms]:
            del self.unverified[producer_id]
        return expired

    def clear(self) -> None:
        self.producers.clear()
        self.open.clear()
        self.undecided.clear()
        self.unverified.clear()

    def load(self, producers: Iterable[Producer]) -> None:
        """Set the producers that a snapshot holds."""
        self.clear()
        for producer in producers:
            self.producers[producer.producer_id] = producer
        for producer in sorted(self.producers.values(), key=lambda each: each.transaction_first_offset):
            if producer.transaction_first_offset >= 0:
                self.open[producer.transaction_first_offset] = producer.producer_id


def check_batch(
    before: Producer,
    header: BatchHeader,
    row: AppendedBatch,
    *,
    now_ms: int,
    check_sequence: bool,
    fenced: bool = True,
    unverified: Unverified | None = None,
) -> Change:
    """Check a batch of records against what its producer did ``before``.

    Raises KafkaError (INVALID_PRODUCER_EPOCH, OUT_OF_ORDER_SEQUENCE_NUMBER, INVALID_TXN_STATE).
    """
    epoch = header.producer_epoch
    if fenced and epoch < before.epoch:
        raise KafkaError(
            Code.INVALID_PRODUCER_EPOCH,
            f"epoch {epoch} of producer {header.producer_id} is smaller than the last seen epoch {before.epoch}",
        )
    if check_sequence:
        if unverified is not None:
            _check_first_sequence(before, header, unverified)
        _check_sequence(before, header)
    first_offset = before.transaction_first_offset
    if header.is_transactional:
        if first_offset < 0:
            first_offset = row.base_offset
    elif fenced and first_offset >= 0:
        raise KafkaError(
            Code.INVALID_TXN_STATE, f"producer {header.producer_id} has an open transaction and wrote outside of it"
        )
    batch = ProducerBatch(header.last_sequence, row.last_offset, header.last_offset_delta, row.max_timestamp)
    batches = (*before.batches[1 - BATCHES_KEPT :], batch) if epoch == before.epoch else (batch,)
    return Change(
        Producer(header.producer_id, epoch, before.coordinator_epoch, row.max_timestamp, now_ms, first_offset, batches),
        None,
        header.is_transactional,
    )


def check_marker(
    before: Producer,
    header: BatchHeader,
    marker: EndMarker,
    offset: int,
    *,
    now_ms: int,
    transaction_version: int = 0,
    fenced: bool = True,
) -> Change:
    """Check the end-transaction marker that gets ``offset``.

    With transaction version 2 each transaction ends with a new epoch (KIP-890), so a marker of the current epoch is a
    late one; it may pass when no transaction is open. Raises KafkaError (INVALID_PRODUCER_EPOCH,
    TRANSACTION_COORDINATOR_FENCED).
    """
    epoch = header.producer_epoch
    if fenced and _is_late_marker(before, epoch, transaction_version):
        raise KafkaError(
            Code.INVALID_PRODUCER_EPOCH,
            f"epoch {epoch} of a marker for producer {header.producer_id} is behind {before.epoch}",
        )
    if fenced and marker.coordinator_epoch < before.coordinator_epoch:
        raise KafkaError(
            Code.TRANSACTION_COORDINATOR_FENCED,
            f"coordinator epoch {marker.coordinator_epoch} for producer {header.producer_id} is smaller than "
            f"{before.coordinator_epoch}",
        )
    completed = None
    if before.transaction_first_offset >= 0:
        completed = CompletedTransaction(
            header.producer_id, before.transaction_first_offset, offset, aborted=not marker.committed
        )
    batches = before.batches if epoch == before.epoch else ()
    after = Producer(header.producer_id, epoch, marker.coordinator_epoch, header.base_timestamp, now_ms, -1, batches)
    return Change(after, completed, is_transactional=True)


def _check_sequence(before: Producer, header: BatchHeader) -> None:
    sequence = header.base_sequence
    if before.epoch == NO_PRODUCER_EPOCH:
        # A producer of which this log has no epoch may begin anywhere (KIP-360), also one that sends epoch -1.
        return
    if header.producer_epoch != before.epoch:
        if sequence != 0:
            raise KafkaError(
                Code.OUT_OF_ORDER_SEQUENCE_NUMBER,
                f"producer {header.producer_id} begins epoch {header.producer_epoch} with sequence {sequence}, not 0",
            )
        return
    last = before.last_sequence
    if sequence != last + 1 and not (sequence == 0 and last == _SEQUENCE_MAX):
        raise KafkaError(
            Code.OUT_OF_ORDER_SEQUENCE_NUMBER,
            f"producer {header.producer_id} sent sequence {sequence} after {last}",
        )


def _check_first_sequence(before: Producer, header: BatchHeader, unverified: Unverified) -> None:
    sequence = header.base_sequence
    if unverified.begins_at_zero and sequence != 0 and not before.batches:
        raise KafkaError(
            Code.OUT_OF_ORDER_SEQUENCE_NUMBER,
            f"producer {header.producer_id} begins with sequence {sequence}, not 0 as transaction version 2 asks",
        )
    if sequence > unverified.lowest_sequence:
        raise KafkaError(
            Code.OUT_OF_ORDER_SEQUENCE_NUMBER,
            f"producer {header.producer_id} sent sequence {sequence} before {unverified.lowest_sequence} was accepted",
        )


def _is_late_marker(before: Producer, epoch: int, transaction_version: int) -> bool:
    if transaction_version < 2:
        return epoch < before.epoch
    if epoch == before.epoch and (before.transaction_first_offset < 0 or epoch == _EPOCH_MAX):
        return False
    return epoch <= before.epoch
