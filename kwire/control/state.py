"""The state of a broker as a whole: reset to empty, snapshots, and copies for other brokers.

Responsible for: copying and replacing the content of the data directories, and stopping the broker where its files must
not be in use. Must not depend on: how a client asks for it.

A reset or a restored snapshot replaces the broker behind its sockets (``Server.reopen``): connections end, clients
reconnect as after a restart and see the state of the snapshot. Sessions and members without records are lost, as after
a restart. Files in memory are copied while the broker runs; a broker with files on disk is stopped first.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from kwire.broker.clock import Clock
from kwire.broker.controller.interface import only
from kwire.control.trees import Tree, clear_tree, read_tree, size_bytes, write_tree
from kwire.faults.disk import without_faults
from kwire.metadata.commands.nodes import AllocateProducerIds
from kwire.server.lifecycle import Server
from kwire.storage.files import Files
from kwire.storage.os_files import OsFiles

SNAPSHOTS_MAX: Final = 100


class StateError(Exception):
    """A snapshot that does not exist, or is not possible. One sentence."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The content of the log directories, in the order of ``log.dirs``, at ``made_at_ms`` of the broker's clock."""

    trees: Sequence[Tree]
    made_at_ms: int

    @property
    def size_bytes(self) -> int:
        return sum(map(size_bytes, self.trees))


class State:
    """The state of one server. ``prepare`` makes the topics, users and ACLs of this broker's start."""

    def __init__(self, server: Server, prepare: Callable[[], Awaitable[None]]) -> None:
        self._server = server
        self._prepare = prepare
        self._snapshots: dict[str, Snapshot] = {}

    @property
    def snapshots(self) -> Mapping[str, Snapshot]:
        """The named snapshots, oldest first."""
        return self._snapshots

    @property
    def is_in_memory(self) -> bool:
        return not isinstance(self._files, OsFiles)

    @property
    def _files(self) -> Files:
        """The files without their faults."""
        return without_faults(self._server.files)

    async def reset(self) -> None:
        """Remove all topics, groups, configs, users and ACLs, then make those of the start. The clock is real again.

        Producer ids are not used again, so that a producer that survives a reset never has the id of a new one.
        Raises StorageFailure, and StateError for a node of a cluster.
        """
        self.check_alone()
        before = self._server.broker
        next_producer_id = before.image.next_producer_id
        clear = partial(_each, [partial(clear_tree, self._files, root) for root in self._roots()])
        await self._server.reopen(clear, clock=Clock(), cluster_id=before.cluster_id, discard=True)
        broker = self._server.broker
        if next_producer_id:
            only(await broker.controller.submit(AllocateProducerIds(broker.node_id, next_producer_id)))
        await self._prepare()

    def check_alone(self) -> None:
        """Raise StateError for a node of a cluster, whose state is that of all its nodes."""
        broker = self._server.broker
        if broker.member is not None or broker.image.brokers.keys() - {broker.node_id}:
            raise StateError("this is a node of a cluster: kwire cluster reset and kwire cluster snapshot concern all")

    async def capture(self) -> Snapshot:
        """Copy the state as it is. Raises StorageFailure, StateError."""
        self.check_alone()
        now_ms = self._server.broker.clock.now_ms()
        if self.is_in_memory:
            await self._server.broker.housekeeping.flush_and_checkpoint()
            return Snapshot(self._read(), now_ms)
        trees: list[Tree] = []
        await self._server.reopen(lambda: trees.extend(self._read()))
        return Snapshot(trees, now_ms)

    async def snapshot(self, name: str) -> Snapshot:
        """Keep a snapshot under a name, in place of one of that name. Raises StateError, StorageFailure."""
        if not name:
            raise StateError("a snapshot needs a name")
        if name not in self._snapshots and len(self._snapshots) >= SNAPSHOTS_MAX:
            raise StateError(f"there are {SNAPSHOTS_MAX} snapshots: remove one")
        self._snapshots.pop(name, None)
        kept = self._snapshots[name] = await self.capture()
        return kept

    def find(self, name: str) -> Snapshot:
        """Give the snapshot of that name. Raises StateError."""
        found = self._snapshots.get(name)
        if found is None:
            known = ", ".join(self._snapshots) or "none"
            raise StateError(f"there is no snapshot {name!r}; there are: {known}")
        return found

    def remove(self, name: str) -> Snapshot:
        """Remove the snapshot of that name. Raises StateError."""
        found = self.find(name)
        del self._snapshots[name]
        return found

    async def restore(self, snapshot: Snapshot) -> None:
        """Make the state that of the snapshot; rules and the clock stay.

        Where the snapshot cannot be used, raises as a start of the broker does, and the previous state stays.
        """
        self.check_alone()
        if len(snapshot.trees) != len(self._roots()):
            raise StateError(f"the snapshot has {len(snapshot.trees)} log directories, not {len(self._roots())}")
        before: list[Tree] = []

        def replace() -> None:
            before.extend(self._read())
            self._write(snapshot.trees)

        await self._server.reopen(replace, undo=lambda: self._write(before))

    async def save(self, directory: str) -> Snapshot:
        """Write the state to a directory that is new or empty: a data directory of Kafka. Raises StateError."""
        disk = OsFiles()
        self._one_directory()
        if disk.sizes(directory) or disk.directories(directory):
            raise StateError(f"{directory} is not empty")
        snapshot = await self.capture()
        write_tree(disk, directory, snapshot.trees[0])
        return snapshot

    async def load(self, directory: str) -> Snapshot:
        """Restore a directory that ``save`` wrote, or another data directory that is not in use.

        Raises as ``restore``.
        """
        self._one_directory()
        tree = read_tree(OsFiles(), directory)
        if "meta.properties" not in tree:
            raise StateError(f"{directory} is no data directory: it has no meta.properties")
        snapshot = Snapshot([tree], self._server.broker.clock.now_ms())
        await self.restore(snapshot)
        return snapshot

    def _one_directory(self) -> None:
        if len(self._roots()) > 1:
            raise StateError("a broker with several log directories cannot be saved to one; make a named snapshot")

    def _roots(self) -> list[str]:
        return [one.path for one in self._server.broker.dirs.dirs]

    def _read(self) -> list[Tree]:
        return [read_tree(self._files, root) for root in self._roots()]

    def _write(self, trees: Sequence[Tree]) -> None:
        write_trees(self._files, self._roots(), trees)


def write_trees(files: Files, roots: Sequence[str], trees: Sequence[Tree]) -> None:
    """Make each directory hold its tree. Raises StorageFailure."""
    for root, tree in zip(roots, trees, strict=True):
        write_tree(files, root, tree)


def _each(calls: Sequence[Callable[[], None]]) -> None:
    for call in calls:
        call()
