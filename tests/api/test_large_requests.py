"""The largest request of each API, while another connection asks ApiVersions: others are answered meanwhile.

Each look at the clock is worth one turn, so what is counted is at how many points a handler lets others run, whatever
the machine. A handler without such points lets the probe be answered at most twice: before it and after it.
"""

import pytest
import trio
from peer import apis_of

from kwire.broker.endpoint import Endpoint
from kwire.limits import TURN_MS
from kwire.server.bindings import Limits
from kwire.server.connections.connection import serve_connection
from kwire.server.connections.registry import ConnectionRegistry, Listener
from kwire.testing.memory.transport import MemoryTransport
from kwire.wire import codec, messages
from kwire.wire.batches.records import Record, build_batch

MANY = 400
ANSWERED_MEANWHILE = 5
NAMES = [f"topic-{number}" for number in range(MANY)]
GROUPS = [f"group-{number}" for number in range(MANY)]


def make(name, /, **fields):
    return getattr(messages, f"{name}Request")(**fields)


def part(name, struct, /, **fields):
    return getattr(getattr(messages, f"{name}Request"), struct)(**fields)


def many(name, struct, field="name", /, values=NAMES, **fields):
    return [part(name, struct, **{field: value}, **fields) for value in values]


def commits(name):
    struct = f"{name}RequestPartition"
    return [part(name, struct, partition_index=0, committed_offset=1, committed_metadata="")]


def batch(**how):
    return build_batch([Record(0, 0, b"k", b"v", ())], **how)


def produce(indexes, *, records=None, **more):
    records = batch() if records is None else records
    partitions = many("Produce", "PartitionProduceData", "index", values=indexes, records=records)
    data = [part("Produce", "TopicProduceData", name=NAMES[0], partition_data=partitions)]
    return make("Produce", acks=-1, timeout_ms=1000, topic_data=data, **more)


def new_topics():
    return many(
        "CreateTopics",
        "CreatableTopic",
        values=[f"new-{number}" for number in range(MANY)],
        num_partitions=1,
        replication_factor=1,
    )


