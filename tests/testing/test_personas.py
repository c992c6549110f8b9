"""A broker that appears as another release answers as the official broker of that release did."""

from __future__ import annotations

import json
import socket
import struct
from pathlib import Path

import pytest

from kwire.cli.connections.connection import Connection, parse_address
from kwire.errors import Code
from kwire.metadata.configs.definitions import broker_keys
from kwire.personas import names, persona
from kwire.security.operations import Operation
from kwire.testing import BrokerConfigError, BrokerStartError, KafkaBroker
from kwire.wire import codec
from kwire.wire import messages as m
from kwire.wire.batches.records import Record, build_batch

PRODUCE, FETCH, METADATA, API_VERSIONS = 0, 1, 3, 18
OF_THE_FUTURE = "99"
RECORDED = json.loads((Path(__file__).parent.parent / "api" / "persona_answers.json").read_text())


@pytest.fixture(scope="module", params=names())
def release(request):
    with KafkaBroker(persona=request.param, topics={"orders": 1}) as kafka:
        kafka.persona = persona(request.param)
        yield kafka


def exchange(kafka, api_key, version, body=b"", tags=b""):
    """Send a request of bytes; gives the response's frame without its size, empty if the broker closed."""
    frame = struct.pack(">hhih", api_key, version, 7, 1) + b"c" + tags + body
    with socket.create_connection(("localhost", kafka.port), 20) as connection:
        connection.sendall(struct.pack(">i", len(frame)) + frame)
        stream = connection.makefile("rb")
        size = stream.read(4)
        return stream.read(struct.unpack(">i", size)[0]) if size else b""


def api_versions(kafka, version):
    tags = b"\0" if version >= 3 else b""
    software = b"\x09recorder\x021" if version >= 3 else b""
    node = b"\0" + struct.pack(">i", -1) if version >= 5 else b""
    return exchange(kafka, API_VERSIONS, version, software + node + tags, tags)


def with_epoch(frame, version, epoch):
    """The frame with another epoch of the finalized features, which is an offset of the metadata log."""
    if version < 3:
        return frame
    ours = codec.decode_response(API_VERSIONS, version, memoryview(frame))[1].finalized_features_epoch
    head = b"\x01\x08"  # tag 1, eight bytes
    return frame.replace(head + struct.pack(">q", ours), head + struct.pack(">q", epoch), 1)


def test_every_persona_was_recorded_and_can_be_set():
    assert set(RECORDED) == set(names())
    check = broker_keys()["kwire.as.release"].parse
    assert [check(name) for name in ("none", *names())] == ["none", *names()]


def test_the_answers_to_api_versions_are_those_of_the_release(release):
    for text, recorded in RECORDED[release.persona.name].items():
        answer = api_versions(release, int(text))
        if answer[4:6] == b"\0\0":
            answer = with_epoch(answer, int(text), epoch := epoch_of(recorded, int(text)))
            assert epoch != 0 or not release.persona.has_features
        assert answer.hex() == recorded, text


def epoch_of(recorded, version):
    if version < 3:
        return -1
    return codec.decode_response(API_VERSIONS, version, memoryview(bytes.fromhex(recorded)))[1].finalized_features_epoch


def test_a_version_beyond_the_release_closes_the_connection(release):
    highest = release.persona.apis[METADATA][1]
    assert exchange(release, METADATA, highest + 1, b"\0" * 40, b"\0") == b""
    with Connection(parse_address(release.bootstrap_servers, None), timeout_s=150) as connection:
        answer = connection.call(m.MetadataRequest(topics=None), m.MetadataResponse, version=highest)
        assert [each.name for each in answer.topics] == ["orders"]


def test_what_the_release_lists_and_kafka_4_removed_closes_the_connection(release):
    removed = [
        (key, lowest)
        for key, (lowest, _) in release.persona.apis.items()
        if key not in codec.api_keys() or lowest < codec.request_class(key).VERSIONS.lowest
    ]
    for key, version in removed[:3]:
        assert exchange(release, key, version, b"\0" * 60) == b""


@pytest.mark.parametrize("enabled", ["true", "false"])
def test_records_are_not_converted_to_older_formats(release, enabled):
    if release.persona.apis[FETCH][0] > 0:
        pytest.skip("this release converts no records")
    release.seed({"topics": {f"converted-{enabled}": {"configs": {"message.downconversion.enable": enabled}}}})
    # With records of the formats 0 and 1: no client, no minimum, no topics.
    fetch, produce = struct.pack(">iiii", -1, 0, 0, 0), struct.pack(">hii", 1, 1000, 0)
    answers = [exchange(release, FETCH, version, fetch) for version in range(4)]
    answers += [exchange(release, PRODUCE, version, produce) for version in range(3)]
    assert answers == [b""] * 7


