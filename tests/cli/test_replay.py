"""Recordings and ``kwire replay``."""

import pytest
from blocking_client import BlockingClient
from click.testing import CliRunner

from kwire.cli.control.replay import replay
from kwire.testing import KafkaBroker, RecordingError
from kwire.wire import messages as m
from kwire.wire.batches.records import Record, build_batch

CONFIG = {"group.initial.rebalance.delay.ms": 0}


def produce(client, *values):
    stamp = client.call(3, m.InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=1000))
    batch = build_batch(
        [Record(index, 1, b"k", value) for index, value in enumerate(values)],
        producer_id=stamp.producer_id,
        producer_epoch=0,
        base_sequence=0,
    )
    partition = m.ProduceRequest.PartitionProduceData(index=0, records=batch)
    data = m.ProduceRequest.TopicProduceData(name="orders", partition_data=[partition])
    client.call(9, m.ProduceRequest(acks=-1, timeout_ms=1000, topic_data=[data]))


def join(client, member=""):
    protocol = m.JoinGroupRequest.JoinGroupRequestProtocol(name="range", metadata=b"")
    return client, m.JoinGroupRequest(
        group_id="g",
        session_timeout_ms=30_000,
        rebalance_timeout_ms=30_000,
        member_id=member,
        protocol_type="consumer",
        protocols=[protocol],
    )


def work(kafka):
    """What a program might do: records, a fetch by topic id, two members of a group of which one waits, a commit."""
    with BlockingClient(kafka.port) as one, BlockingClient(kafka.port) as two:
        produce(one, b"a", b"b")
        named = m.MetadataRequest.MetadataRequestTopic(name="orders")
        topic_id = one.call(12, m.MetadataRequest(topics=[named])).topics[0].topic_id
        partition = m.FetchRequest.FetchPartition(partition=0, fetch_offset=0, partition_max_bytes=1 << 20)
        topic = m.FetchRequest.FetchTopic(topic_id=topic_id, partitions=[partition])
        one.call(13, m.FetchRequest(max_wait_ms=0, max_bytes=1 << 20, topics=[topic]))
        first = one.call(3, join(one)[1])
        share = m.SyncGroupRequest.SyncGroupRequestAssignment(member_id=first.member_id, assignment=b"")
        member = {"group_id": "g", "generation_id": first.generation_id, "member_id": first.member_id}
        one.call(3, m.SyncGroupRequest(assignments=[share], **member))
        two.send(3, join(two)[1])
        kafka.requests.wait_for(2, api="JoinGroup")
        while one.call(3, m.HeartbeatRequest(**member)).error_code == 0:
            pass
        one.call(3, join(one, first.member_id)[1])
        assert two.answer(3, join(two)[1]).error_code == 0
        row = m.OffsetCommitRequest.OffsetCommitRequestPartition(partition_index=0, committed_offset=1)
        rows = m.OffsetCommitRequest.OffsetCommitRequestTopic(name="orders", partitions=[row])
        one.call(8, m.OffsetCommitRequest(group_id="other", generation_id_or_member_epoch=-1, topics=[rows]))


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    file = tmp_path_factory.mktemp("recordings") / "work.jsonl"
    with KafkaBroker(topics=["orders"], config=CONFIG) as kafka:
        kafka.requests.start()
        kafka.record(file)
        with pytest.raises(RecordingError, match="a recording is in progress already"):
            kafka.record(file)
        work(kafka)
        kafka.stop_recording()
        with pytest.raises(RecordingError, match="no recording is in progress"):
            kafka.stop_recording()
        with pytest.raises(RecordingError, match="exists"):
            kafka.record(file)
    return file


def run(kafka, file):
    ended = CliRunner().invoke(replay, [str(file), "-b", kafka.bootstrap_servers, "--timeout", "3"])
    return ended.exit_code, ended.output


def test_a_replay_against_a_broker_like_the_first_agrees(recording):
    with KafkaBroker(topics=["orders"], config=CONFIG) as kafka:
        # The ids that this broker chooses are others.
        with BlockingClient(kafka.port) as client:
            client.call(3, m.InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=1000))
        code, printed = run(kafka, recording)
        assert (code, printed.splitlines()[-1].endswith(", 0 answers differ")) == (0, True), printed
        assert [each["value"] for each in kafka.records("orders")] == ["a", "b"]
        assert kafka.group("other")["lag"] == 1


def test_a_replay_prints_the_differences(recording):
    with KafkaBroker(topics=["orders"], config=CONFIG) as kafka:
        kafka.seed({"topics": {"orders": {"records": [{"value": "before"}]}}})
        code, printed = run(kafka, recording)
        assert code == 4
        assert "Produce v9: responses[0].partition_responses[0].base_offset: recorded 0, replayed 1" in printed
    with KafkaBroker(config={**CONFIG, "auto.create.topics.enable": False}) as kafka:
        code, printed = run(kafka, recording)
        assert (code, "recorded 'NONE', replayed 'UNKNOWN_TOPIC_OR_PARTITION'" in printed) == (4, True), printed


def test_a_file_that_is_no_recording_is_one_sentence(tmp_path):
    (tmp_path / "other").write_text("hello\n")
    (tmp_path / "old").write_text('{"kwire_recording": 7}\n')
    with KafkaBroker() as kafka:
        for name, sentence in (
            ("other", "line 1 is no event"),
            ("old", "is not a recording of version 1"),
            ("none", "cannot read"),
        ):
            code, printed = run(kafka, tmp_path / name)
            assert (code, sentence in printed) == (1, True), printed


def test_a_recording_continues_after_a_restored_snapshot(tmp_path):
    with KafkaBroker(topics=["orders"]) as kafka:
        kafka.record(tmp_path / "file")
        kafka.snapshot()
        kafka.restore()
        with BlockingClient(kafka.port) as client:
            produce(client, b"a")
        kafka.stop_recording()
    assert '"api":"Produce"' in (tmp_path / "file").read_text()
