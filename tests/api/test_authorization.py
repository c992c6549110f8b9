"""What each API asks the authorizer, and what it answers a client that is denied, as Apache Kafka does.

The probe of each API asks something, or has a reason in ``ASKS_NOTHING``. ``ASKS`` has what each asks exactly.
"""

import pytest
from peer import Peer

from kwire.api import ROWS
from kwire.cli.diagnosis.probe_requests import probe_request
from kwire.errors import Code, KafkaError
from kwire.security.authorizer import denied
from kwire.security.operations import Operation, ResourceType
from kwire.wire import messages
from kwire.wire.batches.records import Record, build_batch

TOPIC = "t"
GROUP = "g"
TXN = "x"
MEMBER = "AAAAAAAAAAAAAAAAAAAAAQ"
Op, Res = Operation, ResourceType
CLUSTER = "kafka-cluster"

ASKS_NOTHING = {
    "ApiVersions": "sent before a client is authenticated",
    "SaslHandshake": "sent before a client is authenticated",
    "SaslAuthenticate": "authenticates the client",
    "CreateDelegationToken": "refused where no client logs in; see test_delegation_tokens",
    "RenewDelegationToken": "refused where no client logs in; see test_delegation_tokens",
    "ExpireDelegationToken": "refused where no client logs in; see test_delegation_tokens",
    "DescribeDelegationToken": "refused where no client logs in; see test_delegation_tokens",
    "GetTelemetrySubscriptions": "every client may push its metrics, as in Apache Kafka",
    "PushTelemetry": "every client may push its metrics, as in Apache Kafka",
}

# The rows of these in ASKS say what they ask.
_STATES = "states of share partitions are asked for one by one, and the probe has none"
PROBE_ASKS_NOTHING = {
    "ListTransactions": "transactions are asked for one by one, and there is none",
    "InitializeShareGroupState": _STATES,
    "ReadShareGroupState": _STATES,
    "WriteShareGroupState": _STATES,
    "DeleteShareGroupState": _STATES,
    "ReadShareGroupStateSummary": _STATES,
}


class Deciding:
    """An authorizer that denies what a test names, and notes what it is asked."""

    epoch = 0

    def __init__(self, deny=()):
        self.deny = deny
        self.asked = set()

    def allows(self, principal, host, operation, kind, name):
        assert (str(principal), host) == ("User:ANONYMOUS", "test")
        self.asked.add((operation, kind, name))
        return self.deny != "all" and (operation, kind, name) not in self.deny

    def allows_any(self, principal, host, operation, kind):
        del principal, host
        self.asked.add((operation, kind, None))
        return self.deny != "all" and (operation, kind, None) not in self.deny

    def why(self, *question):
        del question
        return "the test"


def make(name, /, **fields):
    return getattr(messages, f"{name}Request")(**fields)


def part(name, struct, /, **fields):
    return getattr(getattr(messages, f"{name}Request"), struct)(**fields)


def batch(**more):
    return build_batch([Record(0, 0, b"k", b"v", ())], **more)


def produce(transactional_id=None, **more):
    data = part(
        "Produce",
        "TopicProduceData",
        name=TOPIC,
        partition_data=[part("Produce", "PartitionProduceData", index=0, records=batch(**more))],
    )
    return make("Produce", transactional_id=transactional_id, acks=-1, timeout_ms=1000, topic_data=[data])


TRANSACTIONAL = {"transactional": True, "producer_id": 1, "producer_epoch": 0, "base_sequence": 0}

# With these settings a broker serves every API.
ALL_SERVED = {"kwire.client.metrics.sink": "log"}

