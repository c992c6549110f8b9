"""Commands on SCRAM credentials and client quotas.

Responsible for: which of them are accepted, and their records. Must not depend on: passwords
(``security.sasl.scram_keys`` derives keys from them), how quotas are enforced.
"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from kwire.errors import Code, KafkaError
from kwire.metadata.decisions.decision import DONE, Decision, Outcome
from kwire.metadata.entities import QuotaEntity, ScramCredential, ScramMechanism
from kwire.metadata.image import MetadataImage
from kwire.wire.message import Message
from kwire.wire.messages import ClientQuotaRecord, RemoveUserScramCredentialRecord, UserScramCredentialRecord

SCRAM_ITERATIONS_MIN = 4096
SCRAM_ITERATIONS_MAX = 16384

USER = "user"
CLIENT_ID = "client-id"
IP = "ip"

# Quota key -> whether it may have a fraction.
USER_QUOTAS: Mapping[str, bool] = MappingProxyType(
    {
        "producer_byte_rate": False,
        "consumer_byte_rate": False,
        "request_percentage": True,
        "controller_mutation_rate": True,
    }
)
IP_QUOTAS: Mapping[str, bool] = MappingProxyType({"connection_creation_rate": False})

_SCRAM_VERSION_MIN = 11  # 3.5-IV2
_LONG_MAX = 2**63 - 1
_INT_MAX = 2**31 - 1


@dataclass(frozen=True, slots=True)
class ScramUpsertion:
    """Keys to store for a user. ``mechanism`` is the request's number."""

    user: str
    mechanism: int
    credential: ScramCredential


class ScramDeletion(NamedTuple):
    """Keys to delete."""

    user: str
    mechanism: int


class QuotaChange(NamedTuple):
    """One quota of an entity to set, or to remove when ``value`` is None."""

    key: str
    value: float | None


class QuotaAlteration(NamedTuple):
    """The changes of one entity; its parts are (entity type, name or None for the default entity)."""

    entity: tuple[tuple[str, str | None], ...]
    changes: Sequence[QuotaChange]


def alter_scram_credentials(
    image: MetadataImage, deletions: Sequence[ScramDeletion], upsertions: Sequence[ScramUpsertion]
) -> Decision[Outcome]:
    """Change credentials; one result for each deletion, then for each upsertion (KIP-554).

    Each user is either changed once or refused: the first refusal counts for all of the user's items.
    """
    items: list[ScramDeletion | ScramUpsertion] = [*deletions, *upsertions]
    records: dict[str, Message] = {}
    refused: dict[str, KafkaError] = {}
    for item in items:
        if item.user in refused:
            continue
        try:
            if records.pop(item.user, None) is not None:
                message = "A user credential cannot be altered twice in the same request"
                raise KafkaError(Code.DUPLICATE_RESOURCE, message)
            records[item.user] = _scram_record(image, item)
        except KafkaError as refusal:
            refused[item.user] = refusal
    return Decision(list(records.values()), [refused.get(item.user, DONE) for item in items])


def alter_client_quotas(
    image: MetadataImage, entity: Sequence[tuple[str, str | None]], changes: Sequence[QuotaChange]
) -> list[Message]:
    """Change the quotas of one entity (KIP-546). Raises KafkaError(INVALID_REQUEST)."""
    normal = quota_entity(entity)
    _check_address(dict(entity).get(IP))
    allowed = IP_QUOTAS if normal[0][0] == IP else USER_QUOTAS
    if len({change.key for change in changes}) != len(changes):
        raise duplicate_entity(normal)
    present = image.quotas.get(normal, {})
    records: list[Message] = []
    parts = [ClientQuotaRecord.EntityData(entity_type=kind, entity_name=name) for kind, name in normal]
    for key, value in changes:
        if value is None:
            if key in present:
                records.append(ClientQuotaRecord(entity=parts, key=key, remove=True))
            continue
        _check_quota(allowed, key, value)
        if present.get(key) != value:
            records.append(ClientQuotaRecord(entity=parts, key=key, value=value))
    return records


