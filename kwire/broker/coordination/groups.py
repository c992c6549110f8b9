"""The group coordinator of this broker: the runtime of its machines, and what it needs of the broker.

Owns: which settings groups obey, and what a deleted topic means to them. May not know: requests, how groups work.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from kwire.broker.coordination.runtime import Runtime
from kwire.broker.coordination.shard import Shard
from kwire.coordinators.group.commands import GroupConfig
from kwire.coordinators.group.coordinator import GroupCoordinator
from kwire.metadata.effective import EffectiveConfigs
from kwire.metadata.image import Delta
from kwire.types import OFFSETS_TOPIC, ZERO_UUID
from kwire.wire.compression import Codec

if TYPE_CHECKING:
    from kwire.broker.broker import Broker

_MINUTE_MS = 60_000


class Groups(Runtime[GroupCoordinator]):
    """All groups, over the partitions of ``__consumer_offsets``."""

    def __init__(self, broker: Broker) -> None:
        config = group_config(broker.configs)
        codec = Codec(broker.configs.broker["offsets.topic.compression.codec"])
        super().__init__(broker, OFFSETS_TOPIC, lambda: GroupCoordinator(config), codec=codec)

    def new_member_suffix(self) -> str:
        """What makes the id of a new member his own."""
        return str(uuid.UUID(bytes=self.broker.clock.random_bytes(16), version=4))

    def loaded(self, shard: Shard[GroupCoordinator]) -> None:
        """Forget offsets in topics that were deleted while nobody could write it down: the broker was being killed."""
        known = self.broker.image.topics_by_id
        for name, topic_id in shard.machine.topics_with_offsets():
            if topic_id != ZERO_UUID and topic_id not in known:
                shard.apply(shard.machine.forget_topics({name: topic_id}, with_unknown_ids=False))

    def on_metadata_delta(self, delta: Delta) -> None:
        super().on_metadata_delta(delta)
        deleted = {topic.name: topic.id for topic in delta.topics_deleted}
        if deleted:
            self.tell_loaded(lambda machine: machine.forget_topics(deleted))


def group_config(configs: EffectiveConfigs) -> GroupConfig:
    """What the broker's settings say of groups."""
    return GroupConfig(
        initial_rebalance_delay_ms=configs.broker["group.initial.rebalance.delay.ms"],
        max_size=configs.broker["group.max.size"],
        min_session_timeout_ms=configs.broker["group.min.session.timeout.ms"],
        max_session_timeout_ms=configs.broker["group.max.session.timeout.ms"],
        offset_metadata_max_bytes=configs.broker["offset.metadata.max.bytes"],
        offsets_retention_ms=configs.broker["offsets.retention.minutes"] * _MINUTE_MS,
        offsets_retention_check_interval_ms=configs.broker["offsets.retention.check.interval.ms"],
    )
