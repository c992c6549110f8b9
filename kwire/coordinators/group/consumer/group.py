"""One consumer group, as commands or as readers see it.

Responsible for: ``ConsumerGroup``, the ``Group`` of this kind, and queries about its members. Must not depend on:
commands, timers, how members are reconciled.

It has no state: it reads the tables, written or committed. One is made for each command.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from kwire.coordinators.group.commands import CommitOffsets
from kwire.coordinators.group.consumer.member import (
    Member,
    current_tombstone,
    subscription_tombstone,
    target_tombstone,
)
from kwire.coordinators.group.consumer.state import (
    ConsumerTables,
    Epochs,
    ResolvedRegex,
    epoch_tombstone,
    old_metadata_tombstone,
    regex_tombstone,
    subscribed_topics,
    target_epoch_tombstone,
)
from kwire.coordinators.group.group import CONSUMER
from kwire.coordinators.group.modern.assignment import NO_PARTITIONS, Partitions, Target
from kwire.coordinators.group.modern.view import CommittingGroupView
from kwire.coordinators.machine import Record
from kwire.errors import Code, KafkaError

KIND = CONSUMER


class ConsumerGroup(CommittingGroupView[ConsumerTables, Epochs, Member, Target]):
    """A ``Group``. One that is about to be created has no members."""

    kind = KIND

    # Its parts

    @cached_property
    def regexes(self) -> Mapping[str, ResolvedRegex]:
        if self._is_committed:
            return {path[1]: regex for path, regex in self._tables.regexes.committed_under(self.group_id)}
        return self._tables.regexes.branch(self.group_id)

    def owner(self, topic_id: bytes, partition: int) -> str | None:
        """The member that has the partition or must give it up."""
        return self._tables.owners.get((self.group_id, topic_id, partition))

    def target_of(self, member: Member) -> Partitions:
        """The target assignment of a member, or of the member that it replaces."""
        target = self.target(member.member_id)
        if target is None and member.instance_id is not None:
            replaced = self._tables.instances.get((self.group_id, member.instance_id))
            target = None if replaced is None else self.target(replaced)
        return NO_PARTITIONS if target is None else target

    def target(self, member_id: str) -> Partitions | None:
        """The target assignment of the member with this id; None if it has none."""
        target = self.targets.get(member_id)
        return None if target is None else target.partitions

    @cached_property
    def topics(self) -> frozenset[str]:
        """The topics that a member subscribes to, by name or by an expression that is resolved."""
        return subscribed_topics(self.members.values(), self.regexes)

    def has_member_epoch(self, member: Member) -> bool:
        return member.classic is None

    def check_epoch_of_commit(self, member: Member, command: CommitOffsets) -> None:
        _check_commit(member, command)

    # The interface ``Group``

    def check_fetch(self, member_id: str | None, member_epoch: int) -> None:
        """Whether the sender of OffsetFetch may read. KafkaError(UNKNOWN_MEMBER_ID, STALE_MEMBER_EPOCH)."""
        if member_id is None and member_epoch < 0:
            return
        check_epoch(self.member(member_id or ""), member_epoch)

    def subscribes_to(self, topic: str) -> bool:
        return topic in self.topics

    def tombstones(self) -> list[Record]:
        """Those of the members first, the group's own last."""
        group_id = self.group_id
        records = [current_tombstone(group_id, member_id) for member_id in self.members]
        records += [target_tombstone(group_id, member_id) for member_id in self.targets]
        records.append(target_epoch_tombstone(group_id))
        records += [subscription_tombstone(group_id, member_id) for member_id in self.members]
        records += [regex_tombstone(group_id, regex) for regex in self.regexes]
        records.append(old_metadata_tombstone(group_id))
        records.append(epoch_tombstone(group_id))
        return records


def check_epoch(member: Member, epoch: int) -> None:
    """Check the member epoch of a request. Raises as ``_stale`` says."""
    if epoch == member.epoch:
        return
    word = "generation id" if member.classic is not None else "member epoch"
    raise _stale(member, f"The received {word} {epoch} does not match the expected member epoch {member.epoch}.")


def _check_commit(member: Member, command: CommitOffsets) -> None:
    """Check the epoch of a commit: the member's, or an older one since which it has owned the partitions (KIP-1251).

    Raises as ``_stale`` says.
    """
    epoch = command.generation_id
    word = "generation id" if member.classic is not None else "member epoch"
    if epoch == member.epoch:
        return
    if epoch > member.epoch:
        raise _stale(member, f"Received {word} {epoch} is newer than current member epoch {member.epoch}.")
    for each in command.offsets:
        name = f"{each.topic}-{each.partition}"
        since = member.assigned.get(each.topic_id, {}).get(each.partition)
        if since is None:
            since = member.revoking.get(each.topic_id, {}).get(each.partition)
        if since is None:
            raise _stale(member, f"Partition {name} is not assigned or pending revocation for member.")
        if epoch < since:
            raise _stale(
                member, f"Received {word} {epoch} is older than assignment epoch {since} for partition {name}."
            )


def _stale(member: Member, message: str) -> KafkaError:
    """STALE_MEMBER_EPOCH; for a member of the classic protocol ILLEGAL_GENERATION."""
    return KafkaError(
        Code.STALE_MEMBER_EPOCH if member.classic is None else Code.ILLEGAL_GENERATION,
        message,
    )
