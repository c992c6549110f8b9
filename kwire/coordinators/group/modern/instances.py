"""Which member of a group has an instance id.

Responsible for: keeping that table in step with the records of members, and refusing a member that has lost its
instance id. Must not depend on: any kind of group.
"""

from __future__ import annotations

from typing import Protocol, TypeVar

from kwire.coordinators.group.modern.state import Epochs, MemberReader, ModernMember, ModernTables
from kwire.coordinators.timeline import NestedTable, Timeline
from kwire.errors import Code, KafkaError


class MayBeStatic(ModernMember, Protocol):
    """``instance_id`` None: the member is dynamic."""

    @property
    def instance_id(self) -> str | None: ...


E = TypeVar("E", bound=Epochs)
M = TypeVar("M", bound=MayBeStatic)
T = TypeVar("T")


def check_instance(member: M | None, member_id: str, instance_id: str) -> M:
    """Return ``member``, which has the instance id, if it is the one that sent the request.

    Raises KafkaError: UNKNOWN_MEMBER_ID if no member has the instance id, FENCED_INSTANCE_ID if another member has it.
    """
    if member is None:
        raise KafkaError(Code.UNKNOWN_MEMBER_ID, f"Instance id {instance_id} is unknown.")
    if member.member_id != member_id:
        raise KafkaError(
            Code.FENCED_INSTANCE_ID,
            f"Static member {member_id} with instance id {instance_id} was fenced by member {member.member_id}.",
        )
    return member


def unreleased(owner: MayBeStatic, member_id: str) -> KafkaError:
    """UNRELEASED_INSTANCE_ID: a member joins with the instance id that ``owner`` has."""
    return KafkaError(
        Code.UNRELEASED_INSTANCE_ID,
        f"Static member {member_id} with instance id {owner.instance_id} cannot join the group because the instance id "
        f"is owned by {owner.member_id} member.",
    )


class StaticMemberTables(ModernTables[E, M, T]):
    """The same with ``instances``, by group id and instance id the member that has it."""

    def __init__(self, timeline: Timeline, no_epochs: E, reader: MemberReader[M, T]) -> None:
        super().__init__(timeline, no_epochs, reader)
        self.instances: NestedTable[str] = NestedTable(timeline)

    def set_member(self, group_id: str, before: M | None, member: M) -> None:
        super().set_member(group_id, before, member)
        if before is not None and before.instance_id != member.instance_id:
            self._release_instance(group_id, before)
        if member.instance_id is not None:
            self.instances.set((group_id, member.instance_id), member.member_id)

    def remove_member(self, group_id: str, member: M) -> None:
        self._release_instance(group_id, member)
        super().remove_member(group_id, member)

    def _release_instance(self, group_id: str, member: M) -> None:
        """A member has its instance id no more; it may have gone to another one before."""
        path = (group_id, member.instance_id)
        if member.instance_id is not None and self.instances.get(path) == member.member_id:
            self.instances.remove(path)
