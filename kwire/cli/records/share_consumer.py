"""A consumer of a share group (KIP-932) over the connections of a ``Cluster``.

Responsible for: heartbeats, share sessions, reading acquired records, acknowledgements. Must not depend on: command
lines, how records are shown.

One thread does everything: heartbeats are sent from ``poll``, which must be called more often than the group's session
timeout allows.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from kwire.cli.connections.client import TRANSIENT_ERRORS, Cluster, check
from kwire.cli.connections.connection import CannotConnect, Connection, ConnectionLost, TimedOut
from kwire.errors import Code, KafkaError
from kwire.types import Uuid, uuid_text
from kwire.wire.batches.batch import HEADER_BYTES, read_batch_header
from kwire.wire.batches.records import read_records
from kwire.wire.messages import (
    ShareAcknowledgeRequest,
    ShareAcknowledgeResponse,
    ShareFetchRequest,
    ShareFetchResponse,
    ShareGroupHeartbeatRequest,
    ShareGroupHeartbeatResponse,
)

GAP: Final = 0
ACCEPT: Final = 1
RELEASE: Final = 2
REJECT: Final = 3

_LEAVE_EPOCH: Final = -1
_FINAL_EPOCH: Final = -1
_PAUSE_S: Final = 0.05
_STRICT: Final = 1  # KIP-1206
_STRICT_SINCE: Final = 2
_FETCH_BYTES_MAX: Final = 1 << 20
_SESSION_LOST: Final = frozenset({Code.SHARE_SESSION_NOT_FOUND, Code.INVALID_SHARE_SESSION_EPOCH})
_MEMBER_LOST: Final = frozenset({Code.UNKNOWN_MEMBER_ID, Code.FENCED_MEMBER_EPOCH})
_MOVED: Final = frozenset({Code.NOT_LEADER_OR_FOLLOWER, Code.UNKNOWN_TOPIC_ID, Code.UNKNOWN_TOPIC_OR_PARTITION})

Place = tuple[Uuid, int]


class SharedRecord(NamedTuple):
    """A record that this member holds until it is acknowledged; ``timestamp_type`` 1: log append time."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    timestamp_type: int
    leader_epoch: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    delivery_count: int
    place: Place


class _Session:
    """The share session with one broker."""

    def __init__(self) -> None:
        self.epoch = 0
        self.partitions: set[Place] = set()


