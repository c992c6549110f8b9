"""The group coordinator: one partition of ``__consumer_offsets`` as a state machine.

Owns: which groups there are and of what kind, replay, and the commands on whole groups (list, describe, delete). The
classic protocol is in ``classic.py``, offsets in ``offsets.py``. May not know: the log, clocks, requests.

Durable: ``groups`` (the last record of every classic group), ``offsets``, ``others`` (records of kinds of groups that
are not served: kept, listed, fetched from, and deleted when empty). Soft: ``classic.live``.

A group that only ever committed offsets has no record of its own; it is there as an empty classic group without a
protocol type.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable
from dataclasses import dataclass, field
from typing import Final

from kwire.coordinators.group.classic import ClassicGroups
from kwire.coordinators.group.classic_group import ClassicGroup, State
from kwire.coordinators.group.commands import (
    CommitOffsets,
    CommittedOffset,
    DescribedGroup,
    DescribedMember,
    FetchedOffset,
    GroupConfig,
    Joined,
    JoinGroup,
    LeavingMember,
    ListedGroup,
    SyncGroup,
)
from kwire.coordinators.group.offsets import Offsets, TopicToFetch
from kwire.coordinators.group.records import GroupEntry, OffsetEntry, OtherEntry, group_record, read_record
from kwire.coordinators.machine import Effects, ProducerStamp, Record
from kwire.errors import Code, KafkaError
from kwire.types import Uuid
from kwire.wire.messages import GroupMetadataValue

CLASSIC: Final = "classic"
_RETENTION_TIMER = ("retention",)
# Looking at the offsets of all groups would hold up everybody else for too long.
_EXPIRED_AT_ONCE: Final = 500


@dataclass(slots=True)
class OtherGroup:
    """A group of a kind that is not served: its records as they are, and the keys of those that name members."""

    kind: str
    records: dict[bytes, bytes] = field(default_factory=dict)
    members: set[bytes] = field(default_factory=set)


class GroupCoordinator:
    """A ``Machine``. Commands with a ticket give Effects with a reply; the others answer at once."""

    def __init__(self, config: GroupConfig) -> None:
        self.config = config
        self.groups: dict[str, GroupMetadataValue] = {}
        self.others: dict[str, OtherGroup] = {}
        self.offsets = Offsets()
        self.classic = ClassicGroups(config, self._find)
        # What is left of a look for offsets that have expired.
        self._to_expire: list[str] = []

    # Members

    def join(self, command: JoinGroup, *, ticket: int, now_ms: int) -> Effects:
        """A ``Joined`` follows."""
        other = self.others.get(command.group_id)
        if other is None:
            return self.classic.join(command, ticket=ticket, now_ms=now_ms)
        if other.kind != "consumer" or other.members:
            effects = Effects()
            effects.reply(ticket, Joined("", Code.INCONSISTENT_GROUP_PROTOCOL))
            return effects
        # An empty consumer group becomes a classic one: what it was is deleted first (KIP-848).
        effects = self.classic.join(command, ticket=ticket, now_ms=now_ms)
        if effects.records:
            effects.records[:0] = _tombstones(other)
        return effects

    def sync(self, command: SyncGroup, *, ticket: int, now_ms: int) -> Effects:
        """A ``Synced`` follows."""
        return self.classic.sync(command, ticket=ticket, now_ms=now_ms)

    def heartbeat(
        self, group_id: str, generation_id: int, member_id: str, group_instance_id: str | None, *, now_ms: int
    ) -> Code:
        return self.classic.heartbeat(group_id, generation_id, member_id, group_instance_id, now_ms=now_ms)

    def leave(self, group_id: str, members: Iterable[LeavingMember], *, ticket: int, now_ms: int) -> Effects:
        """A list of ``LeftMember`` follows."""
        return self.classic.leave(group_id, members, ticket=ticket, now_ms=now_ms)

    # Offsets

    def commit_offsets(self, command: CommitOffsets, *, ticket: int, now_ms: int) -> Effects:
        """A list of codes, one for each offset, follows. KafkaError when the group refuses them all."""
        self._check_committer(command, now_ms)
        return self._commit(command, ticket, now_ms)

    def commit_transactional_offsets(
        self, command: CommitOffsets, producer: ProducerStamp, *, ticket: int, now_ms: int
    ) -> Effects:
        """The same inside the open transaction of ``producer``: they count once it commits (KIP-98, KIP-447)."""
        self._check_transactional_committer(command)
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

        A member of a classic group needs not say who he is; what he says is not looked at.
        """
        del member_id, member_epoch
        return self.offsets.fetch(group_id, topics, require_stable=require_stable)

    def delete_offsets(
        self, group_id: str, partitions: Collection[tuple[str, int]], *, ticket: int, now_ms: int
    ) -> Effects:
        """A list of codes, one for each partition, follows. KafkaError(GROUP_ID_NOT_FOUND, NON_EMPTY_GROUP)."""
        del now_ms
        if not group_id:
            raise KafkaError(Code.INVALID_GROUP_ID)
        group = self._find(group_id)
        if group is None and group_id not in self.others:
            raise _not_found(group_id)
        if group is not None and group.state is not State.EMPTY and not group.is_consumer_group:
            raise KafkaError(Code.NON_EMPTY_GROUP)
        read = {topic for topic, _ in partitions if self._reads(group_id, topic)}
        effects = Effects()
        effects.records = self.offsets.delete(group_id, [each for each in partitions if each[0] not in read])
        codes = [Code.GROUP_SUBSCRIBED_TO_TOPIC if topic in read else Code.NONE for topic, _ in partitions]
        effects.reply(ticket, codes)
        return effects

    def topics_with_offsets(self) -> set[tuple[str, Uuid]]:
        """Name and id of each topic in which a group has an offset; the id is zero where none was known."""
        return self.offsets.topics()

    def forget_topics(self, topics: dict[str, Uuid], *, with_unknown_ids: bool = True) -> Effects:
        """These topics were deleted, and with them the offsets of all groups in them."""
        records = self.offsets.forget_topics(topics, with_unknown_ids=with_unknown_ids)
        return Effects(records=records, atomic=False)

    # Whole groups

    def list_groups(self, states: Collection[str] = (), types: Collection[str] = ()) -> list[ListedGroup]:
        """All groups, or those in one of ``states`` and of one of ``types`` (whatever their case)."""
        wanted_states = {state.lower() for state in states}
        wanted_types = {kind.lower() for kind in types}
        listed = []
        if not wanted_types or CLASSIC in wanted_types:
            listed = [self._listed(group_id, value) for group_id, value in self.groups.items()]
        listed += [
            # Nobody can be in a group whose heartbeats are not served, whatever the log says of the time before.
            ListedGroup(group_id, other.kind, "Empty", other.kind)
            for group_id, other in self.others.items()
            if not wanted_types or other.kind in wanted_types
        ]
        return [each for each in listed if not wanted_states or each.state.lower() in wanted_states]

    def describe(self, group_id: str) -> DescribedGroup:
        """A classic group. KafkaError(GROUP_ID_NOT_FOUND) for any other."""
        group = self._find(group_id)
        if group is None:
            if group_id in self.others:
                raise KafkaError(Code.GROUP_ID_NOT_FOUND, f"Group {group_id} is not a classic group.")
            raise _not_found(group_id)
        is_stable = group.state is State.STABLE
        return DescribedGroup(
            group_id,
            group.state.value,
            group.protocol_type or "",
            (group.protocol_name or "") if is_stable else "",
            tuple(
                DescribedMember(
                    each.member_id,
                    each.group_instance_id,
                    each.client_id,
                    each.client_host,
                    each.metadata(group.protocol_name) if is_stable else b"",
                    each.assignment,
                )
                for each in group.members.values()
            ),
        )

    def delete_group(self, group_id: str, *, ticket: int, now_ms: int) -> Effects:
        """None follows. KafkaError(GROUP_ID_NOT_FOUND, NON_EMPTY_GROUP)."""
        del now_ms
        group = self._find(group_id)
        other = self.others.get(group_id)
        if group is None and other is None:
            raise _not_found(group_id)
        if group is not None and group.state is not State.EMPTY:
            raise KafkaError(Code.NON_EMPTY_GROUP)
        effects = Effects(records=self.offsets.delete_all(group_id))
        effects.records += [group_record(group_id, None)] if other is None else _tombstones(other)
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
                if entry.value is not None and entry.group_id not in self.groups and entry.group_id not in self.others:
                    self.groups[entry.group_id] = GroupMetadataValue(protocol=None, leader=None)
                self.offsets.replay(entry, offset=offset, producer_id=producer_id)
            case GroupEntry(group_id, None):
                self.groups.pop(group_id, None)
                self.classic.live.pop(group_id, None)
            case GroupEntry(group_id, stored) if stored is not None:
                self.groups[group_id] = stored
            case OtherEntry() as entry:
                self._replay_other(entry, key, value)

    def replay_marker(self, producer_id: int, producer_epoch: int, *, committed: bool) -> None:
        del producer_epoch
        self.offsets.replay_marker(producer_id, committed=committed)

    def loaded(self, now_ms: int) -> Effects:
        effects = Effects()
        effects.set_timer(_RETENTION_TIMER, now_ms + self.config.offsets_retention_check_interval_ms)
        for group_id, stored in self.groups.items():
            if stored.members:
                group = self._find(group_id)
                assert group is not None
                woken = self.classic.wake(group, now_ms)
                assert not woken.records and not woken.replies  # noqa: PT018
                effects.timers += woken.timers
        return effects

    def on_timer(self, key: Hashable, now_ms: int) -> Effects:
        return self.expire_offsets(now_ms) if key == _RETENTION_TIMER else self.classic.on_timer(key, now_ms)

    def on_append_result(self, follow_up: object, error: Code | None, now_ms: int) -> Effects:
        return self.classic.on_append_result(follow_up, error, now_ms)

    def clock_stepped(self, by_ms: int) -> None:
        self.classic.clock_stepped(by_ms)

    def expire_offsets(self, now_ms: int) -> Effects:
        """Forget offsets that nobody needs any more, and empty groups that have none left; some groups at a time."""
        effects = Effects(atomic=False)
        if not self._to_expire:
            self._to_expire = list(self.groups)
        some, self._to_expire = self._to_expire[-_EXPIRED_AT_ONCE:], self._to_expire[:-_EXPIRED_AT_ONCE]
        pause_ms = 0 if self._to_expire else self.config.offsets_retention_check_interval_ms
        effects.set_timer(_RETENTION_TIMER, now_ms + pause_ms)
        for group_id in some:
            stored = self.groups.get(group_id)
            if stored is None:
                continue
            # Not kept: most groups are looked at here and nowhere else.
            group = self.classic.live.get(group_id) or ClassicGroup.from_record(group_id, stored)
            records, nothing_remains = self._expired(group, now_ms)
            effects.records += records
            if nothing_remains and group.state is State.EMPTY and not group.pending_joins:
                effects.records.append(group_record(group_id, None))
        return effects

    # Helpers

    def _find(self, group_id: str) -> ClassicGroup | None:
        group = self.classic.live.get(group_id)
        if group is None and group_id in self.groups:
            group = self.classic.live[group_id] = ClassicGroup.from_record(group_id, self.groups[group_id])
        return group

    def _reads(self, group_id: str, topic: str) -> bool:
        group = self._find(group_id)
        return group is not None and group.subscribes_to(topic)

    def _listed(self, group_id: str, stored: GroupMetadataValue) -> ListedGroup:
        group = self.classic.live.get(group_id)
        if group is None:
            assert not stored.members
            return ListedGroup(group_id, stored.protocol_type, State.EMPTY.value, CLASSIC)
        return ListedGroup(group_id, group.protocol_type or "", group.state.value, CLASSIC)

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

    def _check_committer(self, command: CommitOffsets, now_ms: int) -> None:
        group = self._find(command.group_id)
        if group is None:
            other = self.others.get(command.group_id)
            if command.generation_id >= 0:
                raise KafkaError(command.unknown_group if other is None else Code.UNKNOWN_MEMBER_ID)
            if other is not None and other.kind == "share":
                raise KafkaError(Code.GROUP_ID_NOT_FOUND)
            return
        if command.generation_id < 0 and group.state is State.EMPTY:
            # The admin client, or a consumer that assigns partitions to itself.
            return
        member = group.member(command.member_id, command.group_instance_id)
        if command.generation_id != group.generation_id:
            raise KafkaError(Code.ILLEGAL_GENERATION)
        if group.state is State.COMPLETING_REBALANCE:
            # He knows the generation, so he has just joined, and should sync before he commits.
            raise KafkaError(Code.REBALANCE_IN_PROGRESS)
        member.touch(now_ms)

    def _check_transactional_committer(self, command: CommitOffsets) -> None:
        """Clients before KIP-447 say neither member nor generation, and are believed."""
        group = self._find(command.group_id)
        if group is None:
            if command.generation_id >= 0:
                raise KafkaError(Code.ILLEGAL_GENERATION)
            return
        if command.generation_id < 0 and group.state is State.EMPTY:
            return
        if command.generation_id >= 0 or command.member_id or command.group_instance_id is not None:
            group.member(command.member_id, command.group_instance_id)
            if command.generation_id != group.generation_id:
                raise KafkaError(Code.ILLEGAL_GENERATION)

    def _expired(self, group: ClassicGroup, now_ms: int) -> tuple[list[Record], bool]:
        """From when retention counts depends on whether the group still has members (KIP-211)."""

        def since_commit(offset: CommittedOffset) -> int:
            return offset.commit_ms

        def since_empty(offset: CommittedOffset) -> int:
            return offset.commit_ms if group.state_since_ms == -1 else group.state_since_ms

        if group.protocol_type is None:
            since = since_commit
        elif group.state is State.EMPTY:
            since = since_empty
        elif group.state is State.STABLE and group.is_consumer_group and group.topics is not None:
            since = since_commit
        else:
            return [], False
        return self.offsets.expire(
            group.group_id, since, group.subscribes_to, retention_ms=self.config.offsets_retention_ms, now_ms=now_ms
        )

    def _replay_other(self, entry: OtherEntry, key: bytes, value: bytes | None) -> None:
        other = self.others.get(entry.group_id)
        if value is not None:
            stored = self.groups.get(entry.group_id)
            if stored is not None and not stored.protocol_type:
                # Its offsets came before its records did, as compaction may leave them.
                del self.groups[entry.group_id]
                self.classic.live.pop(entry.group_id, None)
            if other is None:
                other = self.others[entry.group_id] = OtherGroup(entry.kind)
            other.records[key] = value
            if entry.is_member:
                other.members.add(key)
        elif other is not None:
            other.records.pop(key, None)
            other.members.discard(key)
            if not other.records:
                del self.others[entry.group_id]


def _tombstones(other: OtherGroup) -> list[Record]:
    return [Record(key, None) for key in other.records]


def _not_found(group_id: str) -> KafkaError:
    return KafkaError(Code.GROUP_ID_NOT_FOUND, f"Group {group_id} not found.")
