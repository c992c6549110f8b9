"""A body for each request that changes nothing: what selfcheck asks a broker with.

Owns: the names and ids that nobody has, and one body per API, fitted to any version. May not know: who is asked.

A body says something rather than nothing where it can (an unknown topic, not an empty list), so that the answer has
elements to decode. Three habits keep it harmless: what would write is only validated or refers to what is not there;
group and transaction requests are those of a member or producer that does not exist; and no request names a group or
a transaction where that would create it. Only the internal topics may come into being: FindCoordinator version 0 can
name nothing but a group, and a broker makes ``__consumer_offsets`` for the first consumer that asks, whoever it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from kwire.wire.codec import request_class
from kwire.wire.message import Message
from kwire.wire.spec import Field

NOBODY: Final = "kwire-selfcheck-nobody"
_NO_TOPIC: Final = "kwire-selfcheck-no-such-topic"
_NO_ID: Final = b"kwire-selfcheck!"
_NO_UUID_TEXT: Final = "a3dpcmUtc2VsZmNoZWNrIQ"  # the same 16 bytes, as Kafka writes them
_NO_BROKER: Final = 2_147_483_646
_NO_PRODUCER: Final = 9_223_372_036_854_775_806
_NO_COORDINATOR_TYPE: Final = 9
_TOPIC, _ANY = 2, 1

_PARTITION: Final = {"partition": 0, "partition_index": 0}
_NAMED: Final = {"name": _NO_TOPIC, "topic": _NO_TOPIC, "topic_name": _NO_TOPIC, "topic_id": _NO_ID}
_INDEXES: Final = [{**_NAMED, "partition_indexes": [0], "partitions": [0]}]
_PARTITIONS: Final = [{**_NAMED, "partitions": [_PARTITION]}]
_MEMBER: Final = {"group_id": NOBODY, "member_id": NOBODY, "generation_id": 1, "member_epoch": 7}
_TRANSACTION: Final = {"transactional_id": NOBODY, "producer_id": _NO_PRODUCER, "producer_epoch": 1}
_NO_CONFIG: Final = [{"resource_type": _TOPIC, "resource_name": _NO_TOPIC, "configs": []}]

# Fields that a version lacks are left out, here and further down; None stands for an empty list where a version has no
# null.
_BODIES: Final[Mapping[str, Mapping[str, Any]]] = {
    "Produce": {"acks": 1, "timeout_ms": 1000},
    "Fetch": {
        "replica_id": -1,
        "min_bytes": 0,
        "max_wait_ms": 0,
        "topics": [{**_NAMED, "partitions": [{"partition": 0, "partition_max_bytes": 1}]}],
    },
    "ListOffsets": {"replica_id": -1, "topics": [{**_NAMED, "partitions": [{**_PARTITION, "timestamp": -1}]}]},
    # A name would create a topic before version 4 could say otherwise; null, or an empty list in version 0, means all.
    "Metadata": {"topics": None, "allow_auto_topic_creation": True},
    "OffsetCommit": {**_MEMBER, "generation_id_or_member_epoch": 7, "topics": _PARTITIONS},
    "OffsetFetch": {
        "group_id": NOBODY,
        "topics": _INDEXES,
        "groups": [{"group_id": NOBODY, "topics": _INDEXES}],
    },
    "FindCoordinator": {"key": NOBODY, "key_type": _NO_COORDINATOR_TYPE, "coordinator_keys": [NOBODY]},
    # No session lasts 0 ms.
    "JoinGroup": {**_MEMBER, "session_timeout_ms": 0, "protocol_type": "consumer", "protocols": [{"name": "range"}]},
    "Heartbeat": _MEMBER,
    "LeaveGroup": {**_MEMBER, "members": [{"member_id": NOBODY}]},
    "SyncGroup": {**_MEMBER, "protocol_type": "consumer", "protocol_name": "range"},
    "DescribeGroups": {"groups": [NOBODY]},
    "ListGroups": {},
    "SaslHandshake": {"mechanism": "NONE"},
    "ApiVersions": {"client_software_name": "kwire-selfcheck", "client_software_version": "1"},
    "CreateTopics": {
        "topics": [{"name": _NO_TOPIC, "num_partitions": 1, "replication_factor": 1}],
        "validate_only": True,
    },
    "DeleteTopics": {"topics": [{"name": _NO_TOPIC}], "topic_names": [_NO_TOPIC], "timeout_ms": 1000},
    "DeleteRecords": {"topics": _PARTITIONS, "timeout_ms": 1000},
    # No transactional id is empty; null would use up a producer id.
    "InitProducerId": {"transactional_id": "", "transaction_timeout_ms": 1000},
    "OffsetForLeaderEpoch": {"replica_id": -2, "topics": _PARTITIONS},
    "AddPartitionsToTxn": {
        "transactions": [{**_TRANSACTION, "topics": _INDEXES}],
        **{f"v3_and_below_{name}": value for name, value in _TRANSACTION.items()},
        "v3_and_below_topics": _INDEXES,
    },
    "AddOffsetsToTxn": {**_TRANSACTION, "group_id": NOBODY},
    "EndTxn": {**_TRANSACTION, "committed": False},
    "WriteTxnMarkers": {},
    "TxnOffsetCommit": {**_TRANSACTION, **_MEMBER, "topics": _PARTITIONS},
    "DescribeAcls": {
        "resource_type_filter": _ANY,
        "pattern_type_filter": _ANY,
        "operation": _ANY,
        "permission_type": 1,
    },
    "CreateAcls": {},
    "DeleteAcls": {},
    "DescribeConfigs": {"resources": [{"resource_type": _TOPIC, "resource_name": _NO_TOPIC}]},
    "AlterConfigs": {"resources": _NO_CONFIG, "validate_only": True},
    "AlterReplicaLogDirs": {"dirs": [{"path": f"/{NOBODY}", "topics": _INDEXES}]},
    "DescribeLogDirs": {"topics": None},
    "SaslAuthenticate": {},
    "CreatePartitions": {"topics": [{"name": _NO_TOPIC, "count": 1}], "timeout_ms": 1000, "validate_only": True},
    # Only users may renew a token.
    "CreateDelegationToken": {"renewers": [{"principal_type": "Nobody", "principal_name": NOBODY}]},
    "RenewDelegationToken": {"hmac": _NO_ID, "renew_period_ms": 1},
    "ExpireDelegationToken": {"hmac": _NO_ID, "expiry_time_period_ms": 1},
    "DescribeDelegationToken": {"owners": [{"principal_type": "User", "principal_name": NOBODY}]},
    "DeleteGroups": {"groups_names": [NOBODY]},
    "ElectLeaders": {"topic_partitions": [{"topic": _NO_TOPIC, "partitions": [0]}], "timeout_ms": 1000},
    "IncrementalAlterConfigs": {"resources": _NO_CONFIG, "validate_only": True},
    # Null replicas cancel a move that nobody makes.
    "AlterPartitionReassignments": {"topics": [{**_NAMED, "partitions": [{**_PARTITION, "replicas": None}]}]},
    "ListPartitionReassignments": {"topics": _INDEXES},
    "OffsetDelete": {"group_id": NOBODY, "topics": _PARTITIONS},
    "DescribeClientQuotas": {"components": [{"entity_type": "user", "match_type": 0, "match": NOBODY}]},
    "AlterClientQuotas": {
        "entries": [
            {
                "entity": [{"entity_type": "user", "entity_name": NOBODY}],
                "ops": [{"key": "producer_byte_rate", "value": 1.0}],
            }
        ],
        "validate_only": True,
    },
    "DescribeUserScramCredentials": {"users": [{"name": NOBODY}]},
    "AlterUserScramCredentials": {"deletions": [{"name": NOBODY, "mechanism": 1}]},
    "DescribeQuorum": {
        "topics": [{"topic_name": "__cluster_metadata", "partitions": [{"partition_index": 0}]}],
    },
    "UpdateFeatures": {
        "feature_updates": [{"feature": f"{NOBODY}.version", "max_version_level": 1}],
        "timeout_ms": 1000,
        "validate_only": True,
    },
    "DescribeCluster": {},
    "DescribeProducers": {"topics": _INDEXES},
    "UnregisterBroker": {"broker_id": _NO_BROKER},
    "DescribeTransactions": {"transactional_ids": [NOBODY]},
    "ListTransactions": {},
    "ConsumerGroupHeartbeat": _MEMBER,
    "ConsumerGroupDescribe": {"group_ids": [NOBODY]},
    "GetTelemetrySubscriptions": {"client_instance_id": _NO_ID},
    # A client instance id of zeros is nobody's.
    "PushTelemetry": {},
    "ListConfigResources": {},
    "DescribeTopicPartitions": {"topics": [{"name": _NO_TOPIC}]},
    "ShareGroupHeartbeat": _MEMBER,
    "ShareGroupDescribe": {"group_ids": [NOBODY]},
    "ShareFetch": {**_MEMBER, "member_id": _NO_UUID_TEXT, "share_session_epoch": 7, "max_bytes": 1, "max_records": 1},
    "ShareAcknowledge": {**_MEMBER, "member_id": _NO_UUID_TEXT, "share_session_epoch": 7},
    "AddRaftVoter": {"cluster_id": NOBODY, "timeout_ms": 1000, "voter_id": _NO_BROKER, "voter_directory_id": _NO_ID},
    "RemoveRaftVoter": {"cluster_id": NOBODY, "voter_id": _NO_BROKER, "voter_directory_id": _NO_ID},
    "InitializeShareGroupState": {"group_id": NOBODY},
    "ReadShareGroupState": {"group_id": NOBODY},
    "WriteShareGroupState": {"group_id": NOBODY},
    "DeleteShareGroupState": {"group_id": NOBODY},
    "ReadShareGroupStateSummary": {"group_id": NOBODY},
    "StreamsGroupHeartbeat": _MEMBER,
    "StreamsGroupDescribe": {"group_ids": [NOBODY]},
    "DescribeShareGroupOffsets": {"groups": [{"group_id": NOBODY, "topics": _INDEXES}]},
    "AlterShareGroupOffsets": {"group_id": NOBODY, "topics": _PARTITIONS},
    "DeleteShareGroupOffsets": {"group_id": NOBODY, "topics": [{"topic_name": _NO_TOPIC}]},
}


def probe_request(api_key: int, version: int) -> Message | None:
    """Make a request that changes nothing; None for an API that has no such body here.

    Raises UnsupportedVersion for a key without a schema.
    """
    cls = request_class(api_key)
    values = _BODIES.get(cls.NAME.removesuffix("Request"))
    return None if values is None else cls(**_fitted(cls, cls.FIELDS, values, version))


def _fitted(cls: type[Message], fields: Sequence[Field], values: Mapping[str, Any], version: int) -> dict[str, Any]:
    """What of ``values`` these fields have at a version, as arguments of their class."""
    return {
        field.name: _value(cls, field, values[field.name], version)
        for field in fields
        if field.name in values and version in field.versions
    }


def _value(cls: type[Message], field: Field, value: Any, version: int) -> Any:
    if field.type != "array":
        return value
    if value is None:
        return None if version in field.nullable else []
    if field.struct is None:
        return list(value)
    element = getattr(cls, field.struct.name)
    return [element(**_fitted(cls, field.struct.fields, each, version)) for each in value]