# name, version, request -> what is asked, codes of a client to which all is denied
ASKS = [
    (12, produce(), {(Op.WRITE, Res.TOPIC, TOPIC)}, {"TOPIC_AUTHORIZATION_FAILED"}),
    (
        12,
        produce(TXN, **TRANSACTIONAL),
        {(Op.WRITE, Res.TOPIC, TOPIC), (Op.WRITE, Res.TRANSACTIONAL_ID, TXN)},
        {"TRANSACTIONAL_ID_AUTHORIZATION_FAILED"},
    ),
    (
        12,
        make(
            "Fetch",
            max_bytes=1000,
            topics=[
                part(
                    "Fetch",
                    "FetchTopic",
                    topic=TOPIC,
                    partitions=[part("Fetch", "FetchPartition", partition=0, partition_max_bytes=1000)],
                )
            ],
        ),
        {(Op.READ, Res.TOPIC, TOPIC)},
        {"NONE", "TOPIC_AUTHORIZATION_FAILED"},
    ),
    (
        7,
        make(
            "ListOffsets",
            replica_id=-1,
            topics=[
                part(
                    "ListOffsets",
                    "ListOffsetsTopic",
                    name=TOPIC,
                    partitions=[part("ListOffsets", "ListOffsetsPartition", partition_index=0, timestamp=-1)],
                )
            ],
        ),
        {(Op.DESCRIBE, Res.TOPIC, TOPIC)},
        {"TOPIC_AUTHORIZATION_FAILED"},
    ),
    (
        9,
        make("Metadata", topics=[part("Metadata", "MetadataRequestTopic", name=TOPIC)], allow_auto_topic_creation=True),
        {(Op.DESCRIBE, Res.TOPIC, TOPIC)},
        {"TOPIC_AUTHORIZATION_FAILED"},
    ),
    (
        9,
        make("Metadata", topics=[part("Metadata", "MetadataRequestTopic", name="new")], allow_auto_topic_creation=True),
        {(Op.DESCRIBE, Res.TOPIC, "new"), (Op.CREATE, Res.CLUSTER, CLUSTER)},
        {"TOPIC_AUTHORIZATION_FAILED"},
    ),
    (
        8,
        make(
            "OffsetCommit",
            group_id=GROUP,
            topics=[
                part(
                    "OffsetCommit",
                    "OffsetCommitRequestTopic",
                    name=TOPIC,
                    partitions=[
                        part(
                            "OffsetCommit",
                            "OffsetCommitRequestPartition",
                            partition_index=0,
                            committed_offset=1,
                            committed_metadata="",
                        )
                    ],
                )
            ],
        ),
        {(Op.READ, Res.GROUP, GROUP), (Op.READ, Res.TOPIC, TOPIC)},
        {"GROUP_AUTHORIZATION_FAILED"},
    ),
    (
        8,
        make(
            "OffsetFetch",
            groups=[
                part(
                    "OffsetFetch",
                    "OffsetFetchRequestGroup",
                    group_id=GROUP,
                    topics=[part("OffsetFetch", "OffsetFetchRequestTopics", name=TOPIC, partition_indexes=[0])],
                )
            ],
        ),
        {(Op.DESCRIBE, Res.GROUP, GROUP), (Op.DESCRIBE, Res.TOPIC, TOPIC)},
        {"GROUP_AUTHORIZATION_FAILED"},
    ),
    (
        4,
        make("FindCoordinator", key_type=0, coordinator_keys=[GROUP]),
        {(Op.DESCRIBE, Res.GROUP, GROUP)},
        {"GROUP_AUTHORIZATION_FAILED"},
    ),
    (
        4,
        make("FindCoordinator", key_type=1, coordinator_keys=[TXN]),
        {(Op.DESCRIBE, Res.TRANSACTIONAL_ID, TXN)},
        {"TRANSACTIONAL_ID_AUTHORIZATION_FAILED"},
    ),
    (
        5,
        make(
            "JoinGroup",
            group_id=GROUP,
            session_timeout_ms=10_000,
            rebalance_timeout_ms=10_000,
            protocol_type="consumer",
            protocols=[part("JoinGroup", "JoinGroupRequestProtocol", name="range", metadata=b"")],
        ),
        {(Op.READ, Res.GROUP, GROUP)},
        {"GROUP_AUTHORIZATION_FAILED"},
    ),
    (
        4,
        make("Heartbeat", group_id=GROUP, generation_id=1, member_id="m"),
        {(Op.READ, Res.GROUP, GROUP)},
        {"GROUP_AUTHORIZATION_FAILED"},
    ),
    (
        4,
        make("LeaveGroup", group_id=GROUP, members=[part("LeaveGroup", "MemberIdentity", member_id="m")]),
        {(Op.READ, Res.GROUP, GROUP)},
        {"GROUP_AUTHORIZATION_FAILED"},
    ),
    (
        3,
        make("SyncGroup", group_id=GROUP, generation_id=1, member_id="m"),
        {(Op.READ, Res.GROUP, GROUP)},
        {"GROUP_AUTHORIZATION_FAILED"},
    ),
    (5, make("DescribeGroups", groups=[GROUP]), {(Op.DESCRIBE, Res.GROUP, GROUP)}, {"GROUP_AUTHORIZATION_FAILED"}),
    (
        1,
        make(
            "ConsumerGroupHeartbeat",
            group_id=GROUP,
            member_id="m",
            rebalance_timeout_ms=1000,
            subscribed_topic_names=[TOPIC],
            topic_partitions=[],
        ),
        {(Op.READ, Res.GROUP, GROUP), (Op.DESCRIBE, Res.TOPIC, TOPIC)},
        {"GROUP_AUTHORIZATION_FAILED"},
    ),
    (
        1,
        make("ConsumerGroupDescribe", group_ids=[GROUP]),
        {(Op.DESCRIBE, Res.GROUP, GROUP)},
        {"GROUP_AUTHORIZATION_FAILED"},
    ),
    (4, make("ListGroups"), {(Op.DESCRIBE, Res.CLUSTER, CLUSTER)}, {"NONE"}),
    (
        7,
        make(
            "CreateTopics",
            timeout_ms=1000,
            topics=[part("CreateTopics", "CreatableTopic", name="new", num_partitions=1, replication_factor=1)],
        ),
        {(Op.CREATE, Res.CLUSTER, CLUSTER), (Op.DESCRIBE_CONFIGS, Res.TOPIC, "new")},
        {"TOPIC_AUTHORIZATION_FAILED", "NONE"},
    ),
    (
        6,
        make("DeleteTopics", timeout_ms=1000, topics=[part("DeleteTopics", "DeleteTopicState", name="gone")]),
        {(Op.DELETE, Res.CLUSTER, CLUSTER)},
        {"TOPIC_AUTHORIZATION_FAILED"},
    ),
    (
        6,
        make("DeleteTopics", timeout_ms=1000, topics=[part("DeleteTopics", "DeleteTopicState", name=TOPIC)]),
        {(Op.DELETE, Res.CLUSTER, CLUSTER)},
        {"TOPIC_AUTHORIZATION_FAILED"},
    ),
    (
        2,
        make(
            "DeleteRecords",
            timeout_ms=1000,
            topics=[
                part(
                    "DeleteRecords",
                    "DeleteRecordsTopic",
                    name=TOPIC,
                    partitions=[part("DeleteRecords", "DeleteRecordsPartition", partition_index=0, offset=0)],
                )
            ],
        ),
        {(Op.DELETE, Res.TOPIC, TOPIC)},
        {"TOPIC_AUTHORIZATION_FAILED"},
    ),
    (
        4,
        make("InitProducerId", transactional_id=None, transaction_timeout_ms=1000),
        {(Op.IDEMPOTENT_WRITE, Res.CLUSTER, CLUSTER)},
        {"CLUSTER_AUTHORIZATION_FAILED"},
    ),
    (
        4,
        make("InitProducerId", transactional_id=TXN, transaction_timeout_ms=1000),
        {(Op.WRITE, Res.TRANSACTIONAL_ID, TXN)},
        {"TRANSACTIONAL_ID_AUTHORIZATION_FAILED"},
    ),
    (
        4,
        make(
            "OffsetForLeaderEpoch",
            topics=[
                part(
                    "OffsetForLeaderEpoch",
                    "OffsetForLeaderTopic",
                    topic=TOPIC,
                    partitions=[part("OffsetForLeaderEpoch", "OffsetForLeaderPartition", partition=0, leader_epoch=0)],
                )
            ],
        ),
        {(Op.CLUSTER_ACTION, Res.CLUSTER, CLUSTER)},
        {"TOPIC_AUTHORIZATION_FAILED"},
    ),
    (
        3,
        make(
            "AddPartitionsToTxn",
            v3_and_below_transactional_id=TXN,
            v3_and_below_topics=[part("AddPartitionsToTxn", "AddPartitionsToTxnTopic", name=TOPIC, partitions=[0])],
        ),
        {(Op.WRITE, Res.TRANSACTIONAL_ID, TXN), (Op.WRITE, Res.TOPIC, TOPIC)},
        {"TRANSACTIONAL_ID_AUTHORIZATION_FAILED"},
    ),
    (
        4,
        make("AddPartitionsToTxn", transactions=[]),
        {(Op.CLUSTER_ACTION, Res.CLUSTER, CLUSTER)},
        {"CLUSTER_AUTHORIZATION_FAILED"},
    ),
    (
        3,
        make("AddOffsetsToTxn", transactional_id=TXN, group_id=GROUP),
        {(Op.WRITE, Res.TRANSACTIONAL_ID, TXN), (Op.READ, Res.GROUP, GROUP)},
        {"TRANSACTIONAL_ID_AUTHORIZATION_FAILED"},
    ),
    (
        3,
        make("EndTxn", transactional_id=TXN),
        {(Op.WRITE, Res.TRANSACTIONAL_ID, TXN)},
        {"TRANSACTIONAL_ID_AUTHORIZATION_FAILED"},
    ),
    (
        1,
        make(
            "WriteTxnMarkers",
            markers=[
                part(
                    "WriteTxnMarkers",
                    "WritableTxnMarker",
                    producer_id=1,
                    topics=[part("WriteTxnMarkers", "WritableTxnMarkerTopic", name=TOPIC, partition_indexes=[0])],
                )
            ],
        ),
        {(Op.ALTER, Res.CLUSTER, CLUSTER)},
        {"CLUSTER_AUTHORIZATION_FAILED"},
    ),
    (
        3,
        make(
            "TxnOffsetCommit",
            transactional_id=TXN,
            group_id=GROUP,
            topics=[
                part(
                    "TxnOffsetCommit",
                    "TxnOffsetCommitRequestTopic",
                    name=TOPIC,
                    partitions=[
                        part(
                            "TxnOffsetCommit",
                            "TxnOffsetCommitRequestPartition",
                            partition_index=0,
                            committed_metadata="",
                        )
                    ],
                )
            ],
        ),
        {(Op.WRITE, Res.TRANSACTIONAL_ID, TXN), (Op.READ, Res.GROUP, GROUP), (Op.READ, Res.TOPIC, TOPIC)},
        {"TRANSACTIONAL_ID_AUTHORIZATION_FAILED"},
    ),
    (
        2,
        make("DescribeAcls", resource_type_filter=1, pattern_type_filter=1, operation=1, permission_type=1),
        {(Op.DESCRIBE, Res.CLUSTER, CLUSTER)},
        {"CLUSTER_AUTHORIZATION_FAILED"},
    ),
    (
        2,
        make(
            "CreateAcls",
            creations=[
                part(
                    "CreateAcls",
                    "AclCreation",
                    resource_type=2,
                    resource_name=TOPIC,
                    resource_pattern_type=3,
                    principal="User:a",
                    host="*",
                    operation=3,
                    permission_type=3,
                )
            ],
        ),
        {(Op.ALTER, Res.CLUSTER, CLUSTER)},
        {"CLUSTER_AUTHORIZATION_FAILED"},
    ),
    (
        2,
        make(
            "DeleteAcls",
            filters=[
                part(
                    "DeleteAcls",
                    "DeleteAclsFilter",
                    resource_type_filter=1,
                    pattern_type_filter=1,
                    operation=1,
                    permission_type=1,
                )
            ],
        ),
        {(Op.ALTER, Res.CLUSTER, CLUSTER)},
        {"CLUSTER_AUTHORIZATION_FAILED"},
    ),
    *(
        (
            4,
            make(
                "DescribeConfigs",
                resources=[part("DescribeConfigs", "DescribeConfigsResource", resource_type=kind, resource_name=name)],
            ),
            {(Op.DESCRIBE_CONFIGS, *resource)},
            {code},
        )
        for kind, name, resource, code in (
            (2, TOPIC, (Res.TOPIC, TOPIC), "TOPIC_AUTHORIZATION_FAILED"),
            (4, "1", (Res.CLUSTER, CLUSTER), "CLUSTER_AUTHORIZATION_FAILED"),
            (8, "1", (Res.CLUSTER, CLUSTER), "CLUSTER_AUTHORIZATION_FAILED"),
            (16, "m", (Res.CLUSTER, CLUSTER), "CLUSTER_AUTHORIZATION_FAILED"),
            (32, GROUP, (Res.GROUP, GROUP), "GROUP_AUTHORIZATION_FAILED"),
        )
    ),
    *(
        (
            1,
            make(name, resources=[part(name, "AlterConfigsResource", resource_type=kind, resource_name=resource[1])]),
            {(Op.ALTER_CONFIGS, *resource)},
            {code},
        )
        for name in ("AlterConfigs", "IncrementalAlterConfigs")
        for kind, resource, code in (
            (2, (Res.TOPIC, TOPIC), "TOPIC_AUTHORIZATION_FAILED"),
            (4, (Res.CLUSTER, CLUSTER), "CLUSTER_AUTHORIZATION_FAILED"),
            (32, (Res.GROUP, GROUP), "GROUP_AUTHORIZATION_FAILED"),
        )
    ),
    (
        2,
        make(
            "AlterReplicaLogDirs",
            dirs=[
                part(
                    "AlterReplicaLogDirs",
                    "AlterReplicaLogDir",
                    path="/nowhere",
                    topics=[part("AlterReplicaLogDirs", "AlterReplicaLogDirTopic", name=TOPIC, partitions=[0])],
                )
            ],
        ),
        {(Op.ALTER, Res.CLUSTER, CLUSTER)},
        {"CLUSTER_AUTHORIZATION_FAILED"},
    ),
    (3, make("DescribeLogDirs"), {(Op.DESCRIBE, Res.CLUSTER, CLUSTER)}, {"CLUSTER_AUTHORIZATION_FAILED"}),
    (1, make("DescribeLogDirs"), {(Op.DESCRIBE, Res.CLUSTER, CLUSTER)}, set()),
    (
        3,
        make(
            "CreatePartitions",
            timeout_ms=1000,
            topics=[part("CreatePartitions", "CreatePartitionsTopic", name=TOPIC, count=2)],
        ),
        {(Op.ALTER, Res.TOPIC, TOPIC)},
        {"TOPIC_AUTHORIZATION_FAILED"},
    ),
    (2, make("DeleteGroups", groups_names=[GROUP]), {(Op.DELETE, Res.GROUP, GROUP)}, {"GROUP_AUTHORIZATION_FAILED"}),
    (
        2,
        make(
            "ElectLeaders",
            timeout_ms=1000,
            topic_partitions=[part("ElectLeaders", "TopicPartitions", topic=TOPIC, partitions=[0])],
        ),
        {(Op.ALTER, Res.CLUSTER, CLUSTER)},
        {"CLUSTER_AUTHORIZATION_FAILED"},
    ),
    (
        0,
        make(
            "AlterPartitionReassignments",
            topics=[
                part(
                    "AlterPartitionReassignments",
                    "ReassignableTopic",
                    name=TOPIC,
                    partitions=[
                        part("AlterPartitionReassignments", "ReassignablePartition", partition_index=0, replicas=[1])
                    ],
                )
            ],
        ),
        {(Op.ALTER, Res.CLUSTER, CLUSTER)},
        {"CLUSTER_AUTHORIZATION_FAILED"},
    ),
    (0, make("ListPartitionReassignments"), {(Op.DESCRIBE, Res.CLUSTER, CLUSTER)}, {"CLUSTER_AUTHORIZATION_FAILED"}),
    (
        0,
        make(
            "OffsetDelete",
            group_id=GROUP,
            topics=[
                part(
                    "OffsetDelete",
                    "OffsetDeleteRequestTopic",
                    name=TOPIC,
                    partitions=[part("OffsetDelete", "OffsetDeleteRequestPartition", partition_index=0)],
                )
            ],
        ),
        {(Op.DELETE, Res.GROUP, GROUP), (Op.READ, Res.TOPIC, TOPIC)},
        {"GROUP_AUTHORIZATION_FAILED"},
    ),
    (1, make("DescribeClientQuotas"), {(Op.DESCRIBE_CONFIGS, Res.CLUSTER, CLUSTER)}, {"CLUSTER_AUTHORIZATION_FAILED"}),
    (
        1,
        make(
            "AlterClientQuotas",
            entries=[
                part(
                    "AlterClientQuotas",
                    "EntryData",
                    entity=[part("AlterClientQuotas", "EntityData", entity_type="user", entity_name="a")],
                )
            ],
        ),
        {(Op.ALTER_CONFIGS, Res.CLUSTER, CLUSTER)},
        {"CLUSTER_AUTHORIZATION_FAILED"},
    ),
    (0, make("DescribeUserScramCredentials"), {(Op.DESCRIBE, Res.CLUSTER, CLUSTER)}, {"CLUSTER_AUTHORIZATION_FAILED"}),
    (
        0,
        make(
            "AlterUserScramCredentials",
            deletions=[part("AlterUserScramCredentials", "ScramCredentialDeletion", name="a", mechanism=1)],
        ),
        {(Op.ALTER, Res.CLUSTER, CLUSTER)},
        {"CLUSTER_AUTHORIZATION_FAILED"},
    ),
    (2, make("DescribeQuorum"), {(Op.DESCRIBE, Res.CLUSTER, CLUSTER)}, {"CLUSTER_AUTHORIZATION_FAILED"}),
    (1, make("UpdateFeatures"), {(Op.ALTER, Res.CLUSTER, CLUSTER)}, {"CLUSTER_AUTHORIZATION_FAILED"}),
    (
        1,
        make("DescribeCluster", include_cluster_authorized_operations=True),
        {(Op.DESCRIBE, Res.CLUSTER, CLUSTER)}
        | {
            (operation, Res.CLUSTER, CLUSTER)
            for operation in (
                Op.CREATE,
                Op.ALTER,
                Op.CLUSTER_ACTION,
                Op.DESCRIBE_CONFIGS,
                Op.ALTER_CONFIGS,
                Op.IDEMPOTENT_WRITE,
            )
        },
        {"NONE"},
    ),
    (
        0,
        make(
            "DescribeProducers",
            topics=[part("DescribeProducers", "TopicRequest", name=TOPIC, partition_indexes=[0])],
        ),
        {(Op.READ, Res.TOPIC, TOPIC)},
        {"TOPIC_AUTHORIZATION_FAILED"},
    ),
    (
        0,
        make("UnregisterController", controller_id=7),
        {(Op.ALTER, Res.CLUSTER, CLUSTER)},
        {"CLUSTER_AUTHORIZATION_FAILED"},
    ),
    (0, make("UnregisterBroker", broker_id=7), {(Op.ALTER, Res.CLUSTER, CLUSTER)}, {"CLUSTER_AUTHORIZATION_FAILED"}),
    (
        0,
        make("DescribeTransactions", transactional_ids=[TXN]),
        {(Op.DESCRIBE, Res.TRANSACTIONAL_ID, TXN)},
        {"TRANSACTIONAL_ID_AUTHORIZATION_FAILED"},
    ),
    (1, make("ListTransactions"), set(), {"NONE"}),
    (1, make("ListConfigResources"), {(Op.DESCRIBE_CONFIGS, Res.CLUSTER, CLUSTER)}, {"CLUSTER_AUTHORIZATION_FAILED"}),
    (
        0,
        make("DescribeTopicPartitions", topics=[part("DescribeTopicPartitions", "TopicRequest", name=TOPIC)]),
        {(Op.DESCRIBE, Res.TOPIC, TOPIC)}
        | {
            (operation, Res.TOPIC, TOPIC)
            for operation in (
                Op.READ,
                Op.WRITE,
                Op.CREATE,
                Op.DELETE,
                Op.ALTER,
                Op.DESCRIBE_CONFIGS,
                Op.ALTER_CONFIGS,
            )
        },
        {"TOPIC_AUTHORIZATION_FAILED"},
    ),
    (0, make("AddRaftVoter", voter_id=2), {(Op.ALTER, Res.CLUSTER, CLUSTER)}, {"CLUSTER_AUTHORIZATION_FAILED"}),
    (0, make("RemoveRaftVoter", voter_id=2), {(Op.ALTER, Res.CLUSTER, CLUSTER)}, {"CLUSTER_AUTHORIZATION_FAILED"}),
    (
        1,
        make("ShareGroupHeartbeat", group_id=GROUP, member_id=MEMBER, subscribed_topic_names=[TOPIC]),
        {(Op.READ, Res.GROUP, GROUP), (Op.DESCRIBE, Res.TOPIC, TOPIC)},
        {"GROUP_AUTHORIZATION_FAILED"},
    ),
    (
        1,
        make("ShareGroupDescribe", group_ids=[GROUP]),
        {(Op.DESCRIBE, Res.GROUP, GROUP)},
        {"GROUP_AUTHORIZATION_FAILED"},
    ),
    (
        1,
        make(
            "StreamsGroupHeartbeat",
            group_id=GROUP,
            member_id=MEMBER,
            topology=part(
                "StreamsGroupHeartbeat",
                "Topology",
                subtopologies=[part("StreamsGroupHeartbeat", "Subtopology", subtopology_id="0", source_topics=[TOPIC])],
            ),
            active_tasks=[],
            standby_tasks=[],
            warmup_tasks=[],
            rebalance_timeout_ms=1000,
        ),
        {(Op.READ, Res.GROUP, GROUP), (Op.DESCRIBE, Res.TOPIC, TOPIC)},
        {"GROUP_AUTHORIZATION_FAILED"},
    ),
    (
        1,
        make("StreamsGroupDescribe", group_ids=[GROUP]),
        {(Op.DESCRIBE, Res.GROUP, GROUP)},
        {"GROUP_AUTHORIZATION_FAILED"},
    ),
    (
        0,
        make("StreamsGroupTopologyDescriptionUpdate", group_id=GROUP, member_id=MEMBER),
        {(Op.READ, Res.GROUP, GROUP)},
        {"GROUP_AUTHORIZATION_FAILED"},
    ),
    (
        1,
        make("ShareFetch", group_id=GROUP, member_id=MEMBER, max_bytes=1),
        {(Op.READ, Res.GROUP, GROUP)},
        {"GROUP_AUTHORIZATION_FAILED"},
    ),
    (
        1,
        make("ShareAcknowledge", group_id=GROUP, member_id=MEMBER, share_session_epoch=1),
        {(Op.READ, Res.GROUP, GROUP)},
        {"GROUP_AUTHORIZATION_FAILED"},
    ),
    *(
        (
            0,
            make(
                name,
                group_id=GROUP,
                topics=[part(name, struct, topic_id=b"i" * 16, partitions=[part(name, "PartitionData")])],
            ),
            {(Op.CLUSTER_ACTION, Res.CLUSTER, CLUSTER)},
            {"CLUSTER_AUTHORIZATION_FAILED"},
        )
        for name, struct in (
            ("InitializeShareGroupState", "InitializeStateData"),
            ("ReadShareGroupState", "ReadStateData"),
            ("WriteShareGroupState", "WriteStateData"),
            ("DeleteShareGroupState", "DeleteStateData"),
            ("ReadShareGroupStateSummary", "ReadStateSummaryData"),
        )
    ),
    (
        0,
        make(
            "DescribeShareGroupOffsets",
            groups=[
                part(
                    "DescribeShareGroupOffsets",
                    "DescribeShareGroupOffsetsRequestGroup",
                    group_id=GROUP,
                    topics=[
                        part(
                            "DescribeShareGroupOffsets",
                            "DescribeShareGroupOffsetsRequestTopic",
                            topic_name=TOPIC,
                            partitions=[0],
                        )
                    ],
                )
            ],
        ),
        {(Op.DESCRIBE, Res.GROUP, GROUP), (Op.DESCRIBE, Res.TOPIC, TOPIC)},
        {"GROUP_AUTHORIZATION_FAILED"},
    ),
    (
        0,
        make(
            "AlterShareGroupOffsets",
            group_id=GROUP,
            topics=[
                part(
                    "AlterShareGroupOffsets",
                    "AlterShareGroupOffsetsRequestTopic",
                    topic_name=TOPIC,
                    partitions=[part("AlterShareGroupOffsets", "AlterShareGroupOffsetsRequestPartition")],
                )
            ],
        ),
        {(Op.READ, Res.GROUP, GROUP), (Op.READ, Res.TOPIC, TOPIC)},
        {"GROUP_AUTHORIZATION_FAILED"},
    ),
    (
        0,
        make(
            "DeleteShareGroupOffsets",
            group_id=GROUP,
            topics=[part("DeleteShareGroupOffsets", "DeleteShareGroupOffsetsRequestTopic", topic_name=TOPIC)],
        ),
        {(Op.DELETE, Res.GROUP, GROUP), (Op.READ, Res.TOPIC, TOPIC)},
        {"GROUP_AUTHORIZATION_FAILED"},
    ),
]


