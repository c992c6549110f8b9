"""Answer a produce request that repeats an earlier one except for its records, without decoding it.

Responsible for: which requests are answered this way, and what is stored of them. Must not depend on: sockets, what is
wrong with a batch (``Partition.append`` checks it).

Most producers send one batch for one partition at a time, and their requests differ only in the records. Such a request
is recognized by its bytes and its reply made from a template, for less than half the cost of decoding, dispatching and
encoding. Only accepted batches are answered here. A request that is refused, transactional, or has to wait for its
commit is handled in the usual way, with nothing done yet; so are the first requests of a connection, whose records are
checked (``limits.CHECKED_BATCHES``).
"""

from __future__ import annotations

import sys
from typing import ClassVar, Final, NamedTuple

from kwire.broker.broker import Broker
from kwire.broker.partitions.partition import Partition
from kwire.broker.partitions.validate import LargeBatch
from kwire.broker.requests.context import Connection
from kwire.errors import Code, KafkaError, ProtocolViolation, StorageFailure
from kwire.limits import CHECKED_BATCHES
from kwire.security.authorizer import Authorizer
from kwire.security.operations import Operation, ResourceType
from kwire.wire.batches.batch import HEADER_BYTES, OVERHEAD_BYTES, TRANSACTIONAL, read_only_batch
from kwire.wire.codec import RequestHeader, encode_response
from kwire.wire.messages import ProduceRequest, ProduceResponse
from kwire.wire.request_templates import START, Fill, records_between, reply_template, shape_of

# The first version whose records have a compact length.
_COMPACT_SINCE: Final = 9
# Templates of one connection at most.
_KNOWN_MAX: Final = 128
# Error code, base offset, log append time, log start offset; numbers that occur nowhere else in a reply.
_NUMBERS: Final = "hqqq"
_ANY_NUMBERS: Final = (0x4B57, 0x4B57_4952_4501, 0x4B57_4952_4502, 0x4B57_4952_4503)


class _Known(NamedTuple):
    """One partition that this connection writes to, and how its requests end."""

    partition: Partition
    acks: int
    behind: bytes
    fill: Fill


