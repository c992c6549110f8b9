"""Changes of one partition: its leader, in-sync replicas, eligible leader replicas (KIP-966), steps of a reassignment.

Responsible for: the only place that makes a PartitionChangeRecord out of the new state of a partition. Must not
depend on: why a partition changes.

The order of the steps is Apache Kafka's: a reassignment whose new replicas are in sync is completed, replicas that
leave the in-sync set become eligible while it is smaller than min.insync.replicas, then a leader is elected.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Final, NamedTuple

from kwire.metadata.configs.effective import EffectiveConfigs
from kwire.metadata.decisions.decision import default_directory, is_active
from kwire.metadata.entities import (
    DIRECTORY_LOST,
    DIRECTORY_MIGRATING,
    DIRECTORY_UNASSIGNED,
    NO_LEADER,
    BrokerNode,
    Partition,
)
from kwire.metadata.image import MetadataImage
from kwire.types import Uuid
from kwire.wire import messages

NO_LEADER_CHANGE: Final = -2
RECOVERED: Final = 0
RECOVERING: Final = 1

_DIRECTORIES: Final = 17  # 3.7-IV2: replicas have directories (KIP-858)
_NO_BUMP_ON_SHRINK: Final = 12  # 3.6-IV0: brokers follow a shrunk in-sync set without a new leader epoch (KAFKA-15021)


class Election(Enum):
    """How a leader is elected."""

    ONLINE = "the leader stays while it is in sync; else the first replica that is"
    PREFERRED = "the first replica if it is in sync, else as ONLINE"
    UNCLEAN = "as ONLINE; with no replica in sync, any that is there"


class _Elected(NamedTuple):
    leader: int
    unclean: bool


class PartitionChanges:
    """Makes the records of changes over one state of the image.

    ``joining`` is a broker that may lead although the image does not have it unfenced yet; ``leaving`` and ``unclean``
    are the ids of brokers that must not lead any more. The logs of ``unclean`` brokers may be incomplete, so these are
    not eligible either.
    """

    def __init__(
        self,
        image: MetadataImage,
        configs: EffectiveConfigs,
        *,
        joining: BrokerNode | None = None,
        leaving: int | None = None,
        unclean: int | None = None,
    ) -> None:
        self._image = image
        self._configs = configs
        self._joining = joining
        self._leaving = leaving
        self._unclean = unclean

    def usual_election(self, topic: str) -> Election:
        """Return the election when a leader is lost: unclean where the topic's configs allow it."""
        return Election.UNCLEAN if self.allows_unclean(topic) else Election.ONLINE

    def allows_unclean(self, topic: str) -> bool:
        """Tell whether a replica that is not in sync may be elected."""
        return self._configs.topic(topic)["unclean.leader.election.enable"]

    def may_lead(self, partition: Partition, broker_id: int) -> bool:
        """Tell whether a broker is there, and the directory that has its replica too."""
        if broker_id in {self._leaving, self._unclean}:
            return False
        joins = self._joining is not None and self._joining.id == broker_id
        broker = self._joining if joins else self._image.brokers.get(broker_id)
        if broker is None or not (joins or is_active(broker)):
            return False
        return has_online_directory(broker, directory_of(partition, broker_id))

    def without_lost(self, partition: Partition) -> list[int]:
        """Return the in-sync replicas that remain when ``leaving`` and ``unclean`` are gone."""
        return [one for one in partition.isr if one not in {self._leaving, self._unclean}]

    def change(
        self,
        topic: str,
        partition: Partition,
        *,
        isr: Sequence[int] | None = None,
        replicas: Sequence[int] | None = None,
        removing: Sequence[int] | None = None,
        adding: Sequence[int] | None = None,
        election: Election = Election.ONLINE,
        recovery_state: int | None = None,
        directory: tuple[int, Uuid] | None = None,
    ) -> messages.PartitionChangeRecord | None:
        """Make the record that changes the given fields of the partition; None when nothing changes.

        ``directory`` is a broker's id and the log directory that has its replica from now on.
        """
        builder = _Builder(self, self._image, topic, partition, election)
        if isr is not None:
            builder.isr = list(isr)
        if replicas is not None:
            builder.replicas = list(replicas)
        if removing is not None:
            builder.removing = list(removing)
        if adding is not None:
            builder.adding = list(adding)
        if recovery_state is not None:
            builder.recovery_state = recovery_state
        if directory is not None:
            builder.directories[directory[0]] = directory[1]
        return builder.build(self._min_isr(topic), self._unclean)

    def _min_isr(self, topic: str) -> int:
        wanted = self._configs.topic(topic)["min.insync.replicas"]
        return min(wanted, len(self._image.topics[topic].partitions[0].replicas))


