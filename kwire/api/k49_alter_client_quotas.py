"""AlterClientQuotas (key 49).

Versions: 0-1.

Behaviour: sets and removes quotas of users, client ids and addresses as metadata records (KIP-546, KIP-612); they
bind at once, as ``broker.quotas`` says. Each entity is judged by itself; one that stands twice is refused.

Left out: names of hosts in place of addresses, which Apache Kafka looks up.
"""

from __future__ import annotations

import ipaddress
from collections import Counter

from kwire.broker.requests.context import Context
from kwire.errors import Code, KafkaError, StorageFailure
from kwire.metadata.controller import QuotaChange, alter_client_quotas
from kwire.metadata.credentials import IP
from kwire.wire.messages import AlterClientQuotasRequest, AlterClientQuotasResponse

Wanted = AlterClientQuotasRequest.EntryData
Entry = AlterClientQuotasResponse.EntryData


def handle(context: Context, request: AlterClientQuotasRequest) -> AlterClientQuotasResponse:
    counts = Counter(_entity(wanted) for wanted in request.entries)
    entries = []
    for entity, count in counts.items():
        wanted = next(one for one in request.entries if _entity(one) == entity)
        entry = Entry(
            error_message=None,
            entity=[AlterClientQuotasResponse.EntityData(entity_type=kind, entity_name=name) for kind, name in entity],
        )
        try:
            _alter(context, wanted, twice=count > 1, validate_only=request.validate_only)
        except KafkaError as refusal:
            entry.error_code, entry.error_message = refusal.code, refusal.message
        except StorageFailure as failure:
            context.broker.storage_failed(failure)
            entry.error_code, entry.error_message = Code.KAFKA_STORAGE_ERROR, str(failure)
        entries.append(entry)
    return AlterClientQuotasResponse(throttle_time_ms=context.throttle_ms, entries=entries)


def _entity(wanted: Wanted) -> tuple[tuple[str, str | None], ...]:
    """Of two parts of one kind the last counts, as in Apache Kafka."""
    return tuple({part.entity_type: part.entity_name for part in wanted.entity}.items())


def _alter(context: Context, wanted: Wanted, *, twice: bool, validate_only: bool) -> None:
    entity = _entity(wanted)
    if twice:
        inside = ", ".join(f"{kind}={name}" for kind, name in entity)
        message = f"Ignoring duplicate entity ClientQuotaEntity(entries={{{inside}}})"
        raise KafkaError(Code.INVALID_REQUEST, message)
    changes = [QuotaChange(op.key, None if op.remove else op.value) for op in wanted.ops]
    records = alter_client_quotas(context.broker.image, entity, changes)
    _check_address(dict(entity).get(IP))
    if records and not validate_only:
        context.broker.change_metadata(records)


def _check_address(address: str | None) -> None:
    if address is None:
        return
    try:
        ipaddress.ip_address(address)
    except ValueError:
        message = f"{address} is not a valid IP or resolvable host."
        raise KafkaError(Code.INVALID_REQUEST, message) from None
