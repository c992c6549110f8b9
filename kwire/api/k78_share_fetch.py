"""ShareFetch (key 78).

Versions: 1-2.

Behaviour: acknowledgements that come with the request are carried out first. Then the partitions of the share session
are read from their next offsets and the member acquires what it may have; with fewer than ``min_bytes`` it waits, for
appended records, for records that are released, or for a lock to end. Records are slices of files, as Fetch serves
them. Epoch 0 begins a session, -1 ends it without a fetch.

Version notes: 2 acquire mode (KIP-1206) and RENEW (KIP-1222): a request that renews fetches nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from kwire.api.moved_leader import current_leader_by_id, endpoints_of
from kwire.api.pacing import paced, paced_list
from kwire.api.probes import MEMBER, NO_UUID_TEXT, Probe
from kwire.api.share_acknowledgements import acknowledge
from kwire.api.share_sessions import checked_names, connection_closed, end_session, share_sessions
from kwire.broker.partitions.fetching.reading import ReadUpTo
from kwire.broker.partitions.watches import Watch
from kwire.broker.requests.context import Context
from kwire.broker.share.fetching import ShareRead, Taken, Terms, read_share_partitions, take
from kwire.broker.share.sessions import FINAL_EPOCH, INITIAL_EPOCH, SessionKey, SharedPartition, ShareSession
from kwire.broker.share.share_partitions import LedSharePartition
from kwire.coordinators.share.share_partition import SharePartition
from kwire.coordinators.share.state import SharePartitionKey
from kwire.errors import Code, KafkaError, StorageFailure
from kwire.security.operations import Operation, ResourceType
from kwire.storage.files import FileSlice
from kwire.wire.messages import ShareFetchRequest, ShareFetchResponse

PROBE: Probe = {**MEMBER, "member_id": NO_UUID_TEXT, "share_session_epoch": 7, "max_bytes": 1, "max_records": 1}

_RECORD_LIMIT_MODE: Final = 1  # KIP-1206
# A fetch of many partitions checks the length of its turn after every 32 of them.
_TURN_MASK: Final = 31

PartitionData = ShareFetchResponse.PartitionData


async def handle(context: Context, request: ShareFetchRequest) -> ShareFetchResponse:
    try:
        key = checked_names(context, request.group_id, request.member_id)
        _check_renewal(request)
        added, forgotten = await _listed(context, request)
        session = _session(context, request, key, added, forgotten)
    except KafkaError as refusal:
        if refusal.code is Code.SHARE_SESSION_LIMIT_REACHED:
            # The client retries at once, so the refusal is delayed by the wait that it allows.
            await context.wait(Watch(committed_only=False).arm(1), request.max_wait_ms)
        return ShareFetchResponse(
            throttle_time_ms=context.throttle_ms, error_code=refusal.code, error_message=refusal.message
        )
    answers: dict[SharedPartition, PartitionData] = {}
    acknowledged: dict[SharedPartition, KafkaError | None] = {}
    if _has_acknowledgements(request):
        acknowledged = await acknowledge(context, key, request.topics, is_renew=request.is_renew_ack)
    if request.share_session_epoch == FINAL_EPOCH:
        await end_session(context, session)
    elif not request.is_renew_ack:
        answers = await _Fetch(context, request, session).run()
    async for each, refused in paced(context, acknowledged.items()):
        answer = answers.get(each)
        if answer is None:
            answer = answers[each] = PartitionData(partition_index=each.partition, records=b"")
        if refused is not None:
            answer.acknowledge_error_code = refused.code
            answer.acknowledge_error_message = refused.message
    responses, leaders = await _by_topic(context, answers)
    return ShareFetchResponse(
        throttle_time_ms=context.throttle_ms,
        acquisition_lock_timeout_ms=context.broker.share_partitions.lock_ms(key.group_id),
        responses=responses,
        node_endpoints=endpoints_of(context, leaders, ShareFetchResponse.NodeEndpoint),
    )


async def _listed(context: Context, request: ShareFetchRequest) -> tuple[list[SharedPartition], list[SharedPartition]]:
    """The partitions that the request adds to the session, and those that it removes."""
    added: list[SharedPartition] = []
    forgotten: list[SharedPartition] = []
    async for topic in paced(context, request.topics):
        indexes = [one.partition_index for one in topic.partitions]
        added += await paced_list(context, partial(SharedPartition, topic.topic_id), indexes)
    async for each in paced(context, request.forgotten_topics_data):
        forgotten += await paced_list(context, partial(SharedPartition, each.topic_id), each.partitions)
    return added, forgotten


def _session(
    context: Context,
    request: ShareFetchRequest,
    key: SessionKey,
    added: Sequence[SharedPartition],
    forgotten: Sequence[SharedPartition],
) -> ShareSession:
    """The session of the request, brought up to date.

    Raises KafkaError: INVALID_REQUEST for acknowledgements in a session's first request, SHARE_SESSION_NOT_FOUND,
    INVALID_SHARE_SESSION_EPOCH, SHARE_SESSION_LIMIT_REACHED.
    """
    sessions = share_sessions(context.broker)
    epoch = request.share_session_epoch
    if epoch == FINAL_EPOCH:
        return sessions.resume(key, epoch)
    if epoch == INITIAL_EPOCH:
        if _has_acknowledgements(request):
            raise KafkaError(Code.INVALID_REQUEST)
        session = sessions.open(key, context.connection)
        session.partitions = dict.fromkeys(added, False)
        broker = context.broker
        context.connection.closing[key] = lambda: connection_closed(broker, session)
        return session
    session = sessions.resume(key, epoch)
    session.update(added, forgotten)
    return session


def _has_acknowledgements(request: ShareFetchRequest) -> bool:
    return any(one.acknowledgement_batches for topic in request.topics for one in topic.partitions)


def _check_renewal(request: ShareFetchRequest) -> None:
    """Raise KafkaError(INVALID_REQUEST) if a request that renews locks asks for records, too (KIP-1222)."""
    if not request.is_renew_ack:
        return
    if request.max_bytes or request.min_bytes or request.max_records or request.max_wait_ms:
        raise KafkaError(Code.INVALID_REQUEST)


class _Fetch:
    """The fetch of one request: ``answers`` by partition, in the order in which they are gathered."""

    def __init__(self, context: Context, request: ShareFetchRequest, session: ShareSession) -> None:
        broker = context.broker
        group_id, member_id = session.key
        committed_only = broker.configs.group(group_id)["share.isolation.level"] == "read_committed"
        self._context = context
        self._session = session
        self._is_first = request.share_session_epoch == INITIAL_EPOCH
        self._epoch = request.share_session_epoch
        self._records_max = request.max_records
        self._bytes_max = min(request.max_bytes, broker.configs.broker["fetch.max.bytes"])
        self._bytes_min = min(request.min_bytes, self._bytes_max)
        self._max_wait_ms = request.max_wait_ms
        self._terms = Terms(member_id, request.batch_size, request.share_acquire_mode == _RECORD_LIMIT_MODE)
        self._up_to = ReadUpTo.LAST_STABLE_OFFSET if committed_only else ReadUpTo.HIGH_WATERMARK
        self._watch = Watch(committed_only=committed_only)
        self._led: dict[LedSharePartition, SharePartition] = {}
        self._reads: list[ShareRead] = []
        self._answers: dict[SharedPartition, PartitionData] = {}

    async def run(self) -> dict[SharedPartition, PartitionData]:
        try:
            await self._find_partitions()
            if self._led and self._records_max and self._bytes_max:
                await self._read_enough()
                self._take()
        except BaseException:
            self._release()
            for answer in self._answers.values():
                if isinstance(answer.records, FileSlice):
                    answer.records.close()
            raise
        finally:
            for led in self._led:
                led.unwatch(self._watch)
        return self._answers

    async def _find_partitions(self) -> None:
        """Load the share partitions of the session, beginning with another one at each request."""
        partitions = list(self._session.partitions)
        first = self._epoch % len(partitions) if partitions else 0
        for place, each in enumerate(partitions[first:] + partitions[:first]):
            if place & _TURN_MASK == _TURN_MASK:
                await self._context.yield_turn()
            try:
                led, delivery = await self._find(each)
            except KafkaError as refusal:
                self._refuse(each, refusal)
            else:
                self._led[led] = delivery
                led.watch(self._watch, each)

    async def _find(self, each: SharedPartition) -> tuple[LedSharePartition, SharePartition]:
        broker = self._context.broker
        topic = broker.image.topics_by_id.get(each.topic_id)
        if topic is None:
            known = each.topic_id in self._session.topics_read
            raise KafkaError(Code.UNKNOWN_TOPIC_OR_PARTITION if known else Code.UNKNOWN_TOPIC_ID)
        self._session.topics_read.add(each.topic_id)
        self._context.authorize(Operation.READ, ResourceType.TOPIC, topic.name)
        key = SharePartitionKey(self._session.key.group_id, each.topic_id, each.partition)
        return await broker.share_partitions.get(self._context, key, topic.name)

    async def _read_enough(self) -> None:
        """Read until there are ``min_bytes``, something failed, or the time is over."""
        clock = self._context.broker.clock
        deadline_ms = clock.monotonic_ms() + self._max_wait_ms
        while True:
            self._read()
            missing = self._bytes_min - sum(read.byte_count for read in self._reads)
            left_ms = deadline_ms - clock.monotonic_ms()
            failed = any(read.error is not None for read in self._reads)
            if failed or left_ms <= 0 or (self._reads and missing <= 0):
                return
            self._release()
            event = self._watch.arm(max(1, missing))
            try:
                in_time = await self._context.wait(event, left_ms)
            finally:
                self._watch.disarm()
            if not in_time:
                self._read()
                return

    def _read(self) -> None:
        try:
            self._reads = read_share_partitions(self._led.items(), up_to=self._up_to, bytes_max=self._bytes_max)
        except StorageFailure as failure:
            self._context.broker.storage_failures.report(failure)
            raise KafkaError(Code.KAFKA_STORAGE_ERROR) from failure

    def _release(self) -> None:
        for read in self._reads:
            read.close()
        self._reads = []

    def _take(self) -> None:
        left = self._records_max
        for read in self._reads:
            each = SharedPartition(read.led.key.topic_id, read.led.key.partition)
            if read.error is not None and read.error.code is not Code.NONE:
                self._refuse(each, read.error)
                continue
            shares = self._context.broker.share_partitions
            taken = Taken() if read.error is not None else take(read, shares, self._terms, left)
            left -= sum(one.last_offset - one.first_offset + 1 for one in taken.acquired)
            is_due = self._session.note_answer(each, failed=False)
            if taken.acquired:
                self._session.move_to_end(each)
            if taken.acquired or is_due or self._is_first:
                self._answers[each] = _answer(each, taken)

    def _refuse(self, each: SharedPartition, refusal: KafkaError) -> None:
        self._session.note_answer(each, failed=True)
        # Apache Kafka has no text here.
        self._answers[each] = PartitionData(partition_index=each.partition, error_code=refusal.code, records=b"")


def _answer(each: SharedPartition, taken: Taken) -> PartitionData:
    return PartitionData(
        partition_index=each.partition,
        records=b"" if taken.records is None else taken.records,
        acquired_records=[
            ShareFetchResponse.AcquiredRecords(
                first_offset=one.first_offset, last_offset=one.last_offset, delivery_count=one.delivery_count
            )
            for one in taken.acquired
        ],
    )


async def _by_topic(context: Context, answers: dict[SharedPartition, PartitionData]) -> tuple[list[Any], set[int]]:
    """The answers by topic, and the leaders of the partitions that other brokers lead (KIP-951)."""
    leaders: set[int] = set()
    topics: dict[bytes, ShareFetchResponse.ShareFetchableTopicResponse] = {}
    async for each, answer in paced(context, answers.items()):
        topic = topics.get(each.topic_id)
        if topic is None:
            topic = topics[each.topic_id] = ShareFetchResponse.ShareFetchableTopicResponse(
                topic_id=each.topic_id, partitions=[]
            )
        topic.partitions.append(answer)
        if answer.error_code == Code.NOT_LEADER_OR_FOLLOWER:
            leader, epoch = current_leader_by_id(context, each.topic_id, each.partition)
            answer.current_leader = ShareFetchResponse.LeaderIdAndEpoch(leader_id=leader, leader_epoch=epoch)
            leaders.add(leader)
    return list(topics.values()), leaders
