"""Members that leave a consumer group, or are removed from it.

Responsible for: the records of a removal, and the group's epoch after it. Must not depend on: why a member leaves, the
downgrade to a classic group (``migration``).
"""

from __future__ import annotations

from collections.abc import Collection

from kwire.coordinators.group.consumer import migration, regexes
from kwire.coordinators.group.consumer.member import Member, remove_records
from kwire.coordinators.group.consumer.parts import Step
from kwire.coordinators.group.consumer.state import epoch_record, target_epoch_record
from kwire.coordinators.group.consumer.target import hash_of


def fence(step: Step, members: Collection[Member]) -> None:
    """Remove members. If only members of the classic protocol remain, the group becomes a classic one."""
    if not members:
        return
    if migration.may_downgrade(step, members):
        migration.downgrade(step, members, must_rebalance=True)
        return
    group = step.group
    gone = {member.member_id for member in members}
    remaining = [each for each in group.members.values() if each.member_id not in gone]
    for member in members:
        step.add(*remove_records(step.group_id, member.member_id))
        step.cancel_timers(member.member_id)
    regexes.forget_unused(step, members)
    # Its target has to be computed without them.
    epoch = group.epochs.group + 1
    step.add(epoch_record(step.group_id, epoch, hash_of(step, remaining, group.regexes)))
    if not remaining:
        # There is nothing to assign: the next member does not wait for an interval to pass.
        step.add(target_epoch_record(step.group_id, epoch, 0))
    step.changed()
