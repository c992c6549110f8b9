"""Fetch (key 1).

Versions: 4-18.

Behaviour: the session (or the request) says which partitions; each is read up to the high watermark, or to the last
stable offset for read_committed; the records of an answer are slices of files that the transport sends without
reading them. Too little and time left: the request waits at the gate until ``min_bytes`` have come. An error in any
partition answers at once.

Version notes: 7 sessions (KIP-227); 9 leader epochs (KIP-320); 10 zstd (KIP-110); 12 diverging epochs (KIP-595); 13
topic ids (KIP-516); 15 replica state (KIP-903); 16 node endpoints (KIP-951); 17 directory ids (KIP-858); 18 high
watermark (KIP-1166).

Left out: followers. A replica id names no replica of ours, so such a fetch is NOT_LEADER_OR_FOLLOWER; -2, the
debugging consumer, reads to the end of the log.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from kwire.broker.partitions.fetch_sessions import FINAL_EPOCH, INITIAL_EPOCH, NO_SESSION, FetchItem, FetchSession
from kwire.broker.partitions.partition import READ_COMMITTED, Partition
from kwire.broker.requests.context import Context
from kwire.errors import Code, KafkaError, StorageFailure
from kwire.storage.files import FileSlice
from kwire.wire.messages import FetchRequest, FetchResponse

_TOPIC_IDS_SINCE: Final = 13  # KIP-516
_STORAGE_ERROR_SINCE: Final = 6  # older clients know NOT_LEADER_OR_FOLLOWER only
_CONSUMER: Final = -1
_DEBUGGING_CONSUMER: Final = -2

_NOT_THERE: Final = (Code.UNKNOWN_TOPIC_OR_PARTITION, Code.UNKNOWN_TOPIC_ID)
PartitionData = FetchResponse.PartitionData

# What an answer says of diverging logs, other leaders and snapshots where there is nothing to say: never changed, so
# that they need not be made for each.
_NOT_DIVERGING: Final = FetchResponse.EpochEndOffset()
_SAME_LEADER: Final = FetchResponse.LeaderIdAndEpoch()
_NO_SNAPSHOT: Final = FetchResponse.SnapshotId()


async def handle(context: Context, request: FetchRequest) -> FetchResponse:
    """Read at once, or wait for ``min_bytes`` and read again."""
    try:
        session, incremental = _session(context, request)
    except KafkaError as refusal:
        return FetchResponse(error_code=refusal.code, throttle_time_ms=context.throttle_ms)
    fetch = _Fetch(context, request, session, incremental=incremental)
    try:
        fetch.read()
        missing = request.min_bytes - fetch.byte_count
        deadline: float | None = None
        while missing > 0 and not fetch.failed and session.items:
            now = context.broker.clock.monotonic_ms()
            if deadline is None:
                deadline = now + request.max_wait_ms
            left_ms = deadline - now
            if left_ms <= 0:
                break
            fetch.release()
            event = session.watch.arm(missing)
            try:
                in_time = await context.wait(event, left_ms)
            finally:
                session.watch.disarm()
            fetch.read()
            if not in_time:
                break
            missing = request.min_bytes - fetch.byte_count
        return fetch.respond()
    except BaseException:
        fetch.release()
        raise
    finally:
        if session.session_id == NO_SESSION:
            session.close()


def _session(context: Context, request: FetchRequest) -> tuple[FetchSession, bool]:
    """The session of the request, brought up to date, and whether its answer tells only what is new."""
    broker = context.broker
    uses_topic_ids = context.api_version >= _TOPIC_IDS_SINCE
    committed_only = request.isolation_level == READ_COMMITTED
    if request.session_epoch not in (INITIAL_EPOCH, FINAL_EPOCH):
        session = broker.fetch_sessions.resume(
            request.session_id, request.session_epoch, uses_topic_ids=uses_topic_ids, now_ms=broker.clock.now_ms()
        )
        session.watch.committed_only = committed_only
        session.forget(request.forgotten_topics_data)
        session.ask(request.topics)
        if session.items:
            return session, True
        broker.fetch_sessions.end(session.session_id)
        session.session_id = NO_SESSION
        return session, False
    if request.session_id != NO_SESSION:
        broker.fetch_sessions.end(request.session_id)
    session = FetchSession(uses_topic_ids=uses_topic_ids, committed_only=committed_only)
    session.ask(request.topics)
    # A session is kept from the first request on, so that partitions watched while it waits stay watched.
    if request.session_epoch == INITIAL_EPOCH and session.items:
        broker.fetch_sessions.keep(session, broker.clock.now_ms())
    return session, False


class _Fetch:
    """The answer to one request while it is gathered: parts per partition, bytes so far."""

    __slots__ = (
        "_answers",
        "_bytes_max",
        "_committed_only",
        "_context",
        "_incremental",
        "_replica_id",
        "_session",
        "byte_count",
        "failed",
    )

    def __init__(self, context: Context, request: FetchRequest, session: FetchSession, *, incremental: bool) -> None:
        self._context = context
        self._bytes_max = min(request.max_bytes, context.broker.fetch_max_bytes)
        self._committed_only = request.isolation_level == READ_COMMITTED
        self._session = session
        self._incremental = incremental
        self._replica_id = request.replica_id if request.replica_id != _CONSUMER else request.replica_state.replica_id
        self._answers: dict[FetchItem, PartitionData] = {}
        self.byte_count = 0
        self.failed = False

    def read(self) -> None:
        """Read what may have something new, from the partition that was served longest ago, up to max_bytes."""
        self._answers.clear()
        self.byte_count = 0
        session = self._session
        left = self._bytes_max
        items: Iterable[FetchItem] = session.dirty_items() if self._incremental else session.items.values()
        for item in list(items):
            answer = self._answer(item, left)
            self._answers[item] = answer
            size = 0 if answer.records is None else len(answer.records)
            self.byte_count += size
            left -= size
            if answer.error_code or answer.diverging_epoch is not _NOT_DIVERGING:
                self.failed = True
            elif not size and item.fetch_offset >= self._visible_end(item):
                # Clean: nothing to say until an append, a change or the client's next wish marks it again.
                session.watch.dirty.pop(item.key, None)
            if left <= 0 and self._incremental:
                break  # the rest stays dirty, and has its turn first next time

    def release(self) -> None:
        """Unpin the slices of answers that will not be sent."""
        for answer in self._answers.values():
            _release(answer.records)
        self._answers.clear()

    def respond(self) -> FetchResponse:
        session = self._session
        topics: dict[Any, FetchResponse.FetchableTopicResponse] = {}
        for item, answer in self._answers.items():
            if not self._must_tell(item, answer):
                continue
            topic = topics.get(item.key[0])  # type: ignore[index]
            if topic is None:
                topic = topics[item.key[0]] = FetchResponse.FetchableTopicResponse(  # type: ignore[index]
                    topic=item.topic, topic_id=item.topic_id, partitions=[]
                )
            topic.partitions.append(answer)
            if answer.records and session.session_id != NO_SESSION:
                session.move_to_end(item)
        return FetchResponse(
            throttle_time_ms=self._context.throttle_ms, session_id=session.session_id, responses=list(topics.values())
        )

    def _must_tell(self, item: FetchItem, answer: PartitionData) -> bool:
        """A full answer tells everything; an incremental one what the client does not know (KIP-227)."""
        tell = (
            not self._incremental
            or bool(answer.records)
            or answer.error_code != 0
            or answer.high_watermark != item.sent_high_watermark
            or answer.log_start_offset != item.sent_log_start_offset
            or answer.diverging_epoch is not _NOT_DIVERGING
        )
        item.sent_high_watermark = -1 if answer.error_code else answer.high_watermark
        item.sent_log_start_offset = answer.log_start_offset
        return tell

    def _visible_end(self, item: FetchItem) -> int:
        if item.partition is None:
            return 0
        log = item.partition.log
        return log.last_stable_offset if self._committed_only else log.high_watermark

    def _answer(self, item: FetchItem, left: int) -> PartitionData:
        try:
            return self._read_one(item, self._partition(item), left)
        except KafkaError as refusal:
            return _refused(item, refusal.code)
        except StorageFailure as failure:
            self._context.broker.storage_failed(failure)
            known = self._context.api_version >= _STORAGE_ERROR_SINCE
            return _refused(item, Code.KAFKA_STORAGE_ERROR if known else Code.NOT_LEADER_OR_FOLLOWER)

    def _partition(self, item: FetchItem) -> Partition:
        """The item's partition, found and watched at first use."""
        partition = item.partition
        if partition is not None and not partition.deleted:
            return partition
        if partition is not None:
            item.unwatch(self._session.watch)
        broker = self._context.broker
        topic = item.topic
        if self._session.uses_topic_ids:
            known = broker.image.topics_by_id.get(item.topic_id)
            if known is None:
                raise KafkaError(Code.UNKNOWN_TOPIC_ID)
            topic = known.name
        partition = broker.partitions.get(topic, item.index)
        partition.watch(self._session.watch, item.key)
        item.partition = partition
        return partition

    def _read_one(self, item: FetchItem, partition: Partition, left: int) -> PartitionData:
        if self._replica_id >= 0:
            raise KafkaError(Code.NOT_LEADER_OR_FOLLOWER)
        partition.check_leader_epoch(item.leader_epoch)
        log = partition.log
        high_watermark, last_stable_offset = log.high_watermark, log.last_stable_offset
        answer = PartitionData(
            partition_index=item.index,
            high_watermark=high_watermark,
            last_stable_offset=last_stable_offset,
            log_start_offset=log.log_start_offset,
            diverging_epoch=_NOT_DIVERGING,
            current_leader=_SAME_LEADER,
            snapshot_id=_NO_SNAPSHOT,
            aborted_transactions=None,
            records=b"",
        )
        if item.last_fetched_epoch >= 0:
            epoch, end_offset = log.offset_for_epoch(item.last_fetched_epoch)
            if epoch < 0 or end_offset < 0:
                raise KafkaError(Code.OFFSET_OUT_OF_RANGE)
            if epoch < item.last_fetched_epoch or end_offset < item.fetch_offset:
                answer.diverging_epoch = FetchResponse.EpochEndOffset(epoch=epoch, end_offset=end_offset)
                return answer
        committed_only = self._committed_only
        end = last_stable_offset if committed_only else high_watermark
        if self._replica_id == _DEBUGGING_CONSUMER:
            end = log.end_offset
        records = partition.read(
            item.fetch_offset,
            max_bytes=max(0, min(item.max_bytes, left)),
            end_offset=end,
            at_least_one=self.byte_count == 0,
        )
        if records is not None:
            answer.records = records
        if committed_only:
            answer.aborted_transactions = [
                FetchResponse.AbortedTransaction(producer_id=aborted.producer_id, first_offset=aborted.first_offset)
                for aborted in (
                    log.aborted_transactions(item.fetch_offset, records.end_offset) if records is not None else ()
                )
            ]
        return answer


def _release(records: object) -> None:
    if isinstance(records, FileSlice):
        records.close()


def _refused(item: FetchItem, code: Code) -> PartitionData:
    return PartitionData(
        partition_index=item.index,
        error_code=code,
        high_watermark=-1,
        last_stable_offset=-1,
        log_start_offset=-1,
        diverging_epoch=_NOT_DIVERGING,
        # Null where the log was asked; what is not there at all is answered with the message's default.
        aborted_transactions=[] if code in _NOT_THERE else None,
        records=b"",
    )
