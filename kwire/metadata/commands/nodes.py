"""Commands on brokers, controllers, features and producer ids.

Responsible for: the fields of each command. Must not depend on: how it is decided (``nodes``, ``update_features``), the
metadata log, requests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kwire.errors import KafkaError
from kwire.metadata.cluster.nodes import reserve_producer_ids, unregister_broker, unregister_controller
from kwire.metadata.commands import Command, ControllerState, each
from kwire.metadata.decisions.decision import Charge, Decision, Outcome
from kwire.metadata.decisions.update_features import FeatureUpdate, update_features


@dataclass(frozen=True)
class UpdateFeatures(Command[Outcome]):
    """Change finalized feature levels, all or none; one result for the whole command (KIP-584)."""

    updates: Sequence[FeatureUpdate]
    validate_only: bool = False

    def decide(self, state: ControllerState, charge: Charge) -> Decision[Outcome]:
        del charge
        return each(
            [self.updates],
            lambda updates: update_features(
                state.image, updates, node_id=state.node_id, kraft_version=state.kraft_version
            ),
        )


@dataclass(frozen=True)
class UnregisterBroker(Command[Outcome]):
    """Remove a broker's registration (KIP-919); one result."""

    broker_id: int

    def decide(self, state: ControllerState, charge: Charge) -> Decision[Outcome]:
        del charge
        return each(
            [self.broker_id], lambda broker_id: unregister_broker(state.image, state.configs, broker_id, state.counts)
        )


@dataclass(frozen=True)
class UnregisterController(Command[Outcome]):
    """Remove a controller's registration; one result. ``own_id`` is the id of the active controller."""

    controller_id: int
    own_id: int

    def decide(self, state: ControllerState, charge: Charge) -> Decision[Outcome]:
        del charge
        return each(
            [self.controller_id],
            lambda controller_id: unregister_controller(state.image, controller_id, own_id=self.own_id),
        )


@dataclass(frozen=True)
class AllocateProducerIds(Command[range]):
    """Reserve a block of producer ids for a broker (KIP-730); one result, the ids of the block."""

    broker_id: int
    count: int

    def decide(self, state: ControllerState, charge: Charge) -> Decision[range]:
        del charge
        try:
            first, records = reserve_producer_ids(state.image, self.broker_id, count=self.count)
        except KafkaError as refusal:
            return Decision([], [refusal])
        return Decision(records, [range(first, first + self.count)])
