"""Parts of a broker that are made at their first use, so that a start does not load them.

Responsible for: making them from other parts. Must not depend on: where they are used.
"""

# ruff: noqa: PLC0415 (the imports in functions are what this module is for)

from __future__ import annotations

from typing import TYPE_CHECKING

from kwire.broker.clock import Clock
from kwire.broker.controller.interface import Controller
from kwire.broker.metadata_source import MetadataSource
from kwire.metadata.configs.effective import EffectiveConfigs

if TYPE_CHECKING:  # made here at the first use
    from kwire.broker.authentication import Authentication
    from kwire.broker.delegation_tokens import DelegationTokens


def make_delegation_tokens(metadata: MetadataSource, clock: Clock) -> DelegationTokens:
    """Make the delegation tokens of a broker, which follow the metadata."""
    from kwire.broker.delegation_tokens import DelegationTokens

    tokens = DelegationTokens(
        image=metadata.image, configs=metadata.configs, controller=metadata.controller, clock=clock
    )
    metadata.controller.subscribe(tokens.on_metadata_delta)
    return tokens


def make_authentication(metadata: MetadataSource, clock: Clock, tokens: DelegationTokens) -> Authentication:
    """Make the authentication of a broker."""
    from kwire.broker.authentication import Authentication

    return Authentication(image=metadata.image, configs=metadata.configs, clock=clock, tokens=tokens)


async def create_internal_topic(controller: Controller, configs: EffectiveConfigs, name: str) -> None:
    """Create the topic of a coordinator. Raises KafkaError."""
    from kwire.broker.controller.auto_topics import auto_create_topic

    await auto_create_topic(controller, configs, name)
