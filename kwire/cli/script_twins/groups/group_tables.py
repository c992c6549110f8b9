"""The tables that kafka-consumer-groups prints.

Responsible for: widths, headings, dashes for missing values, and the remarks about groups without members. Must not
depend on: the source of the values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from kwire.cli.admin.groups import Committed, GroupDescription, ListedGroup, Member
from kwire.cli.java.names import error_line, hash_order
from kwire.cli.script_twins.common import warn
from kwire.errors import KafkaError

NONE = "-"


class Row(NamedTuple):
    """One line of --describe: a partition with its committed offset, end offset and member."""

    place: tuple[str, int] | None
    committed: Committed | None
    end_offset: int | None
    owner: Member | None


def print_listing(groups: Sequence[ListedGroup], *, with_type: bool, with_state: bool) -> None:
    width = max([15, *(len(group.id) for group in groups)]) + 10

    def show(name: str, kind: str, state: str) -> None:
        print(f"{name:<{width}}" + (f" {kind:<20}" if with_type else "") + (f" {state:<20}" if with_state else ""))

    show("GROUP", "TYPE", "STATE")
    for group in groups:
        show(group.id, group.type, group.state)


def print_offsets(group: GroupDescription, rows: Sequence[Row], *, verbose: bool) -> None:
    if not _remarked(group) or not rows:
        return
    groups = max(15, len(group.id))
    topics = max([15, *(len(row.place[0]) for row in rows if row.place)])
    consumers = max([15, *(len(row.owner.id) for row in rows if row.owner)])
    hosts = max([15, *(len(row.owner.host) for row in rows if row.owner)])

    def show(*columns: str) -> None:
        name, topic, partition, epoch, current, end, lag, consumer, host, client = columns
        extra = f" {epoch:<15}" if verbose else ""
        print(
            f"{name:<{groups}} {topic:<{topics}} {partition:<10}{extra} {current:<15} {end:<15} {lag:<15}"
            f" {consumer:<{consumers}} {host:<{hosts}} {client}"
        )

    print()
    show(
        "GROUP", "TOPIC", "PARTITION", "LEADER-EPOCH", "CURRENT-OFFSET", "LOG-END-OFFSET", "LAG", "CONSUMER-ID", "HOST",
        "CLIENT-ID",
    )  # fmt: skip
    for row in rows:
        topic, partition = (row.place[0], str(row.place[1])) if row.place else (NONE, NONE)
        current = row.committed.offset if row.committed else None
        lag = None if current is None or row.end_offset is None else row.end_offset - current
        epoch = row.committed.leader_epoch if row.committed and row.committed.leader_epoch >= 0 else None
        owner = (row.owner.id, row.owner.host, row.owner.client_id) if row.owner else (NONE, NONE, NONE)
        show(group.id, topic, partition, _text(epoch), _text(current), _text(row.end_offset), _text(lag), *owner)


def print_members(group: GroupDescription, *, verbose: bool) -> None:
    if not _remarked(group):
        return
    members = group.members
    instances = any(member.instance_id for member in members)
    current = {member.id: _assignment(member.assignment) for member in members}
    target = {member.id: NONE if member.target is None else _assignment(member.target) for member in members}
    groups = max(15, len(group.id)) if members else 15
    widths = {
        "consumer": max([15, *(len(member.id) for member in members)]),
        "instance": max([17, *(len(member.instance_id or "") for member in members)]),
        "host": max([15, *(len(member.host) for member in members)]),
        "client": max([15, *(len(member.client_id) for member in members)]),
        "current": max([20, *map(len, current.values())]),
        "target": max([20, *map(len, target.values())]),
    }

    def show(*columns: str) -> None:
        name, consumer, instance, host, client, count, epoch, assigned, target_epoch, targeted = columns
        line = f"{name:<{groups}} {consumer:<{widths['consumer']}}"
        line += f" {instance:<{widths['instance']}}" if instances else ""
        line += f" {host:<{widths['host']}} {client:<{widths['client']}} {count:<15} "
        if verbose:
            line += f"{epoch:<15} {assigned:<{widths['current']}} {target_epoch:<15} {targeted:<{widths['target']}}"
        print(line)

    print()
    show(
        "GROUP", "CONSUMER-ID", "GROUP-INSTANCE-ID", "HOST", "CLIENT-ID", "#PARTITIONS", "CURRENT-EPOCH",
        "CURRENT-ASSIGNMENT", "TARGET-EPOCH", "TARGET-ASSIGNMENT",
    )  # fmt: skip
    for member in members:
        show(
            group.id,
            member.id,
            member.instance_id or "",
            member.host,
            member.client_id,
            str(sum(map(len, member.assignment.values()))),
            _text(member.epoch),
            current[member.id],
            _text(None if member.target is None else group.assignment_epoch),
            target[member.id],
        )


def print_state(group: GroupDescription, *, verbose: bool) -> None:
    if not _remarked(group):
        return
    where = f"{group.coordinator.host}:{group.coordinator.port}  ({group.coordinator.id})"
    groups = max(15, len(group.id))
    coordinators = max(25, len(where))

    def show(*columns: str) -> None:
        name, coordinator, strategy, state, epoch, target, count = columns
        extra = f" {epoch:<15} {target:<25}" if verbose else ""
        print(f"{name:<{groups}} {coordinator:<{coordinators}} {strategy:<20} {state:<20}{extra} {count}")

    print()
    show(
        "GROUP",
        "COORDINATOR (ID)",
        "ASSIGNMENT-STRATEGY",
        "STATE",
        "GROUP-EPOCH",
        "TARGET-ASSIGNMENT-EPOCH",
        "#MEMBERS",
    )
    show(
        group.id,
        where,
        group.assignor or NONE,
        group.state,
        _text(group.epoch),
        _text(group.assignment_epoch),
        str(len(group.members)),
    )


def print_plans(plans: Mapping[str, Mapping[tuple[str, int], int]]) -> None:
    groups = max([15, *map(len, plans)])
    topics = max([15, *(len(topic) for plan in plans.values() for topic, _ in plan)])
    print(f"\n{'GROUP':<{groups}} {'TOPIC':<{topics}} {'PARTITION':<10} NEW-OFFSET")
    for name in hash_order(plans):
        for (topic, partition), offset in plans[name].items():
            print(f"{name:<{groups}} {topic:<{topics}} {partition:<10} {offset}")


def print_deletions(results: Mapping[tuple[str, int], KafkaError | None]) -> None:
    topics = max([15, *(len(topic) for topic, _ in results)])
    print(f"\n{'TOPIC':<{topics}} {'PARTITION':<10} {'STATUS':<15}")
    # By the text of topic and partition: the official order, in which 10 comes before 2.
    for (topic, partition), error in sorted(results.items(), key=lambda item: f"{item[0][0]}{item[0][1]}"):
        status = "Successful" if error is None else f"Error: {error_line(error)}"
        print(f"{topic:<{topics}} {partition if partition >= 0 else NONE:<10} {status:<15}")


def _remarked(group: GroupDescription) -> bool:
    """Warn on stderr about the state of a group; return whether there are rows to print."""
    if group.state == "Dead":
        warn(f"\nError: Consumer group '{group.id}' does not exist.")
        return False
    if group.state == "Empty":
        warn(f"\nConsumer group '{group.id}' has no active members.")
    elif group.state in ("PreparingRebalance", "CompletingRebalance", "Assigning", "Reconciling"):
        warn(f"\nWarning: Consumer group '{group.id}' is rebalancing.")
    return True


def _assignment(assignment: Mapping[str, Sequence[int]]) -> str:
    if not any(assignment.values()):
        return NONE
    return ";".join(
        f"{topic}:{','.join(map(str, sorted(indexes)))}" for topic, indexes in sorted(assignment.items()) if indexes
    )


def _text(value: int | None) -> str:
    return NONE if value is None else str(value)
