"""The heartbeat interval in the answer to a member of a streams group.

Responsible for: the interval. Must not depend on: how assignments are decided.

A member gets its tasks after the delay of the first assignment, and once its internal topics exist and other members
have released the tasks. Apache Kafka's default interval is five seconds. So the interval is short while a member waits
for one of these. A value that a user has set is always used.
"""

from __future__ import annotations

from typing import Final

from kwire.coordinators.group.streams.internal_topics import ConfiguredTopology, Status
from kwire.coordinators.group.streams.member import Member
from kwire.coordinators.group.streams.step import Step

_NAME: Final = "streams.heartbeat.interval.ms"
_SOON_MS: Final = 100
# With many members the interval is longer, so that a group sends at most this many heartbeats a second.
_SOON_MS_PER_MEMBER: Final = 2


def heartbeat_interval_ms(
    step: Step, member: Member, group_epoch: int, before: ConfiguredTopology | None, now: ConfiguredTopology
) -> int:
    """The interval for a member that is now as ``member``; ``before``: the state of the topics before the command."""
    configured_ms: int = step.setting(_NAME)
    parts = step.parts
    if not parts.config.streams_fast_heartbeats or parts.metadata.has_group_config(step.group_id, _NAME):
        return configured_ms
    if now.problem is not None:
        # Topics that are still missing after they were to be created may be missing for long.
        is_new = before is None or before.missing != now.missing
        is_waiting = now.problem.status is Status.MISSING_INTERNAL_TOPICS and is_new
    else:
        is_waiting = not member.is_reconciled_to(group_epoch)
    if not is_waiting:
        return configured_ms
    return min(configured_ms, max(_SOON_MS, _SOON_MS_PER_MEMBER * len(step.group.members)))
