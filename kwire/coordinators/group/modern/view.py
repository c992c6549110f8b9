"""One group whose members have epochs and may be static, as commands or as readers see it.

Responsible for: the methods that consumer and streams groups share. Must not depend on: any kind of group, timers.

A view has no state: it reads the tables, written or committed. One is made for each command.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Generic, Protocol, TypeVar

from kwire.coordinators.group.commands import DescribedGroup, ListedGroup
from kwire.coordinators.group.group import Retention
from kwire.coordinators.timeline import NestedTable
from kwire.errors import Code, KafkaError

M = TypeVar("M")
T = TypeVar("T")


class MemberTables(Protocol[M, T]):
    """By group id, and then: members and targets by member id, ids of static members by instance id."""

    @property
    def members(self) -> NestedTable[M]: ...
    @property
    def targets(self) -> NestedTable[T]: ...
    @property
    def instances(self) -> NestedTable[str]: ...


class GroupView(Generic[M, T]):
    """The common part of these ``Group`` classes, each of which sets ``kind``. A group to be created has no members."""

    kind: str
    empty_since_ms = -1
    retention = Retention.SINCE_COMMIT

    def __init__(self, tables: MemberTables[M, T], group_id: str, *, is_committed: bool) -> None:
        self.group_id = group_id
        self._is_committed = is_committed
        self._member_tables = tables

    @cached_property
    def members(self) -> Mapping[str, M]:
        """By member id; not to be kept over a change."""
        if self._is_committed:
            return {path[1]: member for path, member in self._member_tables.members.committed_under(self.group_id)}
        return self._member_tables.members.branch(self.group_id)

    @cached_property
    def targets(self) -> Mapping[str, T]:
        if self._is_committed:
            return {path[1]: target for path, target in self._member_tables.targets.committed_under(self.group_id)}
        return self._member_tables.targets.branch(self.group_id)

    def member(self, member_id: str) -> M:
        """KafkaError(UNKNOWN_MEMBER_ID)."""
        member = self.members.get(member_id)
        if member is None:
            raise KafkaError(Code.UNKNOWN_MEMBER_ID, f"Member {member_id} is not a member of group {self.group_id}.")
        return member

    def static_member(self, instance_id: str) -> M | None:
        member_id = self._member_tables.instances.get((self.group_id, instance_id))
        return None if member_id is None else self.members.get(member_id)

    @property
    def state(self) -> str:
        """As ListGroups names it."""
        raise NotImplementedError

    # The interface ``Group``

    @property
    def is_empty(self) -> bool:
        return not self.members

    @property
    def may_expire(self) -> bool:
        return not self.members

    def check_offset_delete(self) -> None:
        pass

    def listed(self) -> ListedGroup:
        return ListedGroup(self.group_id, self.kind, self.state, self.kind)

    def described(self) -> DescribedGroup:
        raise KafkaError(Code.GROUP_ID_NOT_FOUND, f"Group {self.group_id} is not a classic group.")
