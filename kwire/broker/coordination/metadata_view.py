"""The metadata image as coordinators see it.

Responsible for: answering a machine's questions about the image, and what of a delta concerns machines. Must not depend
on: any particular coordinator.
"""

from __future__ import annotations

from collections.abc import Mapping

from kwire.coordinators.machine import MetadataChange
from kwire.metadata.effective import EffectiveConfigs
from kwire.metadata.entities import ResourceType
from kwire.metadata.image import Delta, MetadataImage
from kwire.types import Uuid


class MetadataView:
    """A ``coordinators.machine.ClusterMetadata``."""

    def __init__(self, image: MetadataImage, configs: EffectiveConfigs) -> None:
        self._image = image
        self._configs = configs

    def topic_exists(self, topic_id: Uuid) -> bool:
        return topic_id in self._image.topics_by_id

    def partition_count(self, topic: str) -> int:
        """0 for a topic that does not exist."""
        found = self._image.topics.get(topic)
        return 0 if found is None else len(found.partitions)

    def feature_level(self, name: str) -> int:
        return self._image.features.get(name, 0)

    def group_config(self, group_id: str) -> Mapping[str, object]:
        return self._configs.group(group_id)


def change_of(delta: Delta, metadata: MetadataView) -> MetadataChange | None:
    """What of the delta concerns machines; None if nothing does."""
    change = MetadataChange(
        topics_deleted={topic.name: topic.id for topic in delta.topics_deleted},
        features={name: metadata.feature_level(name) for name in delta.features_changed},
        groups_configured=frozenset(each.name for each in delta.configs_changed if each.type is ResourceType.GROUP),
    )
    return None if change == MetadataChange() else change
