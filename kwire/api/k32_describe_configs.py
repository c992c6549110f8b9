"""DescribeConfigs (key 32).

Versions: 1-4.

Behaviour: the configs of topics, of this broker (by its id) or of all brokers (""), of groups, of client metrics
subscriptions and of loggers, each with its source and, on demand, its synonyms. Secrets are null.

Version notes: 3 adds types and documentation (KIP-569).

Documentation (KIP-569) is kwire's own: what a config does, and what kwire does with it.

Left out: loggers other than the root.
"""

from __future__ import annotations

from collections.abc import Sequence

from kwire.api.config_changes import authorize_configs
from kwire.api.pacing import paced
from kwire.api.probes import NO_TOPIC, Probe
from kwire.broker import logs
from kwire.broker.requests.context import Context
from kwire.errors import Code, KafkaError
from kwire.metadata.config_rules import check_topic_name
from kwire.metadata.configs.docs import documentation_of
from kwire.metadata.configs.effective import Described, Source
from kwire.metadata.configs.values import whole_number
from kwire.metadata.entities import ResourceType
from kwire.security.operations import Operation
from kwire.wire.messages import DescribeConfigsRequest, DescribeConfigsResponse

PROBE: Probe = {"resources": [{"resource_type": ResourceType.TOPIC, "resource_name": NO_TOPIC}]}

Wanted = DescribeConfigsRequest.DescribeConfigsResource
Result = DescribeConfigsResponse.DescribeConfigsResult
Config = DescribeConfigsResponse.DescribeConfigsResourceResult
_TYPES = frozenset(ResourceType) - {ResourceType.UNKNOWN}


async def handle(context: Context, request: DescribeConfigsRequest) -> DescribeConfigsResponse:
    unknown = next((one.resource_type for one in request.resources if one.resource_type not in _TYPES), None)
    results = []
    # A broker has some hundred configs, which take two milliseconds each time that it is listed.
    async for wanted in paced(context, request.resources, every=1):
        result = Result(resource_type=wanted.resource_type, resource_name=wanted.resource_name)
        try:
            if unknown is not None:
                # In Apache Kafka an unknown type fails every resource of the request.
                raise KafkaError(Code.INVALID_REQUEST, f"Unsupported resource type: {unknown}")
            described = _describe(context, wanted)
            result.configs = [_config(one, request.include_synonyms) for one in described]
            if request.include_documentation:
                _add_documentation(result)
        except KafkaError as refusal:
            result.error_code, result.error_message = refusal.code, refusal.message or ""
        results.append(result)
    return DescribeConfigsResponse(throttle_time_ms=context.throttle_ms, results=results)


def _add_documentation(result: Result) -> None:
    of_broker = result.resource_type == ResourceType.BROKER
    for config in result.configs:
        config.documentation = documentation_of(config.name, of_broker=of_broker) or config.documentation


def _describe(context: Context, wanted: Wanted) -> Sequence[Described]:
    name, keys = wanted.resource_name, wanted.configuration_keys
    authorize_configs(context, Operation.DESCRIBE_CONFIGS, wanted.resource_type, name)
    configs = context.broker.configs
    if wanted.resource_type in configs.tables.unsupported:
        code, message = configs.tables.unsupported[wanted.resource_type]
        raise KafkaError(Code(code), message)
    match wanted.resource_type:
        case ResourceType.TOPIC:
            check_topic_name(name)
            if name not in context.broker.image.topics:
                raise KafkaError(Code.UNKNOWN_TOPIC_OR_PARTITION)
            return configs.describe_topic(name, keys)
        case ResourceType.BROKER:
            if not name:
                return configs.describe_broker_default(keys)
            _check_own_id(context, name, "expected {} or empty string, but received {}")
            return configs.describe_broker(keys)
        case ResourceType.BROKER_LOGGER:
            if not name:
                raise KafkaError(Code.INVALID_REQUEST, "Broker id must not be empty")
            _check_own_id(context, name, "expected {} but received {}")
            return _loggers(keys)
        case ResourceType.CLIENT_METRICS:
            if not name:
                raise KafkaError(Code.INVALID_REQUEST, "Client metrics subscription name must not be empty")
            return configs.describe_client_metrics(name, keys)
        case ResourceType.GROUP:
            if not name:
                raise KafkaError(Code.INVALID_REQUEST, "Group name must not be empty")
            return configs.describe_group(name, keys)
        case _:
            raise KafkaError(Code.INVALID_REQUEST, f"Unsupported resource type {wanted.resource_type}")


def _check_own_id(context: Context, name: str, wording: str) -> None:
    node_id = context.broker.node_id
    try:
        given_id = whole_number(name)
    except ValueError:
        raise KafkaError(Code.INVALID_REQUEST, f"Broker id must be an integer, but it is: {name}") from None
    if given_id != node_id:
        raise KafkaError(Code.INVALID_REQUEST, "Unexpected broker id, " + wording.format(node_id, name))


def _loggers(keys: Sequence[str] | None) -> list[Described]:
    if keys and logs.ROOT not in keys:
        return []
    level = logs.level()
    return [Described(logs.ROOT, level, False, Source.BROKER_LOGGER, False, (), None)]


def _config(described: Described, include_synonyms: bool) -> Config:
    return Config(
        name=described.name,
        value=described.value,
        read_only=described.read_only,
        config_source=described.source,
        is_sensitive=described.sensitive,
        synonyms=[
            DescribeConfigsResponse.DescribeConfigsSynonym(name=one.name, value=one.value, source=one.source)
            for one in (described.synonyms if include_synonyms else ())
        ],
        config_type=described.type.value if described.type else 0,
        documentation="" if described.source is Source.BROKER_LOGGER else None,
    )