def name_of(request):
    return type(request).__name__.removesuffix("Request")


def codes(response):
    """The names of all error codes anywhere in a response."""
    if isinstance(response, list):
        return set().union(*map(codes, response)) if response else set()
    found = set()
    for field in getattr(type(response), "FIELDS", ()):
        value = getattr(response, field.name)
        if field.name.endswith("error_code"):
            found.add(Code(value).name)
        else:
            found |= codes(value)
    return found


async def call(client, version, request):
    """The codes of the answer. A refusal of the whole request is given by the connection in its ``error_code``."""
    try:
        return codes(await client.call(version, request))
    except KafkaError as refusal:
        return {refusal.code.name}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
async def test_the_probe_of_each_api_asks_something_or_there_is_a_reason(start_broker, row):
    authorizer = Deciding("all")
    async with start_broker(**ALL_SERVED) as broker:
        client = Peer(broker)
        await client.create_topic(TOPIC)
        broker.authorizer = authorizer
        for version in range(row.served[0], row.served[1] + 1):
            await call(client, version, probe_request(row.key, version))

    reason = ASKS_NOTHING.get(row.name) or PROBE_ASKS_NOTHING.get(row.name)
    assert authorizer.asked or reason, "call context.authorize in the handler; PROBE needs something to ask about"
    assert not (authorizer.asked and reason), "it has a reason to ask nothing, and asks"


