"""The tables that kafka-streams-groups prints.

Responsible for: widths, headings, remarks about groups without members, the lag of each partition. Must not depend on:
the wire, how groups are changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from kwire.cli.admin import offsets as admin_offsets
from kwire.cli.admin.groups import GroupDescription, Tasks, committed_offsets
from kwire.cli.admin.streams_groups import StoredTopology, TopologyNode
from kwire.cli.connections.client import Cluster
from kwire.cli.java.names import hash_order, partition_order
from kwire.cli.script_twins.groups.group_tables import NONE
from kwire.errors import KafkaError

_COLUMN_MIN = 15

Place = tuple[str, int]


class Offsets(NamedTuple):
    """The offsets of a partition for --describe; ``current`` and ``leader_epoch`` None: nothing is committed."""

    current: int | None
    leader_epoch: int | None
    end: int
    lag: int


def offsets_of(cluster: Cluster, group: GroupDescription) -> dict[Place, Offsets]:
    """Each partition of the active tasks. Where nothing is committed the lag counts from the start of the log."""
    held = {(topic, index) for each in group.members for topic, found in each.assignment.items() for index in found}
    places = sorted(held)
    first = admin_offsets.list_offsets(cluster, dict.fromkeys(places, admin_offsets.EARLIEST))
    last = admin_offsets.list_offsets(cluster, dict.fromkeys(places, admin_offsets.LATEST))
    inputs = {topic for each in group.subtopologies for topic in (*each.source_topics, *each.repartition_topics)}
    committed = committed_offsets(cluster, group.id)
    found = {}
    for place in partition_order(places):
        start, end = _known(first[place]), _known(last[place])
        mine = committed.get(place) if place[0] in inputs else None
        epoch = mine.leader_epoch if mine is not None and mine.leader_epoch >= 0 else None
        current = None if mine is None else mine.offset
        found[place] = Offsets(current, epoch, end, end - (start if current is None else current))
    return found


def _known(offset: int | KafkaError) -> int:
    if isinstance(offset, KafkaError):
        raise offset
    return offset


def print_offsets(group: GroupDescription, offsets: Mapping[Place, Offsets], *, verbose: bool) -> None:
    if not group.members:
        return
    groups = max(_COLUMN_MIN, len(group.id))
    topics = max([_COLUMN_MIN, *(len(topic) for topic, _ in offsets)])

    def show(*columns: str) -> None:
        name, topic, partition, current, epoch, end, lag = columns
        more = f"{current:<15} {epoch:<15} {end:<15} {lag:<15}" if verbose else lag
        print(f"{name:<{groups}} {topic:<{topics}} {partition:<10} {more}")

    show("GROUP", "TOPIC", "PARTITION", "CURRENT-OFFSET", "LEADER-EPOCH", "LOG-END-OFFSET", "OFFSET-LAG")
    for (topic, partition), each in offsets.items():
        show(
            group.id,
            topic,
            str(partition),
            NONE if each.current is None else str(each.current),
            NONE if each.leader_epoch is None else str(each.leader_epoch),
            str(each.end),
            str(each.lag),
        )


def print_state(group: GroupDescription, *, verbose: bool) -> None:
    if group.state == "Dead":
        print(f"\nError: Streams group '{group.id}' does not exist.")
    elif group.state == "Empty":
        print(f"\nError: Streams group '{group.id}' has no active members.")
    where = f"{group.coordinator.host}:{group.coordinator.port} ({group.coordinator.id})"
    groups, coordinators = max(_COLUMN_MIN, len(group.id)), max(25, len(where))
    assignors = max(_COLUMN_MIN, len(group.assignor))

    def show(*columns: str) -> None:
        name, coordinator, assignor, state, epoch, target, count = columns
        extra = f" {epoch:<15} {target:<25}" if verbose else ""
        print(f"{name:<{groups}} {coordinator:<{coordinators}} {assignor:<{assignors}} {state:<25}{extra} {count}")

    show("GROUP", "COORDINATOR (ID)", "ASSIGNOR", "STATE", "GROUP-EPOCH", "TARGET-ASSIGNMENT-EPOCH", "#MEMBERS")
    epochs = str(group.epoch), str(group.assignment_epoch)
    show(group.id, where, group.assignor, group.state, *epochs, str(len(group.members)))


def print_members(group: GroupDescription, *, verbose: bool) -> None:
    if not group.members:
        return
    groups = max(_COLUMN_MIN, len(group.id))
    members = max([_COLUMN_MIN, *(len(each.id) for each in group.members)])
    processes = max([_COLUMN_MIN, *(len(each.process_id) for each in group.members)])
    clients = max([_COLUMN_MIN, *(len(each.client_id) for each in group.members)])

    def show(*columns: str) -> None:
        name, target, topology, member, protocol, epoch, process, client, assigned = columns
        end = f"{process:<{processes}} {client:<{clients}} {assigned}"
        if verbose:
            # No blank behind the epoch of the topology, as in the official script.
            print(f"{name:<{groups}} {target:<25} {topology:<15}{member:<{members}} {protocol:<15} {epoch:<15} {end}")
        else:
            print(f"{name:<{groups}} {member:<{members}} {end}")

    show(
        "GROUP", "TARGET-ASSIGNMENT-EPOCH", "TOPOLOGY-EPOCH", "MEMBER", "MEMBER-PROTOCOL", "MEMBER-EPOCH", "PROCESS",
        "CLIENT-ID", "ASSIGNMENTS",
    )  # fmt: skip
    for each in group.members:
        assigned = _tasks(each.tasks)
        show(
            group.id,
            str(group.assignment_epoch),
            str(group.topology_epoch),
            each.id,
            "classic" if each.is_classic else "streams",
            str(each.epoch),
            each.process_id,
            each.client_id,
            assigned + _tasks(each.target_tasks, "TARGET-") if verbose else assigned,
        )


def _tasks(tasks: Tasks | None, prefix: str = "") -> str:
    if tasks is None:
        return ""
    text = ""
    for kind, found in (("ACTIVE", tasks.active), ("STANDBY", tasks.standby), ("WARMUP", tasks.warmup)):
        if found:
            each = "".join(f"{name}:[{','.join(map(str, indexes))}]; " for name, indexes in found.items())
            text += f"{prefix}{kind}: {each}"
    return text


def print_plans(plans: Mapping[str, Mapping[Place, int]]) -> None:
    def show(name: str, topic: str, partition: str, offset: str) -> None:
        print(f"\n{name:<30} {topic:<30} {partition:<10} {offset:<15}", end="")

    if plans:
        show("GROUP", "TOPIC", "PARTITION", "NEW-OFFSET")
    for name in hash_order(plans):
        for (topic, partition), offset in plans[name].items():
            show(name, topic, str(partition), str(offset))
    print()


# --- the topology
# -----------------------------------------------------------------------------------------------------------


def print_topology(group_id: str, topology: StoredTopology) -> bool:
    """Print the stored topology, or why there is none. True if there is one."""
    if topology.status == "AVAILABLE":
        print(topology_text(topology))
        return True
    reasons = {
        "NOT_STORED": f"No topology description is stored for streams group '{group_id}'.",
        "ERROR": (
            f"The broker failed to fetch the topology description for streams group '{group_id}'."
            " See the broker logs for details."
        ),
    }
    other = f"No topology description is available for streams group '{group_id}' (status: {topology.status})."
    print(f"\nError: {reasons.get(topology.status, other)}")
    return False


def topology_text(topology: StoredTopology) -> str:
    """The lines that ``Topology#describe`` of Kafka Streams has, global stores last."""
    text = "Topologies:\n"
    for name, nodes in topology.subtopologies.items():
        text += f"   Sub-topology: {name}\n{_nodes(nodes)}\n"
    for number, pair in enumerate(topology.global_stores, len(topology.subtopologies)):
        text += f"   Sub-topology: {number} for global store (will not generate tasks)\n{_nodes(pair)}\n"
    return text


def _nodes(nodes: Sequence[TopologyNode]) -> str:
    text = ""
    for node in nodes:
        before = [each.name for each in nodes if node.name in each.successors]
        if node.kind == "Source":
            detail = f"(topics: {_sorted(node.source_topics)})\n      --> {_names(node.successors)}"
        elif node.kind == "Processor":
            detail = f"(stores: {_sorted(node.stores)})\n      --> {_names(node.successors)}"
            detail += f"\n      <-- {_names(before)}"
        else:
            detail = f"(topic: {node.sink_topic or 'null'})\n      <-- {_names(before)}"
        text += f"    {node.kind}: {node.name} {detail}\n"
    return text


def _sorted(names: Iterable[str]) -> str:
    return f"[{', '.join(sorted(set(names)))}]"


def _names(names: Iterable[str]) -> str:
    return ", ".join(sorted(set(names))) or "none"
