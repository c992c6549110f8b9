"""The assignor ``uniform``: as many partitions for each member as possible, and as few moves as that allows.

Responsible for: members that all subscribe to the same topics. Must not depend on: how differing subscriptions are
balanced (``uniform_heterogeneous``).

With p partitions and m members each gets p // m, and p % m of them one more. A member keeps what it has up to that; the
rest goes to those that have less, in the order of the members.

Apache Kafka iterates over Java hash maps, so which of the partitions a member keeps depends on their order.
"""

from __future__ import annotations

from collections.abc import Mapping

from kwire.coordinators.group.consumer.assignors.uniform_heterogeneous import assign_heterogeneous
from kwire.coordinators.group.modern.assignment import AssignorFailure, GroupSpec, Partitions
from kwire.coordinators.java_order import hash_map_order, integer_hash, string_hash, uuid_hash
from kwire.types import Uuid, uuid_text


def assign_uniformly(group: GroupSpec) -> Mapping[str, Partitions]:
    """Raises AssignorFailure when a member subscribes to a topic that does not exist."""
    if not group.members:
        return {}
    return _Homogeneous(group).assign() if group.is_homogeneous else assign_heterogeneous(group)


class _Homogeneous:
    """``unassigned``: the partitions to give away. ``unfilled``: members with room, each with how much."""

    def __init__(self, group: GroupSpec) -> None:
        self._group = group
        self._member_ids = hash_map_order(group.members, string_hash)
        topics = group.members[self._member_ids[0]].topics
        self._topics = hash_map_order(sorted(topics), uuid_hash, expected=len(topics))
        self._targets: dict[str, dict[Uuid, set[int]]] = {}
        self._unassigned: list[tuple[Uuid, int]] = []
        self._unfilled: list[tuple[str, int]] = []

    def assign(self) -> Mapping[str, Partitions]:
        if not self._topics:
            return {}
        total = self._find_unassigned()
        self._keep(*divmod(total, len(self._member_ids)))
        self._give_away()
        return {
            member_id: {topic_id: frozenset(held) for topic_id, held in target.items() if held}
            for member_id, target in self._targets.items()
        }

    def _find_unassigned(self) -> int:
        group = self._group
        assigned = {
            (topic_id, partition)
            for member in group.members.values()
            for topic_id, held in member.target.items()
            for partition in held
        }
        total = 0
        for topic_id in self._topics:
            count = group.partition_counts.get(topic_id)
            if count is None:
                raise AssignorFailure(
                    f"Members are subscribed to topic {uuid_text(topic_id)} which doesn't exist in the topic metadata."
                )
            total += count
            self._unassigned += [
                (topic_id, partition) for partition in range(count) if (topic_id, partition) not in assigned
            ]
        return total

    def _keep(self, least: int, extras: int) -> None:
        """Let each member keep what it may; ``extras`` members get one more than ``least``."""
        for index, member_id in enumerate(self._member_ids):
            has_extra = extras > 0
            quota = self._keep_of(member_id, least + has_extra)
            if quota > 0 and has_extra and len(self._member_ids) - index > extras:
                # It does not need the extra partition: another member may, unless too few are left.
                quota -= 1
                has_extra = False
            if quota > 0:
                self._unfilled.append((member_id, quota))
            extras -= has_extra

    def _keep_of(self, member_id: str, quota: int) -> int:
        """Return how much room is left."""
        target = self._targets[member_id] = {}
        present = self._group.members[member_id].target
        for topic_id in hash_map_order(present, uuid_hash):
            if topic_id not in self._topics:
                continue
            held = present[topic_id]
            kept = set(held)
            if len(held) > quota:
                in_order = hash_map_order(sorted(held), integer_hash, expected=len(held))
                kept = set(in_order[:quota])
                self._unassigned += [(topic_id, partition) for partition in in_order[quota:]]
            quota -= len(kept)
            target[topic_id] = kept
        return quota

    def _give_away(self) -> None:
        unassigned = iter(self._unassigned)
        for member_id, room in self._unfilled:
            target = self._targets[member_id]
            for _ in range(room):
                given = next(unassigned, None)
                if given is None:
                    break
                target.setdefault(given[0], set()).add(given[1])
        if next(unassigned, None) is not None:
            raise AssignorFailure("Partitions were left unassigned")
