"""One streams group, as commands or as requests that only read see it.

Responsible for: ``StreamsGroup``, the ``Group`` of this kind, and questions about its members. Must not depend on: how
a heartbeat changes it.

It keeps nothing: it looks at the tables, at what is written or at what is committed. It is made for one command.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Final

from kwire.coordinators.group.commands import CommitOffsets, DescribedGroup, ListedGroup
from kwire.coordinators.group.group import Retention
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

KIND: Final = "streams"


class StreamsGroup:
    """A ``Group``. One that is about to be created has no members and no topology."""

    kind = KIND
    empty_since_ms = -1
    retention = Retention.SINCE_COMMIT

    def __init__(self, tables: StreamsTables, group_id: str, *, is_committed: bool = False) -> None:
        self.group_id = group_id
        self._tables = tables
        self._is_committed = is_committed

    # Its parts

    @property
    def epochs(self) -> Epochs:
        table = self._tables.epochs
        found = table.committed(self.group_id) if self._is_committed else table.get(self.group_id)
        return Epochs() if found is None else found

    @property
    def topology(self) -> Topology | None:
        table = self._tables.topologies
        return table.committed(self.group_id) if self._is_committed else table.get(self.group_id)

    @cached_property
    def members(self) -> Mapping[str, Member]:
        """By member id; not to be kept over a change."""
        if self._is_committed:
            return {path[1]: member for path, member in self._tables.members.committed_under(self.group_id)}
        return self._tables.members.branch(self.group_id)

    @cached_property
    def targets(self) -> Mapping[str, Target]:
        if self._is_committed:
            return {path[1]: target for path, target in self._tables.targets.committed_under(self.group_id)}
        return self._tables.targets.branch(self.group_id)

    def member(self, member_id: str) -> Member:
        """KafkaError(UNKNOWN_MEMBER_ID)."""
        member = self.members.get(member_id)
        if member is None:
            raise KafkaError(Code.UNKNOWN_MEMBER_ID, f"Member {member_id} is not a member of group {self.group_id}.")
        return member

    def static_member(self, instance_id: str) -> Member | None:
        member_id = self._tables.instances.get((self.group_id, instance_id))
        return None if member_id is None else self.members.get(member_id)

    def target(self, member_id: str) -> TaskSet:
        """What the target assignment gives a member; nothing if it does not know it."""
        target = self.targets.get(member_id)
        return NOTHING if target is None else target.tasks

    @property
    def state(self) -> str:
        """As ListGroups and StreamsGroupDescribe name it."""
        epochs, topology = self.epochs, self.topology
        if not self.members:
            return "Empty"
        if topology is None or topology.epoch != epochs.validated_topology:
            return "NotReady"
        if epochs.group > epochs.assignment:
            return "Assigning"
        is_stable = all(member.is_reconciled_to(epochs.assignment) for member in self.members.values())
        return "Stable" if is_stable else "Reconciling"

    # What the coordinator asks of every group

    @property
    def is_empty(self) -> bool:
        return not self.members

    @property
    def may_expire(self) -> bool:
        return not self.members

    def check_commit(self, command: CommitOffsets, now_ms: int) -> None:
        del now_ms
        if command.generation_id < 0 and not self.members:
            return
        member = self.member(command.member_id)
        if not command.has_member_epoch:
            raise KafkaError(
                Code.UNSUPPORTED_VERSION,
                "OffsetCommit version 9 or above must be used by members using the streams group protocol",
            )
        self._check_commit(member, command)

    def check_transactional_commit(self, command: CommitOffsets) -> None:
        if command.generation_id < 0 and not self.members:
            return
        if command.generation_id == -1 and not command.member_id and command.group_instance_id is None:
            return
        self._check_commit(self.member(command.member_id), command)

    def check_offset_delete(self) -> None:
        pass

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

    def listed(self) -> ListedGroup:
        return ListedGroup(self.group_id, KIND, self.state, KIND)

    def described(self) -> DescribedGroup:
        raise KafkaError(Code.GROUP_ID_NOT_FOUND, f"Group {self.group_id} is not a classic group.")

    def tombstones(self) -> list[Record]:
        """Those of the members first, then the group's own."""
        group_id = self.group_id
        records = [current_tombstone(group_id, member_id) for member_id in self.members]
        records += [target_tombstone(group_id, member_id) for member_id in self.members]
        records.append(target_epoch_tombstone(group_id))
        records += [metadata_tombstone(group_id, member_id) for member_id in self.members]
        return [*records, epoch_tombstone(group_id), topology_tombstone(group_id)]

    def _check_commit(self, member: Member, command: CommitOffsets) -> None:
        """Whether the member may commit: with its epoch, or an older one since which it has had the tasks."""
        epoch = command.generation_id
        if epoch == member.epoch:
            return
        if epoch > member.epoch:
            raise _stale(f"Received member epoch {epoch} is newer than current member epoch {member.epoch}.")
        topology = self.topology
        if topology is None:
            raise _stale("Topology is not available for offset commit validation.")
        for each in command.offsets:
            reader = topology.reader_of(each.topic)
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


def _stale(message: str) -> KafkaError:
    return KafkaError(Code.STALE_MEMBER_EPOCH, message)