def test_features_beyond_the_release_are_refused(release):
    if not release.persona.has_features:
        pytest.skip("this release has no features")
    highest = release.persona.supported["metadata.version"][1]
    update = m.UpdateFeaturesRequest.FeatureUpdateKey(
        feature="metadata.version", max_version_level=highest + 1, upgrade_type=1
    )
    with Connection(parse_address(release.bootstrap_servers, None), timeout_s=150) as connection:
        answer = connection.call(m.UpdateFeaturesRequest(feature_updates=[update]), m.UpdateFeaturesResponse)
    codes = {answer.error_code, *(each.error_code for each in answer.results)}
    assert Code.INVALID_UPDATE_VERSION in codes


def test_records_and_offsets_pass_at_the_highest_versions(release):
    release.seed({"topics": {"orders": {"records": [{"value": "one"}]}}})
    assert [each["value"] for each in release.records("orders")][-1] == "one"
    with Connection(parse_address(release.bootstrap_servers, None), timeout_s=150) as connection:
        coordinator = connection.call(
            m.FindCoordinatorRequest(key="g", coordinator_keys=[]),
            m.FindCoordinatorResponse,
            version=3,
        )
        assert coordinator.node_id == 1


def test_a_directory_of_a_newer_release_is_refused(tmp_path):
    with KafkaBroker(data=tmp_path / "data"):
        pass
    with pytest.raises(BrokerStartError, match=r"metadata.version at level 33, and 3.9.1 supports up to 21"):
        KafkaBroker(data=tmp_path / "data", persona="3.9").start()


def test_a_directory_keeps_its_release(tmp_path):
    with KafkaBroker(data=tmp_path / "data", persona="3.9", topics=["orders"]) as kafka:
        kafka.restart()
        assert "orders" in kafka.topics()


def test_a_release_that_is_not_known_is_refused():
    with pytest.raises((BrokerConfigError, BrokerStartError), match=r"kwire\.as\.release"):
        KafkaBroker(persona="1.1").start()


def test_a_broker_of_a_cluster_appears_as_itself():
    with pytest.raises(BrokerStartError, match="part of a cluster"):
        KafkaBroker(
            persona="3.9",
            config={"listeners": "PLAINTEXT://localhost:0,CONTROLLER://localhost:0"},
        ).start()


@pytest.mark.kafka(persona="2.8", topics=["orders"])
def test_the_mark_takes_a_persona(kafka):
    with Connection(parse_address(kafka.bootstrap_servers, None), timeout_s=150) as connection:
        assert connection.api_versions[METADATA] == persona("2.8").apis[METADATA]


@pytest.mark.parametrize(("name", "code"), [("3.9", Code.ILLEGAL_GENERATION), ("4.0", Code.GROUP_ID_NOT_FOUND)])
def test_a_commit_to_a_group_that_is_not_there(name, code):
    partition = m.OffsetCommitRequest.OffsetCommitRequestPartition(partition_index=0, committed_offset=1)
    topic = m.OffsetCommitRequest.OffsetCommitRequestTopic(name="orders", partitions=[partition])
    request = m.OffsetCommitRequest(group_id="no", generation_id_or_member_epoch=3, member_id="m", topics=[topic])
    with KafkaBroker(persona=name, topics=["orders"]) as kafka, connect(kafka) as connection:
        answer = connection.call(request, m.OffsetCommitResponse, version=9)
    assert answer.topics[0].partitions[0].error_code == code


@pytest.mark.parametrize(("name", "assignment"), [("3.9", b""), ("4.0", b"its")])
def test_an_assignment_while_a_group_rebalances(name, assignment):
    protocol = m.JoinGroupRequest.JoinGroupRequestProtocol(name="range", metadata=b"meta")
    join = m.JoinGroupRequest(
        group_id="g", session_timeout_ms=30_000, rebalance_timeout_ms=30_000, protocol_type="consumer",
        protocols=[protocol],
    )  # fmt: skip
    with KafkaBroker(persona=name) as kafka, connect(kafka) as connection, connect(kafka) as second:
        joined = connection.call(join, m.JoinGroupResponse, version=3)
        own = m.SyncGroupRequest.SyncGroupRequestAssignment(member_id=joined.member_id, assignment=b"its")
        sync = m.SyncGroupRequest(
            group_id="g", generation_id=joined.generation_id, member_id=joined.member_id, assignments=[own]
        )
        connection.call(sync, m.SyncGroupResponse, version=2)
        second.send_only(join, 3)  # waits for the first member
        ask = m.DescribeGroupsRequest(groups=["g"], include_authorized_operations=True)
        while (
            described := connection.call(ask, m.DescribeGroupsResponse, version=5).groups[0]
        ).group_state == "Stable":
            assert described.members[0].member_assignment == b"its"
        assert described.group_state == "PreparingRebalance"
        by_id = {member.member_id: member for member in described.members}
        assert by_id[joined.member_id].member_assignment == assignment
        assert bool(described.authorized_operations & 1 << Operation.ALTER_CONFIGS) is (name == "4.0")


