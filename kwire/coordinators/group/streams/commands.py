"""The commands of streams groups, and their answers.

Responsible for: the values that cross between the API handlers and the machine. Must not depend on: request versions,
how a group works.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from kwire.coordinators.group.streams.internal_topics import InternalTopic, Problem
from kwire.coordinators.group.streams.member import Endpoint, Member
from kwire.coordinators.group.streams.tasks import TaskOffsets, TaskSet
from kwire.coordinators.group.streams.topology import Topology


class StreamsHeartbeat(NamedTuple):
    """StreamsGroupHeartbeat. None: the field was left out, and its last value counts.

    ``member_epoch``: 0 joins, -1 leaves, -2 leaves for a while (static members). ``owns_some_kinds_only``: it named
    tasks of some kinds and left out others. ``offsets`` and ``end_offsets``: of the state that the member has on its
    disk, summed over the changelog topics of a task. ``wants_missing_tags``: the client knows the status of it.
    """

    group_id: str
    member_id: str
    member_epoch: int
    endpoint_epoch: int
    instance_id: str | None
    rack_id: str | None
    rebalance_timeout_ms: int
    topology: Topology | None
    owned: TaskSet | None
    owns_some_kinds_only: bool
    process_id: str | None
    endpoint: Endpoint | None
    client_tags: Mapping[str, str] | None
    offsets: TaskOffsets | None
    end_offsets: TaskOffsets | None
    shutdown_application: bool
    wants_missing_tags: bool
    client_id: str
    client_host: str


class EndpointPartitions(NamedTuple):
    """The partitions of an instance by topic, for interactive queries."""

    endpoint: Endpoint
    active: list[tuple[str, list[int]]]
    standby: list[tuple[str, list[int]]]


class HeartbeatAnswer(NamedTuple):
    """``tasks`` None: they have not changed; ``endpoints`` None: the member knows them.

    ``missing``: internal topics that the sender may create.
    """

    member_id: str
    member_epoch: int
    heartbeat_interval_ms: int = 0
    task_offset_interval_ms: int = 0
    acceptable_recovery_lag: int = -1
    statuses: tuple[Problem, ...] = ()
    tasks: TaskSet | None = None
    endpoint_epoch: int = 0
    endpoints: tuple[EndpointPartitions, ...] | None = None
    missing: Mapping[str, InternalTopic] | None = None


class DescribedTopic(NamedTuple):
    name: str
    partitions: int
    replication_factor: int
    configs: tuple[tuple[str, str], ...]


class DescribedSubtopology(NamedTuple):
    subtopology_id: str
    source_topics: list[str]
    repartition_sink_topics: list[str]
    state_changelog_topics: list[DescribedTopic]
    repartition_source_topics: list[DescribedTopic]


class DescribedMember(NamedTuple):
    """``offsets`` and ``end_offsets`` as the member reported them, by subtopology and partition."""

    member: Member
    assignment: TaskSet
    target: TaskSet
    offsets: TaskOffsets
    end_offsets: TaskOffsets


@dataclass(frozen=True, slots=True)
class DescribedStreamsGroup:
    state: str
    epoch: int
    assignment_epoch: int
    topology_epoch: int
    subtopologies: list[DescribedSubtopology]
    assignor: str
    members: list[DescribedMember]
