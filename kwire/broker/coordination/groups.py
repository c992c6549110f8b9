"""The group coordinator of this broker: the runtime of its machines.

Responsible for: the ids of members, and loading what groups need with the first of them (``group_machines``). Must not
depend on: requests, how groups work.
"""

from __future__ import annotations

import uuid
from collections.abc import Hashable
from functools import cached_property
from typing import TYPE_CHECKING, Final

from kwire.broker.coordination.runtime import Runtime, RuntimeParts
from kwire.broker.coordination.shard import Shard
from kwire.broker.coordination.share_persister import SharePersister
from kwire.metadata.effective import EffectiveConfigs
from kwire.types import OFFSETS_TOPIC, uuid_text
from kwire.wire.compression import Codec

if TYPE_CHECKING:  # loaded with the first group
    from kwire.broker.coordination.group_machines import GroupMachines
    from kwire.coordinators.group.coordinator import GroupCoordinator

# What ``group_machines`` imports, in steps of a few milliseconds each.
_MODULES: Final = (
    "kwire.coordinators.group.commands",
    "kwire.coordinators.group.records",
    "kwire.coordinators.group.classic.groups",
    "kwire.coordinators.group.consumer.state",
    "kwire.coordinators.group.consumer.member",
    "kwire.coordinators.group.consumer.groups",
    "kwire.coordinators.group.share.groups",
    "kwire.coordinators.group.streams.groups",
    "kwire.broker.coordination.group_machines",
)


class Groups(Runtime["GroupCoordinator"]):
    """All groups, over the partitions of ``__consumer_offsets``."""

    def __init__(self, parts: RuntimeParts, *, configs: EffectiveConfigs, share_states: SharePersister) -> None:
        super().__init__(
            parts,
            OFFSETS_TOPIC,
            self._make,
            codec=Codec(configs.broker["offsets.topic.compression.codec"]),
            run_action=self._run_action,
            write_timeout_ms=configs.broker["offsets.commit.timeout.ms"],
            modules=_MODULES,
        )
        self._configs = configs
        self._share_states = share_states

    def listing_version(self) -> Hashable:
        """A value that stays equal as long as ListGroups has the same answer.

        A group of a partition that is not loaded cannot change, and ListGroups loads the partition first.
        """
        return tuple((shard.number, shard.machine.listing_changes) for shard in self.loaded_shards())

    def new_member_suffix(self) -> str:
        """The part of a new member's id that makes it unique."""
        return str(uuid.UUID(bytes=self._clock.random_bytes(16), version=4))

    def new_member_id(self) -> str:
        """The id of a new member of a consumer group that did not choose one."""
        return uuid_text(self._clock.random_bytes(16))

    @cached_property
    def _machines(self) -> GroupMachines:
        from kwire.broker.coordination.group_machines import GroupMachines  # noqa: PLC0415  with the first group

        return GroupMachines(
            clock=self._clock,
            configs=self._configs,
            metadata=self._metadata,
            share_states=self._share_states,
            start_task=self.start_task,
        )

    def _make(self) -> GroupCoordinator:
        return self._machines.make()

    def _run_action(self, shard: Shard[GroupCoordinator], action: object) -> None:
        self._machines.run_action(shard, action)
