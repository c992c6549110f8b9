"""Which member of a group has an instance id.

Responsible for: keeping that table in step with the records of members, and refusing a member that has lost its
instance id. Must not depend on: any kind of group.
"""

from __future__ import annotations

from typing import Protocol, TypeVar

from kwire.coordinators.timeline import NestedTable
from kwire.errors import Code, KafkaError


class MayBeStatic(Protocol):
    """A member; ``instance_id`` None: it is dynamic."""

    @property
    def member_id(self) -> str: ...
    @property
    def instance_id(self) -> str | None: ...


M = TypeVar("M", bound=MayBeStatic)


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


def note_instance(instances: NestedTable[str], group_id: str, before: MayBeStatic | None, member: MayBeStatic) -> None:
    """The record of a member changed it from ``before``. ``instances``: member ids by group id and instance id."""
    if before is not None and before.instance_id not in (None, member.instance_id):
        release_instance(instances, group_id, before)
    if member.instance_id is not None:
        instances.set((group_id, member.instance_id), member.member_id)


def release_instance(instances: NestedTable[str], group_id: str, member: MayBeStatic) -> None:
    """A member is gone; its instance id may have gone to another one before."""
    path = (group_id, member.instance_id)
    if member.instance_id is not None and instances.get(path) == member.member_id:
        instances.remove(path)
