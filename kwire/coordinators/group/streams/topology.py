"""The topology of a Streams application, as its members describe it, and its record.

Responsible for: the values, their record, and which topics a topology needs. Must not depend on: which topics exist
(``internal_topics`` compares), groups.

    type 23  StreamsGroupTopology    the topology; partitions 0 and replication factor 0 are left to the broker
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kwire.coordinators.group.records import modern_record
from kwire.coordinators.machine import Record
from kwire.wire.messages import StreamsGroupTopologyKey, StreamsGroupTopologyValue


@dataclass(frozen=True, slots=True)
class TopicInfo:
    """An internal topic. ``partitions`` 0: as many as follow from the topology; ``replication_factor`` 0: default."""

    name: str
    partitions: int
    replication_factor: int
    configs: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class CopartitionGroup:
    """Topics that must have equally many partitions, by their places in the lists of the subtopology."""

    source_topics: tuple[int, ...]
    source_topic_regex: tuple[int, ...]
    repartition_source_topics: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Subtopology:
    subtopology_id: str
    source_topics: tuple[str, ...]
    source_topic_regex: tuple[str, ...]
    state_changelog_topics: tuple[TopicInfo, ...]
    repartition_sink_topics: tuple[str, ...]
    repartition_source_topics: tuple[TopicInfo, ...]
    copartition_groups: tuple[CopartitionGroup, ...]

    def input_topics(self) -> Iterator[str]:
        yield from self.source_topics
        for topic in self.repartition_source_topics:
            yield topic.name


@dataclass(frozen=True, slots=True)
class Topology:
    """``subtopologies`` by their ids."""

    epoch: int
    subtopologies: Mapping[str, Subtopology]

    def required_topics(self) -> Iterator[str]:
        """The topics that must exist before tasks can be assigned; a name may come twice."""
        for subtopology in self.subtopologies.values():
            yield from subtopology.input_topics()
            for topic in subtopology.state_changelog_topics:
                yield topic.name

    def readers(self) -> dict[str, Subtopology]:
        """The subtopology that reads each topic, as ``reader_of`` gives it for one."""
        return {topic: one for one in self.subtopologies.values() for topic in one.input_topics()}

    def reader_of(self, topic: str) -> Subtopology | None:
        """The subtopology that reads ``topic``; the last one, if more than one does."""
        found = None
        for subtopology in self.subtopologies.values():
            if topic in subtopology.input_topics():
                found = subtopology
        return found


def topology_of(value: Any) -> Topology | None:
    """The topology in a record or in a request; None if two subtopologies have the same id."""
    subtopologies = [_subtopology(each) for each in value.subtopologies]
    found = {each.subtopology_id: each for each in subtopologies}
    return Topology(value.epoch, found) if len(found) == len(subtopologies) else None


def topology_record(group_id: str, topology: Topology) -> Record:
    value = StreamsGroupTopologyValue(
        epoch=topology.epoch,
        subtopologies=[
            StreamsGroupTopologyValue.Subtopology(
                subtopology_id=each.subtopology_id,
                source_topics=list(each.source_topics),
                source_topic_regex=list(each.source_topic_regex),
                state_changelog_topics=_topic_values(each.state_changelog_topics),
                repartition_sink_topics=list(each.repartition_sink_topics),
                repartition_source_topics=_topic_values(each.repartition_source_topics),
                copartition_groups=[
                    StreamsGroupTopologyValue.CopartitionGroup(
                        source_topics=list(group.source_topics),
                        source_topic_regex=list(group.source_topic_regex),
                        repartition_source_topics=list(group.repartition_source_topics),
                    )
                    for group in each.copartition_groups
                ],
            )
            for each in topology.subtopologies.values()
        ],
    )
    return modern_record(StreamsGroupTopologyKey(group_id=group_id), value)


def topology_tombstone(group_id: str) -> Record:
    return modern_record(StreamsGroupTopologyKey(group_id=group_id), None)


def _subtopology(value: Any) -> Subtopology:
    return Subtopology(
        value.subtopology_id,
        tuple(value.source_topics),
        tuple(value.source_topic_regex),
        _topics(value.state_changelog_topics),
        tuple(value.repartition_sink_topics),
        _topics(value.repartition_source_topics),
        tuple(
            CopartitionGroup(
                tuple(group.source_topics), tuple(group.source_topic_regex), tuple(group.repartition_source_topics)
            )
            for group in value.copartition_groups
        ),
    )


def _topics(values: Iterable[Any]) -> tuple[TopicInfo, ...]:
    return tuple(
        TopicInfo(
            each.name,
            each.partitions,
            each.replication_factor,
            tuple((config.key, config.value) for config in each.topic_configs),
        )
        for each in values
    )


def _topic_values(topics: Iterable[TopicInfo]) -> list[StreamsGroupTopologyValue.TopicInfo]:
    return [
        StreamsGroupTopologyValue.TopicInfo(
            name=topic.name,
            partitions=topic.partitions,
            replication_factor=topic.replication_factor,
            topic_configs=[StreamsGroupTopologyValue.TopicConfig(key=key, value=value) for key, value in topic.configs],
        )
        for topic in topics
    ]
