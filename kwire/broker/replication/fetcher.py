"""Copies the partitions that one other broker leads.

Responsible for: one fetch request after the other to one leader, in an incremental session, and applying the answers to
the partitions. Must not depend on: which partitions are led there (``follow`` and ``unfollow``), how a log is changed.

A partition that the leader refuses is asked for again after 20 ms, then after twice as long, up to
``replica.fetch.backoff.ms``: a leader that applies the same metadata a little later is ready by then.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

import trio

from kwire.broker.clock import Clock
from kwire.broker.logs import Logger
from kwire.broker.outbound.interface import Node, OutboundError
from kwire.broker.partitions.copying import append_copied, cut_doubtful, follow_leader_offsets, restart_at, truncate
from kwire.broker.partitions.partition import Partition
from kwire.broker.replication.throttle import Throttle
from kwire.broker.storage_failures import StorageFailures
from kwire.errors import Code, KafkaError, StorageFailure, code_of
from kwire.metadata.configs.effective import EffectiveConfigs
from kwire.replication.follower import (
    Backoff,
    Reaction,
    RestartAt,
    TruncateTo,
    fetch_position,
    out_of_range,
    reaction,
    truncation_offset,
)
from kwire.replication.sessions import FollowerSession, SessionRequest
from kwire.types import Uuid
from kwire.wire.messages import FetchRequest, FetchResponse, ListOffsetsRequest

log = Logger("kwire.replication")

Key: TypeAlias = tuple[Uuid, int]
PartitionData: TypeAlias = FetchResponse.PartitionData

_LATEST: Final = -1
_EARLIEST: Final = -4  # of the local log
# A follower with old metadata fetches again once it has newer metadata; or after this time, if the answer was about an
# older state.
_AWAIT_METADATA_MS: Final = 1000
# How often the session's positions are compared with the logs, whose start moves without a fetch.
_REFRESH_MS: Final = 1000
_INTERRUPT_MS: Final = 200
# How long a throttled replica waits before the rate is looked at again.
_THROTTLED_MS: Final = 100
# Answers of a leader that has older or newer metadata than this broker.
_USUAL: Final = (
    Code.UNKNOWN_LEADER_EPOCH,
    Code.NOT_LEADER_OR_FOLLOWER,
    Code.UNKNOWN_TOPIC_ID,
    Code.UNKNOWN_TOPIC_OR_PARTITION,
)
_SESSION_LOST: Final = (
    Code.FETCH_SESSION_ID_NOT_FOUND,
    Code.INVALID_FETCH_SESSION_EPOCH,
    Code.FETCH_SESSION_TOPIC_ID_ERROR,
)


class _Followed:
    """A partition of this fetcher, and when it may be fetched again after an error."""

    __slots__ = ("backoff", "is_throttled", "not_before_ms", "partition", "refusal")

    def __init__(self, partition: Partition, backoff_max_ms: int) -> None:
        self.partition = partition
        # The last error code of the leader, if it was logged.
        self.refusal = Code.NONE
        self.backoff = Backoff(backoff_max_ms)
        self.not_before_ms = 0.0
        # It waits for the replication quota.
        self.is_throttled = False


class Fetcher:
    """One of ``num.replica.fetchers`` for one leader. ``connect`` returns the connection to it, or raises.

    ``broker_epoch`` is that of this broker's registration, -1 before it is registered (KIP-903).
    """

    def __init__(
        self,
        *,
        leader_id: int,
        configs: EffectiveConfigs,
        clock: Clock,
        connect: Callable[[], Node],
        disconnect: Callable[[], None],
        broker_epoch: Callable[[], int],
        quota: Throttle,
        storage_failures: StorageFailures,
    ) -> None:
        self.leader_id = leader_id
        self._node_id = configs.node_id
        self._configs = configs
        self._clock = clock
        self._connect = connect
        self._disconnect = disconnect
        # The request that waits at the leader, and when one was last abandoned.
        self._waiting: trio.CancelScope | None = None
        self._interrupted_ms = float("-inf")
        self._broker_epoch = broker_epoch
        self._quota = quota
        self._storage_failures = storage_failures
        self._followed: dict[Key, _Followed] = {}
        # Partitions that are not in the session, because of an error.
        self._paused: dict[Key, _Followed] = {}
        self._session: FollowerSession[Key] = FollowerSession()
        self._connection_backoff = Backoff(self._backoff_max_ms)
        self._is_failing = False
        self._refreshed_ms = clock.monotonic_ms()
        self._changed = trio.Event()
        self._scope: trio.CancelScope | None = None
        self._is_stopped = False

    @property
    def _backoff_max_ms(self) -> int:
        return max(1, self._configs.broker["replica.fetch.backoff.ms"])

    def __len__(self) -> int:
        return len(self._followed)

    # --- which partitions
    # --------------------------------------------------------------------------------------------

    def follow(self, partition: Partition) -> None:
        """Copy a partition; for one that is copied already, apply newer metadata."""
        key = (partition.topic_id, partition.index)
        is_new = key not in self._session.requested
        self._followed[key] = followed = _Followed(partition, self._backoff_max_ms)
        self._paused.pop(key, None)
        self._refresh(key, followed)
        self._changed.set()
        if is_new:
            self._interrupt()

    def _interrupt(self) -> None:
        """Abandon the request that waits at the leader: it lacks a partition in which producers wait for this replica.

        The leader answers the requests of a connection in order, so the connection goes too. At most one in
        ``_INTERRUPT_MS``, since the next session begins with all partitions.
        """
        now_ms = self._clock.monotonic_ms()
        if self._waiting is not None and now_ms - self._interrupted_ms >= _INTERRUPT_MS:
            self._interrupted_ms = now_ms
            self._waiting.cancel()

    def unfollow(self, partition: Partition) -> None:
        """Stop fetching a partition; one that is not fetched is no error."""
        key = (partition.topic_id, partition.index)
        if self._followed.pop(key, None) is not None:
            self._paused.pop(key, None)
            self._session.remove(key)
            self._changed.set()

    def _refresh(self, key: Key, followed: _Followed) -> None:
        """Fetch the partition from the current end of its log."""
        try:
            cut_doubtful(followed.partition)
            self._session.set(key, fetch_position(followed.partition.log, followed.partition.leader_epoch))
        except StorageFailure as failure:
            self._failed(key, followed, failure)

    def _pause(self, key: Key, followed: _Followed, pause_ms: float) -> None:
        followed.not_before_ms = self._clock.monotonic_ms() + pause_ms
        self._paused[key] = followed
        self._session.remove(key)

    def _failed(self, key: Key, followed: _Followed, failure: StorageFailure) -> None:
        """Pause a partition whose log failed; the others continue."""
        self._storage_failures.report(failure)
        self._pause(key, followed, self._backoff_max_ms)

    def _resume(self) -> None:
        """Resume partitions whose pause is over, and compare all positions from time to time."""
        now_ms = self._clock.monotonic_ms()
        for key, followed in list(self._paused.items()):
            if followed.is_throttled and self._quota.is_exceeded:
                followed.not_before_ms = max(followed.not_before_ms, now_ms + _THROTTLED_MS)
            if followed.not_before_ms <= now_ms:
                followed.is_throttled = False
                del self._paused[key]
                self._refresh(key, followed)
        if now_ms - self._refreshed_ms >= _REFRESH_MS:
            self._refreshed_ms = now_ms
            for key, followed in list(self._followed.items()):
                if key not in self._paused:
                    self._refresh(key, followed)

    # --- fetching
    # ----------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """End ``run``: the leader is not there any more."""
        self._is_stopped = True
        if self._scope is not None:
            self._scope.cancel()
        self._disconnect()

    async def run(self) -> None:
        """Fetch until stopped or cancelled."""
        if not self._is_stopped:
            with trio.CancelScope() as self._scope:
                await self._run()

    async def _run(self) -> None:
        self._session.forget()
        while True:
            self._resume()
            if not self._session.has_news:
                await self._wait()
                continue
            try:
                await self._fetch_once()
            except OutboundError as error:
                self._session.reset()
                self._note_failure(error)
                await self._clock.sleep(self._connection_backoff.failed())
            else:
                self._note_success()

    def _note_failure(self, error: OutboundError) -> None:
        """Log the first of several failures in a row: a broker that is down is tried every second."""
        if not self._is_failing:
            self._is_failing = True
            log.warning("fetch from leader failed", leader=self.leader_id, why=str(error))

    def _note_success(self) -> None:
        if self._is_failing:
            self._is_failing = False
            log.info("fetch from leader succeeds again", leader=self.leader_id)
        self._connection_backoff.succeeded()

    async def _wait(self) -> None:
        """Wait for partitions, or for the end of a pause."""
        self._changed = trio.Event()
        timer = None
        if self._paused:
            due_ms = min(followed.not_before_ms for followed in self._paused.values())
            timer = self._clock.call_later(due_ms - self._clock.monotonic_ms(), self._changed.set)
        try:
            await self._changed.wait()
        finally:
            if timer is not None:
                timer.cancel()

    async def _fetch_once(self) -> None:
        node = self._connect()
        session, broker = self._session, self._configs.broker
        request = session.build()
        # The wait at the leader ends with the shortest pause, so that paused partitions are fetched again in time.
        max_wait_ms = broker["replica.fetch.wait.max.ms"]
        if self._paused:
            due_ms = min(followed.not_before_ms for followed in self._paused.values())
            left_ms = due_ms - self._clock.monotonic_ms()
            max_wait_ms = min(max_wait_ms, max(0, int(left_ms)))
        response: FetchResponse | None = None
        try:
            with trio.CancelScope() as self._waiting:
                response = await node.request(
                    self._request(request, max_wait_ms), timeout_ms=broker["replica.socket.timeout.ms"]
                )
        finally:
            self._waiting = None
            if response is None:
                session.reset()
        if response is None:
            self._disconnect()
            return
        if response.error_code:
            session.forget()
            if response.error_code in _SESSION_LOST:
                return
            raise OutboundError(f"the leader refuses the request: {code_of(response.error_code).name}")
        session.answered(response.session_id)
        for topic in response.responses:
            for answer in topic.partitions:
                await self._apply(node, (topic.topic_id, answer.partition_index), answer)

    def _request(self, request: SessionRequest[Key], max_wait_ms: int) -> FetchRequest:
        broker = self._configs.broker
        partition_bytes_max = broker["replica.fetch.max.bytes"]
        topics: dict[Uuid, FetchRequest.FetchTopic] = {}
        for (topic_id, index), position in request.partitions.items():
            topic = topics.get(topic_id)
            if topic is None:
                topic = topics[topic_id] = FetchRequest.FetchTopic(topic_id=topic_id, partitions=[])
            topic.partitions.append(
                FetchRequest.FetchPartition(
                    partition=index,
                    current_leader_epoch=position.leader_epoch,
                    fetch_offset=position.offset,
                    last_fetched_epoch=position.last_fetched_epoch,
                    log_start_offset=position.log_start_offset,
                    partition_max_bytes=partition_bytes_max,
                )
            )
        forgotten: dict[Uuid, FetchRequest.ForgottenTopic] = {}
        for topic_id, index in request.forgotten:
            left = forgotten.get(topic_id)
            if left is None:
                left = forgotten[topic_id] = FetchRequest.ForgottenTopic(topic_id=topic_id, partitions=[])
            left.partitions.append(index)
        return FetchRequest(
            replica_state=FetchRequest.ReplicaState(replica_id=self._node_id, replica_epoch=self._broker_epoch()),
            max_wait_ms=max_wait_ms,
            min_bytes=broker["replica.fetch.min.bytes"],
            max_bytes=broker["replica.fetch.response.max.bytes"],
            session_id=request.session_id,
            session_epoch=request.epoch,
            topics=list(topics.values()),
            forgotten_topics_data=list(forgotten.values()),
        )

    # --- answers
    # -----------------------------------------------------------------------------------------------------

    async def _apply(self, node: Node, key: Key, answer: PartitionData) -> None:
        """Apply the answer for one partition, unless its log or its role has changed since the request."""
        followed = self._followed.get(key)
        if followed is None or key in self._paused:
            return
        partition = followed.partition
        try:
            if not self._is_current(key, partition):
                return
            if answer.error_code:
                await self._react(node, key, followed, code_of(answer.error_code))
                return
            diverging = answer.diverging_epoch
            if diverging.epoch >= 0:
                offset = truncation_offset(partition.log, epoch=diverging.epoch, end_offset=diverging.end_offset)
                self._truncate(partition, offset)
            else:
                self._copy(partition, answer)
                if partition.is_flush_due:
                    # The leader takes the next fetch offset as the end of what this broker has written.
                    await partition.flush()
            followed.backoff.succeeded()
            followed.refusal = Code.NONE
        except StorageFailure as failure:
            self._failed(key, followed, failure)
            return
        except KafkaError as refusal:
            log.warning("fetched batch refused", partition=str(partition), error=refusal.code.name, why=refusal.message)
            self._pause(key, followed, followed.backoff.failed())
            return
        if self._followed.get(key) is followed and not partition.leads:
            self._refresh(key, followed)
            if self._is_throttled(partition, answer):
                followed.is_throttled = True
                self._pause(key, followed, _THROTTLED_MS)
        if answer.records:
            # A whole response may hold 10 MB: others run between its partitions.
            await trio.lowlevel.checkpoint()

    def _is_current(self, key: Key, partition: Partition) -> bool:
        """Whether the answer is for the current end of the log and the current leader epoch."""
        requested = self._session.requested.get(key)
        return (
            requested is not None
            and not partition.leads
            and not partition.deleted
            and partition.leader_id == self.leader_id
            and requested.offset == partition.log.end_offset
            and requested.leader_epoch == partition.leader_epoch
        )

    def _is_throttled(self, partition: Partition, answer: PartitionData) -> bool:
        """Whether a replica that is behind must wait, because of ``follower.replication.throttled.rate`` (KIP-73)."""
        if partition.index not in partition.settings.throttled_as_follower:
            return False
        if answer.records:
            self._quota.record(len(answer.records))
        return partition.log.end_offset < answer.high_watermark and self._quota.is_exceeded

    def _copy(self, partition: Partition, answer: PartitionData) -> None:
        records = answer.records
        if records:
            assert isinstance(records, (bytes, memoryview))
            append_copied(partition, memoryview(records))
        follow_leader_offsets(partition, high_watermark=answer.high_watermark, log_start_offset=answer.log_start_offset)

    def _truncate(self, partition: Partition, offset: int) -> None:
        opened = partition.log
        if offset < opened.end_offset:
            below = offset < opened.high_watermark
            (log.warning if below else log.info)(
                "log truncated: it differs from the leader's",
                partition=str(partition),
                offset=offset,
                log_end_offset=opened.end_offset,
                high_watermark=opened.high_watermark,
                leader=self.leader_id,
            )
        truncate(partition, offset)

    async def _react(self, node: Node, key: Key, followed: _Followed, code: Code) -> None:
        match reaction(code):
            case Reaction.ASK_OFFSETS:
                await self._find_offset(node, key, followed)
            case Reaction.AWAIT_METADATA:
                self._pause(key, followed, _AWAIT_METADATA_MS)
            case Reaction.RETRY:
                if code not in _USUAL and code is not followed.refusal:
                    followed.refusal = code
                    log.warning(
                        "fetch of a partition refused by leader",
                        partition=str(followed.partition),
                        leader=self.leader_id,
                        error=code.name,
                    )
                self._pause(key, followed, followed.backoff.failed())

    async def _find_offset(self, node: Node, key: Key, followed: _Followed) -> None:
        """The leader's log does not reach or no longer has this log's end: ask for its start and end."""
        partition = followed.partition
        end = await self._offset_of(node, partition, _LATEST)
        start = await self._offset_of(node, partition, _EARLIEST) if end is not None else None
        if start is None or end is None:
            self._pause(key, followed, followed.backoff.failed())
            return
        if self._followed.get(key) is not followed or not self._is_current(key, partition):
            return
        decision = out_of_range(partition.log, leader_start=start, leader_end=end)
        log.warning(
            "fetch offset out of the leader's range",
            partition=str(partition),
            offset=partition.log.end_offset,
            leader_start=start,
            leader_end=end,
            decision=type(decision).__name__,
        )
        if isinstance(decision, TruncateTo):
            self._truncate(partition, decision.offset)
        elif isinstance(decision, RestartAt):
            restart_at(partition, decision.offset)
        self._pause(key, followed, followed.backoff.failed())

    async def _offset_of(self, node: Node, partition: Partition, timestamp: int) -> int | None:
        """Ask the leader for an offset of its log; None if it refuses."""
        wanted = ListOffsetsRequest.ListOffsetsPartition(
            partition_index=partition.index, current_leader_epoch=partition.leader_epoch, timestamp=timestamp
        )
        response: Any = await node.request(
            ListOffsetsRequest(
                replica_id=self._node_id,
                topics=[ListOffsetsRequest.ListOffsetsTopic(name=partition.topic, partitions=[wanted])],
            )
        )
        answers = [answer for topic in response.topics for answer in topic.partitions]
        if not answers or answers[0].error_code:
            return None
        offset: int = answers[0].offset
        return offset
