"""The heartbeat interval in the answer to a member.

Responsible for: the interval. Must not depend on: how assignments are decided.

A rebalance takes a few rounds of heartbeats, and Apache Kafka's default interval is five seconds. So the interval is
short during a rebalance and for a short time after the last change, in which more members are likely to join; then it
is the configured one. A value that a user has set is always used.
"""

from __future__ import annotations

from typing import Final

from kwire.coordinators.group.consumer.member import Member
from kwire.coordinators.group.consumer.parts import Step

# How long after a change the interval stays short.
_SETTLING_MS: Final = 3000
_SOON_MS: Final = 100
# With many members the interval is longer, so that a group sends at most this many heartbeats a second.
_SOON_MS_PER_MEMBER: Final = 2


def heartbeat_interval_ms(step: Step, member: Member, group_epoch: int) -> int:
    """The interval for a member that is now as ``member``; ``group_epoch`` is that after the command."""
    configured_ms: int = step.setting("consumer.heartbeat.interval.ms")
    if not step.parts.config.consumer_fast_heartbeats or step.parts.has_own_interval(step.group_id):
        return configured_ms
    watched = step.watched
    is_settled = member.is_reconciled_to(group_epoch) and step.now_ms >= watched.changed_ms + _SETTLING_MS
    if is_settled and (watched.is_settled or _all_reconciled(step, group_epoch)):
        if not watched.is_settled:
            step.watch(is_settled=True)
        return configured_ms
    return min(configured_ms, max(_SOON_MS, _SOON_MS_PER_MEMBER * len(step.group.members)))


def _all_reconciled(step: Step, group_epoch: int) -> bool:
    return all(member.is_reconciled_to(group_epoch) for member in step.group.members.values())
