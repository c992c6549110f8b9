"""Views of a broker: its topics with sizes and counts, configs with their sources, ACLs, users.

Responsible for: each view as a value for ``json``. Must not depend on: HTTP, groups, transactions.
"""

from __future__ import annotations

from typing import Any, Final

import trio

from kwire import __version__
from kwire.broker.broker import Broker
from kwire.broker.partitions.partition import Partition
from kwire.control.internal_client import InternalClient
from kwire.control.requests.traffic import Traffic
from kwire.errors import Code, KafkaError
from kwire.kafka_release import RELEASE
from kwire.metadata.configs.effective import Source
from kwire.metadata.entities import ResourceType, ScramMechanism
from kwire.security.acl_text import acl_text
from kwire.storage.log import Log
from kwire.types import INTERNAL_TOPICS
from kwire.wire.codec import api_name
from kwire.wire.messages import DescribeConfigsRequest

CONFIG_TYPES: Final = ("broker", "topic", "group", "client-metrics")
# Logs that are read between two checkpoints of the event loop; one that is not open yet is opened.
_LOGS_PER_SLICE: Final = 20


def broker_view(broker: Broker) -> dict[str, Any]:
    """Give ids, releases, listeners and clock of a broker."""
    return {
        "cluster_id": broker.cluster_id,
        "node_id": broker.node_id,
        "version": __version__,
        "kafka": RELEASE,
        "listeners": [f"{each.name}://{each.host}:{each.port}" for each in broker.endpoints],
        "authorizer": broker.authorizer is not None,
        "now_ms": broker.clock.now_ms(),
        "rate": broker.clock.rate,
    }


async def traffic_view(broker: Broker, traffic: Traffic) -> dict[str, Any]:
    """Give sizes and counters of each topic and counters of each API; two of them make rates.

    ``monotonic_ms`` is the real time of the counters. Counters are 0 again after a reset or a restored snapshot.
    """
    topics = {name: await _topic_traffic(broker, traffic, name) for name in sorted(broker.image.topics)}
    requests = {
        api_name(key): {
            "count": counts.count,
            "errors": counts.errors.total(),
            "mean_ms": round(counts.total_ms / counts.count, 3) if counts.count else None,
        }
        for key, counts in list(traffic.apis.items())
    }
    return {"monotonic_ms": round(trio.current_time() * 1000), "topics": topics, "requests": requests}


async def _topic_traffic(broker: Broker, traffic: Traffic, name: str) -> dict[str, Any]:
    records = size_bytes = 0
    partitions = broker.partitions.of_topic(name)
    for count, one in enumerate(list(partitions.values())):
        if count % _LOGS_PER_SLICE == 0:
            await trio.lowlevel.checkpoint()
        log = None if one.deleted else one.log
        if log is not None:
            records += log.high_watermark - log.log_start_offset
            size_bytes += log.size_bytes
    return {
        "partitions": len(broker.image.topics[name].partitions) if name in broker.image.topics else 0,
        "internal": name in INTERNAL_TOPICS,
        "records": records,
        "size_bytes": size_bytes,
        "messages_in": traffic.messages_in[name],
        "bytes_in": traffic.bytes_in[name],
        "bytes_out": traffic.bytes_out[name],
    }


def topic_view(broker: Broker, name: str) -> dict[str, Any]:
    """Give a topic with its own configs and its partitions; sizes of those with a replica at this broker.

    Raises KafkaError(UNKNOWN_TOPIC_OR_PARTITION).
    """
    topic = broker.image.topics.get(name)
    if topic is None:
        raise KafkaError(Code.UNKNOWN_TOPIC_OR_PARTITION, f"there is no topic {name}")
    replicas = broker.partitions.of_topic(name)
    return {
        "name": name,
        "topic_id": topic.id.hex(),
        "internal": name in INTERNAL_TOPICS,
        "configs": dict(broker.image.config(ResourceType.TOPIC, name)),
        "partitions": [
            {
                "partition": index,
                "leader": partition.leader,
                "leader_epoch": partition.leader_epoch,
                "replicas": list(partition.replicas),
                "isr": list(partition.isr),
                **_log_view(replicas.get(index)),
            }
            for index, partition in enumerate(topic.partitions)
        ],
    }


def _log_view(partition: Partition | None) -> dict[str, Any]:
    log: Log | None = None if partition is None or partition.deleted else partition.log
    if log is None:
        return {"start": None, "end": None, "last_stable": None, "size_bytes": None, "segments": None}
    return {
        "start": log.log_start_offset,
        "end": log.high_watermark,
        "last_stable": log.last_stable_offset,
        "size_bytes": log.size_bytes,
        "segments": len(log.segments),
    }


async def configs_view(client: InternalClient, kind: str, name: str) -> list[dict[str, Any]]:
    """Give each config of a broker, topic, group or client metrics subscription, with the sources of its value.

    The name of a broker is its id, or "" for the dynamic configs of all brokers. Secrets are null. Raises KafkaError.
    """
    numbers = (ResourceType.BROKER, ResourceType.TOPIC, ResourceType.GROUP, ResourceType.CLIENT_METRICS)
    wanted = DescribeConfigsRequest.DescribeConfigsResource(
        resource_type=numbers[CONFIG_TYPES.index(kind)], resource_name=name, configuration_keys=None
    )
    request = DescribeConfigsRequest(resources=[wanted], include_synonyms=True, include_documentation=True)
    (result,) = (await client.call(request)).results
    if result.error_code:
        raise KafkaError(Code(result.error_code), result.error_message)
    return [
        {
            "name": each.name,
            "value": each.value,
            "source": _source(each.config_source),
            "read_only": each.read_only,
            "sensitive": each.is_sensitive,
            "documentation": each.documentation,
            "sources": [{"source": _source(one.source), "name": one.name, "value": one.value} for one in each.synonyms],
        }
        for each in result.configs
    ]


def _source(number: int) -> str:
    return Source(number).name.lower().replace("_", " ")


def acls_view(broker: Broker) -> list[dict[str, str]]:
    """Give each ACL, in its parts and as a sentence. They exist also where no authorizer uses them."""
    return [
        {
            "principal": acl.principal,
            "permission": acl.permission.name.lower(),
            "operation": acl.operation.name.lower(),
            "resource_type": acl.resource_type.name.lower(),
            "resource_name": acl.resource_name,
            "pattern": acl.pattern_type.name.lower(),
            "host": acl.host,
            "rule": acl_text(acl),
        }
        for acl in sorted(broker.image.acls.values())
    ]


def users_view(broker: Broker) -> list[dict[str, Any]]:
    """Give each user that has SCRAM credentials, with its mechanisms and their iterations; nothing secret."""
    users: dict[str, dict[str, int]] = {}
    for (user, mechanism), credential in broker.image.scram.items():
        users.setdefault(user, {})[ScramMechanism(mechanism).name] = credential.iterations
    return [{"user": user, "mechanisms": mechanisms} for user, mechanisms in sorted(users.items())]
