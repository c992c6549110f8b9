"""One streams group, as commands or as requests that only read see it.

Responsible for: ``StreamsGroup``, the ``Group`` of this kind, and queries about its members. Must not depend on: how
a heartbeat changes it.

It has no state: it reads the tables, written or committed. One is made for each command.
"""

from __future__ import annotations

from typing import Final

from kwire.coordinators.group.commands import CommitOffsets
from kwire.coordinators.group.group import STREAMS
from kwire.coordinators.group.modern.view import CommittingGroupView
from kwire.coordinators.group.streams.member import (
    Member,
    current_tombstone,
    metadata_tombstone,
    target_tombstone,
)
from kwire.coordinators.group.streams.state import (
    Epochs,
    StreamsTables,
    Target,
    epoch_tombstone,
    target_epoch_tombstone,
)
from kwire.coordinators.group.streams.tasks import NOTHING, TaskSet
from kwire.coordinators.group.streams.topology import Topology, topology_tombstone
from kwire.coordinators.machine import Record
from kwire.errors import Code, KafkaError

KIND: Final = STREAMS


class StreamsGroup(CommittingGroupView[StreamsTables, Epochs, Member, Target]):
    """A ``Group``. One that is about to be created has no members and no topology."""

    kind = KIND

    # Its parts

    @property
    def topology(self) -> Topology | None:
        table = self._tables.topologies
        return table.committed(self.group_id) if self._is_committed else table.get(self.group_id)

    def target(self, member_id: str) -> TaskSet:
        """The target assignment of a member; empty if it has none."""
        target = self.targets.get(member_id)
        return NOTHING if target is None else target.tasks

    @property
    def is_ready(self) -> bool:
        topology = self.topology
        return topology is not None and topology.epoch == self.epochs.validated_topology

    def check_epoch_of_commit(self, member: Member, command: CommitOffsets) -> None:
        """Check the epoch of a commit: the member's, or an older one since which it has had the tasks."""
        epoch = command.generation_id
        if epoch == member.epoch:
            return
        if epoch > member.epoch:
            raise _stale(f"Received member epoch {epoch} is newer than current member epoch {member.epoch}.")
        topology = self.topology
        if topology is None:
            raise _stale("Topology is not available for offset commit validation.")
        readers = topology.readers()
        for each in command.offsets:
            reader = readers.get(each.topic)
            if reader is None:
                raise _stale(f"Topic {each.topic} is not in the topology.")
            subtopology = reader.subtopology_id
            since = member.assigned.active.get(subtopology, {}).get(each.partition)
            if since is None:
                since = member.revoking.active.get(subtopology, {}).get(each.partition)
            name = f"{subtopology}-{each.partition}"
            if since is None:
                raise _stale(f"Task {name} is not assigned or pending revocation for member.")
            if epoch < since:
                raise _stale(f"Received member epoch {epoch} is older than assignment epoch {since} for task {name}.")

    # The interface ``Group``

    def check_fetch(self, member_id: str | None, member_epoch: int) -> None:
        """Whether the sender of OffsetFetch may read. KafkaError(UNKNOWN_MEMBER_ID, STALE_MEMBER_EPOCH)."""
        if member_id is None and member_epoch < 0:
            return
        member = self.member(member_id or "")
        if member_epoch != member.epoch:
            raise _stale(
                f"The received member epoch {member_epoch} does not match the expected member epoch {member.epoch}."
            )

    def subscribes_to(self, topic: str) -> bool:
        if not self.members or self.topology is None:
            return False
        return self.topology.reader_of(topic) is not None

    def tombstones(self) -> list[Record]:
        """Those of the members first, then the group's own."""
        group_id = self.group_id
        records = [current_tombstone(group_id, member_id) for member_id in self.members]
        records += [target_tombstone(group_id, member_id) for member_id in self.members]
        records.append(target_epoch_tombstone(group_id))
        records += [metadata_tombstone(group_id, member_id) for member_id in self.members]
        return [*records, epoch_tombstone(group_id), topology_tombstone(group_id)]


def _stale(message: str) -> KafkaError:
    return KafkaError(Code.STALE_MEMBER_EPOCH, message)
