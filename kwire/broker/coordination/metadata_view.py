"""The metadata image as coordinators see it.

Responsible for: the queries of machines to the image, and the part of a delta that concerns machines. Must not depend
on: any particular coordinator.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kwire.coordinators.machine import MetadataChange
from kwire.coordinators.topics import TopicDescription
from kwire.metadata.configs.effective import EffectiveConfigs
from kwire.metadata.entities import NO_LEADER, ResourceType, Topic
from kwire.metadata.image import Delta, MetadataImage
from kwire.types import TopicPartition, Uuid


class MetadataView:
    """A ``coordinators.machine.ClusterMetadata``."""

    def __init__(self, image: MetadataImage, configs: EffectiveConfigs) -> None:
        self._image = image
        self._configs = configs
        # Cache of the topics that coordinators asked for, each with its description.
        self._described: dict[Uuid, tuple[Topic, dict[int, str], TopicDescription]] = {}

    @property
    def version(self) -> int:
        """How many metadata records were applied."""
        return self._image.version

    def topic_exists(self, topic_id: Uuid) -> bool:
        return topic_id in self._image.topics_by_id

    def partition_count(self, topic: str) -> int:
        """0 for a topic that does not exist."""
        found = self._image.topics.get(topic)
        return 0 if found is None else len(found.partitions)

    def leader(self, where: TopicPartition) -> int:
        """The node id of the partition's leader; -1 if there is none, or no such partition."""
        found = self._image.partition(*where)
        return NO_LEADER if found is None else found.leader

    def partition_exists(self, where: TopicPartition) -> bool:
        return self._image.partition(*where) is not None

    def topic(self, name: str) -> TopicDescription | None:
        found = self._image.topics.get(name)
        return None if found is None else self._describe(found)

    def topic_by_id(self, topic_id: Uuid) -> TopicDescription | None:
        found = self._image.topics_by_id.get(topic_id)
        return None if found is None else self._describe(found)

    def topic_names(self) -> Iterable[str]:
        return self._image.topics.keys()

    def feature_level(self, name: str) -> int:
        return self._image.features.get(name, 0)

    def group_config(self, group_id: str) -> Mapping[str, object]:
        return self._configs.group(group_id)

    def has_group_config(self, group_id: str, name: str) -> bool:
        return name in self._image.config(ResourceType.GROUP, group_id)

    def _describe(self, topic: Topic) -> TopicDescription:
        racks = {node.id: node.rack for node in self._image.brokers.values() if node.rack is not None}
        known = self._described.get(topic.id)
        if known is not None and known[0] is topic and known[1] == racks:
            return known[2]
        if len(self._described) > 2 * len(self._image.topics):
            self._described.clear()  # mostly topics that were deleted
        description = TopicDescription(
            topic.name,
            topic.id,
            tuple(
                tuple(sorted(racks[replica] for replica in partition.replicas if replica in racks))
                for partition in topic.partitions
            ),
        )
        self._described[topic.id] = (topic, racks, description)
        return description


def change_of(delta: Delta, metadata: MetadataView) -> MetadataChange | None:
    """The part of a delta that concerns machines; None if there is none."""
    change = MetadataChange(
        topics_deleted={topic.name: topic.id for topic in delta.topics_deleted},
        features={name: metadata.feature_level(name) for name in delta.features_changed},
        groups_configured=frozenset(each.name for each in delta.configs_changed if each.type is ResourceType.GROUP),
        topics_changed=bool(delta.topics_deleted or delta.partitions_created or delta.partitions_changed),
    )
    return None if change == MetadataChange() else change
