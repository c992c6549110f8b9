"""Groups of kinds that are not served: their records are kept as they are.

Responsible for: finding such groups, and deleting them. Must not depend on: what their
records say beyond the group id.
"""

from __future__ import annotations

from collections.abc import Iterator

from kwire.coordinators.group.commands import CommitOffsets, DescribedGroup, ListedGroup
from kwire.coordinators.group.group import Retention, each_listed
from kwire.coordinators.group.records import PreservedEntry
from kwire.coordinators.machine import Record
from kwire.coordinators.timeline import NestedTable, Table, Timeline
from kwire.errors import Code, KafkaError


class PreservedGroup:
    """A ``Group``. No member of it can be alive, since its heartbeats are not served."""

    is_empty = True
    # Its records stay until it is deleted.
    may_expire = False
    empty_since_ms = -1
    retention = Retention.NONE

    def __init__(self, group_id: str, kind: str, keys: list[bytes]) -> None:
        self.group_id = group_id
        self.kind = kind
        self._keys = keys

    def check_commit(self, command: CommitOffsets, now_ms: int) -> None:
        del now_ms
        if command.generation_id >= 0:
            raise KafkaError(Code.UNKNOWN_MEMBER_ID)
        if self.kind == "share":
            raise KafkaError(Code.GROUP_ID_NOT_FOUND)

    def check_transactional_commit(self, command: CommitOffsets) -> None:
        if command.generation_id >= 0:
            raise KafkaError(Code.ILLEGAL_GENERATION)

    def check_offset_delete(self) -> None:
        pass

    def check_fetch(self, member_id: str | None, member_epoch: int) -> None:
        """No member of it can be alive."""

    def subscribes_to(self, topic: str) -> bool:
        del topic
        return False

    def listed(self) -> ListedGroup:
        return ListedGroup(self.group_id, self.kind, "Empty", self.kind)

    def described(self) -> DescribedGroup:
        raise KafkaError(Code.GROUP_ID_NOT_FOUND, f"Group {self.group_id} is not a classic group.")

    def tombstones(self) -> list[Record]:
        return [Record(key, None) for key in self._keys]


class PreservedGroups:
    """A ``GroupKind``: ``kinds`` by group id, and ``records`` by group id and key."""

    def __init__(self, timeline: Timeline) -> None:
        self.kinds: Table[str, str] = Table(timeline)
        self.records: NestedTable[bytes] = NestedTable(timeline)

    def find(self, group_id: str) -> PreservedGroup | None:
        kind = self.kinds.get(group_id)
        if kind is None:
            return None
        return PreservedGroup(group_id, kind, [path[1] for path, _ in self.records.under(group_id)])

    def committed(self, group_id: str) -> PreservedGroup | None:
        kind = self.kinds.committed(group_id)
        if kind is None:
            return None
        return PreservedGroup(group_id, kind, [path[1] for path, _ in self.records.committed_under(group_id)])

    def group_ids(self) -> list[str]:
        return list(self.kinds)

    def listed(self) -> Iterator[ListedGroup | None]:
        return each_listed((group_id for group_id, _ in self.kinds.committed_items()), self.committed)

    @property
    def changes(self) -> int:
        return self.kinds.changes

    def replay(self, entry: PreservedEntry, key: bytes, value: bytes | None) -> None:
        group_id = entry.group_id
        if value is not None:
            if group_id not in self.kinds:
                self.kinds[group_id] = entry.kind
            self.records.set((group_id, key), value)
            return
        self.records.remove((group_id, key))
        if not self.records.under(group_id):
            self.kinds.pop(group_id)
