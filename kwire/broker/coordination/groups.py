"""The group coordinator of this broker: the runtime of its machines.

Responsible for: which settings groups obey. Must not depend on: requests, how groups work.
"""

from __future__ import annotations

import uuid
from collections.abc import Hashable

from kwire.broker.coordination.runtime import Runtime, RuntimeParts
from kwire.coordinators.group.commands import GroupConfig
from kwire.coordinators.group.coordinator import GroupCoordinator
from kwire.metadata.effective import EffectiveConfigs
from kwire.types import OFFSETS_TOPIC
from kwire.wire.compression import Codec

_MINUTE_MS = 60_000


class Groups(Runtime[GroupCoordinator]):
    """All groups, over the partitions of ``__consumer_offsets``."""

    def __init__(self, parts: RuntimeParts, *, configs: EffectiveConfigs) -> None:
        config = group_config(configs)
        codec = Codec(configs.broker["offsets.topic.compression.codec"])
        super().__init__(parts, OFFSETS_TOPIC, lambda: GroupCoordinator(config), codec=codec)

    def listing_version(self) -> Hashable:
        """Equal as long as ListGroups has the same answer.

        A group of a partition that is not loaded cannot change, and ListGroups loads the partition first.
        """
        return tuple((shard.number, shard.machine.listing_changes) for shard in self.loaded_shards())

    def new_member_suffix(self) -> str:
        """The part of a new member's id that makes it unique."""
        return str(uuid.UUID(bytes=self._clock.random_bytes(16), version=4))


def group_config(configs: EffectiveConfigs) -> GroupConfig:
    """The broker's settings for groups."""
    return GroupConfig(
        initial_rebalance_delay_ms=configs.broker["group.initial.rebalance.delay.ms"],
        max_size=configs.broker["group.max.size"],
        min_session_timeout_ms=configs.broker["group.min.session.timeout.ms"],
        max_session_timeout_ms=configs.broker["group.max.session.timeout.ms"],
        offset_metadata_max_bytes=configs.broker["offset.metadata.max.bytes"],
        offsets_retention_ms=configs.broker["offsets.retention.minutes"] * _MINUTE_MS,
        offsets_retention_check_interval_ms=configs.broker["offsets.retention.check.interval.ms"],
    )