class ShareConsumer:
    """A member of ``group`` that reads ``topics``.

    ``records_max``, which may be changed: how many records a poll acquires about; ``strict``: never more. Methods raise
    ClientError, and KafkaError for errors that a retry does not fix.
    """

    def __init__(
        self, cluster: Cluster, group: str, topics: Sequence[str], *, records_max: int = 500, strict: bool = False
    ) -> None:
        self._cluster = cluster
        self._group = group
        self._topics = list(topics)
        self.records_max = records_max
        self._strict = strict
        self._member_id = uuid_text(uuid.uuid4().bytes)
        self._epoch = 0
        self._heartbeat_at_s = 0.0
        self._coordinator: int | None = None
        self._assignment: set[Place] = set()
        self._names: dict[Uuid, str] = {}
        self._leaders: dict[Place, int] = {}
        self._sessions: dict[int, _Session] = {}
        self._acknowledged: dict[Place, dict[int, int]] = {}
        self._refused: list[tuple[str, int, KafkaError]] = []

    # --- reading
    # -----------------------------------------------------------------------------------------------------

    def poll(self, timeout_ms: int) -> list[SharedRecord]:
        """Records that this member holds now; none if nothing can be acquired within ``timeout_ms``."""
        deadline_s = time.monotonic() + timeout_ms / 1000
        while True:
            self._heartbeat()
            left_s = deadline_s - time.monotonic()
            found = self._fetch(max(0, min(left_s, self._heartbeat_at_s - time.monotonic())))
            if found or left_s <= 0:
                return found
            if not self._leaders:
                time.sleep(min(_PAUSE_S, left_s))

    def acknowledge(self, record: SharedRecord, kind: int = ACCEPT) -> None:
        """ACCEPT, RELEASE or REJECT a record; sent with the next ``poll`` or ``commit``."""
        self._acknowledged.setdefault(record.place, {})[record.offset] = kind

    def commit(self) -> list[tuple[str, int, KafkaError]]:
        """Send acknowledgements. Returns topic, partition and error of refusals since the last call."""
        for leader, session in list(self._sessions.items()):
            if session.epoch and any(self._leaders.get(place) == leader for place in self._acknowledged):
                self._acknowledge(leader, session, session.epoch)
        refused, self._refused = self._refused, []
        return refused

    def close(self) -> None:
        """Send acknowledgements, end the sessions (which releases records), and leave the group."""
        try:
            for leader, session in list(self._sessions.items()):
                if session.epoch:
                    self._acknowledge(leader, session, _FINAL_EPOCH)
            if self._epoch > 0:
                self._send_heartbeat(_LEAVE_EPOCH)
        except (KafkaError, CannotConnect, ConnectionLost, TimedOut):
            pass  # the group removes the member when its session times out
        self._sessions.clear()

    # --- the group
    # ---------------------------------------------------------------------------------------------------

    def _heartbeat(self) -> None:
        if time.monotonic() < self._heartbeat_at_s:
            return
        answer = self._cluster.with_retries(lambda: self._send_heartbeat(self._epoch))
        if answer is None:
            return
        self._epoch = answer.member_epoch
        self._heartbeat_at_s = time.monotonic() + answer.heartbeat_interval_ms / 1000
        if answer.assignment is not None:
            self._assignment = {
                (topic.topic_id, index) for topic in answer.assignment.topic_partitions for index in topic.partitions
            }
            self._find_leaders()

    def _send_heartbeat(self, epoch: int) -> ShareGroupHeartbeatResponse | None:
        """The answer; None if the member has to join again."""
        try:
            request = ShareGroupHeartbeatRequest(
                group_id=self._group,
                member_id=self._member_id,
                member_epoch=epoch,
                subscribed_topic_names=self._topics if epoch == 0 else None,
            )
            answer = self._cluster.call_on(self._coordinator_connection(), request, ShareGroupHeartbeatResponse)
            check(answer.error_code, answer.error_message)
        except (KafkaError, CannotConnect, ConnectionLost) as error:
            self._coordinator = None
            if isinstance(error, KafkaError) and error.code in _MEMBER_LOST and epoch != _LEAVE_EPOCH:
                self._epoch = 0
                self._assignment = set()
                self._find_leaders()
                return None
            raise
        return answer

    def _coordinator_connection(self) -> Connection:
        if self._coordinator is None:
            self._coordinator = self._cluster.find_coordinator(self._group).id
        return self._cluster.node(self._coordinator)

    def _find_leaders(self) -> None:
        """Find the leaders of the assigned partitions."""
        self._leaders = {}
        if not self._assignment:
            return
        for topic in self._cluster.metadata(self._topics).topics:
            self._names[topic.topic_id] = topic.name or ""
            for partition in topic.partitions:
                place = (topic.topic_id, partition.partition_index)
                if place in self._assignment and partition.leader_id >= 0:
                    self._leaders[place] = partition.leader_id

    # --- share sessions
    # ----------------------------------------------------------------------------------------------

    def _fetch(self, wait_s: float) -> list[SharedRecord]:
        """Fetch from each leader, the last of which may wait for records."""
        found: list[SharedRecord] = []
        leaders = sorted(set(self._leaders.values()) | set(self._sessions))
        for number, leader in enumerate(leaders):
            is_last = number == len(leaders) - 1
            found += self._fetch_from(leader, int(wait_s * 1000) if is_last and not found else 0)
        return found

    def _fetch_from(self, leader: int, wait_ms: int) -> list[SharedRecord]:
        session = self._sessions.setdefault(leader, _Session())
        wanted = {place for place, of in self._leaders.items() if of == leader}
        forgotten = session.partitions - wanted if session.epoch else set()
        acknowledged = self._take_acknowledged(leader) if session.epoch else {}
        request = ShareFetchRequest(
            group_id=self._group,
            member_id=self._member_id,
            share_session_epoch=session.epoch,
            max_wait_ms=wait_ms,
            min_bytes=1,
            max_bytes=_FETCH_BYTES_MAX,
            max_records=self.records_max,
            batch_size=self.records_max,
            topics=_topics(ShareFetchRequest.FetchTopic, ShareFetchRequest.FetchPartition, wanted - session.partitions,
                           acknowledged, ShareFetchRequest.AcknowledgementBatch),
            forgotten_topics_data=[
                ShareFetchRequest.ForgottenTopic(topic_id=topic_id, partitions=indexes)
                for topic_id, indexes in _by_topic(forgotten).items()
            ],
        )  # fmt: skip
        answer = self._ask(leader, session, request, ShareFetchResponse)
        if answer is None:
            return []
        session.partitions = wanted
        session.epoch += 1
        found: list[SharedRecord] = []
        for topic in answer.responses:
            for part in topic.partitions:
                place = (topic.topic_id, part.partition_index)
                self._note_refusal(place, part.acknowledge_error_code, part.acknowledge_error_message)
                if part.error_code:
                    self._note_moved(place, part.error_code, part.error_message)
                else:
                    found += self._records(place, part)
        return found

    def _acknowledge(self, leader: int, session: _Session, epoch: int) -> None:
        request = ShareAcknowledgeRequest(
            group_id=self._group,
            member_id=self._member_id,
            share_session_epoch=epoch,
            topics=_topics(ShareAcknowledgeRequest.AcknowledgeTopic, ShareAcknowledgeRequest.AcknowledgePartition, (),
                           self._take_acknowledged(leader), ShareAcknowledgeRequest.AcknowledgementBatch),
        )  # fmt: skip
        answer = self._ask(leader, session, request, ShareAcknowledgeResponse)
        if answer is None:
            return
        session.epoch += 1
        for topic in answer.responses:
            for part in topic.partitions:
                self._note_refusal((topic.topic_id, part.partition_index), part.error_code, part.error_message)

    def _ask(self, leader: int, session: _Session, request: Any, answer_type: Any) -> Any:
        """The answer of a leader; None if the session is lost, and another begins with the next request."""
        version = None
        if self._strict and isinstance(request, ShareFetchRequest):
            version = self._cluster.node(leader).version_of(ShareFetchRequest)
            request.share_acquire_mode = _STRICT if version >= _STRICT_SINCE else 0
        try:
            answer = self._cluster.call_on(self._cluster.node(leader), request, answer_type, version=version)
            check(answer.error_code, answer.error_message)
        except (KafkaError, CannotConnect, ConnectionLost, TimedOut) as error:
            if isinstance(error, KafkaError) and error.code not in _SESSION_LOST | TRANSIENT_ERRORS:
                raise
            del session
            self._sessions.pop(leader, None)
            self._find_leaders_later()
            time.sleep(_PAUSE_S)
            return None
        return answer

    def _find_leaders_later(self) -> None:
        self._heartbeat_at_s = 0.0
        try:
            self._find_leaders()
        except (CannotConnect, ConnectionLost, TimedOut):
            self._leaders = {}

    def _take_acknowledged(self, leader: int) -> dict[Place, dict[int, int]]:
        places = [place for place in self._acknowledged if self._leaders.get(place, leader) == leader]
        return {place: self._acknowledged.pop(place) for place in places}

    def _note_refusal(self, place: Place, code: int, message: str | None) -> None:
        if code:
            self._refused.append((self._names.get(place[0], ""), place[1], KafkaError(Code(code), message)))

    def _note_moved(self, place: Place, code: int, message: str | None) -> None:
        if Code(code) not in _MOVED | TRANSIENT_ERRORS:
            raise KafkaError(Code(code), message)
        self._find_leaders_later()
        for session in self._sessions.values():
            session.partitions.discard(place)

    def _records(self, place: Place, part: ShareFetchResponse.PartitionData) -> Iterator[SharedRecord]:
        """The acquired records; those that are not in the log are acknowledged as gaps."""
        counts = {
            offset: each.delivery_count
            for each in part.acquired_records
            for offset in range(each.first_offset, each.last_offset + 1)
        }
        assert part.records is None or isinstance(part.records, memoryview)
        view = part.records or memoryview(b"")
        while len(view) >= HEADER_BYTES:
            header = read_batch_header(view)
            batch, view = view[: header.size_bytes], view[header.size_bytes :]
            if header.is_control or len(batch) < header.size_bytes:
                continue
            for record in read_records(batch):
                count = counts.pop(record.offset, None)
                if count is not None:
                    yield SharedRecord(
                        self._names.get(place[0], ""), place[1], record.offset, record.timestamp_ms,
                        int(header.is_log_append_time), header.leader_epoch, record.key, record.value,
                        tuple(record.headers), count, place,
                    )  # fmt: skip
        for offset in counts:
            self._acknowledged.setdefault(place, {})[offset] = GAP


