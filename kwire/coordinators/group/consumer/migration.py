"""Online migration of a classic group to a consumer group and back.

Responsible for: when a group may change its kind (``group.consumer.migration.policy``), and the records of the change.
Must not depend on: heartbeats, JoinGroup.

A classic group becomes a consumer group when a member of the consumer protocol joins; its members keep using the
classic protocol, served by ``classic_members``. The group becomes classic again when the last member of the consumer
protocol leaves or is replaced. Offsets stay where they are.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from kwire.coordinators.group.classic.group import CONSUMER_PROTOCOL, ClassicGroup, State
from kwire.coordinators.group.classic.group import Member as ClassicMember
from kwire.coordinators.group.classic.rebalance import Step as ClassicStep
from kwire.coordinators.group.classic.rebalance import answer_join, answer_sync, extend_session, prepare_rebalance
from kwire.coordinators.group.commands import Joined, Synced
from kwire.coordinators.group.consumer import embedded
from kwire.coordinators.group.consumer.group import KIND, ConsumerGroup
from kwire.coordinators.group.consumer.member import (
    ClassicProtocols,
    Member,
    current_record,
    remove_records,
    subscription_record,
)
from kwire.coordinators.group.consumer.parts import ConsumerParts, Step
from kwire.coordinators.group.consumer.state import (
    ConsumerTables,
    epoch_record,
    target_epoch_record,
    target_record,
)
from kwire.coordinators.group.modern.assignment import Partitions, partitions_of
from kwire.coordinators.group.records import ModernEntry, group_record, read_record
from kwire.coordinators.machine import Effects, Record
from kwire.coordinators.timeline import Timeline
from kwire.errors import Code, KafkaError

_UPGRADES = ("bidirectional", "upgrade")
_DOWNGRADES = ("bidirectional", "downgrade")


@dataclass(frozen=True, slots=True)
class Downgraded:
    """Follow-up of a downgrade: start the sessions of the classic group, and a rebalance unless nothing changed."""

    group_id: str
    must_rebalance: bool
    kind: str = KIND


# To a consumer group


def check_upgrade(parts: ConsumerParts, group: ClassicGroup) -> None:
    """KafkaError(GROUP_ID_NOT_FOUND) if the classic group may not become a consumer group."""
    group_id = group.group_id
    reason = None
    if parts.config.consumer_migration_policy not in _UPGRADES:
        reason = "online upgrade is disabled"
    elif group.protocol_type != CONSUMER_PROTOCOL:
        reason = "the group does not use the consumer embedded protocol"
    elif len(group.members) > parts.config.consumer_max_size:
        reason = "the group size exceeds the consumer group maximum size"
    if reason is not None:
        raise _cannot_upgrade(group_id, reason)


def upgrade(parts: ConsumerParts, group: ClassicGroup, now_ms: int, effects: Effects) -> ConsumerGroup:
    """Make a consumer group of a classic one, and return it as it will be once its records are written.

    Requests that are parked are answered REBALANCE_IN_PROGRESS, upon which the members join the consumer group.
    KafkaError(GROUP_ID_NOT_FOUND) if the members' protocol cannot be read.
    """
    members = _as_consumer_members(parts, group)
    classic_step = ClassicStep(parts.config, now_ms, effects)
    for classic_member in group.change_all():
        again = Joined(classic_member.member_id, Code.REBALANCE_IN_PROGRESS)
        answer_join(group, classic_member, again, classic_step)
        answer_sync(classic_member, Synced(Code.REBALANCE_IN_PROGRESS), classic_step)
    for timer in ("join", "sync"):
        effects.set_timer((timer, group.group_id), None)
    for member_id in [*group.members, *group.pending_joins]:
        effects.set_timer(("session", group.group_id, member_id), None)
    records = _upgrade_records(parts, group, members)
    effects.records += group.tombstones() + records
    upgraded = _imagined(group.group_id, records)
    step = Step(parts, upgraded, now_ms, effects)
    for member in members:
        step.start_session(member)
    return upgraded


def _as_consumer_members(parts: ConsumerParts, group: ClassicGroup) -> list[Member]:
    """The members in the state of the last generation, all STABLE."""
    malformed = "the embedded consumer protocol is malformed"
    members = []
    for each in group.members.values():
        try:
            subscription = embedded.read_subscription(each.metadata(group.protocol_name or each.protocols[0][0]))
            assignment, has_user_data = embedded.read_assignment(each.assignment)
        except embedded.MalformedProtocol:
            raise _cannot_upgrade(group.group_id, malformed) from None
        if has_user_data:
            raise _cannot_upgrade(
                group.group_id,
                "an unsupported custom assignor is in use. Please refer to the documentation or switch to a default "
                "assignor before re-attempting the upgrade",
            )
        members.append(
            Member(
                each.member_id,
                instance_id=each.group_instance_id,
                rack_id=subscription.rack_id or None,
                client_id=each.client_id,
                client_host=each.client_host,
                topics=frozenset(subscription.topics),
                rebalance_timeout_ms=each.rebalance_timeout_ms,
                classic=ClassicProtocols(each.session_timeout_ms, each.protocols),
                epoch=group.generation_id,
                previous_epoch=group.generation_id,
                assigned={
                    topic_id: dict.fromkeys(sorted(held), group.generation_id)
                    for topic_id, held in by_topic_id(parts, assignment).items()
                },
            )
        )
    return members


def _upgrade_records(parts: ConsumerParts, group: ClassicGroup, members: Iterable[Member]) -> list[Record]:
    group_id, epoch = group.group_id, group.generation_id
    members = list(members)
    topics = {topic for member in members for topic in member.topics}
    records = [subscription_record(group_id, member) for member in members]
    records.append(epoch_record(group_id, epoch, parts.hash_of(topics)))
    records += [
        target_record(group_id, each.member_id, {topic: frozenset(held) for topic, held in each.assigned.items()})
        for each in members
    ]
    records.append(target_epoch_record(group_id, epoch, 0))
    records += [current_record(group_id, member) for member in members]
    return records


def _imagined(group_id: str, records: Iterable[Record]) -> ConsumerGroup:
    """The group that these records make."""
    tables = ConsumerTables(Timeline())
    for record in records:
        entry = read_record(record.key, record.value)
        assert isinstance(entry, ModernEntry)
        tables.replay(entry)
    return ConsumerGroup(tables, group_id)


def by_topic_id(parts: ConsumerParts, partitions: Mapping[str, frozenset[int]]) -> Partitions:
    """Topics that do not exist are left out."""
    found = ((parts.metadata.topic(name), held) for name, held in partitions.items())
    return partitions_of((topic.id, held) for topic, held in found if topic is not None)


def _cannot_upgrade(group_id: str, reason: str) -> KafkaError:
    return KafkaError(
        Code.GROUP_ID_NOT_FOUND, f"Cannot upgrade classic group {group_id} to consumer group because {reason}."
    )


# To a classic group


def may_downgrade(step: Step, leaving: Collection[Member]) -> bool:
    """Whether only members of the classic protocol remain once ``leaving`` have left, and the group may change."""
    gone = {member.member_id for member in leaving}
    remaining = [each for each in step.group.members.values() if each.member_id not in gone]
    if not remaining or any(each.classic is None for each in remaining):
        return False
    config = step.parts.config
    return config.consumer_migration_policy in _DOWNGRADES and len(remaining) <= config.max_size


def may_downgrade_by_replacing(step: Step, replaced: Member) -> bool:
    """The same when a member of the classic protocol replaces the static member ``replaced``."""
    members = step.group.members.values()
    config = step.parts.config
    return (
        replaced.classic is None
        and all(each.classic is not None for each in members if each.member_id != replaced.member_id)
        and config.consumer_migration_policy in _DOWNGRADES
        and len(members) <= config.max_size
    )


def downgrade(
    step: Step,
    leaving: Collection[Member],
    *,
    joining: Member | None = None,
    must_rebalance: bool,
) -> None:
    """Make a classic group of the members that remain, with the assignment of the target.

    ``joining`` replaces the static member of its instance id, and has its assignment.
    """
    group, parts = step.group, step.parts
    gone = {member.member_id for member in leaving}
    members = [each for each in group.members.values() if each.member_id not in gone]
    if joining is not None:
        members = [*(each for each in members if each.instance_id != joining.instance_id), joining]
    classic = ClassicGroup(group.group_id, State.STABLE, state_since_ms=step.now_ms, generation_id=group.epochs.group)
    for member in members:
        classic.add(_as_classic_member(member), protocol_type=CONSUMER_PROTOCOL)
    classic.protocol_name = classic.select_protocol()
    assignments = {
        member.member_id: embedded.write_assignment(
            by_name(parts, group.target_of(member)),
            embedded.version_of(classic.members[member.member_id].metadata(classic.protocol_name)),
        )
        for member in members
    }
    step.add(*group.tombstones(), *(() if joining is None else remove_records(group.group_id, joining.member_id)))
    step.add(group_record(group.group_id, classic.to_record(assignments)))
    for member_id in group.members:
        step.cancel_timers(member_id)
    parts.watched.pop(group.group_id)
    step.effects.follow_up = Downgraded(group.group_id, must_rebalance)


def on_downgraded(parts: ConsumerParts, downgraded: Downgraded, now_ms: int) -> Effects:
    """The classic group is stored: its members' sessions begin."""
    step = ClassicStep(parts.config, now_ms)
    group = parts.classic.find_to_change(downgraded.group_id)
    if group is not None:
        for member in group.change_all():
            extend_session(group, member, member.session_timeout_ms, step)
        if downgraded.must_rebalance:
            prepare_rebalance(group, step)
    return step.effects


def by_name(parts: ConsumerParts, partitions: Partitions) -> dict[str, frozenset[int]]:
    """Topics that do not exist are left out."""
    found = ((parts.metadata.topic_by_id(topic_id), held) for topic_id, held in partitions.items())
    return {topic.name: held for topic, held in found if topic is not None}


def _as_classic_member(member: Member) -> ClassicMember:
    assert member.classic is not None
    return ClassicMember(
        member.member_id,
        member.instance_id,
        member.client_id,
        member.client_host,
        member.rebalance_timeout_ms,
        member.classic.session_timeout_ms,
        member.classic.protocols,
    )
