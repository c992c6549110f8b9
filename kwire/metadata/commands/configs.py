"""Commands on configs and client quotas.

Responsible for: the fields of each command. Must not depend on: how it is decided (``alter_configs``, ``credentials``),
the metadata log, requests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kwire.metadata.commands import Command, ControllerState, each
from kwire.metadata.decisions.alter_configs import ConfigChange, alter_configs, alter_configs_incrementally
from kwire.metadata.decisions.credentials import QuotaAlteration, alter_client_quotas
from kwire.metadata.decisions.decision import Charge, Decision, Outcome
from kwire.metadata.entities import Resource


@dataclass(frozen=True)
class AlterConfigs(Command[Outcome]):
    """Replace all configs of each resource."""

    resources: Sequence[tuple[Resource, Sequence[tuple[str, str | None]]]]
    validate_only: bool = False

    def decide(self, state: ControllerState, charge: Charge) -> Decision[Outcome]:
        del charge
        return each(
            self.resources, lambda item: alter_configs(state.image, state.configs, resource=item[0], configs=item[1])
        )


@dataclass(frozen=True)
class IncrementalAlterConfigs(Command[Outcome]):
    """Change single config entries of each resource (KIP-339)."""

    resources: Sequence[tuple[Resource, Sequence[ConfigChange]]]
    validate_only: bool = False

    def decide(self, state: ControllerState, charge: Charge) -> Decision[Outcome]:
        del charge
        return each(
            self.resources,
            lambda item: alter_configs_incrementally(state.image, state.configs, resource=item[0], changes=item[1]),
        )


@dataclass(frozen=True)
class AlterClientQuotas(Command[Outcome]):
    """Set and remove client quotas, one result per entity (KIP-546)."""

    alterations: Sequence[QuotaAlteration]
    validate_only: bool = False

    def decide(self, state: ControllerState, charge: Charge) -> Decision[Outcome]:
        del charge
        return each(self.alterations, lambda item: alter_client_quotas(state.image, item.entity, item.changes))
