"""The group coordinator of this broker: the runtime of its machines.

Responsible for: the ids of members, and loading what groups need with the first group of each kind. Must not depend
on: requests, how groups work.
"""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Hashable
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Final

import trio

from kwire.broker.coordination.runtime import Runtime, RuntimeParts
from kwire.broker.coordination.shard import Shard
from kwire.metadata.configs.effective import EffectiveConfigs
from kwire.types import OFFSETS_TOPIC, uuid_text
from kwire.wire.batches.compression import Codec

if TYPE_CHECKING:  # loaded with the first group
    from kwire.broker.coordination.group_machines import GroupMachines
    from kwire.broker.coordination.share.persister import SharePersister
    from kwire.coordinators.group.coordinator import GroupCoordinator

# What the first group loads, in steps of a few milliseconds each.
MODULES_OF_ALL: Final = (
    "kwire.coordinators.group.commands",
    "kwire.coordinators.group.records",
    "kwire.coordinators.group.classic.group",
    "kwire.coordinators.group.classic.groups",
    "kwire.coordinators.group.coordinator",
    "kwire.broker.coordination.group_machines",
)
# What the first group of a kind other than classic loads, in the same way.
MODULES_OF_KINDS: Final = {
    "consumer": (
        "kwire.coordinators.group.consumer.member",
        "kwire.coordinators.group.modern.assignment",
        "kwire.coordinators.group.consumer.state",
        "kwire.coordinators.group.consumer.group",
        "kwire.coordinators.group.consumer.parts",
        "kwire.coordinators.group.consumer.migration",
        "kwire.coordinators.group.consumer.commands",
        "kwire.coordinators.group.consumer.target",
        "kwire.coordinators.group.consumer.regexes",
        "kwire.coordinators.group.consumer.classic_members",
        "kwire.coordinators.group.consumer.groups",
    ),
    "share": (
        "kwire.coordinators.group.share.commands",
        "kwire.coordinators.group.modern.assignment",
        "kwire.coordinators.group.share.member",
        "kwire.coordinators.group.share.state",
        "kwire.coordinators.group.share.group",
        "kwire.coordinators.group.share.step",
        "kwire.coordinators.group.share.heartbeat",
        "kwire.coordinators.group.share.groups",
    ),
    "streams": (
        "kwire.coordinators.group.streams.topology",
        "kwire.coordinators.group.streams.internal_topics",
        "kwire.coordinators.group.streams.member",
        "kwire.coordinators.group.streams.commands",
        "kwire.coordinators.group.streams.state",
        "kwire.coordinators.group.streams.group",
        "kwire.coordinators.group.streams.step",
        "kwire.coordinators.group.streams.reconciliation",
        "kwire.coordinators.group.streams.target",
        "kwire.coordinators.group.streams.heartbeat",
        "kwire.coordinators.group.streams.groups",
    ),
}


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
            modules=MODULES_OF_ALL,
        )
        self._kind_modules = {kind: deque(modules) for kind, modules in MODULES_OF_KINDS.items()}
        self._configs = configs
        self._share_states = share_states

    def listing_version(self) -> Hashable:
        """A value that stays equal as long as ListGroups has the same answer.

        A group of a partition that is not loaded cannot change, and ListGroups loads the partition first.
        """
        return tuple((shard.number, shard.machine.listing_changes) for shard in self.loaded_shards())

    async def load_kind(self, kind: str) -> None:
        """Import what groups of a kind other than classic need, before a command of it, in steps."""
        modules = self._kind_modules[kind]
        if modules:
            await self._import_modules()
        while modules:
            import_module(modules.popleft())
            await trio.lowlevel.checkpoint()

    async def _import_for_stored(self) -> None:
        await super()._import_for_stored()
        for kind in self._kind_modules:
            await self.load_kind(kind)

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