REQUESTS = {
    "Produce": lambda: (
        9,
        make(
            "Produce",
            acks=-1,
            timeout_ms=1000,
            topic_data=many(
                "Produce",
                "TopicProduceData",
                partition_data=[part("Produce", "PartitionProduceData", index=0, records=batch())],
            ),
        ),
    ),
    "Produce to one topic": lambda: (9, produce(range(MANY))),
    "Produce in a transaction": lambda: (
        12,
        produce(
            range(MANY),
            transactional_id="tx",
            records=batch(transactional=True, producer_id=1000, producer_epoch=0, base_sequence=0),
        ),
    ),
    "OffsetCommit for one topic": lambda: (
        8,
        make(
            "OffsetCommit",
            group_id="g",
            generation_id_or_member_epoch=-1,
            topics=[
                part(
                    "OffsetCommit",
                    "OffsetCommitRequestTopic",
                    name=NAMES[0],
                    partitions=many(
                        "OffsetCommit",
                        "OffsetCommitRequestPartition",
                        "partition_index",
                        values=list(range(MANY)) * 3,
                        committed_offset=1,
                        committed_metadata="",
                    ),
                )
            ],
        ),
    ),
    "OffsetFetch for one topic": lambda: (
        8,
        make(
            "OffsetFetch",
            groups=[
                part(
                    "OffsetFetch",
                    "OffsetFetchRequestGroup",
                    group_id=GROUPS[0],
                    topics=[
                        part(
                            "OffsetFetch",
                            "OffsetFetchRequestTopics",
                            name=NAMES[0],
                            partition_indexes=list(range(MANY)) * 5,
                        )
                    ],
                )
            ],
        ),
    ),
    "LeaveGroup": lambda: (
        3,
        make(
            "LeaveGroup",
            group_id="g",
            members=many("LeaveGroup", "MemberIdentity", "member_id", values=GROUPS * 5),
        ),
    ),
    "ElectLeaders for one topic": lambda: (
        2,
        make(
            "ElectLeaders",
            timeout_ms=1,
            topic_partitions=[part("ElectLeaders", "TopicPartitions", topic=NAMES[0], partitions=list(range(MANY)))],
        ),
    ),
    "AlterPartitionReassignments": lambda: (
        0,
        make(
            "AlterPartitionReassignments",
            timeout_ms=1,
            topics=[
                part(
                    "AlterPartitionReassignments",
                    "ReassignableTopic",
                    name=NAMES[0],
                    partitions=many(
                        "AlterPartitionReassignments",
                        "ReassignablePartition",
                        "partition_index",
                        values=range(MANY),
                        replicas=[1],
                    ),
                )
            ],
        ),
    ),
    "AlterReplicaLogDirs": lambda: (
        2,
        make(
            "AlterReplicaLogDirs",
            dirs=[
                part(
                    "AlterReplicaLogDirs",
                    "AlterReplicaLogDir",
                    path="/nowhere",
                    topics=[
                        part(
                            "AlterReplicaLogDirs",
                            "AlterReplicaLogDirTopic",
                            name=NAMES[0],
                            partitions=list(range(MANY)),
                        )
                    ],
                )
            ],
        ),
    ),
    "AlterClientQuotas": lambda: (
        1,
        make(
            "AlterClientQuotas",
            entries=[
                part(
                    "AlterClientQuotas",
                    "EntryData",
                    entity=[part("AlterClientQuotas", "EntityData", entity_type="client-id", entity_name=name)],
                    ops=[part("AlterClientQuotas", "OpData", key="producer_byte_rate", value=1e9)],
                )
                for name in NAMES
            ],
        ),
    ),
    "AlterUserScramCredentials": lambda: (
        0,
        make(
            "AlterUserScramCredentials",
            deletions=many("AlterUserScramCredentials", "ScramCredentialDeletion", mechanism=1),
        ),
    ),
    "DescribeUserScramCredentials": lambda: (
        0,
        make("DescribeUserScramCredentials", users=many("DescribeUserScramCredentials", "UserName")),
    ),
    "IncrementalAlterConfigs of many configs": lambda: (
        1,
        make(
            "IncrementalAlterConfigs",
            resources=many(
                "IncrementalAlterConfigs",
                "AlterConfigsResource",
                "resource_name",
                values=NAMES[:8],
                resource_type=2,
                configs=many("IncrementalAlterConfigs", "AlterableConfig", values=NAMES, value="1"),
            ),
        ),
    ),
    "DescribeConfigs of the broker": lambda: (
        4,
        make(
            "DescribeConfigs",
            resources=many(
                "DescribeConfigs", "DescribeConfigsResource", "resource_name", values=["1"] * 8, resource_type=4
            ),
        ),
    ),
    "Fetch": lambda: (
        12,
        make(
            "Fetch",
            max_bytes=1000,
            topics=many(
                "Fetch",
                "FetchTopic",
                "topic",
                partitions=[part("Fetch", "FetchPartition", partition=0, partition_max_bytes=1000)],
            ),
        ),
    ),
    "ListOffsets": lambda: (
        7,
        make(
            "ListOffsets",
            replica_id=-1,
            topics=many(
                "ListOffsets",
                "ListOffsetsTopic",
                partitions=[part("ListOffsets", "ListOffsetsPartition", partition_index=0, timestamp=-1)],
            ),
        ),
    ),
    "Metadata of all topics": lambda: (9, make("Metadata", topics=None)),
    "Metadata of one large topic": lambda: (9, make("Metadata", topics=many("Metadata", "MetadataRequestTopic")[:1])),
    "Metadata that creates topics": lambda: (
        9,
        make(
            "Metadata",
            allow_auto_topic_creation=True,
            topics=many("Metadata", "MetadataRequestTopic", values=[f"new-{number}" for number in range(MANY)]),
        ),
    ),
    "OffsetCommit": lambda: (
        8,
        make(
            "OffsetCommit",
            group_id="g",
            generation_id_or_member_epoch=-1,
            topics=many("OffsetCommit", "OffsetCommitRequestTopic", partitions=commits("OffsetCommit")),
        ),
    ),
    "OffsetFetch of all": lambda: (
        8,
        make("OffsetFetch", groups=[part("OffsetFetch", "OffsetFetchRequestGroup", group_id=GROUPS[0], topics=None)]),
    ),
    "FindCoordinator": lambda: (4, make("FindCoordinator", key_type=0, coordinator_keys=GROUPS)),
    "DescribeGroups": lambda: (5, make("DescribeGroups", groups=GROUPS)),
    "ListGroups": lambda: (4, make("ListGroups")),
    "CreateTopics": lambda: (5, make("CreateTopics", timeout_ms=1, topics=new_topics())),
    "DeleteTopics": lambda: (6, make("DeleteTopics", timeout_ms=1, topics=many("DeleteTopics", "DeleteTopicState"))),
    "DeleteRecords": lambda: (
        2,
        make(
            "DeleteRecords",
            timeout_ms=1,
            topics=many(
                "DeleteRecords",
                "DeleteRecordsTopic",
                partitions=[part("DeleteRecords", "DeleteRecordsPartition", partition_index=0, offset=0)],
            ),
        ),
    ),
    "OffsetForLeaderEpoch": lambda: (
        4,
        make(
            "OffsetForLeaderEpoch",
            topics=[
                part(
                    "OffsetForLeaderEpoch",
                    "OffsetForLeaderTopic",
                    topic=NAMES[0],
                    partitions=many(
                        "OffsetForLeaderEpoch", "OffsetForLeaderPartition", "partition", values=range(MANY)
                    ),
                )
            ],
        ),
    ),
    "WriteTxnMarkers": lambda: (
        1,
        make(
            "WriteTxnMarkers",
            markers=[
                part(
                    "WriteTxnMarkers",
                    "WritableTxnMarker",
                    producer_id=1,
                    producer_epoch=0,
                    topics=many("WriteTxnMarkers", "WritableTxnMarkerTopic", partition_indexes=[0]),
                )
            ],
        ),
    ),
    "TxnOffsetCommit": lambda: (
        3,
        make(
            "TxnOffsetCommit",
            transactional_id="x",
            group_id="g",
            producer_id=1,
            topics=many("TxnOffsetCommit", "TxnOffsetCommitRequestTopic", partitions=commits("TxnOffsetCommit")),
        ),
    ),
    "DescribeConfigs": lambda: (
        4,
        make(
            "DescribeConfigs",
            resources=many("DescribeConfigs", "DescribeConfigsResource", "resource_name", resource_type=2),
        ),
    ),
    "AlterConfigs": lambda: (
        2,
        make(
            "AlterConfigs",
            resources=many("AlterConfigs", "AlterConfigsResource", "resource_name", resource_type=2),
        ),
    ),
    "IncrementalAlterConfigs": lambda: (
        1,
        make(
            "IncrementalAlterConfigs",
            resources=many("IncrementalAlterConfigs", "AlterConfigsResource", "resource_name", resource_type=2),
        ),
    ),
    "DescribeLogDirs": lambda: (4, make("DescribeLogDirs", topics=None)),
    "CreatePartitions": lambda: (
        3,
        make("CreatePartitions", timeout_ms=1, topics=many("CreatePartitions", "CreatePartitionsTopic", count=2)),
    ),
    "DeleteGroups": lambda: (2, make("DeleteGroups", groups_names=GROUPS)),
    "ElectLeaders": lambda: (2, make("ElectLeaders", timeout_ms=1, topic_partitions=None)),
    "ListPartitionReassignments": lambda: (0, make("ListPartitionReassignments", timeout_ms=1, topics=None)),
    "OffsetDelete": lambda: (
        0,
        make(
            "OffsetDelete",
            group_id=GROUPS[0],
            topics=many(
                "OffsetDelete",
                "OffsetDeleteRequestTopic",
                partitions=[part("OffsetDelete", "OffsetDeleteRequestPartition", partition_index=0)],
            ),
        ),
    ),
    "DescribeProducers": lambda: (
        0,
        make(
            "DescribeProducers",
            topics=[
                part("DescribeProducers", "TopicRequest", name=NAMES[0], partition_indexes=list(range(MANY))),
            ],
        ),
    ),
    "DescribeTransactions": lambda: (0, make("DescribeTransactions", transactional_ids=GROUPS)),
    "ListConfigResources": lambda: (1, make("ListConfigResources", resource_types=[2])),
    "DescribeTopicPartitions": lambda: (0, make("DescribeTopicPartitions", response_partition_limit=2000)),
}


