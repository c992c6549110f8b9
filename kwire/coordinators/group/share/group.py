"""One share group, as commands or as requests that only read see it.

Responsible for: a ``Group``: its members, epochs and states. Must not depend on:
how a heartbeat changes it.
"""

from __future__ import annotations

from typing import Final

from kwire.coordinators.group.commands import CommitOffsets
from kwire.coordinators.group.group import SHARE, Retention
from kwire.coordinators.group.modern.assignment import Partitions, Target
from kwire.coordinators.group.modern.state import Epochs
from kwire.coordinators.group.modern.view import GroupView
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


class ShareGroup(GroupView[ShareTables, Epochs, Member, Target]):
    """A ``Group``. One that is about to be created has no members."""

    kind = KIND
    # A share group has no committed offsets, and stays until it is deleted.
    may_expire = False
    retention = Retention.NONE

    @property
    def states(self) -> States:
        table = self._tables.states
        found = table.committed(self.group_id) if self._is_committed else table.get(self.group_id)
        return found or NO_STATES

    def target(self, member_id: str) -> Partitions | None:
        """The target assignment of the member with this id; None if it has none."""
        target = self.targets.get(member_id)
        return None if target is None else target.partitions

    @property
    def state(self) -> str:
        return "Stable" if self.members else "Empty"

    # --- Group
    # -------------------------------------------------------------------------------------------------------

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
