"""Configs of topics, brokers, groups and client metrics; client quotas; SCRAM credentials.

Responsible for: the requests behind `kafka-configs`. Must not depend on: which keys exist (the broker knows them).
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Final, NamedTuple

from kwire.cli.connections.client import Cluster, check
from kwire.cli.connections.connection import Connection
from kwire.errors import Code, KafkaError
from kwire.wire.messages import (
    AlterClientQuotasRequest,
    AlterClientQuotasResponse,
    AlterUserScramCredentialsRequest,
    AlterUserScramCredentialsResponse,
    DescribeClientQuotasRequest,
    DescribeClientQuotasResponse,
    DescribeConfigsRequest,
    DescribeConfigsResponse,
    DescribeUserScramCredentialsRequest,
    DescribeUserScramCredentialsResponse,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
    ListConfigResourcesRequest,
    ListConfigResourcesResponse,
)


class ResourceType(IntEnum):
    TOPIC = 2
    BROKER = 4
    BROKER_LOGGER = 8
    CLIENT_METRICS = 16
    GROUP = 32


class Source(IntEnum):
    """Where a value comes from, as on the wire."""

    UNKNOWN = 0
    DYNAMIC_TOPIC_CONFIG = 1
    DYNAMIC_BROKER_CONFIG = 2
    DYNAMIC_DEFAULT_BROKER_CONFIG = 3
    STATIC_BROKER_CONFIG = 4
    DEFAULT_CONFIG = 5
    DYNAMIC_BROKER_LOGGER_CONFIG = 6
    DYNAMIC_CLIENT_METRICS_CONFIG = 7
    DYNAMIC_GROUP_CONFIG = 8


class Entry(NamedTuple):
    """One config: value (None when sensitive or null), its source, and the values of lower precedence."""

    name: str
    value: str | None
    source: Source
    sensitive: bool
    read_only: bool
    synonyms: list[tuple[Source, str, str | None]]

    @property
    def is_default(self) -> bool:
        return self.source is Source.DEFAULT_CONFIG


SET: Final = 0
DELETE: Final = 1

SCRAM_MECHANISMS: Final = {"SCRAM-SHA-256": 1, "SCRAM-SHA-512": 2}
SCRAM_ITERATIONS_DEFAULT: Final = 4096
_HASHES: Final = {"SCRAM-SHA-256": "sha256", "SCRAM-SHA-512": "sha512"}

EXACT, DEFAULT, ANY = 0, 1, 2


def describe_configs(
    cluster: Cluster, kind: ResourceType, name: str, *, keys: Sequence[str] | None = None
) -> list[Entry]:
    """Every config of a resource, by name. Raises KafkaError."""
    request = DescribeConfigsRequest(
        resources=[
            DescribeConfigsRequest.DescribeConfigsResource(
                resource_type=kind, resource_name=name, configuration_keys=None if keys is None else list(keys)
            )
        ],
        include_synonyms=True,
    )

    def attempt() -> list[Entry]:
        answer = cluster.call_on(_connection_for(cluster, kind, name), request, DescribeConfigsResponse)
        result = answer.results[0]
        check(result.error_code, result.error_message)
        return sorted(
            Entry(
                entry.name,
                entry.value,
                _source(entry.config_source),
                entry.is_sensitive,
                entry.read_only,
                [(_source(synonym.source), synonym.name, synonym.value) for synonym in entry.synonyms],
            )
            for entry in result.configs
        )

    return cluster.with_retries(attempt)


def describe_topic_configs(cluster: Cluster, names: Sequence[str]) -> dict[str, list[Entry] | KafkaError]:
    """The configs of many topics, with one request."""
    if not names:
        return {}
    request = DescribeConfigsRequest(
        resources=[
            DescribeConfigsRequest.DescribeConfigsResource(
                resource_type=ResourceType.TOPIC, resource_name=name, configuration_keys=None
            )
            for name in names
        ]
    )
    answer = cluster.with_retries(lambda: cluster.call(request, DescribeConfigsResponse))
    return {
        result.resource_name: KafkaError(Code(result.error_code), result.error_message)
        if result.error_code
        else [
            Entry(entry.name, entry.value, _source(entry.config_source), entry.is_sensitive, entry.read_only, [])
            for entry in result.configs
        ]
        for result in answer.results
    }


def alter_configs(
    cluster: Cluster,
    kind: ResourceType,
    name: str,
    *,
    put: Mapping[str, str] | None = None,
    delete: Sequence[str] = (),
    validate_only: bool = False,
) -> None:
    """Change configs of a resource, all or none. Raises KafkaError."""
    changes = [
        IncrementalAlterConfigsRequest.AlterableConfig(name=key, config_operation=SET, value=value)
        for key, value in (put or {}).items()
    ] + [
        IncrementalAlterConfigsRequest.AlterableConfig(name=key, config_operation=DELETE, value=None) for key in delete
    ]
    request = IncrementalAlterConfigsRequest(
        resources=[
            IncrementalAlterConfigsRequest.AlterConfigsResource(resource_type=kind, resource_name=name, configs=changes)
        ],
        validate_only=validate_only,
    )

    def attempt() -> None:
        answer = cluster.call_on(_connection_for(cluster, kind, name), request, IncrementalAlterConfigsResponse)
        for response in answer.responses:
            check(response.error_code, response.error_message)

    cluster.with_retries(attempt)


def list_config_resources(cluster: Cluster, kind: ResourceType) -> list[str]:
    """Names of the resources of a kind that have configs (KIP-1142)."""
    connection = cluster.any()
    version = connection.version_of(ListConfigResourcesRequest)
    # KIP-1142: version 0 lists client metrics alone.
    request = ListConfigResourcesRequest(resource_types=[kind] if version >= 1 else [])
    answer = cluster.call_on(connection, request, ListConfigResourcesResponse, version=version)
    check(answer.error_code)
    return sorted(resource.resource_name for resource in answer.config_resources)


Entity = dict[str, str | None]


def describe_quotas(
    cluster: Cluster, wanted: Sequence[tuple[str, int, str | None]], *, strict: bool
) -> list[tuple[Entity, dict[str, float]]]:
    """Quotas of the entities that match (type, EXACT | DEFAULT | ANY, name). Raises KafkaError."""
    request = DescribeClientQuotasRequest(
        components=[
            DescribeClientQuotasRequest.ComponentData(entity_type=kind, match_type=match, match=name)
            for kind, match, name in wanted
        ],
        strict=strict,
    )
    answer = cluster.with_retries(lambda: cluster.call(request, DescribeClientQuotasResponse))
    check(answer.error_code, answer.error_message)
    return [
        (
            {part.entity_type: part.entity_name for part in entry.entity},
            {value.key: value.value for value in entry.values},
        )
        for entry in answer.entries or []
    ]


def alter_quotas(cluster: Cluster, entity: Entity, *, put: Mapping[str, float], delete: Sequence[str]) -> None:
    """Change the quotas of one entity; a name of None is the default entity. Raises KafkaError."""
    entry = AlterClientQuotasRequest.EntryData
    request = AlterClientQuotasRequest(
        entries=[
            entry(
                entity=[
                    AlterClientQuotasRequest.EntityData(entity_type=kind, entity_name=name)
                    for kind, name in entity.items()
                ],
                ops=[AlterClientQuotasRequest.OpData(key=key, value=value) for key, value in put.items()]
                + [AlterClientQuotasRequest.OpData(key=key, remove=True) for key in delete],
            )
        ]
    )

    def attempt() -> None:
        for result in cluster.call_controller(request, AlterClientQuotasResponse).entries:
            check(result.error_code, result.error_message)

    cluster.with_retries(attempt)


def describe_scram(cluster: Cluster, users: Sequence[str] | None) -> dict[str, list[tuple[str, int]] | KafkaError]:
    """Mechanisms and iterations of each user; None means all users. Raises KafkaError."""
    request = DescribeUserScramCredentialsRequest(
        users=None if users is None else [DescribeUserScramCredentialsRequest.UserName(name=user) for user in users]
    )
    answer = cluster.with_retries(lambda: cluster.call(request, DescribeUserScramCredentialsResponse))
    check(answer.error_code, answer.error_message)
    names = {number: name for name, number in SCRAM_MECHANISMS.items()}
    return {
        result.user: KafkaError(Code(result.error_code), result.error_message)
        if result.error_code
        else [(names.get(item.mechanism, "UNKNOWN"), item.iterations) for item in result.credential_infos]
        for result in answer.results
    }


def alter_scram(cluster: Cluster, user: str, *, put: Mapping[str, tuple[int, str]], delete: Sequence[str]) -> None:
    """Set (mechanism: iterations, password) or delete SCRAM credentials. Raises KafkaError."""
    upsertions = []
    for mechanism, (iterations, password) in put.items():
        salt = secrets.token_bytes(24)
        salted = hashlib.pbkdf2_hmac(_HASHES[mechanism], password.encode(), salt, iterations)
        upsertions.append(
            AlterUserScramCredentialsRequest.ScramCredentialUpsertion(
                name=user,
                mechanism=SCRAM_MECHANISMS[mechanism],
                iterations=iterations,
                salt=salt,
                salted_password=salted,
            )
        )
    request = AlterUserScramCredentialsRequest(
        deletions=[
            AlterUserScramCredentialsRequest.ScramCredentialDeletion(name=user, mechanism=SCRAM_MECHANISMS[mechanism])
            for mechanism in delete
        ],
        upsertions=upsertions,
    )

    def attempt() -> None:
        for result in cluster.call_controller(request, AlterUserScramCredentialsResponse).results:
            check(result.error_code, result.error_message)

    cluster.with_retries(attempt)


def _connection_for(cluster: Cluster, kind: ResourceType, name: str) -> Connection:
    """Choose the broker for a resource: a broker answers for its own configs, any broker for all others."""
    if kind in (ResourceType.BROKER, ResourceType.BROKER_LOGGER) and name:
        return cluster.node(int(name))
    return cluster.any()


def _source(number: int) -> Source:
    try:
        return Source(number)
    except ValueError:
        return Source.UNKNOWN
