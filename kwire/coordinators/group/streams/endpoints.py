"""Which partitions each instance of an application has, for interactive queries.

Responsible for: the answer to a member that does not know the newest endpoints. Must not depend on: when it is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from kwire.coordinators.group.streams.commands import EndpointPartitions
from kwire.coordinators.group.streams.internal_topics import ConfiguredSubtopology
from kwire.coordinators.group.streams.member import Member
from kwire.coordinators.group.streams.tasks import Tasks, tasks_of, without_epochs
from kwire.coordinators.java_order import hash_map_order, string_hash


def partitions_by_endpoint(
    members: Iterable[Member],
    subtopologies: Mapping[str, ConfiguredSubtopology],
    partition_count: Callable[[str], int | None],
) -> tuple[EndpointPartitions, ...]:
    """The partitions of each member that has an endpoint."""
    return tuple(
        EndpointPartitions(
            member.endpoint,
            _partitions(without_epochs(member.assigned.active), subtopologies, partition_count),
            _partitions(_copies(member), subtopologies, partition_count),
        )
        for member in members
        if member.endpoint is not None
    )


def _partitions(
    tasks: Tasks,
    subtopologies: Mapping[str, ConfiguredSubtopology],
    partition_count: Callable[[str], int | None],
) -> list[tuple[str, list[int]]]:
    found = []
    for subtopology_id in hash_map_order(sorted(tasks), string_hash):
        subtopology = subtopologies.get(subtopology_id)
        if subtopology is None:
            # Topics of the topology were deleted: its tasks are about to be taken from their members.
            continue
        topics = subtopology.source_topics | subtopology.repartition_source_topics.keys()
        for topic in hash_map_order(sorted(topics), string_hash):
            # A topic with fewer partitions than the subtopology has tasks has none for some of them.
            count = partition_count(topic) or 0
            partitions = sorted(index for index in tasks[subtopology_id] if index < count)
            if partitions:
                found.append((topic, partitions))
    return found


def _copies(member: Member) -> Tasks:
    """The tasks whose state a member copies."""
    standby, warmup = member.assigned.standby, member.assigned.warmup
    return tasks_of([*standby.items(), *warmup.items()])