@pytest.mark.parametrize(("name", "code"), [("2.8", Code.NONE), ("3.9", Code.INVALID_TXN_STATE)])
def test_partitions_of_a_transaction_are_verified_since_3_6(name, code):
    ask_id = m.InitProducerIdRequest(transactional_id="t", transaction_timeout_ms=60_000)
    find = m.FindCoordinatorRequest(key="t", key_type=1, coordinator_keys=[])
    with KafkaBroker(persona=name, topics=["orders"]) as kafka, connect(kafka) as connection:
        connection.call(find, m.FindCoordinatorResponse, version=3)
        producer = connection.call(ask_id, m.InitProducerIdResponse, version=4)
        batch = build_batch(
            [Record(0, 1, None, b"one", ())], producer_id=producer.producer_id, producer_epoch=producer.producer_epoch,
            base_sequence=0, transactional=True,
        )  # fmt: skip
        partition = m.ProduceRequest.PartitionProduceData(index=0, records=batch)
        topic = m.ProduceRequest.TopicProduceData(name="orders", partition_data=[partition])
        request = m.ProduceRequest(transactional_id="t", acks=-1, timeout_ms=1000, topic_data=[topic])
        answer = connection.call(request, m.ProduceResponse, version=9)
    assert answer.responses[0].partition_responses[0].error_code == code


def test_as_3_9_clients_add_partitions_with_the_versions_of_brokers():
    """@platformatic/kafka and krafka take the newest version that is advertised, 5."""
    ask_id = m.InitProducerIdRequest(transactional_id="t", transaction_timeout_ms=60_000)
    find = m.FindCoordinatorRequest(key="t", key_type=1, coordinator_keys=[])
    with KafkaBroker(persona="3.9", topics=["orders"]) as kafka, connect(kafka) as connection:
        connection.call(find, m.FindCoordinatorResponse, version=3)
        producer = connection.call(ask_id, m.InitProducerIdResponse, version=4)
        who = {"transactional_id": "t", "producer_id": producer.producer_id, "producer_epoch": producer.producer_epoch}
        request = m.AddPartitionsToTxnRequest
        topics = [request.AddPartitionsToTxnTopic(name="orders", partitions=[0])]
        for version in (4, 5):
            asked = request(transactions=[request.AddPartitionsToTxnTransaction(**who, topics=topics)])
            added = connection.call(asked, m.AddPartitionsToTxnResponse, version=version)
            (result,) = added.results_by_transaction[0].topic_results[0].results_by_partition
            assert result.partition_error_code == Code.NONE
        end = m.EndTxnRequest(**who, committed=True)
        assert connection.call(end, m.EndTxnResponse, version=3).error_code == Code.NONE


@pytest.mark.parametrize(
    ("later", "refusal"),
    [
        ({"instance_id": "one"}, "Static membership is not yet supported."),
        ({"task_offsets": [m.StreamsGroupHeartbeatRequest.TaskOffset()]}, "TaskOffsets are not supported yet."),
        ({"task_end_offsets": []}, "TaskEndOffsets are not supported yet."),
        ({"warmup_tasks": [m.StreamsGroupHeartbeatRequest.TaskIds()]}, "WarmupTasks are not supported yet."),
    ],
)
def test_as_4_3_streams_groups_have_no_static_members_and_no_offsets_of_tasks(as_4_3, later, refusal):
    request = m.StreamsGroupHeartbeatRequest(group_id="g", member_id="m", **later)
    answer = as_4_3.call(request, m.StreamsGroupHeartbeatResponse, version=0)
    assert (answer.error_code, answer.error_message) == (Code.INVALID_REQUEST, refusal)


@pytest.fixture(scope="module")
def as_4_3():
    with KafkaBroker(persona="4.3", topics=["orders"]) as kafka, connect(kafka) as connection:
        yield connection


@pytest.mark.parametrize(("name", "interval_ms"), [("4.3", 0), ("4.4", 60_000)])
def test_the_interval_of_task_offsets_is_answered_since_4_4(name, interval_ms):
    Heartbeat = m.StreamsGroupHeartbeatRequest  # noqa: N806 (a class)
    part = Heartbeat.Subtopology(subtopology_id="0", source_topics=["orders"])
    request = Heartbeat(
        group_id="g", member_id="m", process_id="p", rebalance_timeout_ms=60_000,
        active_tasks=[], standby_tasks=[], warmup_tasks=[],
        topology=Heartbeat.Topology(subtopologies=[part]),
    )  # fmt: skip
    with KafkaBroker(persona=name, topics=["orders"]) as kafka, connect(kafka) as connection:
        answer = connection.call(request, m.StreamsGroupHeartbeatResponse, version=0)
    assert (answer.error_code, answer.task_offset_interval_ms) == (Code.NONE, interval_ms)


def connect(kafka):
    return Connection(parse_address(kafka.bootstrap_servers, None), timeout_s=150)
