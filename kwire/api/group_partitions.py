"""Requests that list partitions of a group by topic: OffsetCommit, TxnOffsetCommit, OffsetDelete.

Responsible for: which partitions are refused without the group coordinator, the slices of the commands to the
coordinator, and the topics of the answer. Must not depend on: what is done with the partitions.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, NamedTuple, Protocol, TypeAlias, TypeVar

from kwire.broker.requests.context import Context
from kwire.coordinators.group.commands import OffsetToCommit
from kwire.errors import Code
from kwire.metadata.entities import Topic
from kwire.security.operations import Operation, ResourceType
from kwire.types import OFFSETS_TOPIC
from kwire.wire.messages import OffsetCommitRequest, TxnOffsetCommitRequest

# Partitions that are sorted between two looks at the clock.
_SORTED_AT_ONCE: Final = 256
# Offsets of one command: it writes, applies and answers them at once, some 15 microseconds for each.
OFFSETS_AT_ONCE: Final = 200
# Of a committed offset's record without group, topic and metadata: 10 bytes of key, 24 of value, 7 of the record.
_RECORD_BYTES_MIN: Final = 41


class _Wanted(Protocol):
    @property
    def partition_index(self) -> int: ...


class _Answer(Protocol):
    error_code: int


CommittedPartition: TypeAlias = (
    OffsetCommitRequest.OffsetCommitRequestPartition | TxnOffsetCommitRequest.TxnOffsetCommitRequestPartition
)
CommittedTopic: TypeAlias = (
    OffsetCommitRequest.OffsetCommitRequestTopic | TxnOffsetCommitRequest.TxnOffsetCommitRequestTopic
)
K = TypeVar("K", bound=Hashable)
W = TypeVar("W", bound=_Wanted)
A = TypeVar("A", bound=_Answer)
C = TypeVar("C", bound=CommittedPartition)
T = TypeVar("T")


class CheckedTopic(NamedTuple, Generic[K, W]):
    """One entry of the request. ``code``: the refusal of all its partitions; NONE if the topic is there."""

    key: K
    topic: Topic | None
    code: Code
    partitions: Sequence[W]


@dataclass(slots=True)
class Sorted(Generic[K, A, T]):
    """The ``items`` for the group coordinator, and the answers of the request.

    ``asked`` has the answer of each item, whose code is not known yet. ``refused`` and ``accepted``: see
    ``merge_answers``.
    """

    items: list[T] = field(default_factory=list)
    asked: list[A] = field(default_factory=list)
    refused: dict[K, list[A]] = field(default_factory=dict)
    accepted: list[tuple[K, list[A]]] = field(default_factory=list)

    def topics(self) -> list[tuple[K, list[A]]]:
        """The topics of the answer, each with its partitions."""
        return merge_answers(self.refused, self.accepted)


async def commit_offsets(
    context: Context,
    group_id: str,
    entries: Iterable[CheckedTopic[K, C]],
    *,
    answer: Callable[[int], A],
    commit: Callable[[Sequence[OffsetToCommit]], Awaitable[Sequence[Code]]],
) -> list[tuple[K, list[A]]]:
    """Commit what is not refused, in slices. Returns the topics of the answer, each with its partitions."""
    found = await sort_partitions(context, entries, answer=answer, item=offset_to_commit)
    codes = await in_slices(
        context, found.items, commit, fits=lambda offsets: fits_one_batch(context, group_id, offsets)
    )
    for one, code in zip(found.asked, codes, strict=True):
        one.error_code = code
    return found.topics()


async def sort_partitions(
    context: Context,
    entries: Iterable[CheckedTopic[K, W]],
    *,
    answer: Callable[[int], A],
    item: Callable[[Topic, W], T],
) -> Sorted[K, A, T]:
    """Refuse the partitions of topics that are refused and those that do not exist; make an item of each other one."""
    found: Sorted[K, A, T] = Sorted()
    for key, topic, code, partitions in entries:
        accepted: list[A] = []
        if code is not Code.NONE:
            found.refused.setdefault(key, [])  # listed even without partitions
        for count, wanted in enumerate(partitions, 1):
            index = wanted.partition_index
            one = answer(index)
            if topic is not None and code is Code.NONE and 0 <= index < len(topic.partitions):
                accepted.append(one)
                found.items.append(item(topic, wanted))
            else:
                one.error_code = code or Code.UNKNOWN_TOPIC_OR_PARTITION
                found.refused.setdefault(key, []).append(one)
            if count % _SORTED_AT_ONCE == 0:
                await context.yield_turn()
        await context.yield_turn()
        found.asked += accepted
        found.accepted.append((key, accepted))
    return found


def check_topic(context: Context, wanted: CommittedTopic, *, by_id: bool) -> tuple[Topic | None, Code]:
    """Find the topic of one entry of a commit, and the refusal of its partitions, NONE if there is none.

    An unknown id is answered as such without authorization.
    """
    image = context.broker.image
    topic = image.topics_by_id.get(wanted.topic_id) if by_id else image.topics.get(wanted.name)
    name = wanted.name if topic is None else topic.name
    if name and not context.may(Operation.READ, ResourceType.TOPIC, name):
        return topic, Code.TOPIC_AUTHORIZATION_FAILED
    if topic is None:
        return None, Code.UNKNOWN_TOPIC_ID if by_id else Code.UNKNOWN_TOPIC_OR_PARTITION
    return topic, Code.NONE


def offset_to_commit(topic: Topic, wanted: CommittedPartition) -> OffsetToCommit:
    """The offset that the request commits for a partition."""
    return OffsetToCommit(
        topic.name,
        topic.id,
        wanted.partition_index,
        wanted.committed_offset,
        wanted.committed_leader_epoch,
        wanted.committed_metadata,
    )


def fits_one_batch(context: Context, group_id: str, offsets: Sequence[OffsetToCommit]) -> bool:
    """Tell whether the records of a commit could be one batch of ``__consumer_offsets``, which Apache Kafka makes."""
    left: int = context.broker.configs.topic(OFFSETS_TOPIC)["max.message.bytes"]
    for offset in offsets:
        left -= _RECORD_BYTES_MIN + len(group_id) + len(offset.topic) + len(offset.metadata or "")
        if left < 0:
            return False
    return True


async def in_slices(
    context: Context,
    items: Sequence[T],
    submit: Callable[[Sequence[T]], Awaitable[Sequence[Code]]],
    *,
    fits: Callable[[Sequence[T]], bool] | None = None,
) -> list[Code]:
    """Submit the items; returns a code for each. More than ``OFFSETS_AT_ONCE`` take several commands, each a batch.

    Without items one empty command is submitted. Nothing is submitted if the items do not ``fit`` one batch: Apache
    Kafka refuses the request then, with UNKNOWN_SERVER_ERROR.
    """
    codes: list[Code] = []
    if fits is not None and len(items) > OFFSETS_AT_ONCE and not fits(items):
        return [Code.UNKNOWN_SERVER_ERROR] * len(items)
    for start in range(0, max(1, len(items)), OFFSETS_AT_ONCE):
        codes += await submit(items[start : start + OFFSETS_AT_ONCE])
        if len(items) > OFFSETS_AT_ONCE:
            await context.yield_turn()
    return codes


def merge_answers(
    refused: Mapping[K, Sequence[T]], accepted: Sequence[tuple[K, Sequence[T]]]
) -> list[tuple[K, list[T]]]:
    """Return the topics of the answer, put together as Apache Kafka does, each with its partitions.

    ``refused``: by topic, what was answered without the group coordinator. ``accepted``: for each entry of the request
    what the coordinator answered; entries without partitions are left out. While nothing was refused, entries stay as
    the request has them, also two for one topic; else each topic is listed once, what was refused first.
    """
    entries = [(topic, list(partitions)) for topic, partitions in accepted if partitions]
    if not refused:
        return entries
    merged = {topic: list(partitions) for topic, partitions in refused.items()}
    for topic, partitions in entries:
        merged.setdefault(topic, []).extend(partitions)
    return list(merged.items())