def test_what_a_probe_does_not_ask_has_a_row_that_says_it():
    rows = {name_of(request) for _, request, _, _ in ASKS}
    assert rows >= PROBE_ASKS_NOTHING.keys()
    assert not rows & ASKS_NOTHING.keys()


@pytest.mark.parametrize(("version", "request_", "asked", "_codes"), ASKS)
async def test_authorizations_of_each_api_while_everything_is_allowed(broker, version, request_, asked, _codes):
    client = Peer(broker)
    await client.create_topic(TOPIC)
    broker.authorizer = Deciding()
    await call(client, version, request_)

    assert broker.authorizer.asked == asked


@pytest.mark.parametrize(("version", "request_", "_asked", "expected"), ASKS)
async def test_the_codes_for_a_client_that_may_do_nothing(broker, version, request_, _asked, expected):
    client = Peer(broker)
    await client.create_topic(TOPIC)
    broker.authorizer = Deciding("all")

    assert await call(client, version, request_) - {"NONE"} == expected - {"NONE"}
    assert set(broker.image.topics) == {TOPIC}


def test_each_resource_type_has_a_code():
    concrete = [kind for kind in ResourceType if kind > ResourceType.ANY]
    assert {denied(kind).code for kind in concrete} == {
        Code.TOPIC_AUTHORIZATION_FAILED,
        Code.GROUP_AUTHORIZATION_FAILED,
        Code.CLUSTER_AUTHORIZATION_FAILED,
        Code.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        Code.DELEGATION_TOKEN_AUTHORIZATION_FAILED,
    }