def directory_of(partition: Partition, broker_id: int) -> Uuid:
    """Return the log directory that has a broker's replica, or a reserved id."""
    if broker_id in partition.replicas and len(partition.directories) == len(partition.replicas):
        return partition.directories[partition.replicas.index(broker_id)]
    return DIRECTORY_MIGRATING


def has_online_directory(broker: BrokerNode, directory: Uuid) -> bool:
    """Tell whether a broker has a log directory, as it registered. One that is not known yet counts as online."""
    if directory in {DIRECTORY_UNASSIGNED, DIRECTORY_MIGRATING}:
        return True
    return directory != DIRECTORY_LOST and (not broker.log_dirs or directory in broker.log_dirs)


class _Builder:
    """One change. The attributes are the new state; ``build`` compares them with the current one."""

    def __init__(
        self, changes: PartitionChanges, image: MetadataImage, topic: str, partition: Partition, election: Election
    ) -> None:
        self._changes = changes
        self._image = image
        self._topic = topic
        self._before = partition
        self._election = election
        self._elr_enabled = image.elr_enabled
        self.isr = list(partition.isr)
        self.replicas = list(partition.replicas)
        self.removing = list(partition.removing_replicas)
        self.adding = list(partition.adding_replicas)
        self.recovery_state = partition.leader_recovery_state
        self.directories = {one: directory_of(partition, one) for one in partition.replicas}
        self._eligible = list(partition.eligible_leader_replicas)
        self._record = messages.PartitionChangeRecord(topic_id=partition.topic_id, partition_id=partition.index)

    def build(self, min_isr: int, unclean: int | None) -> messages.PartitionChangeRecord | None:
        self._complete_reassignment()
        if self._elr_enabled:
            self._find_eligible(min_isr, unclean)
        self._elect()
        self._complete_reassignment()  # an eligible replica that is elected may be the only one that stays
        self._bump_epoch_for_lost_replica()
        self._set_in_sync()
        self._remember_last_leader()
        self._set_assignment()
        if self.recovery_state != self._before.leader_recovery_state:
            self._record.leader_recovery_state = self.recovery_state
        empty = messages.PartitionChangeRecord(topic_id=self._before.topic_id, partition_id=self._before.index)
        return None if self._record == empty else self._record

    def _complete_reassignment(self) -> None:
        """Drop the replicas that are to be removed, once all that stay are in sync."""
        if not (self.removing or self.adding):
            return
        isr = [one for one in self.isr if one not in self.removing]
        replicas = [one for one in self.replicas if one not in self.removing]
        if not isr or not replicas or not set(replicas) <= set(isr):
            return
        self.isr, self.replicas = isr, replicas
        self.removing, self.adding = [], []
        self._eligible = [one for one in self._eligible if one in replicas]

    def _find_eligible(self, min_isr: int, unclean: int | None) -> None:
        """Keep as eligible what leaves a set of in-sync replicas that is too small for acks=all (KIP-966)."""
        if len(self.isr) >= min_isr:
            self._eligible = []
            return
        candidates = {*self._eligible, *self._before.isr} & {*self.replicas}
        self._eligible = sorted(candidates - {*self.isr} - ({unclean} if unclean is not None else set()))

    def _elect(self) -> None:
        elected = self._elected()
        if elected.leader == self._before.leader:
            return
        self._record.leader = elected.leader
        if elected.leader in self._eligible:
            self.isr = [elected.leader]
            self._eligible.remove(elected.leader)
        elif elected.unclean:
            # Unclean: records that only other replicas have are lost, and this log becomes the partition's log.
            self._record.isr = [elected.leader]
            self.recovery_state = RECOVERING

    def _elected(self) -> _Elected:
        before = self._before
        order = list(self.replicas)
        if self._election is not Election.PREFERRED:
            order.insert(0, before.leader)
        else:
            order.insert(1, before.leader)
        for candidate in order:
            if self._is_clean_leader(candidate):
                return _Elected(candidate, unclean=False)
        if self._may_elect_last_leader():
            return _Elected(before.last_known_elr[0], unclean=True)
        if self._election is Election.UNCLEAN:
            for candidate in self.replicas:
                if self._changes.may_lead(before, candidate):
                    return _Elected(candidate, unclean=True)
        return _Elected(NO_LEADER, unclean=False)

    def _is_clean_leader(self, broker_id: int) -> bool:
        has_all = broker_id in self.isr or (not self.isr and broker_id in self._eligible)
        return has_all and self._changes.may_lead(self._before, broker_id)

    def _may_elect_last_leader(self) -> bool:
        """Tell whether the last leader may be elected after every other replica was lost uncleanly."""
        last = self._before.last_known_elr
        return (
            self._elr_enabled
            and not self._eligible
            and not self.isr
            and len(last) == 1
            and self._changes.may_lead(self._before, last[0])
        )

    def _bump_epoch_for_lost_replica(self) -> None:
        if self._record.leader == NO_LEADER_CHANGE and not set(self._before.replicas) <= set(self.replicas):
            self._record.leader = self._before.leader

    def _set_in_sync(self) -> None:
        before, record = self._before, self._record
        if record.isr is not None or not self._elr_enabled:
            self._eligible = []
        if self._eligible != list(before.eligible_leader_replicas):
            record.eligible_leader_replicas = self._eligible
        # Without eligible replicas the last in-sync one stays listed: it alone may lead again.
        if record.isr is None and (self.isr or self._elr_enabled) and self.isr != list(before.isr):
            record.isr = self.isr
        shrinks = record.isr is not None and not set(before.isr) <= set(record.isr)
        if shrinks and record.leader == NO_LEADER_CHANGE and self._image.metadata_version < _NO_BUMP_ON_SHRINK:
            record.leader = before.leader

    def _remember_last_leader(self) -> None:
        """Keep the last leader while no replica is in sync, until there is a leader again."""
        if not self._elr_enabled:
            return
        before, record = self._before, self._record
        has_leader = record.leader >= 0 or (record.leader == NO_LEADER_CHANGE and before.leader != NO_LEADER)
        if record.isr == [] and before.leader != NO_LEADER and before.last_known_elr != (before.leader,):
            record.last_known_elr = [before.leader]
        elif has_leader and before.last_known_elr:
            record.last_known_elr = []

    def _set_assignment(self) -> None:
        before, record = self._before, self._record
        if self._image.metadata_version >= _DIRECTORIES:
            held = list(before.directories) or [DIRECTORY_MIGRATING] * len(before.replicas)
            directories = [self.directories.get(one) or default_directory(self._image, one) for one in self.replicas]
            if directories != held:
                record.directories = directories
        if self.replicas != list(before.replicas):
            record.replicas = self.replicas
        if self.removing != list(before.removing_replicas):
            record.removing_replicas = self.removing
        if self.adding != list(before.adding_replicas):
            record.adding_replicas = self.adding