def _topics(
    topic_class: Any, partition_class: Any, added: Iterable[Place], acknowledged: dict[Place, dict[int, int]],
    batch_class: Any,
) -> list[Any]:  # fmt: skip
    return [
        topic_class(
            topic_id=topic_id,
            partitions=[
                partition_class(
                    partition_index=index,
                    acknowledgement_batches=[
                        batch_class(first_offset=first, last_offset=last, acknowledge_types=types)
                        for first, last, types in _ranges(acknowledged.get((topic_id, index), {}))
                    ],
                )
                for index in indexes
            ],
        )
        for topic_id, indexes in _by_topic({*added, *acknowledged}).items()
    ]


def _by_topic(places: Iterable[Place]) -> dict[Uuid, list[int]]:
    found: dict[Uuid, list[int]] = {}
    for topic_id, index in sorted(places):
        found.setdefault(topic_id, []).append(index)
    return found


def _ranges(kinds: dict[int, int]) -> Iterator[tuple[int, int, list[int]]]:
    """Neighbouring offsets as one range, with one type for all of it or one for each."""
    first, types = -1, list[int]()
    for offset in sorted(kinds):
        if types and offset != first + len(types):
            yield first, first + len(types) - 1, _shortened(types)
            types = []
        if not types:
            first = offset
        types.append(kinds[offset])
    if types:
        yield first, first + len(types) - 1, _shortened(types)


def _shortened(types: list[int]) -> list[int]:
    return types[:1] if len(set(types)) == 1 else types