# A client that may do some things: what it may not see is filtered out or looks unknown


def deny(operation, kind, *names):
    return Deciding({(operation, kind, name) for name in names})


async def test_metadata_of_all_topics_leaves_out_what_may_not_be_described(broker):
    client = Peer(broker)
    for name in ("a", "b"):
        await client.create_topic(name)
    broker.authorizer = deny(Op.DESCRIBE, Res.TOPIC, "a")
    answer = await client.call(12, make("Metadata", topics=None))

    assert [topic.name for topic in answer.topics] == ["b"]


async def test_metadata_by_id_of_a_hidden_topic_has_the_id_and_no_name(broker):
    client = Peer(broker)
    topic_id = await client.create_topic("a")
    broker.authorizer = deny(Op.DESCRIBE, Res.TOPIC, "a")
    wanted = [part("Metadata", "MetadataRequestTopic", name=None, topic_id=topic_id)]
    (topic,) = (await client.call(12, make("Metadata", topics=wanted))).topics

    assert (topic.error_code, topic.name, topic.topic_id) == (Code.TOPIC_AUTHORIZATION_FAILED, None, topic_id)


async def test_metadata_creates_only_topics_that_the_client_may_create(broker):
    client = Peer(broker)
    broker.authorizer = Deciding({(Op.CREATE, Res.CLUSTER, CLUSTER), (Op.CREATE, Res.TOPIC, "a")})
    wanted = [part("Metadata", "MetadataRequestTopic", name=name) for name in ("a", "b")]
    answer = await client.call(9, make("Metadata", topics=wanted, allow_auto_topic_creation=True))

    assert [topic.error_code for topic in answer.topics] == [Code.TOPIC_AUTHORIZATION_FAILED, Code.NONE]
    assert set(broker.image.topics) == {"b"}