def quota_entity(parts: Sequence[tuple[str, str | None]]) -> QuotaEntity:
    """Check the entity of a quota. Raises KafkaError(INVALID_REQUEST)."""
    if not parts:
        raise _bad_request("Invalid empty client quota entity")
    entity = dict(parts)
    for kind, name in entity.items():
        if kind not in {USER, CLIENT_ID, IP}:
            raise _bad_request(f"Unhandled client quota entity type: {kind}")
        if name == "":
            raise _bad_request(f"Empty {kind} not supported")
    if IP in entity and len(entity) > 1:
        raise _bad_request("Invalid quota entity combination, IP entity shouldnot be combined with User or ClientId")
    return tuple(sorted(entity.items()))


def duplicate_entity(entity: Sequence[tuple[str, str | None]]) -> KafkaError:
    """The refusal of an entity that occurs more than once in a request."""
    inside = ", ".join(f"{kind}={name}" for kind, name in entity)
    return _bad_request(f"Ignoring duplicate entity ClientQuotaEntity(entries={{{inside}}})")


def _check_address(address: str | None) -> None:
    if address is None:
        return
    try:
        ipaddress.ip_address(address)
    except ValueError:
        raise _bad_request(f"{address} is not a valid IP or resolvable host.") from None


def _scram_record(image: MetadataImage, item: ScramUpsertion | ScramDeletion) -> Message:
    if image.metadata_version < _SCRAM_VERSION_MIN:
        raise KafkaError(Code.UNSUPPORTED_VERSION, "The current metadata.version does not support SCRAM")
    if not item.user:
        raise KafkaError(Code.UNACCEPTABLE_CREDENTIAL, "Username must not be empty")
    if item.mechanism not in {ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512}:
        raise KafkaError(Code.UNSUPPORTED_SASL_MECHANISM, "Unknown SCRAM mechanism")
    if isinstance(item, ScramDeletion):
        if (item.user, ScramMechanism(item.mechanism)) not in image.scram:
            raise KafkaError(Code.RESOURCE_NOT_FOUND, "Attempt to delete a user credential that does not exist")
        return RemoveUserScramCredentialRecord(name=item.user, mechanism=item.mechanism)
    if item.credential.iterations < SCRAM_ITERATIONS_MIN:
        raise KafkaError(Code.UNACCEPTABLE_CREDENTIAL, "Too few iterations")
    if item.credential.iterations > SCRAM_ITERATIONS_MAX:
        raise KafkaError(Code.UNACCEPTABLE_CREDENTIAL, "Too many iterations")
    if not item.credential.stored_key:
        raise KafkaError(Code.UNACCEPTABLE_CREDENTIAL, "The salted password must not be empty")
    return UserScramCredentialRecord(
        name=item.user,
        mechanism=item.mechanism,
        salt=item.credential.salt,
        stored_key=item.credential.stored_key,
        server_key=item.credential.server_key,
        iterations=item.credential.iterations,
    )


def _check_quota(allowed: Mapping[str, bool], key: str, value: float) -> None:
    if key not in allowed:
        raise _bad_request(f"Invalid configuration key {key}")
    if math.isnan(value):
        raise _bad_request(f"Quota {key} must be greater than 0")  # Kafka takes it, and then no comparison holds
    if value <= 0:
        raise _bad_request(f"Quota {key} must be greater than 0")
    if math.isinf(value):
        raise _bad_request(f"Quota {key} must be a finite number")
    if allowed[key]:
        return
    # An address's rate is an int, the others are longs.
    kind, highest = ("INT", _INT_MAX) if key in IP_QUOTAS else ("LONG", _LONG_MAX)
    if value > highest:
        raise _bad_request(f"Proposed value for {key} is too large for a {kind}.")
    if value != int(value):
        raise _bad_request(f"{key} cannot be a fractional value.")


def _bad_request(message: str) -> KafkaError:
    return KafkaError(Code.INVALID_REQUEST, message)