class ProduceTemplateCache:
    """The templates of one connection; see ``dispatch.Shortcut``."""

    api_key: ClassVar[int] = ProduceRequest.KEY

    __slots__ = (
        "_broker",
        "_connection",
        "_known",
        "_known_max",
        "_may_write",
        "_may_write_epoch",
        "_position",
        "_start",
    )

    def __init__(self, broker: Broker, connection: Connection) -> None:
        self._broker = broker
        self._connection = connection
        # Version and position of the records' length, the same for all templates: those of the first stored request.
        # No frame is long enough before that.
        self._start, self._position = -1, sys.maxsize
        self._known: dict[bytes, _Known] = {}
        self._known_max = _KNOWN_MAX
        # The topics that the client was allowed to write to, at an epoch of the authorizer.
        self._may_write: set[str] = set()
        self._may_write_epoch = -1

    def answer(self, frame: memoryview) -> bytes | None:
        """See ``dispatch.Shortcut``."""
        position = self._position
        if len(frame) < position + HEADER_BYTES:
            return None
        start, correlation_id = START.unpack_from(frame)
        known = self._known.get(bytes(frame[START.size : position]))
        if known is None or start != self._start:
            return None
        partition, acks, behind, fill = known
        try:
            records = records_between(frame, position, behind)
            if (
                records is None
                or (header := read_only_batch(records)).length + OVERHEAD_BYTES != len(records)
                or header.attributes & TRANSACTIONAL
                or not self._still_valid(partition)
            ):
                return None  # only one batch and no more, in no transaction, is appended here
            appended = partition.append(records, header, acks=acks, trusted=True)
        except (KafkaError, ProtocolViolation, LargeBatch):
            return None  # refused in the usual way, with its reason, or validated in a thread
        except StorageFailure as failure:
            self._broker.storage_failures.report(failure)
            return fill(correlation_id, Code.KAFKA_STORAGE_ERROR, -1, -1, -1)
        base_offset, _, append_time_ms, log_start_offset, _ = appended
        return fill(correlation_id, 0, base_offset, append_time_ms, log_start_offset)

    def store(
        self, header: RequestHeader, frame: memoryview, request: ProduceRequest, response: ProduceResponse
    ) -> None:
        """See ``dispatch.Shortcut``."""
        if header.api_version < _COMPACT_SINCE or request.transactional_id is not None or not self._has_room():
            return
        topics = response.responses
        if len(topics) != 1 or len(topics[0].partition_responses) != 1 or topics[0].partition_responses[0].error_code:
            return
        if self._connection.checked_batches < CHECKED_BATCHES:
            return  # the records of the connection's next batches are to be checked
        topic = topics[0]
        index = topic.partition_responses[0].index
        partition = self._answerable(topic, index)
        shape = None if partition is None else shape_of(header, frame, request)
        if partition is None or shape is None:
            return
        before, behind = shape
        place = START.unpack_from(frame)[0], START.size + len(before)
        if not self._known:
            self._start, self._position = place
        if (self._start, self._position) != place:
            return
        self._known[before] = _Known(partition, request.acks, behind, _template(header, topic, index))

    def _answerable(self, topic: ProduceResponse.TopicProduceResponse, index: int) -> Partition | None:
        """Return the partition; None if each request for it waits, or it was deleted while the answer waited."""
        known = self._broker.image.topics_by_id.get(topic.topic_id)
        try:
            partition = self._broker.partitions.get(topic.name if known is None else known.name, index)
        except KafkaError:
            return None
        return partition if partition.commits_on_append else None

    def _is_allowed(self, authorizer: Authorizer, topic: str) -> bool:
        """Whether the client may write to the topic, asked once until an ACL changes.

        A refusal, and with its level what is allowed too, is for the audit log, which the usual path writes.
        """
        if authorizer.epoch != self._may_write_epoch:
            self._may_write.clear()
            self._may_write_epoch = authorizer.epoch
        client = self._connection.client
        if self._broker.audit.logs_allowed or not authorizer.allows(
            client.principal, client.acl_host, Operation.WRITE, ResourceType.TOPIC, topic
        ):
            return False
        self._may_write.add(topic)
        return True

    def _has_room(self) -> bool:
        """Whether another template may be stored. Drops those of deleted topics; if that frees none, storing ends."""
        if len(self._known) >= self._known_max:
            self._known = {key: known for key, known in self._known.items() if not known.partition.deleted}
            if len(self._known) >= self._known_max:
                self._known_max = 0
        return len(self._known) < self._known_max

    def _still_valid(self, partition: Partition) -> bool:
        """Whether a request for the partition would find it, be allowed, and be answered without a wait."""
        if not (partition.leads and partition.commits_on_append):
            return False  # a partition that was deleted does not lead
        authorizer = self._broker.authorizer
        return (
            authorizer is None
            or (authorizer.epoch == self._may_write_epoch and partition.topic in self._may_write)
            or self._is_allowed(authorizer, partition.topic)
        )


def _template(header: RequestHeader, topic: ProduceResponse.TopicProduceResponse, index: int) -> Fill:
    code, base_offset, append_time_ms, log_start_offset = _ANY_NUMBERS
    partition = ProduceResponse.PartitionProduceResponse(
        index=index,
        error_code=code,
        base_offset=base_offset,
        log_append_time_ms=append_time_ms,
        log_start_offset=log_start_offset,
    )
    response = ProduceResponse(
        responses=[
            ProduceResponse.TopicProduceResponse(
                name=topic.name, topic_id=topic.topic_id, partition_responses=[partition]
            )
        ]
    )
    (reply,) = encode_response(header, response)
    assert isinstance(reply, bytes)
    return reply_template(reply, _NUMBERS, *_ANY_NUMBERS)