async def test_authorized_operations_are_those_that_are_allowed(broker):
    client = Peer(broker)
    await client.create_topic("a")
    broker.authorizer = Deciding({(Op.ALTER, Res.TOPIC, "a"), (Op.DELETE, Res.TOPIC, "a")})
    wanted = [part("Metadata", "MetadataRequestTopic", name="a")]
    request = make("Metadata", topics=wanted, include_topic_authorized_operations=True)
    (topic,) = (await client.call(9, request)).topics
    allowed = {each for each in Op if topic.topic_authorized_operations >> each & 1}

    assert allowed == {Op.READ, Op.WRITE, Op.CREATE, Op.DESCRIBE, Op.DESCRIBE_CONFIGS, Op.ALTER_CONFIGS}


async def test_operations_on_the_cluster_are_none_for_a_client_that_may_not_describe_it(broker):
    client = Peer(broker)
    request = make("Metadata", topics=[], include_cluster_authorized_operations=True)
    broker.authorizer = deny(Op.DESCRIBE, Res.CLUSTER, CLUSTER)
    assert (await client.call(8, request)).cluster_authorized_operations == 0

    broker.authorizer = deny(Op.ALTER, Res.CLUSTER, CLUSTER)
    operations = (await client.call(8, request)).cluster_authorized_operations
    assert {each for each in Op if operations >> each & 1} == {
        Op.CREATE,
        Op.DESCRIBE,
        Op.CLUSTER_ACTION,
        Op.DESCRIBE_CONFIGS,
        Op.ALTER_CONFIGS,
        Op.IDEMPOTENT_WRITE,
    }


