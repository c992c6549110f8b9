"""One share group, as commands or as requests that only read see it.

Responsible for: a ``Group``: its members, epochs and states. Must not depend on:
how a heartbeat changes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Final

from kwire.coordinators.group.commands import CommitOffsets, DescribedGroup, ListedGroup
from kwire.coordinators.group.group import SHARE, Retention
from kwire.coordinators.group.modern.assignment import Partitions
from kwire.coordinators.group.modern.state import Epochs
from kwire.coordinators.group.share.commands import DescribedMember, DescribedShareGroup
from kwire.coordinators.group.share.member import Member, remove_records
from kwire.coordinators.group.share.state import (
    NO_STATES,
    ShareTables,
    States,
    epoch_tombstone,
    states_tombstone,
    target_epoch_tombstone,
)
from kwire.coordinators.machine import Record
from kwire.errors import Code, KafkaError

KIND: Final = SHARE


class ShareGroup:
    """A ``Group``. ``is_committed``: the group as it is committed, else as it is written."""

    kind = KIND
    # A share group has no committed offsets, and stays until it is deleted.
    may_expire = False
    empty_since_ms = -1
    retention = Retention.NONE

    def __init__(self, tables: ShareTables, group_id: str, *, is_committed: bool = False) -> None:
        self.group_id = group_id
        self._tables = tables
        self._is_committed = is_committed

    @cached_property
    def members(self) -> Mapping[str, Member]:
        table = self._tables.members
        found = table.committed_under(self.group_id) if self._is_committed else table.under(self.group_id)
        return {path[1]: member for path, member in found}

    @property
    def epochs(self) -> Epochs:
        table = self._tables.epochs
        found = table.committed(self.group_id) if self._is_committed else table.get(self.group_id)
        return found or Epochs()

    @property
    def states(self) -> States:
        table = self._tables.states
        found = table.committed(self.group_id) if self._is_committed else table.get(self.group_id)
        return found or NO_STATES

    @property
    def targets(self) -> Mapping[str, Partitions]:
        return {path[1]: target.partitions for path, target in self._tables.targets.under(self.group_id)}

    @property
    def state(self) -> str:
        return "Stable" if self.members else "Empty"

    # --- Group
    # -------------------------------------------------------------------------------------------------------

    @property
    def is_empty(self) -> bool:
        return not self.members

    def check_commit(self, command: CommitOffsets, now_ms: int) -> None:
        del command, now_ms
        raise self._no_consumer_group()

    def check_transactional_commit(self, command: CommitOffsets) -> None:
        del command
        raise self._no_consumer_group()

    def check_offset_delete(self) -> None:
        raise self._no_consumer_group()

    def check_fetch(self, member_id: str | None, member_epoch: int) -> None:
        """A share group has no committed offsets, and the answer says so."""

    def subscribes_to(self, topic: str) -> bool:
        return any(topic in member.topics for member in self.members.values())

    def listed(self) -> ListedGroup:
        return ListedGroup(self.group_id, KIND, self.state, KIND)

    def described(self) -> DescribedGroup:
        raise KafkaError(Code.GROUP_ID_NOT_FOUND, f"Group {self.group_id} is not a classic group.")

    def tombstones(self) -> list[Record]:
        records = [record for member_id in self.members for record in remove_records(self.group_id, member_id)]
        return [
            *records,
            target_epoch_tombstone(self.group_id),
            states_tombstone(self.group_id),
            epoch_tombstone(self.group_id),
        ]

    def described_share_group(self) -> DescribedShareGroup:
        """For ShareGroupDescribe."""
        members = [
            DescribedMember(
                each.member_id,
                each.epoch,
                each.rack_id,
                each.client_id,
                each.client_host,
                tuple(sorted(each.topics)),
                each.assigned,
            )
            for each in self.members.values()
        ]
        epochs = self.epochs
        return DescribedShareGroup(self.state, epochs.group, epochs.assignment, members)

    def _no_consumer_group(self) -> KafkaError:
        return KafkaError(Code.GROUP_ID_NOT_FOUND, f"Group {self.group_id} is not a consumer group.")
