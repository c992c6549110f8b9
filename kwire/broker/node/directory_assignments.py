"""Tells the controller which log directory has each replica of this broker (KIP-858).

Responsible for: replicas for which the metadata has another directory or none. That happens where a broker has several
log directories and chooses one itself, and where directories were moved while it was down. Must not depend on: how a
directory is chosen.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import trio

from kwire.broker.controller.interface import Controller, only
from kwire.broker.directories.log_dirs import UNKNOWN_ID, LogDir, LogDirs
from kwire.broker.logs import Logger
from kwire.broker.partitions.partitions import Partitions
from kwire.errors import KafkaError
from kwire.metadata.commands.partitions import AssignReplicasToDirs
from kwire.metadata.entities import Partition
from kwire.metadata.image import Delta, MetadataImage
from kwire.types import TopicPartition

log = Logger("kwire.broker")

_AT_ONCE: Final = 1000
_RETRY_S: Final = 1.0
_DIRECTORIES: Final = 17  # 3.7-IV2: replicas have directories (KIP-858)


class DirectoryAssignments:
    """The replicas of one broker that are to be reported. ``run`` reports them."""

    def __init__(
        self, *, node_id: int, image: MetadataImage, partitions: Partitions, dirs: LogDirs, controller: Controller
    ) -> None:
        self._node_id = node_id
        self._image = image
        self._partitions = partitions
        self._dirs = dirs
        self._controller = controller
        self._pending: dict[TopicPartition, None] = {}
        self._some = trio.Event()
        for topic in image.topics.values():
            self._note((TopicPartition(topic.name, one.index), one) for one in topic.partitions)

    def on_metadata_delta(self, delta: Delta) -> None:
        """Note the replicas that a change has placed here; called after the partitions have followed it."""
        self._note(delta.partitions_created.items())
        self._note((name, after) for name, (_, after) in delta.partitions_changed.items())

    async def run(self) -> None:
        """Report until cancelled."""
        while True:
            await self._some.wait()
            some = dict.fromkeys(list(self._pending)[:_AT_ONCE])
            try:
                only(await self._controller.submit(AssignReplicasToDirs(self._node_id, self._directories(some))))
            except KafkaError as refusal:
                log.warning("AssignReplicasToDirs refused by the controller", why=str(refusal))
                await trio.sleep(_RETRY_S)
                continue
            for name in some:
                self._pending.pop(name, None)
            if not self._pending:
                self._some = trio.Event()

    def _note(self, partitions: Iterable[tuple[TopicPartition, Partition]]) -> None:
        if self._image.metadata_version < _DIRECTORIES:
            return
        for name, partition in partitions:
            if self._node_id not in partition.replicas:
                continue
            position = partition.replicas.index(self._node_id)
            home = self._home(name)
            if (
                home is not None
                and home.id != UNKNOWN_ID
                and partition.directories[position : position + 1] != (home.id,)
            ):
                self._pending[name] = None
                self._some.set()

    def _home(self, name: TopicPartition) -> LogDir | None:
        partition = self._partitions.of_topic(name.topic).get(name.partition)
        return None if partition is None else self._dirs.by_path(partition.log_dir)

    def _directories(self, names: Iterable[TopicPartition]) -> dict[TopicPartition, bytes]:
        found = {}
        for name in names:
            home = self._home(name)
            if home is not None:
                found[name] = home.id
        return found
