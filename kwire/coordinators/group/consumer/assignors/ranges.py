"""The assignor ``range``: each member gets a range of the partitions of each topic.

Responsible for: the assignment. Must not depend on: earlier assignments; only the order of members decides, so that
partitions of the same number in topics of the same size go to the same member.

Static members come first, by instance id, then the others by member id.
"""

from __future__ import annotations

from collections.abc import Mapping

from kwire.coordinators.group.modern.assignment import AssignorFailure, GroupSpec, Partitions
from kwire.types import Uuid


def assign_ranges(group: GroupSpec) -> Mapping[str, Partitions]:
    """Raises AssignorFailure when a member subscribes to a topic that does not exist."""
    subscribers: dict[Uuid, int] = {}
    for member in group.members.values():
        for topic_id in member.topics:
            subscribers[topic_id] = subscribers.get(topic_id, 0) + 1
    if any(topic_id not in group.partition_counts for topic_id in subscribers):
        raise AssignorFailure("Member is subscribed to a non-existent topic")
    # By topic: how many members have had their range, and where the next one starts.
    served = dict.fromkeys(subscribers, (0, 0))
    targets: dict[str, Partitions] = {}
    for member_id in _in_order(group):
        target = {}
        for topic_id in group.members[member_id].topics:
            count = group.partition_counts[topic_id]
            index, start = served[topic_id]
            quota, extra = divmod(count, subscribers[topic_id])
            end = min(start + quota + (index < extra), count)
            served[topic_id] = (index + 1, end)
            if start < end:
                target[topic_id] = frozenset(range(start, end))
        targets[member_id] = target
    return targets


def _in_order(group: GroupSpec) -> list[str]:
    def key(member_id: str) -> tuple[bool, bytes]:
        instance_id = group.members[member_id].instance_id
        text = member_id if instance_id is None else instance_id
        # Java compares strings by their UTF-16 code units.
        return instance_id is None, text.encode("utf-16-be", "surrogatepass")

    return sorted(group.members, key=key)
