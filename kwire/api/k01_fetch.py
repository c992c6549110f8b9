"""Fetch (key 1).

Versions: 4-18.

Behaviour: the session (or the request) lists the partitions; each is read (``partitions.reading``) up to the high
watermark, or to the last stable offset for read_committed; the records of an answer are slices of files that the
transport sends without reading them. With fewer than ``min_bytes`` and time left the request waits. An error in reading
a partition answers at once; a partition that does not exist does not, unless there is no other. After the byte limit
the remaining partitions are still checked, so that errors and watermarks are in the same answer.

Version notes: 7 sessions (KIP-227); 9 leader epochs (KIP-320); 10 zstd (KIP-110); 12 diverging epochs (KIP-595); 13
topic ids (KIP-516); 15 replica state (KIP-903); 16 node endpoints (KIP-951); 17 directory ids (KIP-858); 18 high
watermark (KIP-1166).

Followers read up to the log end; their fetch offset shows how far they have copied the log, and so what is committed.
So does replica id -2, the debugging consumer, which is not a replica. A consumer may read from a follower since version
11 (KIP-392); with ``replica.selector.class`` the leader names one in the consumer's rack instead of sending records.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from kwire.api.moved_leader import current_leader, endpoints_of
from kwire.api.probes import NAMED, Probe
from kwire.broker.partitions.fetching.fetch_sessions import (
    FINAL_EPOCH,
    INITIAL_EPOCH,
    NO_SESSION,
    FetchItem,
    FetchSession,
    FollowerFetchItem,
)
from kwire.broker.partitions.fetching.reading import ReadUpTo, read_partition, visible_end
from kwire.broker.partitions.leading import check_follower, note_follower_fetch
from kwire.broker.partitions.partition import READ_COMMITTED, Partition
from kwire.broker.requests.context import Context
from kwire.errors import Code, KafkaError, StorageFailure
from kwire.security.operations import Operation, ResourceType
from kwire.storage.files import FileSlice
from kwire.storage.segments.index import AbortedTransaction
from kwire.types import METADATA_TOPIC_ID
from kwire.wire.messages import FetchRequest, FetchResponse

if TYPE_CHECKING:  # few brokers have one
    from kwire.broker.partitions.fetching.replica_selector import RackAwareReplicaSelector

PROBE: Probe = {
    "replica_id": -1,
    "min_bytes": 0,
    "max_wait_ms": 0,
    "topics": [{**NAMED, "partitions": [{"partition": 0, "partition_max_bytes": 1}]}],
}

_TOPIC_IDS_SINCE: Final = 13  # KIP-516
_FOLLOWERS_SERVE_SINCE: Final = 11  # KIP-392
_STORAGE_ERROR_SINCE: Final = 6  # older clients know NOT_LEADER_OR_FOLLOWER only
# A fetch of many partitions checks the length of its turn after every 32 of them.
_TURN_MASK: Final = 31
_CONSUMER: Final = -1
_NO_REPLICA: Final = -1
_DEBUGGING_CONSUMER: Final = -2

_LEADER_SINCE: Final = 16  # KIP-951
_LEADER_MOVED: Final = (Code.NOT_LEADER_OR_FOLLOWER, Code.FENCED_LEADER_EPOCH)
_NOT_THERE: Final = (Code.UNKNOWN_TOPIC_OR_PARTITION, Code.UNKNOWN_TOPIC_ID, Code.TOPIC_AUTHORIZATION_FAILED)
PartitionData = FetchResponse.PartitionData

# Diverging epoch, leader and snapshot of an answer without them; shared, because they are never changed.
_NOT_DIVERGING: Final = FetchResponse.EpochEndOffset()
_SAME_LEADER: Final = FetchResponse.LeaderIdAndEpoch()
_NO_SNAPSHOT: Final = FetchResponse.SnapshotId()


async def handle(context: Context, request: FetchRequest) -> FetchResponse:
    """Read at once, or wait for ``min_bytes`` and read again."""
    try:
        session, incremental = _session(context, request)
    except KafkaError as refusal:
        return FetchResponse(error_code=refusal.code, throttle_time_ms=context.throttle_ms)
    authorizer = context.broker.authorizer
    if authorizer is not None and session.access_epoch != authorizer.epoch:
        session.access_changed(authorizer.epoch)
    fetch = _Fetch(context, request, session, incremental=incremental)
    try:
        await fetch.read()
        missing = request.min_bytes - fetch.byte_count
        deadline: float | None = None
        while missing > 0 and fetch.can_wait:
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
            await fetch.read()
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
    """The session of the request, brought up to date, and whether its answer is incremental."""
    broker = context.broker
    uses_topic_ids = context.api_version >= _TOPIC_IDS_SINCE
    committed_only = request.isolation_level == READ_COMMITTED
    if request.session_epoch not in (INITIAL_EPOCH, FINAL_EPOCH):
        session = broker.fetch_sessions.resume(
            request.session_id, request.session_epoch, uses_topic_ids=uses_topic_ids, now_ms=broker.clock.now_ms()
        )
        session.update(request.topics, request.forgotten_topics_data, committed_only=committed_only)
        if session.items:
            return session, True
        # A session that ends so is answered as a request without one.
        broker.fetch_sessions.end(session.session_id)
        session.session_id = NO_SESSION
        session.ask(request.topics)
        return session, False
    if request.session_id != NO_SESSION:
        broker.fetch_sessions.end(request.session_id)
    replica_id = _replica_id(request)
    session = FetchSession(
        uses_topic_ids=uses_topic_ids,
        committed_only=committed_only,
        log_end=replica_id != _CONSUMER,
        follower=replica_id >= 0,
    )
    session.ask(request.topics)
    # A session is kept from the first request on, so that partitions watched while it waits stay watched.
    if request.session_epoch == INITIAL_EPOCH:
        broker.fetch_sessions.keep(session, broker.clock.now_ms())
    return session, False


def _replica_id(request: FetchRequest) -> int:
    return request.replica_id if request.replica_id != _CONSUMER else request.replica_state.replica_id


def _up_to(request: FetchRequest, replica_id: int) -> ReadUpTo:
    if replica_id >= 0 or replica_id == _DEBUGGING_CONSUMER:
        return ReadUpTo.LOG_END
    return ReadUpTo.LAST_STABLE_OFFSET if request.isolation_level == READ_COMMITTED else ReadUpTo.HIGH_WATERMARK


class _Fetch:
    """The answer to one request while it is gathered: an answer per partition, bytes so far.

    ``failed``: a partition could not be read, diverges or is to be read elsewhere, so the answer must not wait.
    """

    __slots__ = (
        "_answers",
        "_bytes_max",
        "_context",
        "_incremental",
        "_is_first_read",
        "_is_follower",
        "_replica_id",
        "_request",
        "_session",
        "_unknown",
        "_unknown_at_first",
        "_up_to",
        "byte_count",
        "failed",
    )

    def __init__(self, context: Context, request: FetchRequest, session: FetchSession, *, incremental: bool) -> None:
        replica_id = self._replica_id = _replica_id(request)
        self._request = request
        self._is_first_read = True
        self._context = context
        self._bytes_max = min(request.max_bytes, context.broker.configs.broker["fetch.max.bytes"])
        self._session = session
        self._incremental = incremental
        self._is_follower = replica_id >= 0
        self._up_to = _up_to(request, replica_id)
        self._answers: dict[FetchItem, PartitionData] = {}
        # Answers for partitions that do not exist: they come last, and do not end a wait that began with them.
        self._unknown: dict[FetchItem, PartitionData] = {}
        self._unknown_at_first: frozenset[FetchItem] | None = None
        self.byte_count = 0
        self.failed = False

    @property
    def can_wait(self) -> bool:
        """Whether more bytes may come: nothing failed, and there is a partition to wait for."""
        return not self.failed and len(self._session.items) > len(self._unknown)

    async def read(self) -> None:
        """Read what may have something new, from the partition that was served longest ago, up to max_bytes.

        ``release`` comes before a second read.
        """
        session = self._session
        left = self._bytes_max
        items: Iterable[FetchItem] = session.dirty_items() if self._incremental else session.items.values()
        wanted = list(items)
        for place, item in enumerate(wanted):
            if place & _TURN_MASK == _TURN_MASK:
                await self._context.yield_turn()
            answer = self._answer(item, left)
            code = answer.error_code
            if code in _NOT_THERE:
                self._unknown[item] = answer
                continue
            self._answers[item] = answer
            if code or answer.diverging_epoch is not _NOT_DIVERGING:
                self.failed = True
            elif answer.records:
                size = len(answer.records)
                self.byte_count += size
                left -= size
            elif item.fetch_offset >= self._visible_end(item) and not (self._incremental and _has_news(item, answer)):
                # Clean: an append, a change or the client's next request marks it as dirty again.
                session.watch.dirty.pop(item.key, None)
        self._is_first_read = False
        if self._unknown_at_first is None:
            self._unknown_at_first = frozenset(self._unknown)
        elif not self._unknown_at_first.issuperset(self._unknown):
            self.failed = True  # deleted while the request waited

    def release(self) -> None:
        """Unpin the slices of answers that will not be sent, and forget the answers."""
        for answer in self._answers.values():
            _release(answer.records)
        self._answers.clear()
        self._unknown.clear()
        self.byte_count = 0

    def respond(self) -> FetchResponse:
        session = self._session
        topics: dict[Any, FetchResponse.FetchableTopicResponse] = {}
        if self._unknown:
            self._answers.update(self._unknown)
        for item, answer in self._answers.items():
            if not self._must_include(item, answer):
                continue
            topic = topics.get(item.key[0])  # type: ignore[index]
            if topic is None:
                topic = topics[item.key[0]] = FetchResponse.FetchableTopicResponse(  # type: ignore[index]
                    topic=item.topic, topic_id=item.topic_id, partitions=[]
                )
            topic.partitions.append(answer)
            if self._incremental and answer.records:
                session.move_to_end(item)
        response = FetchResponse(
            throttle_time_ms=self._context.throttle_ms, session_id=session.session_id, responses=list(topics.values())
        )
        if self.failed and self._context.api_version >= _LEADER_SINCE:
            self._add_leaders(response)
        return response

    def _add_leaders(self, response: FetchResponse) -> None:
        """Add the current leader where it is another broker, or the client has an older epoch (KIP-951)."""
        leaders = []
        for topic in response.responses:
            for answer in topic.partitions:
                if answer.error_code in _LEADER_MOVED:
                    known = self._context.broker.image.topics_by_id.get(topic.topic_id)
                    name = topic.topic if known is None else known.name
                    leader, epoch = current_leader(self._context, name, answer.partition_index)
                    answer.current_leader = FetchResponse.LeaderIdAndEpoch(leader_id=leader, leader_epoch=epoch)
                    leaders.append(leader)
        if leaders and not self._is_follower:  # a follower finds the leaders in the metadata
            response.node_endpoints = endpoints_of(self._context, leaders, FetchResponse.NodeEndpoint)

    def _must_include(self, item: FetchItem, answer: PartitionData) -> bool:
        """A full answer has every partition; an incremental one those with something new for the client (KIP-227)."""
        included = not self._incremental or bool(answer.records) or _has_news(item, answer)
        included = included or answer.preferred_read_replica != _NO_REPLICA
        item.sent_high_watermark = -1 if answer.error_code else answer.high_watermark
        item.sent_log_start_offset = answer.log_start_offset
        return included

    def _visible_end(self, item: FetchItem) -> int:
        return 0 if item.partition is None else visible_end(item.partition.log, self._up_to)

    def _answer(self, item: FetchItem, left: int) -> PartitionData:
        try:
            return self._read_one(item, left)
        except KafkaError as refusal:
            return _refused(item, refusal.code)
        except StorageFailure as failure:
            self._context.broker.storage_failures.report(failure)
            known = self._context.api_version >= _STORAGE_ERROR_SINCE
            return _refused(item, Code.KAFKA_STORAGE_ERROR if known else Code.NOT_LEADER_OR_FOLLOWER)

    def _partition(self, item: FetchItem) -> Partition:
        """The item's partition, looked up and watched at first use.

        Raises KafkaError: UNKNOWN_TOPIC_ID for an id that this fetch (session) has never known,
        UNKNOWN_TOPIC_OR_PARTITION once the topic is deleted, INCONSISTENT_TOPIC_ID when another topic has its name.
        """
        partition = item.partition
        if partition is not None and partition.leads:
            return partition
        if partition is None or partition.deleted:
            partition = self._found(item)
        if not partition.leads:
            # The epoch is checked before the leadership: a client with older or newer metadata gets that code
            # (KIP-320).
            partition.check_leader_epoch(item.leader_epoch)
            if self._is_follower or self._context.api_version < _FOLLOWERS_SERVE_SINCE:
                raise KafkaError(Code.NOT_LEADER_OR_FOLLOWER)
        return partition

    def _found(self, item: FetchItem) -> Partition:
        item.unwatch(self._session.watch)
        broker = self._context.broker
        uses_topic_ids = self._session.uses_topic_ids
        if uses_topic_ids and not item.topic:
            known = broker.image.topics_by_id.get(item.topic_id)
            if known is None:
                # A broker that is configured with this listener as a controller's would repeat its fetch of the
                # metadata log at once.
                is_metadata = item.topic_id == METADATA_TOPIC_ID
                raise KafkaError(Code.NOT_LEADER_OR_FOLLOWER if is_metadata else Code.UNKNOWN_TOPIC_ID)
            item.topic = known.name
        partition = broker.partitions.replica(item.topic, item.index)
        if uses_topic_ids and partition.topic_id != item.topic_id:
            raise KafkaError(Code.INCONSISTENT_TOPIC_ID)
        partition.watch(self._session.watch, item.key)
        item.partition = partition
        return partition

    def _authorize(self, item: FetchItem) -> None:
        """A consumer needs READ on the topic, a follower CLUSTER_ACTION on the cluster."""
        if self._is_follower:
            allowed = self._context.may_cluster(Operation.CLUSTER_ACTION)
        else:
            known = self._context.broker.image.topics_by_id.get(item.topic_id)
            name = item.topic or (known.name if known is not None else "")
            allowed = not name or self._context.may(Operation.READ, ResourceType.TOPIC, name)
        if not allowed:
            raise KafkaError(Code.TOPIC_AUTHORIZATION_FAILED)

    def _read_one(self, item: FetchItem, left: int) -> PartitionData:
        if self._context.broker.authorizer is not None:
            self._authorize(item)
        partition = self._partition(item)
        if self._is_follower:
            check_follower(partition, self._replica_id, item.leader_epoch)
            if self._is_throttled(partition):
                return self._read_nothing(partition, item)
        selector = self._context.broker.replica_selector
        if selector is not None and (preferred := self._preferred_replica(selector, partition, item)) != _NO_REPLICA:
            answer = self._read_nothing(partition, item)
            answer.preferred_read_replica = preferred
            self.failed = True
            return answer
        records, high_watermark, last_stable_offset, log_start_offset, aborted, diverging = read_partition(
            partition,
            item.fetch_offset,
            leader_epoch=item.leader_epoch,
            last_fetched_epoch=item.last_fetched_epoch,
            up_to=self._up_to,
            max_bytes=min(item.max_bytes, left),
            at_least_one=self.byte_count == 0,
        )
        if self._is_follower and diverging is None:
            high_watermark = self._note_follower(partition, item, records)
        return PartitionData(
            partition_index=item.index,
            high_watermark=high_watermark,
            last_stable_offset=last_stable_offset,
            log_start_offset=log_start_offset,
            diverging_epoch=_NOT_DIVERGING
            if diverging is None
            else FetchResponse.EpochEndOffset(epoch=diverging.epoch, end_offset=diverging.end_offset),
            current_leader=_SAME_LEADER,
            snapshot_id=_NO_SNAPSHOT,
            aborted_transactions=aborted if aborted is None else [_aborted(one) for one in aborted],
            records=b"" if records is None else records,
        )

    def _preferred_replica(self, selector: RackAwareReplicaSelector, partition: Partition, item: FetchItem) -> int:
        """Name the replica that a consumer is to read from, if it is not this one."""
        context, rack = self._context, self._request.rack_id
        if self._is_follower or not rack or not partition.leads:
            return _NO_REPLICA
        return selector.preferred(
            partition,
            item.fetch_offset,
            rack=rack,
            listener=context.endpoint.name,
            now_ms=int(context.broker.clock.monotonic_ms()),
        )

    def _is_throttled(self, partition: Partition) -> bool:
        """Whether a follower that is not in sync gets nothing now: ``leader.replication.throttled.rate`` (KIP-73)."""
        replication = self._context.broker.replication
        return (
            replication is not None
            and partition.index in partition.settings.throttled_as_leader
            and self._replica_id not in partition.isr
            and replication.leader_quota.is_exceeded
        )

    def _note_follower(self, partition: Partition, item: FetchItem, records: FileSlice | None) -> int:
        """Note what the fetch of a follower shows, once for each request; returns the high watermark then."""
        if self._is_first_read:
            assert isinstance(item, FollowerFetchItem)
            try:
                note_follower_fetch(
                    partition,
                    self._replica_id,
                    offset=item.fetch_offset,
                    log_start_offset=item.log_start_offset,
                    broker_epoch=self._request.replica_state.replica_epoch,
                )
            except BaseException:
                _release(records)
                raise
        replication, throttled = self._context.broker.replication, partition.settings.throttled_as_leader
        if replication is not None and records is not None and partition.index in throttled:
            replication.leader_quota.record(len(records))
        return partition.high_watermark

    def _read_nothing(self, partition: Partition, item: FetchItem) -> PartitionData:
        """Answer a throttled follower: offsets, and no records."""
        read = read_partition(
            partition,
            item.fetch_offset,
            leader_epoch=item.leader_epoch,
            last_fetched_epoch=item.last_fetched_epoch,
            up_to=self._up_to,
            max_bytes=0,
            at_least_one=False,
        )
        diverging = read.diverging
        return PartitionData(
            partition_index=item.index,
            high_watermark=read.high_watermark
            if diverging or not self._is_follower
            else self._note_follower(partition, item, None),
            last_stable_offset=read.last_stable_offset,
            log_start_offset=read.log_start_offset,
            diverging_epoch=_NOT_DIVERGING
            if diverging is None
            else FetchResponse.EpochEndOffset(epoch=diverging.epoch, end_offset=diverging.end_offset),
            records=b"",
        )


def _has_news(item: FetchItem, answer: PartitionData) -> bool:
    """Whether the answer has something beside records that the client of the session does not have yet."""
    return (
        answer.error_code != 0
        or answer.high_watermark != item.sent_high_watermark
        or answer.log_start_offset != item.sent_log_start_offset
        or answer.diverging_epoch is not _NOT_DIVERGING
    )


def _aborted(one: AbortedTransaction) -> FetchResponse.AbortedTransaction:
    return FetchResponse.AbortedTransaction(producer_id=one.producer_id, first_offset=one.first_offset)


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
        # Null where the log was read; a partition that does not exist has the message's default.
        aborted_transactions=[] if code in _NOT_THERE else None,
        records=b"",
    )
