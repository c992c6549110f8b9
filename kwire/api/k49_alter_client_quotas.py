"""AlterClientQuotas (key 49).

Versions: 0-1.

Behaviour: sets and removes quotas of users, client ids and addresses as metadata records (KIP-546, KIP-612); they
take effect at once (``broker.requests.quotas``). Each entity has its own result; an entity that is listed twice is
refused.

Left out: host names in place of addresses, which Apache Kafka looks up.
"""

from __future__ import annotations

from collections import Counter
from typing import TypeAlias

from kwire.api.pacing import paced, paced_list, submit_in_slices
from kwire.api.probes import UNKNOWN_NAME, Probe
from kwire.broker.requests.context import Context
from kwire.errors import KafkaError
from kwire.metadata.commands.configs import AlterClientQuotas
from kwire.metadata.decisions.credentials import QuotaAlteration, QuotaChange, duplicate_entity
from kwire.security.authorizer import denied
from kwire.security.operations import Operation, ResourceType
from kwire.wire.messages import AlterClientQuotasRequest, AlterClientQuotasResponse

PROBE: Probe = {
    "entries": [
        {
            "entity": [{"entity_type": "user", "entity_name": UNKNOWN_NAME}],
            "ops": [{"key": "producer_byte_rate", "value": 1.0}],
        }
    ],
    "validate_only": True,
}

Wanted = AlterClientQuotasRequest.EntryData
Entry = AlterClientQuotasResponse.EntryData
Entity: TypeAlias = tuple[tuple[str, str | None], ...]


async def handle(context: Context, request: AlterClientQuotasRequest) -> AlterClientQuotasResponse:
    if not context.may_cluster(Operation.ALTER_CONFIGS):
        refusal = denied(ResourceType.CLUSTER)
        entries = await paced_list(context, lambda wanted: _entry(_entity(wanted), refusal), request.entries)
        return AlterClientQuotasResponse(throttle_time_ms=context.throttle_ms, entries=entries)
    entities = await paced_list(context, _entity, request.entries)
    counts = Counter(entities)
    outcomes: dict[Entity, object] = {}
    alterations = []
    async for entity, wanted in paced(context, zip(entities, request.entries, strict=True)):
        if counts[entity] > 1:
            outcomes[entity] = duplicate_entity(entity)
            continue
        outcomes[entity] = None
        changes = [QuotaChange(op.key, None if op.remove else op.value) for op in wanted.ops]
        alterations.append(QuotaAlteration(entity, changes))
    results = await submit_in_slices(
        context, alterations, lambda some: AlterClientQuotas(some, validate_only=request.validate_only)
    )
    outcomes |= {item.entity: result for item, result in zip(alterations, results, strict=True)}
    return AlterClientQuotasResponse(
        throttle_time_ms=context.throttle_ms,
        entries=[_entry(entity, outcome) async for entity, outcome in paced(context, outcomes.items())],
    )


def _entity(wanted: Wanted) -> Entity:
    """Return an entity with its parts sorted by type; of two parts of one type the last counts."""
    return tuple(sorted({part.entity_type: part.entity_name for part in wanted.entity}.items()))


def _entry(entity: Entity, outcome: object) -> Entry:
    entry = Entry(
        error_message=None,
        entity=[AlterClientQuotasResponse.EntityData(entity_type=kind, entity_name=name) for kind, name in entity],
    )
    if isinstance(outcome, KafkaError):
        entry.error_code, entry.error_message = outcome.code, outcome.message
    return entry
