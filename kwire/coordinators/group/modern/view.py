"""One group of a newer kind, as commands or as readers see it.

Responsible for: the methods that each kind has, and those of kinds whose members commit offsets. Must not depend on:
any kind of group, timers.

A view has no state: it reads the tables, written or committed. One is made for each command.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, Generic, Protocol, TypeVar

from kwire.coordinators.group.commands import CommitOffsets, DescribedGroup, ListedGroup
from kwire.coordinators.group.group import Retention
from kwire.coordinators.group.modern.instances import MayBeStatic, StaticMemberTables
from kwire.coordinators.group.modern.state import Epochs, ModernMember, ModernTables
from kwire.errors import Code, KafkaError


class CommittingMember(MayBeStatic, Protocol):
    def is_reconciled_to(self, epoch: int) -> bool: ...


B = TypeVar("B", bound=ModernTables[Any, Any, Any])
S = TypeVar("S", bound=StaticMemberTables[Any, Any, Any])
E = TypeVar("E", bound=Epochs)
M = TypeVar("M", bound=ModernMember)
C = TypeVar("C", bound=CommittingMember)
T = TypeVar("T")


def fenced(kind: str, epoch: int, member_epoch: int) -> KafkaError:
    """FENCED_MEMBER_EPOCH: a heartbeat has ``epoch``, and the member is at ``member_epoch``."""
    word = "greater" if epoch > member_epoch else "smaller"
    return KafkaError(
        Code.FENCED_MEMBER_EPOCH,
        f"The {kind} group member has a {word} member epoch ({epoch}) than the one known by the group coordinator "
        f"({member_epoch}). The member must abandon all its partitions and rejoin.",
    )


class GroupView(Generic[B, E, M, T]):
    """The common part of the ``Group`` classes, each of which sets ``kind``. A group to be created has no members."""

    kind: str
    empty_since_ms = -1

    def __init__(self, tables: B, group_id: str, *, is_committed: bool = False) -> None:
        self.group_id = group_id
        self._is_committed = is_committed
        self._tables = tables

    @property
    def epochs(self) -> E:
        table = self._tables.epochs
        found: E | None = table.committed(self.group_id) if self._is_committed else table.get(self.group_id)
        return found or self._tables.no_epochs

    @cached_property
    def members(self) -> Mapping[str, M]:
        """By member id; not to be kept over a change."""
        if self._is_committed:
            return {path[1]: member for path, member in self._tables.members.committed_under(self.group_id)}
        return self._tables.members.branch(self.group_id)

    @cached_property
    def targets(self) -> Mapping[str, T]:
        """Target assignments by member id; not to be kept over a change."""
        if self._is_committed:
            return {path[1]: target for path, target in self._tables.targets.committed_under(self.group_id)}
        return self._tables.targets.branch(self.group_id)

    def member(self, member_id: str) -> M:
        """KafkaError(UNKNOWN_MEMBER_ID)."""
        member = self.members.get(member_id)
        if member is None:
            raise KafkaError(Code.UNKNOWN_MEMBER_ID, f"Member {member_id} is not a member of group {self.group_id}.")
        return member

    @property
    def state(self) -> str:
        """As ListGroups names it."""
        raise NotImplementedError

    # The interface ``Group``

    @property
    def is_empty(self) -> bool:
        return not self.members

    def listed(self) -> ListedGroup:
        return ListedGroup(self.group_id, self.kind, self.state, self.kind)

    def described(self) -> DescribedGroup:
        raise KafkaError(Code.GROUP_ID_NOT_FOUND, f"Group {self.group_id} is not a classic group.")


class CommittingGroupView(GroupView[S, E, C, T]):
    """The common part of the groups whose members commit offsets, and may be static."""

    retention = Retention.SINCE_COMMIT

    def static_member(self, instance_id: str) -> C | None:
        member_id = self._tables.instances.get((self.group_id, instance_id))
        return None if member_id is None else self.members.get(member_id)

    @property
    def state(self) -> str:
        """As ListGroups and the description of its kind name it."""
        epochs = self.epochs
        if not self.members:
            return "Empty"
        if not self.is_ready:
            return "NotReady"
        if epochs.group > epochs.assignment:
            return "Assigning"
        is_stable = all(member.is_reconciled_to(epochs.assignment) for member in self.members.values())
        return "Stable" if is_stable else "Reconciling"

    @property
    def is_ready(self) -> bool:
        """Whether a target assignment can be computed."""
        return True

    def check_epoch_of_commit(self, member: C, command: CommitOffsets) -> None:
        """Check the epoch of a commit: the member's, or an older one since which it has had the partitions (KIP-1251).

        Raises KafkaError(STALE_MEMBER_EPOCH), ILLEGAL_GENERATION for a member of the classic protocol.
        """
        raise NotImplementedError

    def has_member_epoch(self, member: C) -> bool:
        """Whether its epoch is one of the group's protocol, which OffsetCommit has from version 9 on."""
        del member
        return True

    # The interface ``Group``

    @property
    def may_expire(self) -> bool:
        return not self.members

    def check_commit(self, command: CommitOffsets, now_ms: int) -> None:
        del now_ms
        if command.generation_id < 0 and not self.members:
            return
        member = self.member(command.member_id)
        if self.has_member_epoch(member) and not command.has_member_epoch:
            raise KafkaError(
                Code.UNSUPPORTED_VERSION,
                f"OffsetCommit version 9 or above must be used by members using the {self.kind} group protocol",
            )
        self.check_epoch_of_commit(member, command)

    def check_transactional_commit(self, command: CommitOffsets) -> None:
        if command.generation_id < 0 and not self.members:
            return
        if command.generation_id == -1 and not command.member_id and command.group_instance_id is None:
            return
        self.check_epoch_of_commit(self.member(command.member_id), command)

    def check_offset_delete(self) -> None:
        pass