@pytest.mark.parametrize("version", [4, 5])
async def test_brokers_add_partitions_for_clients_that_they_have_authorized(broker, version):
    client = Peer(broker)
    await client.create_topic(TOPIC)
    who = {"transactional_id": TXN, "transaction_timeout_ms": 1000}
    producer = await client.call(5, make("InitProducerId", **who))
    broker.authorizer = Deciding({(Op.WRITE, Res.TOPIC, TOPIC), (Op.WRITE, Res.TRANSACTIONAL_ID, TXN)})
    transaction = part(
        "AddPartitionsToTxn",
        "AddPartitionsToTxnTransaction",
        transactional_id=TXN,
        producer_id=producer.producer_id,
        producer_epoch=producer.producer_epoch,
        topics=[part("AddPartitionsToTxn", "AddPartitionsToTxnTopic", name=TOPIC, partitions=[0])],
    )

    assert await call(client, version, make("AddPartitionsToTxn", transactions=[transaction])) == {"NONE"}


async def test_a_group_is_hidden_if_it_is_still_assigned_a_topic_that_may_not_be_described(broker):
    client = Peer(broker)
    for name in ("a", "b"):
        await client.create_topic(name)
    beat = {"group_id": GROUP, "member_id": MEMBER, "rebalance_timeout_ms": 1000}
    first = make("ConsumerGroupHeartbeat", **beat, subscribed_topic_names=["a"], topic_partitions=[])
    epoch = (await client.call(1, first)).member_epoch
    await client.call(1, make("ConsumerGroupHeartbeat", **beat, member_epoch=epoch, subscribed_topic_names=["b"]))
    describe = make("ConsumerGroupDescribe", group_ids=[GROUP])
    (group,) = (await client.call(1, describe)).groups
    assert [member.subscribed_topic_names for member in group.members] == [["b"]]
    assert [topic.topic_name for topic in group.members[0].assignment.topic_partitions] == ["a"]

    broker.authorizer = deny(Op.DESCRIBE, Res.TOPIC, "a")
    (group,) = (await client.call(1, describe)).groups
    assert (group.error_code, group.members) == (Code.TOPIC_AUTHORIZATION_FAILED, [])


async def test_groups_are_listed_by_describe_on_each_without_describe_on_the_cluster(broker):
    client = Peer(broker)
    await client.create_topic(TOPIC)
    for group in ("g1", "g2"):
        await client.call(8, commit(group))
    broker.authorizer = Deciding({(Op.DESCRIBE, Res.CLUSTER, CLUSTER), (Op.DESCRIBE, Res.GROUP, "g1")})

    assert [each.group_id for each in (await client.call(4, make("ListGroups"))).groups] == ["g2"]


def commit(group, topic=TOPIC):
    partition = part(
        "OffsetCommit", "OffsetCommitRequestPartition", partition_index=0, committed_offset=1, committed_metadata=""
    )
    topics = [part("OffsetCommit", "OffsetCommitRequestTopic", name=topic, partitions=[partition])]
    return make("OffsetCommit", group_id=group, generation_id_or_member_epoch=-1, topics=topics)


