"""One request body per API that changes nothing: selfcheck sends them to a broker.

Responsible for: names and ids that do not exist, and one body per API, adapted to any version. Must not depend on: the
broker that receives them.

A body contains elements where possible (an unknown topic, not an empty list), so that the answer has elements to
decode. Three rules keep the requests free of effects: a write is only validated or refers to something that does not
exist; group and transaction requests come from a member or producer that does not exist; and no request names a group
or a transaction where that would create it. Only internal topics may be created: FindCoordinator version 0 can only
look up a group, and a broker creates ``__consumer_offsets`` at the first such request.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from kwire.wire.codec import request_class
from kwire.wire.message import Message
from kwire.wire.spec import Field

UNKNOWN_NAME: Final = "kwire-selfcheck-unknown"
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
_MEMBER: Final = {"group_id": UNKNOWN_NAME, "member_id": UNKNOWN_NAME, "generation_id": 1, "member_epoch": 7}
_TRANSACTION: Final = {"transactional_id": UNKNOWN_NAME, "producer_id": _NO_PRODUCER, "producer_epoch": 1}
_NO_CONFIG: Final = [{"resource_type": _TOPIC, "resource_name": _NO_TOPIC, "configs": []}]

# Fields that a version lacks are left out, also in inner structs; None becomes an empty list where a version has no
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
    # A name would create the topic before version 4 (KIP-204); null, or an empty list in version 0, means all topics.
    "Metadata": {"topics": None, "allow_auto_topic_creation": True},
    "OffsetCommit": {**_MEMBER, "generation_id_or_member_epoch": 7, "topics": _PARTITIONS},
    "OffsetFetch": {
        "group_id": UNKNOWN_NAME,
        "topics": _INDEXES,
        "groups": [{"group_id": UNKNOWN_NAME, "topics": _INDEXES}],
    },
    "FindCoordinator": {"key": UNKNOWN_NAME, "key_type": _NO_COORDINATOR_TYPE, "coordinator_keys": [UNKNOWN_NAME]},
    # A session timeout of 0 ms is invalid.
    "JoinGroup": {**_MEMBER, "session_timeout_ms": 0, "protocol_type": "consumer", "protocols": [{"name": "range"}]},
    "Heartbeat": _MEMBER,
    "LeaveGroup": {**_MEMBER, "members": [{"member_id": UNKNOWN_NAME}]},
    "SyncGroup": {**_MEMBER, "protocol_type": "consumer", "protocol_name": "range"},
    "DescribeGroups": {"groups": [UNKNOWN_NAME]},
    "ListGroups": {},
    "SaslHandshake": {"mechanism": "NONE"},
    "ApiVersions": {"client_software_name": "kwire-selfcheck", "client_software_version": "1"},
    "CreateTopics": {
        "topics": [{"name": _NO_TOPIC, "num_partitions": 1, "replication_factor": 1}],
        "validate_only": True,
    },
    "DeleteTopics": {"topics": [{"name": _NO_TOPIC}], "topic_names": [_NO_TOPIC], "timeout_ms": 1000},
    "DeleteRecords": {"topics": _PARTITIONS, "timeout_ms": 1000},
    # An empty transactional id is invalid; null would allocate a producer id.
    "InitProducerId": {"transactional_id": "", "transaction_timeout_ms": 1000},
    "OffsetForLeaderEpoch": {"replica_id": -2, "topics": _PARTITIONS},
    "AddPartitionsToTxn": {
        "transactions": [{**_TRANSACTION, "topics": _INDEXES}],
        **{f"v3_and_below_{name}": value for name, value in _TRANSACTION.items()},
        "v3_and_below_topics": _INDEXES,
    },
    "AddOffsetsToTxn": {**_TRANSACTION, "group_id": UNKNOWN_NAME},
    "EndTxn": {**_TRANSACTION, "committed": False},
    "WriteTxnMarkers": {},
    "TxnOffsetCommit": {**_TRANSACTION, **_MEMBER, "generation_id_or_member_epoch": 7, "topics": _PARTITIONS},
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
    "AlterReplicaLogDirs": {"dirs": [{"path": f"/{UNKNOWN_NAME}", "topics": _INDEXES}]},
    "DescribeLogDirs": {"topics": None},
    "SaslAuthenticate": {},
    "CreatePartitions": {"topics": [{"name": _NO_TOPIC, "count": 1}], "timeout_ms": 1000, "validate_only": True},
    # A renewer must be of type User.
    "CreateDelegationToken": {"renewers": [{"principal_type": "Unknown", "principal_name": UNKNOWN_NAME}]},
    "RenewDelegationToken": {"hmac": _NO_ID, "renew_period_ms": 1},
    "ExpireDelegationToken": {"hmac": _NO_ID, "expiry_time_period_ms": 1},
    "DescribeDelegationToken": {"owners": [{"principal_type": "User", "principal_name": UNKNOWN_NAME}]},
    "DeleteGroups": {"groups_names": [UNKNOWN_NAME]},
    "ElectLeaders": {"topic_partitions": [{"topic": _NO_TOPIC, "partitions": [0]}], "timeout_ms": 1000},
    "IncrementalAlterConfigs": {"resources": _NO_CONFIG, "validate_only": True},
    # Null replicas cancel a reassignment; this one does not exist.
    "AlterPartitionReassignments": {"topics": [{**_NAMED, "partitions": [{**_PARTITION, "replicas": None}]}]},
    "ListPartitionReassignments": {"topics": _INDEXES},
    "OffsetDelete": {"group_id": UNKNOWN_NAME, "topics": _PARTITIONS},
    "DescribeClientQuotas": {"components": [{"entity_type": "user", "match_type": 0, "match": UNKNOWN_NAME}]},
    "AlterClientQuotas": {
        "entries": [
            {
                "entity": [{"entity_type": "user", "entity_name": UNKNOWN_NAME}],
                "ops": [{"key": "producer_byte_rate", "value": 1.0}],
            }
        ],
        "validate_only": True,
    },
    "DescribeUserScramCredentials": {"users": [{"name": UNKNOWN_NAME}]},
    "AlterUserScramCredentials": {"deletions": [{"name": UNKNOWN_NAME, "mechanism": 1}]},
    "DescribeQuorum": {
        "topics": [{"topic_name": "__cluster_metadata", "partitions": [{"partition_index": 0}]}],
    },
    "UpdateFeatures": {
        "feature_updates": [{"feature": f"{UNKNOWN_NAME}.version", "max_version_level": 1}],
        "timeout_ms": 1000,
        "validate_only": True,
    },
    "DescribeCluster": {},
    "DescribeProducers": {"topics": _INDEXES},
    "UnregisterBroker": {"broker_id": _NO_BROKER},
    "DescribeTransactions": {"transactional_ids": [UNKNOWN_NAME]},
    "ListTransactions": {},
    "ConsumerGroupHeartbeat": _MEMBER,
    "ConsumerGroupDescribe": {"group_ids": [UNKNOWN_NAME]},
    "GetTelemetrySubscriptions": {"client_instance_id": _NO_ID},
    # A client instance id of zeros is invalid.
    "PushTelemetry": {},
    "ListConfigResources": {},
    "DescribeTopicPartitions": {"topics": [{"name": _NO_TOPIC}]},
    "ShareGroupHeartbeat": _MEMBER,
    "ShareGroupDescribe": {"group_ids": [UNKNOWN_NAME]},
    "ShareFetch": {**_MEMBER, "member_id": _NO_UUID_TEXT, "share_session_epoch": 7, "max_bytes": 1, "max_records": 1},
    "ShareAcknowledge": {**_MEMBER, "member_id": _NO_UUID_TEXT, "share_session_epoch": 7},
    "AddRaftVoter": {
        "cluster_id": UNKNOWN_NAME,
        "timeout_ms": 1000,
        "voter_id": _NO_BROKER,
        "voter_directory_id": _NO_ID,
    },
    "RemoveRaftVoter": {"cluster_id": UNKNOWN_NAME, "voter_id": _NO_BROKER, "voter_directory_id": _NO_ID},
    "InitializeShareGroupState": {"group_id": UNKNOWN_NAME},
    "ReadShareGroupState": {"group_id": UNKNOWN_NAME},
    "WriteShareGroupState": {"group_id": UNKNOWN_NAME},
    "DeleteShareGroupState": {"group_id": UNKNOWN_NAME},
    "ReadShareGroupStateSummary": {"group_id": UNKNOWN_NAME},
    "StreamsGroupHeartbeat": _MEMBER,
    "StreamsGroupDescribe": {"group_ids": [UNKNOWN_NAME]},
    "DescribeShareGroupOffsets": {"groups": [{"group_id": UNKNOWN_NAME, "topics": _INDEXES}]},
    "AlterShareGroupOffsets": {"group_id": UNKNOWN_NAME, "topics": _PARTITIONS},
    "StreamsGroupTopologyDescriptionUpdate": {"group_id": UNKNOWN_NAME, "member_id": UNKNOWN_NAME},
    "UnregisterController": {"controller_id": _NO_BROKER},
    "DeleteShareGroupOffsets": {"group_id": UNKNOWN_NAME, "topics": [{"topic_name": _NO_TOPIC}]},
}


def probe_request(api_key: int, version: int) -> Message | None:
    """Make a request that changes nothing; None for an API without a body in this table.

    Raises UnsupportedVersion for a key without a schema.
    """
    cls = request_class(api_key)
    values = _BODIES.get(cls.NAME.removesuffix("Request"))
    return None if values is None else cls(**_fitted(cls, cls.FIELDS, values, version))


def _fitted(cls: type[Message], fields: Sequence[Field], values: Mapping[str, Any], version: int) -> dict[str, Any]:
    """The part of ``values`` for the fields that exist at a version, as arguments of their class."""
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
