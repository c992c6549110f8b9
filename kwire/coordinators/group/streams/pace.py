"""How soon a member of a streams group is asked to send its next heartbeat.

Responsible for: the interval in the answer. Must not depend on: anything that decides assignments.

A member gets its tasks after the delay of the first assignment, and once its internal topics exist and others have let
go of the tasks. Apache Kafka's default asks for a heartbeat in five seconds, each time. So members are asked to come
back soon as long as they wait for something that is about to come. A value that a user has set is always the answer.
"""

from __future__ import annotations

from typing import Final

from kwire.coordinators.group.streams.internal_topics import ConfiguredTopology, Status
from kwire.coordinators.group.streams.member import Member
from kwire.coordinators.group.streams.step import Step

_NAME: Final = "streams.heartbeat.interval.ms"
_SOON_MS: Final = 100
# Many members come back less often, so that a group costs at most so many heartbeats a second.
_SOON_MS_PER_MEMBER: Final = 2


def heartbeat_interval_ms(
    step: Step, member: Member, group_epoch: int, before: ConfiguredTopology | None, now: ConfiguredTopology
) -> int:
    """The interval for a member that is now as ``member``; ``before``: how the topics were before the command."""
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
