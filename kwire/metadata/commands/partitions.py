"""Commands on leaders and replicas of partitions.

Responsible for: the fields of each command. Must not depend on: how it is decided (``metadata.cluster``), the
metadata log, requests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kwire.metadata.cluster.directories import assign_own_directories
from kwire.metadata.cluster.elections import bump_leader_epoch, elect_leaders
from kwire.metadata.cluster.reassignment import Reassignment, alter_reassignments
from kwire.metadata.commands import Command, ControllerState, each
from kwire.metadata.decisions.decision import DONE, Charge, Decision, Outcome
from kwire.types import TopicPartition, Uuid


@dataclass(frozen=True)
class ElectLeaders(Command[Outcome]):
    """Elect leaders (KIP-460). ``election_type``: 0 preferred, 1 unclean."""

    election_type: int
    partitions: Sequence[TopicPartition]

    def decide(self, state: ControllerState, charge: Charge) -> Decision[Outcome]:
        del charge
        return elect_leaders(state.image, state.configs, self.election_type, self.partitions)


@dataclass(frozen=True)
class BumpLeaderEpochs(Command[Outcome]):
    """Begin a new leader epoch of partitions, with their current leaders."""

    partitions: Sequence[TopicPartition]

    def decide(self, state: ControllerState, charge: Charge) -> Decision[Outcome]:
        del charge
        return each(self.partitions, lambda item: bump_leader_epoch(state.image, item.topic, item.partition))


@dataclass(frozen=True)
class AlterPartitionReassignments(Command[Outcome]):
    """Move replicas to other brokers (KIP-455)."""

    reassignments: Sequence[Reassignment]
    allow_replication_factor_change: bool = True

    def decide(self, state: ControllerState, charge: Charge) -> Decision[Outcome]:
        del charge
        return alter_reassignments(
            state.image,
            state.configs,
            self.reassignments,
            allow_replication_factor_change=self.allow_replication_factor_change,
        )


@dataclass(frozen=True)
class AssignReplicasToDirs(Command[Outcome]):
    """Record in which log directory a broker holds its replicas (KIP-858); one result for the whole command."""

    broker_id: int
    directories: Mapping[TopicPartition, Uuid]

    def decide(self, state: ControllerState, charge: Charge) -> Decision[Outcome]:
        del charge
        records = assign_own_directories(state.image, state.configs, self.broker_id, self.directories)
        return Decision(records, [DONE])
