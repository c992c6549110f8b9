"""The consumer groups of one partition.

Responsible for: creating groups, and the commands and events of the machine that concern them. Must not
depend on: how a heartbeat is answered (``heartbeat``, ``classic_members``), the log.

Timers, by key, all beginning with ``"consumer"``: ``session`` ends that of a member; ``rebalance`` removes a member
that does not give up its partitions, ``join`` and ``sync`` one of the classic protocol that does not join or sync.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from kwire.coordinators.group.classic.group import ClassicGroup
from kwire.coordinators.group.classic.groups import ClassicGroups
from kwire.coordinators.group.commands import (
    GroupConfig,
    Joined,
    JoinGroup,
    LeavingMember,
    Synced,
    SyncGroup,
)
from kwire.coordinators.group.consumer import classic_members, heartbeat, migration, regexes
from kwire.coordinators.group.consumer.commands import ConsumerHeartbeat, DescribedConsumer, DescribedConsumerGroup
from kwire.coordinators.group.consumer.group import KIND, ConsumerGroup
from kwire.coordinators.group.consumer.leaving import fence
from kwire.coordinators.group.consumer.member import Member, MemberState, owned_by
from kwire.coordinators.group.consumer.parts import ConsumerParts, Step
from kwire.coordinators.group.consumer.state import ResolvedRegex
from kwire.coordinators.group.consumer.target import bump_epoch, preferred_assignor
from kwire.coordinators.group.group import Group
from kwire.coordinators.group.modern.assignment import NO_PARTITIONS
from kwire.coordinators.group.modern.groups import ModernGroups
from kwire.coordinators.group.modern.state import LEAVE_EPOCH, LEAVE_STATIC_EPOCH
from kwire.coordinators.machine import Effects
from kwire.coordinators.timeline import Timeline
from kwire.errors import Code, KafkaError


class ConsumerGroups(ModernGroups[ConsumerParts, ConsumerGroup, Step]):
    """A ``ModernKind``. ``find_any`` gives the group of an id, whatever its kind."""

    def __init__(
        self,
        config: GroupConfig,
        timeline: Timeline,
        *,
        classic: ClassicGroups,
        find_any: Callable[[str], Group | None],
    ) -> None:
        parts = ConsumerParts(config, timeline, classic=classic, find_any=find_any)
        super().__init__(KIND, parts, make_group=ConsumerGroup, make_step=Step)

    # Commands

    def heartbeat(self, command: ConsumerHeartbeat, *, ticket: int, now_ms: int) -> Effects:
        """The reply is a ``HeartbeatAnswer``. Raises KafkaError."""
        heartbeat.check_request(command, self.parts.config.consumer_assignors)
        effects = Effects()
        if command.member_epoch in (LEAVE_EPOCH, LEAVE_STATIC_EPOCH):
            step = Step(self.parts, self.existing(command.group_id), now_ms, effects)
            effects.reply(ticket, heartbeat.leave(step, command))
            return effects
        is_joining = command.member_epoch == 0
        group = self._created(command.group_id, now_ms, effects) if is_joining else self.existing(command.group_id)
        effects.reply(ticket, heartbeat.heartbeat(Step(self.parts, group, now_ms, effects), command))
        return effects

    def describe(self, group_id: str) -> DescribedConsumerGroup:
        """KafkaError(INVALID_GROUP_ID, GROUP_ID_NOT_FOUND)."""
        group = self.described(group_id)
        epochs, members, default = group.epochs, group.members, self.parts.config.consumer_assignors[0]
        return DescribedConsumerGroup(
            group_id,
            group.state,
            epochs.group,
            epochs.assignment,
            preferred_assignor(members.values(), default),
            tuple(_described(group, member) for member in members.values()),
        )

    def resolved(self, group_id: str, found: Mapping[str, ResolvedRegex] | None, *, now_ms: int) -> Effects:
        """The topics that match the expressions of the group, or None if they could not be found."""
        group = self.find(group_id)
        if group is None:
            return Effects()
        step = Step(self.parts, group, now_ms)
        regexes.resolved(step, found or {})
        return step.effects

    def rebalance(self, group_id: str, *, ticket: int, now_ms: int) -> Effects:
        """Begin a new epoch with a new target assignment; the reply is None. The group has members."""
        step = Step(self.parts, self.existing(group_id), now_ms)
        bump_epoch(step, next(iter(step.group.members.values())), must_bump=True)
        step.effects.reply(ticket, None)
        return step.effects

    # Commands of members of the classic protocol, for groups that have members

    def classic_join(self, command: JoinGroup, *, ticket: int, now_ms: int) -> Effects:
        """The reply is a ``Joined`` at once."""
        step = Step(self.parts, self.existing(command.group_id), now_ms)
        try:
            joined = classic_members.join(step, command)
        except KafkaError as refusal:
            # The effects so far are dropped.
            step = Step(self.parts, step.group, now_ms)
            joined = Joined("", refusal.code)
        step.effects.reply(ticket, joined)
        return step.effects

    def classic_sync(self, command: SyncGroup, *, ticket: int, now_ms: int) -> Effects:
        """The reply is a ``Synced`` at once."""
        step = Step(self.parts, self.existing(command.group_id), now_ms)
        try:
            synced = classic_members.sync(step, command)
        except KafkaError as refusal:
            synced = Synced(refusal.code)
        step.effects.reply(ticket, synced)
        return step.effects

    def classic_heartbeat(
        self,
        group_id: str,
        generation_id: int,
        member_id: str,
        group_instance_id: str | None,
        *,
        ticket: int,
        now_ms: int,
    ) -> Effects:
        """The reply is a ``Code``, NONE or REBALANCE_IN_PROGRESS. Raises KafkaError."""
        step = Step(self.parts, self.existing(group_id), now_ms)
        code = classic_members.heartbeat(step, generation_id, member_id, group_instance_id)
        step.effects.reply(ticket, code)
        return step.effects

    def classic_leave(self, group_id: str, leaving: Iterable[LeavingMember], *, ticket: int, now_ms: int) -> Effects:
        """The reply is a list of ``LeftMember``."""
        step = Step(self.parts, self.existing(group_id), now_ms)
        step.effects.reply(ticket, classic_members.leave(step, leaving))
        return step.effects

    # The machine's events

    def restart(self, step: Step, member: Member) -> None:
        step.start_session(member)
        if member.state is MemberState.UNREVOKED_PARTITIONS:
            step.set_deadline("rebalance", member.member_id, member.rebalance_timeout_ms)

    def fence(self, step: Step, member: Member) -> None:
        fence(step, [member])

    def on_append_result(self, follow_up: object, error: Code | None, now_ms: int) -> Effects:
        assert isinstance(follow_up, migration.Downgraded), follow_up
        return Effects() if error is not None else migration.on_downgraded(self.parts, follow_up, now_ms)

    # Helpers

    def _created(self, group_id: str, now_ms: int, effects: Effects) -> ConsumerGroup:
        """The group, new, or made of a classic one. KafkaError(GROUP_ID_NOT_FOUND) for a group of another kind."""
        other = self.parts.find_any(group_id)
        if other is None or isinstance(other, ConsumerGroup):
            return ConsumerGroup(self.parts.tables, group_id)
        if not isinstance(other, ClassicGroup):
            raise self.not_found(group_id, "")
        if other.is_empty:
            effects.records += other.tombstones()
            return ConsumerGroup(self.parts.tables, group_id)
        migration.check_upgrade(self.parts, other)
        changing = self.parts.classic.find_to_change(group_id)
        assert changing is not None
        return migration.upgrade(self.parts, changing, now_ms, effects)


def _described(group: ConsumerGroup, member: Member) -> DescribedConsumer:
    return DescribedConsumer(
        member.member_id,
        member.instance_id,
        member.rack_id,
        member.epoch,
        member.client_id,
        member.client_host,
        tuple(sorted(member.topics)),
        member.regex,
        owned_by(member),
        group.target(member.member_id) or NO_PARTITIONS,
        uses_classic_protocol=member.classic is not None,
    )
