"""The assignor ``uniform`` for members that subscribe to different topics.

Responsible for: the assignment. Must not depend on: records, groups.

    keep      each member keeps what it has of the topics that it subscribes to
    fill      topics with the most partitions for each subscriber first: each free partition goes to the subscriber
              that has the least
    balance   topic by topic a partition goes from the subscriber that has the most to the one that has the least, until
              they differ by one at most, or those that have more have nothing of this topic; again until nothing moves

Members are numbered in their order; a tie goes to the lower number.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from typing import Final

from kwire.coordinators.group.consumer.assignors.load_ranges import LoadRanges
from kwire.coordinators.group.modern.assignment import AssignorFailure, GroupSpec, Partitions
from kwire.coordinators.java_order import hash_map_order, string_hash
from kwire.types import Uuid, uuid_text

_ROUNDS_MAX: Final = 16
_NO_OWNER: Final = -1


def assign_heterogeneous(group: GroupSpec) -> Mapping[str, Partitions]:
    """Raises AssignorFailure when a member subscribes to a topic that does not exist."""
    return _Heterogeneous(group).assign()


class _Heterogeneous:
    """``owners``: by topic, the number of the member that has each partition. ``sizes``: how much each member has."""

    def __init__(self, group: GroupSpec) -> None:
        self._group = group
        self._member_ids = hash_map_order(group.members, string_hash)
        self._sizes = [0] * len(self._member_ids)
        self._subscribers: dict[Uuid, list[int]] = {}
        for number, member_id in enumerate(self._member_ids):
            for topic_id in group.members[member_id].topics:
                if topic_id not in group.partition_counts:
                    raise AssignorFailure(
                        f"Members are subscribed to topic {uuid_text(topic_id)} which doesn't exist in the topic"
                        " metadata."
                    )
                self._subscribers.setdefault(topic_id, []).append(number)
        self._owners = {topic_id: [_NO_OWNER] * group.partition_counts[topic_id] for topic_id in self._subscribers}
        self._ranges = LoadRanges(self._sizes)

    def assign(self) -> Mapping[str, Partitions]:
        if not self._subscribers:
            return {}
        self._keep()
        self._fill()
        self._balance()
        targets: dict[str, dict[Uuid, set[int]]] = {member_id: {} for member_id in self._member_ids}
        for topic_id, owners in self._owners.items():
            for partition, owner in enumerate(owners):
                targets[self._member_ids[owner]].setdefault(topic_id, set()).add(partition)
        return {
            member_id: {topic_id: frozenset(held) for topic_id, held in target.items()}
            for member_id, target in targets.items()
        }

    def _keep(self) -> None:
        for number, member_id in enumerate(self._member_ids):
            member = self._group.members[member_id]
            for topic_id, held in member.target.items():
                if topic_id in member.topics:
                    self._sizes[number] += len(held)
                    for partition in held:
                        self._owners[topic_id][partition] = number

    def _fill(self) -> None:
        free = {
            topic_id: [partition for partition, owner in enumerate(owners) if owner == _NO_OWNER]
            for topic_id, owners in self._owners.items()
        }
        for topic_id in self._in_order(topic_id for topic_id, partitions in free.items() if partitions):
            self._ranges.start(self._subscribers[topic_id])
            for partition in free[topic_id]:
                self._give(topic_id, partition, self._ranges.next_least_loaded())

    def _balance(self) -> None:
        topics = self._in_order(topic_id for topic_id, members in self._subscribers.items() if len(members) > 1)
        last_changed: Uuid | None = None
        for _ in range(_ROUNDS_MAX):
            for topic_id in topics:
                if topic_id == last_changed:
                    # All topics were checked since the last move.
                    return
                if self._balance_topic(topic_id) or last_changed is None:
                    last_changed = topic_id

    def _balance_topic(self, topic_id: Uuid) -> int:
        """Return how many partitions moved."""
        ranges, owners = self._ranges, self._owners[topic_id]
        if ranges.start(self._subscribers[topic_id]) <= 1:
            return 0
        held: dict[int, list[int]] = {}
        for partition, owner in enumerate(owners):
            held.setdefault(owner, []).append(partition)
        moved = 0
        while not ranges.is_balanced():
            giver = ranges.next_most_loaded()
            while giver is not None and not held.get(giver):
                ranges.exclude_most_loaded()
                giver = ranges.next_most_loaded()
            if giver is None:
                break
            partition = held[giver].pop()
            taker = ranges.next_least_loaded()
            if ranges.is_balanced():
                break
            self._give(topic_id, partition, taker)
            moved += 1
        return moved

    def _give(self, topic_id: Uuid, partition: int, number: int) -> None:
        owners = self._owners[topic_id]
        if owners[partition] != _NO_OWNER:
            self._sizes[owners[partition]] -= 1
        owners[partition] = number
        self._sizes[number] += 1

    def _in_order(self, topic_ids: Iterable[Uuid]) -> list[Uuid]:
        def key(topic_id: Uuid) -> tuple[float, int, tuple[int, int]]:
            subscribers = len(self._subscribers[topic_id])
            per_subscriber = len(self._owners[topic_id]) / subscribers
            # Kafka's Uuid.compareTo takes the halves as signed numbers.
            high, low = struct.unpack(">qq", topic_id)
            return -per_subscriber, subscribers, (high, low)

        return sorted(topic_ids, key=key)
