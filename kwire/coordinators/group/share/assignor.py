"""The simple assignor of share groups (KIP-932): all members get partitions, which several of them may share.

Responsible for: the target assignment. Must not depend on: how members get to it.

Partitions are shared: with more members than partitions, each partition has several members. Balance comes first, then
as little change as possible. Members that subscribe to the same topics share all their partitions; otherwise the
partitions of each topic are shared among its subscribers by themselves. Ties are broken by the order in which a Java
``HashMap`` iterates, so that the result is that of Apache Kafka.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from math import ceil
from typing import TypeAlias

from kwire.coordinators.group.modern.assignment import MemberSpec, Partitions, partitions_of
from kwire.coordinators.java_order import hash_map_order, string_hash, uuid_hash
from kwire.types import Uuid

Unit: TypeAlias = tuple[Uuid, int]


def assign(
    members: Mapping[str, MemberSpec], assignable: Partitions, *, is_homogeneous: bool
) -> Mapping[str, Partitions]:
    """The partitions of each member, out of the ``assignable`` ones of its topics."""
    member_ids = hash_map_order(members, string_hash)
    specs = [members[member_id] for member_id in member_ids]
    held: list[set[Unit]] = [_units_of(spec) for spec in specs]
    if is_homogeneous:
        topics = hash_map_order(specs[0].topics, uuid_hash) if specs else []
        units = [(topic_id, index) for topic_id in topics for index in sorted(assignable.get(topic_id, ()))]
        _share(units, dict(enumerate(held)))
    else:
        for topic_id in hash_map_order({each for spec in specs for each in spec.topics}, uuid_hash):
            subscribers = {
                place: {unit for unit in held[place] if unit[0] == topic_id}
                for place, spec in enumerate(specs)
                if topic_id in spec.topics
            }
            _share([(topic_id, index) for index in sorted(assignable.get(topic_id, ()))], subscribers)
            for place, units_held in subscribers.items():
                held[place] = {unit for unit in held[place] if unit[0] != topic_id} | units_held
    return {member_id: _as_partitions(units) for member_id, units in zip(member_ids, held, strict=True)}


def _units_of(spec: MemberSpec) -> set[Unit]:
    """The member's partitions of topics that it still subscribes to."""
    return {(topic_id, index) for topic_id, held in spec.target.items() if topic_id in spec.topics for index in held}


def _as_partitions(units: Collection[Unit]) -> Partitions:
    by_topic: dict[Uuid, list[int]] = {}
    for topic_id, index in sorted(units):
        by_topic.setdefault(topic_id, []).append(index)
    return partitions_of(by_topic.items())


def _share(units: Sequence[Unit], held: dict[int, set[Unit]]) -> None:
    """Share ``units`` among the members, by place; ``held`` has what each has, and is changed to what each gets."""
    if not held:
        return
    sharing = -(-len(held) // len(units)) if units else 0
    precise = sharing * len(units) / len(held)
    desired = {
        place: ceil(precise * (number + 1)) - ceil(precise * number) for number, place in enumerate(sorted(held))
    }
    by_unit: dict[Unit, set[int]] = {}
    for place in sorted(held):
        for unit in held[place]:
            by_unit.setdefault(unit, set()).add(place)
    for place, mine in held.items():
        for unit in _ordered(mine)[: max(0, len(mine) - desired[place])]:
            mine.discard(unit)
            by_unit[unit].discard(place)
    for unit, places in by_unit.items():
        for place in sorted(places)[: max(0, len(places) - sharing)]:
            places.discard(place)
            held[place].discard(unit)
    for unit in units:
        by_unit.setdefault(unit, set())
    _fill(by_unit, held, desired, sharing)


def _fill(by_unit: dict[Unit, set[int]], held: dict[int, set[Unit]], desired: dict[int, int], sharing: int) -> None:
    """Give units that too few members share to members that have too few, in turn."""
    unfilled = [place for place in sorted(held) if len(held[place]) < desired[place]]
    position = 0
    has_given = False  # since the turn began
    for unit in _ordered(by_unit):
        places = by_unit[unit]
        missing = sharing - len(places)
        while missing > 0 and unfilled:
            if position >= len(unfilled):
                if not has_given:
                    break
                position, has_given = 0, False
            place = unfilled[position]
            if place in places:
                position += 1
                continue
            places.add(place)
            held[place].add(unit)
            missing -= 1
            has_given = True
            if len(held[place]) >= desired[place]:
                del unfilled[position]
            else:
                position += 1
        if not unfilled:
            return


def _ordered(units: Collection[Unit]) -> list[Unit]:
    return hash_map_order(sorted(units), _unit_hash, expected=len(units) + 1)


_unit_hash: Callable[[Unit], int] = lambda unit: (31 * uuid_hash(unit[0]) + unit[1]) & 0xFFFFFFFF  # noqa: E731
