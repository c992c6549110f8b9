"""DescribeClientQuotas (key 48).

Versions: 0-1.

Behaviour: the quotas whose entities match every component of the filter (KIP-546): by name, the default entity, or
any name. ``strict`` leaves out entities with further parts.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from kwire.api.pacing import paced
from kwire.api.probes import UNKNOWN_NAME, Probe
from kwire.broker.requests.context import Context
from kwire.errors import Code, KafkaError
from kwire.metadata.decisions.credentials import CLIENT_ID, IP, USER
from kwire.metadata.entities import QuotaEntity
from kwire.security.operations import Operation
from kwire.wire.messages import DescribeClientQuotasRequest, DescribeClientQuotasResponse

PROBE: Probe = {"components": [{"entity_type": "user", "match_type": 0, "match": UNKNOWN_NAME}]}

# The order in Apache Kafka's answers, which is that of a hash table.
_VALUE_ORDER: Final = {
    "connection_creation_rate": 0,
    "request_percentage": 1,
    "producer_byte_rate": 2,
    "consumer_byte_rate": 3,
    "controller_mutation_rate": 4,
}
_EXACT: Final = 0
_DEFAULT: Final = 1
_SPECIFIED: Final = 2

Component = DescribeClientQuotasRequest.ComponentData
Entry = DescribeClientQuotasResponse.EntryData


async def handle(context: Context, request: DescribeClientQuotasRequest) -> DescribeClientQuotasResponse:
    try:
        context.authorize_cluster(Operation.DESCRIBE_CONFIGS)
        _check(request.components)
    except KafkaError as refusal:
        return DescribeClientQuotasResponse(
            throttle_time_ms=context.throttle_ms,
            error_code=refusal.code,
            error_message=None if refusal.code is Code.CLUSTER_AUTHORIZATION_FAILED else refusal.message,
            entries=None,
        )
    return DescribeClientQuotasResponse(
        throttle_time_ms=context.throttle_ms,
        entries=[
            _entry(entity, quotas.items())
            async for entity, quotas in paced(context, context.broker.image.quotas.items())
            if _matches(entity, request)
        ],
    )


def _check(components: list[Component]) -> None:
    kinds = [component.entity_type for component in components]
    for component in components:
        kind = component.entity_type
        if not kind:
            raise KafkaError(Code.INVALID_REQUEST, "Invalid empty entity type.")
        if kinds.count(kind) > 1:
            raise KafkaError(Code.INVALID_REQUEST, f"Entity type {kind} cannot appear more than once in the filter.")
        if kind not in {USER, CLIENT_ID, IP}:
            raise KafkaError(Code.UNSUPPORTED_VERSION, f"Unsupported entity type {kind}")
        _check_match(component)
    if IP in kinds and len(kinds) > 1:
        raise KafkaError(
            Code.INVALID_REQUEST,
            "Invalid entity filter component combination. IP filter component should not be used with user or "
            "clientId filter component.",
        )


def _check_match(component: Component) -> None:
    if component.match_type not in {_EXACT, _DEFAULT, _SPECIFIED}:
        raise KafkaError(Code.INVALID_REQUEST, f"Unknown match type {component.match_type}")
    if component.match_type == _EXACT and component.match is None:
        message = "Request specified MATCH_TYPE_EXACT, but set match string to null."
        raise KafkaError(Code.INVALID_REQUEST, message)
    if component.match_type != _EXACT and component.match is not None:
        name = "MATCH_TYPE_DEFAULT" if component.match_type == _DEFAULT else "MATCH_TYPE_SPECIFIED"
        message = f"Request specified {name}, but also specified a match string."
        raise KafkaError(Code.INVALID_REQUEST, message)


def _matches(entity: QuotaEntity, request: DescribeClientQuotasRequest) -> bool:
    names = dict(entity)
    if request.strict and names.keys() != {component.entity_type for component in request.components}:
        return False
    return all(
        component.entity_type in names and _matches_name(component, names[component.entity_type])
        for component in request.components
    )


def _matches_name(component: Component, name: str | None) -> bool:
    if component.match_type == _SPECIFIED:
        return True
    return name == component.match  # which is None for the default entity


def _entry(entity: QuotaEntity, quotas: Iterable[tuple[str, float]]) -> Entry:
    return Entry(
        entity=[DescribeClientQuotasResponse.EntityData(entity_type=kind, entity_name=name) for kind, name in entity],
        values=[
            DescribeClientQuotasResponse.ValueData(key=key, value=value)
            for key, value in sorted(quotas, key=lambda quota: _VALUE_ORDER.get(quota[0], len(_VALUE_ORDER)))
        ],
    )