async def test_offsets_of_topics_that_may_not_be_described_are_left_out_or_refused(broker):
    client = Peer(broker)
    for name in ("a", "b"):
        await client.create_topic(name)
        await client.call(8, commit(GROUP, name))
    broker.authorizer = deny(Op.DESCRIBE, Res.TOPIC, "a")
    all_topics = part("OffsetFetch", "OffsetFetchRequestGroup", group_id=GROUP, topics=None)
    named = part(
        "OffsetFetch",
        "OffsetFetchRequestGroup",
        group_id=GROUP,
        topics=[part("OffsetFetch", "OffsetFetchRequestTopics", name=name, partition_indexes=[0]) for name in "ab"],
    )
    everything, some = (await client.call(8, make("OffsetFetch", groups=[all_topics, named]))).groups

    assert [topic.name for topic in everything.topics] == ["b"]
    assert [(topic.name, topic.partitions[0].error_code) for topic in some.topics] == [
        ("b", Code.NONE),
        ("a", Code.TOPIC_AUTHORIZATION_FAILED),
    ]


async def test_a_commit_is_refused_for_a_topic_that_may_not_be_read(broker):
    client = Peer(broker)
    await client.create_topic(TOPIC)
    broker.authorizer = deny(Op.READ, Res.TOPIC, TOPIC)
    answer = await client.call(8, commit(GROUP))

    assert answer.topics[0].partitions[0].error_code == Code.TOPIC_AUTHORIZATION_FAILED


async def test_create_on_a_topic_is_enough_and_its_configs_are_shown_by_describe_configs_alone(broker):
    client = Peer(broker)
    broker.authorizer = Deciding({(Op.CREATE, Res.CLUSTER, CLUSTER), (Op.DESCRIBE_CONFIGS, Res.TOPIC, "new")})
    topic = part("CreateTopics", "CreatableTopic", name="new", num_partitions=1, replication_factor=1)
    (result,) = (await client.call(7, make("CreateTopics", topics=[topic], timeout_ms=1))).topics

    assert (result.error_code, result.topic_config_error_code) == (Code.NONE, Code.TOPIC_AUTHORIZATION_FAILED)
    assert (result.num_partitions, result.replication_factor, result.configs) == (-1, -1, [])


@pytest.mark.parametrize(
    ("denied_operations", "name"), [((Op.DELETE,), "a"), ((Op.DELETE, Op.DESCRIBE), None)], ids=["seen", "hidden"]
)
async def test_a_topic_that_may_not_be_deleted_by_id_is_named_if_it_may_be_described(broker, denied_operations, name):
    client = Peer(broker)
    topic_id = await client.create_topic("a")
    broker.authorizer = Deciding(
        {(Op.DELETE, Res.CLUSTER, CLUSTER)} | {(each, Res.TOPIC, "a") for each in denied_operations}
    )
    state = part("DeleteTopics", "DeleteTopicState", name=None, topic_id=topic_id)
    (result,) = (await client.call(6, make("DeleteTopics", topics=[state], timeout_ms=1))).responses

    assert (result.error_code, result.name) == (Code.TOPIC_AUTHORIZATION_FAILED, name)
    assert "a" in broker.image.topics


async def test_delete_on_the_cluster_is_enough_to_delete_a_topic(broker):
    client = Peer(broker)
    await client.create_topic("a")
    broker.authorizer = Deciding({(Op.DELETE, Res.TOPIC, "a"), (Op.DESCRIBE, Res.TOPIC, "a")})
    state = part("DeleteTopics", "DeleteTopicState", name="a")
    (result,) = (await client.call(6, make("DeleteTopics", topics=[state], timeout_ms=1))).responses

    assert result.error_code == Code.NONE


async def test_a_fetch_reads_the_partitions_that_it_may_and_refuses_the_others(broker):
    client = Peer(broker)
    for name in ("a", "b"):
        await client.create_topic(name)
    broker.authorizer = deny(Op.READ, Res.TOPIC, "a")
    topics = [
        part(
            "Fetch",
            "FetchTopic",
            topic=name,
            partitions=[part("Fetch", "FetchPartition", partition=0, partition_max_bytes=1000)],
        )
        for name in ("a", "b")
    ]
    answer = await client.call(12, make("Fetch", max_bytes=1000, topics=topics))

    assert {topic.topic: topic.partitions[0].error_code for topic in answer.responses} == {
        "a": Code.TOPIC_AUTHORIZATION_FAILED,
        "b": Code.NONE,
    }


async def test_an_idempotent_producer_needs_one_of_two_rights(broker):
    client = Peer(broker)
    request = make("InitProducerId", transactional_id=None, transaction_timeout_ms=1000)
    any_topic, cluster = (Op.WRITE, Res.TOPIC, None), (Op.IDEMPOTENT_WRITE, Res.CLUSTER, CLUSTER)
    outcomes = []
    for rights in ({any_topic}, {cluster}, {any_topic, cluster}):
        broker.authorizer = Deciding(rights)
        outcomes.append(await call(client, 4, request))

    assert outcomes == [{"NONE"}, {"NONE"}, {"CLUSTER_AUTHORIZATION_FAILED"}]


async def test_the_software_of_a_client_is_known_after_api_versions(broker):
    client = Peer(broker)
    await client.call(3, make("ApiVersions", client_software_name="librdkafka", client_software_version="2.8.0"))

    assert (client.client.software_name, client.client.software_version) == ("librdkafka", "2.8.0")
