"""Finding the groups of one newer kind, committed or as they are written.

Responsible for: the methods of ``ModernKind`` that are the same for each kind. Must not depend on: any kind of group.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

from kwire.coordinators.group.commands import ListedGroup
from kwire.coordinators.group.group import Group, each_listed
from kwire.coordinators.group.modern.state import ModernTables
from kwire.errors import Code, KafkaError

G_co = TypeVar("G_co", bound=Group, covariant=True)


class ModernGroups(Generic[G_co]):
    """All groups of one kind in one partition.

    ``make(group_id, is_committed)`` makes the view of a group; ``find_any`` gives the group of an id, whatever its
    kind.
    """

    def __init__(
        self,
        kind: str,
        tables: ModernTables[Any, Any, Any],
        *,
        make: Callable[[str, bool], G_co],
        find_any: Callable[[str], Group | None],
    ) -> None:
        self._kind = kind
        self._group_tables = tables
        self._make = make
        self._find_any = find_any

    def find(self, group_id: str) -> G_co | None:
        """The group as commands see it."""
        return self._make(group_id, False) if group_id in self._group_tables.epochs else None

    def committed(self, group_id: str) -> G_co | None:
        """The group as it is committed."""
        return None if self._group_tables.epochs.committed(group_id) is None else self._make(group_id, True)

    def group_ids(self) -> list[str]:
        return list(self._group_tables.epochs)

    def listed(self) -> Iterator[ListedGroup | None]:
        """Each group as ListGroups shows it; see ``GroupKind.listed``."""
        return each_listed((group_id for group_id, _ in self._group_tables.epochs.committed_items()), self.committed)

    @property
    def changes(self) -> int:
        return self._group_tables.epochs.changes + self._group_tables.members.changes

    def has_members(self, group_id: str) -> bool:
        return self._group_tables.members.has_under(group_id)

    def existing(self, group_id: str, not_found: str | None = None) -> G_co:
        """The group as commands see it. KafkaError(GROUP_ID_NOT_FOUND), with the text ``not_found`` if there is one."""
        group = self.find(group_id)
        if group is None:
            raise self.not_found(group_id, not_found or f"{self._kind.capitalize()} group {group_id} not found.")
        return group

    def described(self, group_id: str) -> G_co:
        """The group as it is committed. KafkaError(INVALID_GROUP_ID, GROUP_ID_NOT_FOUND)."""
        if not group_id:
            raise KafkaError(Code.INVALID_GROUP_ID)
        group = self.committed(group_id)
        if group is None:
            raise self.not_found(group_id, f"Group {group_id} not found.")
        return group

    def not_found(self, group_id: str, message: str) -> KafkaError:
        """GROUP_ID_NOT_FOUND: with ``message``, or naming the kind if there is a group of another one."""
        if self._find_any(group_id) is not None:
            message = f"Group {group_id} is not a {self._kind} group."
        return KafkaError(Code.GROUP_ID_NOT_FOUND, message)
