"""The group coordinator: one partition of ``__consumer_offsets`` as a state machine.

Responsible for: which kinds of groups there are, replay, offsets of groups, and the commands on whole groups (list,
describe, delete). Must not depend on: the log, clocks, requests, how a kind of group works.

Every kind of group is a ``GroupKind``: ``classic``, ``consumer``, ``share`` and ``streams``. A group id belongs to the
kind that finds a group of it (``_find``); records and timers carry the name of their kind. A command of one kind is a
method of that kind (``machine.consumer.heartbeat``). The kinds other than classic are made, and their modules imported,
at their first use: most brokers have groups of one kind only. A group that only ever committed offsets has no record
of its own; it is an empty classic group without a protocol type.

Commands see the state as it is written; ``fetch_offsets``, ``list_groups`` and ``describe`` answer what is committed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from kwire.coordinators.group.classic.group import ClassicGroup
from kwire.coordinators.group.classic.groups import ClassicGroups
from kwire.coordinators.group.commands import (
    CommitOffsets,
    CommittedOffset,
    DescribedGroup,
    FetchedOffset,
    GroupConfig,
    Joined,
    JoinGroup,
    LeavingMember,
    ListedGroup,
    SyncGroup,
)
from kwire.coordinators.group.group import CONSUMER, SHARE, STREAMS, Group, GroupKind, ModernKind, Retention
from kwire.coordinators.group.offsets import Offsets, TopicToFetch
from kwire.coordinators.group.records import GroupEntry, ModernEntry, OffsetEntry, read_record
from kwire.coordinators.machine import ClusterMetadata, Effects, MetadataChange, ProducerStamp, Record
from kwire.coordinators.timeline import Timeline
from kwire.errors import Code, KafkaError
from kwire.types import ZERO_UUID, Uuid

if TYPE_CHECKING:  # imported at the first use of each kind
    from kwire.coordinators.group.consumer.groups import ConsumerGroups
    from kwire.coordinators.group.share.groups import ShareGroups
    from kwire.coordinators.group.streams.groups import StreamsGroups

K = TypeVar("K", bound=ModernKind)

_RETENTION_TIMER = ("retention",)
_DELETED_TOPICS_TIMER = ("deleted topics",)
# Groups and offsets of one step of a pass over all of them, after which other tasks run.
_GROUPS_IN_TURN: Final = 500
_OFFSETS_IN_TURN: Final = 1000


class _TopicDeletion(NamedTuple):
    """A pass over the offsets that were committed before topics were deleted.

    ``is_deleted`` tells by the name and the id of a topic; ``groups`` has those that were not looked at yet, and only
    records below ``end_offset`` count, as a topic of the same name may have been created since.
    """

    is_deleted: Callable[[str, Uuid], bool]
    groups: list[str]
    end_offset: int


class GroupCoordinator:
    """A ``Machine``. Commands with a ticket give Effects with a reply; the others answer at once."""

    def __init__(self, config: GroupConfig) -> None:
        self.config = config
        self.timeline = Timeline()
        self.offsets = Offsets(self.timeline)
        self.classic = ClassicGroups(config, self.timeline)
        self._consumer: ConsumerGroups | None = None
        self._share: ShareGroups | None = None
        self._streams: StreamsGroups | None = None
        # Those that were made, by the names that their records and timers carry.
        self._modern: dict[str, ModernKind] = {}
        # A group id is of one kind; the classic groups include those that have offsets only.
        self._kinds: tuple[GroupKind, ...] = (self.classic,)
        self._metadata: ClusterMetadata | None = None  # until it is loaded
        # The groups that a pass for expired offsets has not checked yet.
        self._to_expire: list[str] = []
        self._topic_deletions: deque[_TopicDeletion] = deque()

    # Kinds

    @property
    def consumer(self) -> ConsumerGroups:
        """The consumer groups, made at the first use."""
        if self._consumer is None:
            from kwire.coordinators.group.consumer.groups import ConsumerGroups  # noqa: PLC0415

            made = ConsumerGroups(self.config, self.timeline, classic=self.classic, find_any=self._find)
            self._consumer = self._added(CONSUMER, made)
        return self._consumer

    @property
    def share(self) -> ShareGroups:
        """The share groups, made at the first use."""
        if self._share is None:
            from kwire.coordinators.group.share.groups import ShareGroups  # noqa: PLC0415

            self._share = self._added(SHARE, ShareGroups(self.config, self.timeline, find_any=self._find))
        return self._share

    @property
    def streams(self) -> StreamsGroups:
        """The streams groups, made at the first use."""
        if self._streams is None:
            from kwire.coordinators.group.streams.groups import StreamsGroups  # noqa: PLC0415

            self._streams = self._added(STREAMS, StreamsGroups(self.config, self.timeline, find_any=self._find))
        return self._streams

    def has_consumer_members(self, group_id: str) -> bool:
        """Whether this is a consumer group with members."""
        return self._consumer is not None and self._consumer.has_members(group_id)

    def kind_of(self, group_id: str) -> str | None:
        """The kind of a group, None if there is none of that id."""
        group = self._find(group_id)
        return None if group is None else group.kind

    # Members

    def join(self, command: JoinGroup, *, ticket: int, now_ms: int) -> Effects:
        """The reply is a ``Joined``."""
        group = self._find(command.group_id)
        if group is None or isinstance(group, ClassicGroup):
            return self.classic.join(command, ticket=ticket, now_ms=now_ms)
        if group.kind == CONSUMER and not group.is_empty:
            return self.consumer.classic_join(command, ticket=ticket, now_ms=now_ms)
        if group.kind == SHARE or not group.is_empty:
            effects = Effects()
            effects.reply(ticket, Joined("", Code.INCONSISTENT_GROUP_PROTOCOL))
            return effects
        # An empty consumer or streams group becomes a classic one: its records are deleted first (KIP-848, KIP-1071).
        effects = self.classic.join(command, ticket=ticket, now_ms=now_ms)
        if effects.records:
            effects.records[:0] = group.tombstones()
        return effects

    def sync(self, command: SyncGroup, *, ticket: int, now_ms: int) -> Effects:
        """The reply is a ``Synced``."""
        if self.has_consumer_members(command.group_id):
            return self.consumer.classic_sync(command, ticket=ticket, now_ms=now_ms)
        return self.classic.sync(command, ticket=ticket, now_ms=now_ms)

    def heartbeat(
        self, group_id: str, generation_id: int, member_id: str, group_instance_id: str | None, *, now_ms: int
    ) -> Code:
        """NONE or REBALANCE_IN_PROGRESS; otherwise a KafkaError. Not for a consumer group that has members."""
        return self.classic.heartbeat(group_id, generation_id, member_id, group_instance_id, now_ms=now_ms)

    def leave(self, group_id: str, members: Iterable[LeavingMember], *, ticket: int, now_ms: int) -> Effects:
        """The reply is a list of ``LeftMember``."""
        if self.has_consumer_members(group_id):
            return self.consumer.classic_leave(group_id, members, ticket=ticket, now_ms=now_ms)
        return self.classic.leave(group_id, members, ticket=ticket, now_ms=now_ms)

    def rebalance(self, group_id: str, *, ticket: int, now_ms: int) -> Effects:
        """Have the members of a classic or consumer group rebalance, though nothing has changed; the reply is None.

        KafkaError(GROUP_ID_NOT_FOUND) for a group without members.
        """
        if self.has_consumer_members(group_id):
            return self.consumer.rebalance(group_id, ticket=ticket, now_ms=now_ms)
        return self.classic.rebalance(group_id, ticket=ticket, now_ms=now_ms)

    # Offsets

    def commit_offsets(self, command: CommitOffsets, *, ticket: int, now_ms: int) -> Effects:
        """The reply is a list of codes, one for each offset. KafkaError when the group refuses them all."""
        # The usual case of groups without members, for which no group need be made of its record.
        if command.generation_id >= 0 or not self.classic.has_record_only(command.group_id):
            group = self._find(command.group_id)
            if group is not None:
                group.check_commit(command, now_ms)
            elif command.generation_id >= 0:
                raise KafkaError(command.unknown_group)
        return self._commit(command, ticket, now_ms)

    def commit_transactional_offsets(
        self, command: CommitOffsets, producer: ProducerStamp, *, ticket: int, now_ms: int
    ) -> Effects:
        """The same inside the open transaction of ``producer``: they count once it commits (KIP-98, KIP-447)."""
        group = self._find(command.group_id)
        try:
            if group is not None:
                group.check_transactional_commit(command)
            elif command.generation_id >= 0:
                raise KafkaError(command.unknown_group)
        except KafkaError as refusal:
            if refusal.code is Code.STALE_MEMBER_EPOCH and not command.has_member_epoch:
                raise KafkaError(Code.ILLEGAL_GENERATION) from None
            raise
        effects = self._commit(command, ticket, now_ms)
        effects.producer = producer
        return effects

    def fetch_offsets(
        self,
        group_id: str,
        topics: Iterable[TopicToFetch] | None,
        member_id: str | None = None,
        member_epoch: int = -1,
        *,
        require_stable: bool,
    ) -> list[tuple[str, list[FetchedOffset]]]:
        """By topic; for ``topics`` None all that the group has. A group that does not exist has none.

        ``member_id`` and ``member_epoch`` are checked for consumer groups only (KIP-848).
        """
        for kind in self._modern.values():
            group = kind.committed(group_id)
            if group is not None:
                group.check_fetch(member_id, member_epoch)
        return self.offsets.fetch(group_id, topics, require_stable=require_stable)

    def delete_offsets(
        self, group_id: str, partitions: Collection[tuple[str, int]], *, ticket: int, now_ms: int
    ) -> Effects:
        """The reply is a list of codes, one for each partition. KafkaError(GROUP_ID_NOT_FOUND, NON_EMPTY_GROUP)."""
        del now_ms
        if not group_id:
            raise KafkaError(Code.INVALID_GROUP_ID)
        group = self._found(group_id)
        group.check_offset_delete()
        read = {topic for topic, _ in partitions if group.subscribes_to(topic)}
        effects = Effects()
        effects.records = self.offsets.delete(group_id, [each for each in partitions if each[0] not in read])
        codes = [Code.GROUP_SUBSCRIBED_TO_TOPIC if topic in read else Code.NONE for topic, _ in partitions]
        effects.reply(ticket, codes)
        return effects

    # Whole groups

    def list_groups(self, states: Collection[str] = (), types: Collection[str] = ()) -> Iterator[ListedGroup | None]:
        """All groups, or those in one of ``states`` and of one of ``types`` (whatever their case).

        Gives None for a group that is not wanted, or deleted by then: each group is read when the iterator gets there,
        so that the caller may pause after each.
        """
        wanted_states = {state.lower() for state in states}
        wanted_types = {kind.lower() for kind in types}
        for kind in self._kinds:
            for listed in kind.listed():
                if (
                    listed is None
                    or (wanted_types and listed.group_type not in wanted_types)
                    or (wanted_states and listed.state.lower() not in wanted_states)
                ):
                    yield None
                else:
                    yield listed

    @property
    def listing_changes(self) -> int:
        """A number that grows whenever ``list_groups`` may give something else."""
        return sum(kind.changes for kind in self._kinds)

    def describe(self, group_id: str) -> DescribedGroup:
        """A classic group. KafkaError(GROUP_ID_NOT_FOUND) for any other."""
        for kind in self._kinds:
            group = kind.committed(group_id)
            if group is not None:
                return group.described()
        raise _not_found(group_id)

    def delete_group(self, group_id: str, *, ticket: int, now_ms: int) -> Effects:
        """The reply is None. KafkaError(GROUP_ID_NOT_FOUND, NON_EMPTY_GROUP)."""
        del now_ms
        group = self._found(group_id)
        if not group.is_empty:
            raise KafkaError(Code.NON_EMPTY_GROUP)
        effects = Effects(records=self.offsets.delete_all(group_id) + group.tombstones())
        effects.reply(ticket, None)
        return effects

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
        del timestamp_ms, producer_epoch
        match read_record(key, value):
            case OffsetEntry() as entry:
                if entry.value is not None and not self._is_modern(entry.group_id):
                    self.classic.replay_offset_of(entry.group_id)
                self.offsets.replay(entry, offset=offset, producer_id=producer_id)
            case GroupEntry() as entry:
                self.classic.replay(entry)
            case ModernEntry() as entry:
                if value is not None:
                    self._replace_offsets_only(entry.group_id)
                (self._modern.get(entry.kind) or self._kind(entry.kind)).replay(entry)

    def _is_modern(self, group_id: str) -> bool:
        return any(kind.find(group_id) for kind in self._modern.values())

    def _replace_offsets_only(self, group_id: str) -> None:
        """A group of a newer kind has this id: its offsets came before its records, as compaction may leave them."""
        stored = self.classic.records.get(group_id)
        if stored is not None and not stored.protocol_type:
            self.classic.remove(group_id)

    def replay_marker(self, producer_id: int, producer_epoch: int, *, committed: bool) -> None:
        del producer_epoch
        self.offsets.replay_marker(producer_id, committed=committed)

    def loaded(self, metadata: ClusterMetadata, now_ms: int) -> Effects:
        """Sessions restart; offsets in topics that were deleted while the broker was down are deleted."""
        effects = self.classic.loaded(now_ms)
        assert not effects.records and not effects.replies  # noqa: PT018
        effects.set_timer(_RETENTION_TIMER, now_ms + self.config.offsets_retention_check_interval_ms)
        deleted = self._delete_topics(
            lambda _, topic_id: topic_id != ZERO_UUID and not metadata.topic_exists(topic_id), now_ms
        )
        effects.records, effects.atomic = deleted.records, False
        effects.timers += deleted.timers
        for kind in self._modern.values():
            restarted = kind.loaded(metadata, now_ms)
            effects.records += restarted.records
            effects.timers += restarted.timers
        self._metadata = metadata
        return effects

    def on_metadata_change(self, change: MetadataChange, metadata: ClusterMetadata, now_ms: int) -> Effects:
        """The offsets of all groups in topics that were deleted are deleted with them."""
        del metadata
        topics = change.topics_deleted
        effects = Effects(atomic=False)
        if topics:
            # An offset that names another id belongs to a newer topic of the same name.
            effects = self._delete_topics(
                lambda topic, topic_id: topic in topics and topic_id in (ZERO_UUID, topics[topic]), now_ms
            )
        for kind in self._modern.values():
            changed = kind.on_metadata_change(change, now_ms)
            assert not changed.replies
            effects.records += changed.records
            effects.timers += changed.timers
        return effects

    def on_timer(self, key: Hashable, now_ms: int) -> Effects:
        if key == _RETENTION_TIMER:
            return self.expire_offsets(now_ms)
        if key == _DELETED_TOPICS_TIMER:
            return self._delete_some(now_ms)
        kind = self._modern.get(key[0]) if isinstance(key, tuple) else None
        return self.classic.on_timer(key, now_ms) if kind is None else kind.on_timer(key, now_ms)

    def on_append_result(self, follow_up: object, error: Code | None, now_ms: int) -> Effects:
        kind = self._modern.get(getattr(follow_up, "kind", ""))
        if kind is not None:
            return kind.on_append_result(follow_up, error, now_ms)
        return self.classic.on_append_result(follow_up, error, now_ms)

    def clock_stepped(self, by_ms: int) -> None:
        self.classic.clock_stepped(by_ms)
        for kind in self._modern.values():
            kind.clock_stepped(by_ms)

    def unloaded(self) -> None:
        """There is nothing to release."""

    def expire_offsets(self, now_ms: int) -> Effects:
        """Delete expired offsets, and empty groups that have none left; some groups at a time."""
        effects = Effects(atomic=False)
        if not self._to_expire:
            self._to_expire = [each for kind in (self.classic, *self._modern.values()) for each in kind.group_ids()]
        looked_at = 0
        for _ in range(min(_GROUPS_IN_TURN, len(self._to_expire))):
            if looked_at >= _OFFSETS_IN_TURN:
                break
            group = self._find(self._to_expire.pop())
            if group is None:
                continue
            looked_at += self.offsets.count(group.group_id)
            records, none_remains = self._expired(group, now_ms)
            effects.records += records
            if none_remains and group.may_expire:
                effects.records += group.tombstones()
        pause_ms = 0 if self._to_expire else self.config.offsets_retention_check_interval_ms
        effects.set_timer(_RETENTION_TIMER, now_ms + pause_ms)
        return effects

    # Helpers

    def _kind(self, name: str) -> ModernKind:
        if name == CONSUMER:
            return self.consumer
        if name == SHARE:
            return self.share
        assert name == STREAMS, name
        return self.streams

    def _added(self, name: str, made: K) -> K:
        """Add a kind that has no groups yet."""
        if self._metadata is not None:
            loaded = made.loaded(self._metadata, now_ms=0)
            assert not loaded.records
            assert not loaded.timers
        self._modern[name] = made
        self._modern = {each: self._modern[each] for each in (CONSUMER, SHARE, STREAMS) if each in self._modern}
        self._kinds = (self.classic, *self._modern.values())
        return made

    def _find(self, group_id: str) -> Group | None:
        for kind in self._kinds:
            group = kind.find(group_id)
            if group is not None:
                return group
        return None

    def _found(self, group_id: str) -> Group:
        group = self._find(group_id)
        if group is None:
            raise _not_found(group_id)
        return group

    def _delete_topics(self, is_deleted: Callable[[str, Uuid], bool], now_ms: int) -> Effects:
        self._topic_deletions.append(_TopicDeletion(is_deleted, self.offsets.group_ids(), self.offsets.end_offset))
        return self._delete_some(now_ms)

    def _delete_some(self, now_ms: int) -> Effects:
        effects = Effects(atomic=False)
        looked_at = groups = 0
        while self._topic_deletions and looked_at < _OFFSETS_IN_TURN and groups < _GROUPS_IN_TURN:
            deletion = self._topic_deletions[0]
            if not deletion.groups:
                self._topic_deletions.popleft()
                continue
            group_id = deletion.groups.pop()
            groups += 1
            looked_at += self.offsets.count(group_id)
            effects.records += self.offsets.delete_of(group_id, deletion.is_deleted, before=deletion.end_offset)
        if self._topic_deletions:
            effects.set_timer(_DELETED_TOPICS_TIMER, now_ms)
        return effects

    def _commit(self, command: CommitOffsets, ticket: int, now_ms: int) -> Effects:
        effects = Effects()
        effects.records, codes = self.offsets.commit(
            command.group_id,
            command.offsets,
            retention_ms=command.retention_ms,
            metadata_max_bytes=self.config.offset_metadata_max_bytes,
            now_ms=now_ms,
        )
        effects.reply(ticket, codes)
        return effects

    def _expired(self, group: Group, now_ms: int) -> tuple[list[Record], bool]:
        """Tombstones for expired offsets, and whether no offset remains (KIP-211)."""

        def since_commit(offset: CommittedOffset) -> int:
            return offset.commit_ms

        def since_empty(offset: CommittedOffset) -> int:
            return offset.commit_ms if group.empty_since_ms == -1 else group.empty_since_ms

        if group.retention is Retention.NONE:
            return [], False
        since = since_commit if group.retention is Retention.SINCE_COMMIT else since_empty
        return self.offsets.expire(
            group.group_id, since, group.subscribes_to, retention_ms=self.config.offsets_retention_ms, now_ms=now_ms
        )


def _not_found(group_id: str) -> KafkaError:
    return KafkaError(Code.GROUP_ID_NOT_FOUND, f"Group {group_id} not found.")
