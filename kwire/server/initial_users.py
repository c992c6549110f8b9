"""Users named at the start of a broker: their SCRAM credentials are stored before it is ready.

Responsible for: storing credentials that are missing or are of another password. Must not depend on: where names and
passwords come from.
"""

from __future__ import annotations

from collections.abc import Mapping

import trio

from kwire.broker.broker import Broker
from kwire.errors import KafkaError
from kwire.metadata.commands.security import AlterUserScramCredentials
from kwire.metadata.decisions.credentials import ScramUpsertion
from kwire.metadata.entities import ScramCredential, ScramMechanism
from kwire.security.sasl.scram_keys import (
    ITERATIONS_MIN,
    RANDOM_BYTES,
    SCRAM_MECHANISMS,
    Credential,
    make_credential,
    random_text,
)


async def store_users(broker: Broker, users: Mapping[str, str]) -> dict[str, KafkaError]:
    """Store a credential for each SCRAM mechanism of each user; returns the users that were refused.

    A user whose stored credentials are of the given password keeps them. Passwords are salted in a thread.
    """
    refused: dict[str, KafkaError] = {}
    for number in SCRAM_MECHANISMS.values():
        # A command may name a user only once, so there is one for each mechanism.
        upsertions = []
        for user, password in users.items():
            made = await _new_credential(broker, user, password, number)
            if made is not None:
                upsertions.append(ScramUpsertion(user, number, ScramCredential(*made)))
        if upsertions:
            outcomes = await broker.controller.submit(AlterUserScramCredentials([], upsertions))
            for upsertion, outcome in zip(upsertions, outcomes, strict=True):
                if isinstance(outcome, KafkaError):
                    refused[upsertion.user] = outcome
    return refused


async def _new_credential(broker: Broker, user: str, password: str, mechanism: int) -> Credential | None:
    """Make a credential of the password; None if the stored one is of this password already."""
    stored = broker.image.scram.get((user, ScramMechanism(mechanism)))
    if stored is not None:
        same = await _make(mechanism, password, stored.salt, stored.iterations)
        if same.stored_key == stored.stored_key:
            return None
    salt = random_text(broker.clock.random_bytes(RANDOM_BYTES)).encode()
    return await _make(mechanism, password, salt, ITERATIONS_MIN)


async def _make(mechanism: int, password: str, salt: bytes, iterations: int) -> Credential:
    return await trio.to_thread.run_sync(make_credential, mechanism, password, salt, iterations)