class TurnPerLook:
    """A clock by which each look is a turn later."""

    now = 0.0

    def __call__(self):
        self.now += TURN_MS / 1000
        return self.now


class Wire:
    """Clients of a real broker over connections in memory."""

    def __init__(self, broker, nursery):
        self.broker = broker
        self.nursery = nursery
        self.connections = ConnectionRegistry(apis_of(broker), broker.clock, Limits)
        self.listener = Listener(Endpoint("PLAINTEXT", "PLAINTEXT", "localhost", 9092), self.connections)

    async def call(self, transport, version, request):
        transport.feed(codec.encode_request(request.KEY, version, 1, "test", request))
        frame = await transport.next_frame()
        return codec.decode_response(request.KEY, version, memoryview(frame))[1]

    def connect(self):
        transport = MemoryTransport()
        self.nursery.start_soon(serve_connection, self.broker, transport, self.listener)
        return transport


@pytest.fixture
def settings():
    return {"offsets.topic.num.partitions": "1", "group.initial.rebalance.delay.ms": "0"}


@pytest.fixture
async def wire(broker, client):
    """400 topics, one of them with 400 partitions, and 400 groups, one of them with 400 offsets."""
    await client.create_topic(NAMES[0], MANY)
    for name in NAMES[1:]:
        await client.create_topic(name)
    for group in GROUPS:
        topics = many("OffsetCommit", "OffsetCommitRequestTopic", partitions=commits("OffsetCommit"))
        commit = make(
            "OffsetCommit",
            group_id=group,
            generation_id_or_member_epoch=-1,
            topics=topics if group == GROUPS[0] else topics[:1],
        )
        await client.call(8, commit)
    async with trio.open_nursery() as nursery:
        yield Wire(broker, nursery)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("name", REQUESTS)
async def test_others_are_answered_while_a_large_request_is_handled(wire, name):
    version, request = REQUESTS[name]()
    wire.connections.perf_counter = TurnPerLook()
    large, probe = wire.connect(), wire.connect()
    api_versions = make("ApiVersions")
    await wire.call(probe, 0, api_versions)
    answered = 0

    async def ask():
        nonlocal answered
        while True:
            await wire.call(probe, 0, api_versions)
            answered += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await wire.call(large, version, request)
        nursery.cancel_scope.cancel()

    assert answered >= ANSWERED_MEANWHILE
