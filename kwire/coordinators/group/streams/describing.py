"""A streams group as StreamsGroupDescribe shows it.

Responsible for: ``describe``. Must not depend on: requests, how a heartbeat changes a group.
"""

from __future__ import annotations

from collections.abc import Mapping

from kwire.coordinators.group.streams.commands import (
    DescribedMember,
    DescribedStreamsGroup,
    DescribedSubtopology,
    DescribedTopic,
)
from kwire.coordinators.group.streams.group import StreamsGroup
from kwire.coordinators.group.streams.internal_topics import ConfiguredTopology
from kwire.coordinators.group.streams.step import Reported
from kwire.coordinators.group.streams.tasks import TaskOffsets, TaskSet, without_epochs
from kwire.coordinators.group.streams.topology import Subtopology, TopicInfo
from kwire.errors import Code, KafkaError


def describe(
    group: StreamsGroup, configured: ConfiguredTopology | None, offsets: Mapping[str, Reported], assignor: str
) -> DescribedStreamsGroup:
    """Internal topics have the partitions that were decided, or 0 while some topics are missing.

    ``offsets``: what members reported, by member id. KafkaError(UNKNOWN_SERVER_ERROR) without a topology.
    """
    topology, epochs = group.topology, group.epochs
    if topology is None:
        raise KafkaError(Code.UNKNOWN_SERVER_ERROR)
    decided = configured if configured is not None and configured.is_ready else None
    return DescribedStreamsGroup(
        group.state,
        epochs.group,
        epochs.assignment,
        topology.epoch,
        [_subtopology(topology.subtopologies[each], decided) for each in sorted(topology.subtopologies)],
        assignor,
        [
            DescribedMember(
                member,
                TaskSet(without_epochs(member.assigned.active), member.assigned.standby, member.assigned.warmup),
                group.target(member_id),
                *_reported(offsets.get(member_id)),
            )
            for member_id, member in group.members.items()
        ],
    )


def _reported(offsets: Reported | None) -> tuple[TaskOffsets, TaskOffsets]:
    return ({}, {}) if offsets is None else (offsets.offsets, offsets.end_offsets)


def _subtopology(subtopology: Subtopology, decided: ConfiguredTopology | None) -> DescribedSubtopology:
    changelogs = [DescribedTopic(*each) for each in map(_fields, subtopology.state_changelog_topics)]
    repartition = [DescribedTopic(*each) for each in map(_fields, subtopology.repartition_source_topics)]
    if decided is not None and decided.subtopologies is not None:
        found = decided.subtopologies[subtopology.subtopology_id]
        changelogs = [
            each._replace(partitions=found.state_changelog_topics[each.name].partitions) for each in changelogs
        ]
        repartition = [
            each._replace(partitions=found.repartition_source_topics[each.name].partitions) for each in repartition
        ]
    return DescribedSubtopology(
        subtopology.subtopology_id,
        sorted(subtopology.source_topics),
        sorted(subtopology.repartition_sink_topics),
        sorted(changelogs),
        sorted(repartition),
    )


def _fields(topic: TopicInfo) -> tuple[str, int, int, tuple[tuple[str, str], ...]]:
    return topic.name, topic.partitions, topic.replication_factor, topic.configs
