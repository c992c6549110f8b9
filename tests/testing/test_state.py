"""The state of a broker in a test: reset, snapshots, copies, seeds."""

import json
import socket
from collections import Counter

import pytest

from kwire.metadata.log.snapshot import snapshot_records
from kwire.testing import BrokerStartError, KafkaBroker, KafkaError, SeedError, StateError
from kwire.wire import messages as m
from kwire.wire.codec import encode_request


def seeded(**topics):
    return {"topics": {name: {"records": [{"value": value} for value in values]} for name, values in topics.items()}}


def values(kafka, topic="orders"):
    return [record["value"] for record in kafka.records(topic)]


def ask(kafka, request, version=None):
    """A request of the bench's own client."""
    bench = kafka._current_bench()
    return kafka._in_loop(lambda: bench.client.call(request, version))


def commit(kafka, offset):
    partition = m.OffsetCommitRequest.OffsetCommitRequestPartition(partition_index=0, committed_offset=offset)
    topic = m.OffsetCommitRequest.OffsetCommitRequestTopic(name="orders", partitions=[partition])
    answer = ask(kafka, m.OffsetCommitRequest(group_id="g", generation_id_or_member_epoch=-1, topics=[topic]), 8)
    assert answer.topics[0].partitions[0].error_code == 0


def committed(kafka):
    topic = m.OffsetFetchRequest.OffsetFetchRequestTopics(name="orders", partition_indexes=[0])
    group = m.OffsetFetchRequest.OffsetFetchRequestGroup(group_id="g", topics=[topic])
    return ask(kafka, m.OffsetFetchRequest(groups=[group]), 8).groups[0].topics[0].partitions[0].committed_offset


def test_a_reset_empties_the_broker_and_makes_its_topics_again():
    with KafkaBroker(topics={"orders": 2}) as kafka:
        kafka.seed(seeded(orders=["a"], more=["b"]))
        commit(kafka, 1)
        kafka.faults.add(api="Produce", drop=True)
        kafka.advance(86_400_000)
        port, cluster = kafka.port, kafka._server.broker.cluster_id
        kafka.reset()
        assert [name for name in kafka.topics() if not name.startswith("__")] == ["orders"]
        assert kafka.offsets("orders") == [(0, 0), (0, 0)]
        assert committed(kafka) == -1
        assert kafka.faults.lines() == []
        assert (kafka.port, kafka._server.broker.cluster_id) == (port, cluster)
        assert kafka._server.broker.clock._wall_shift_ms == 0


def test_a_connection_ends_at_a_reset_and_the_next_is_accepted():
    with KafkaBroker() as kafka:
        with socket.create_connection(("localhost", kafka.port), timeout=150) as before:
            while not len(kafka._server.connections):
                pass
            kafka.reset()
            assert before.recv(1) == b""
        with socket.create_connection(("localhost", kafka.port), timeout=150):
            pass


def test_a_producer_id_is_not_given_out_again_after_a_reset():
    with KafkaBroker() as kafka:
        before = ask(kafka, m.InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=1000)).producer_id
        kafka.reset()
        after = ask(kafka, m.InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=1000)).producer_id
        assert after > before


def test_a_snapshot_has_topics_records_and_offsets_and_may_be_restored_twice():
    with KafkaBroker(topics=["orders"]) as kafka:
        kafka.seed(seeded(orders=["a", "b"]))
        commit(kafka, 2)
        kafka.snapshot("loaded")
        for _ in range(2):
            kafka.seed(seeded(orders=["c"], other=["d"]))
            commit(kafka, 3)
            kafka.restore("loaded")
            assert values(kafka) == ["a", "b"]
            assert committed(kafka) == 2
            assert "other" not in kafka.topics()


def test_a_snapshot_has_the_start_of_a_log_whose_records_were_deleted():
    with KafkaBroker(topics=["orders"]) as kafka:
        kafka.seed(seeded(orders=["a", "b", "c"]))
        partition = m.DeleteRecordsRequest.DeleteRecordsPartition(partition_index=0, offset=2)
        topic = m.DeleteRecordsRequest.DeleteRecordsTopic(name="orders", partitions=[partition])
        ask(kafka, m.DeleteRecordsRequest(topics=[topic], timeout_ms=1000))
        kafka.snapshot()
        kafka.restore()
        assert kafka.offsets("orders") == [(2, 3)]


def test_rules_and_the_request_log_continue_after_a_restored_snapshot():
    with KafkaBroker(topics=["orders"]) as kafka:
        kafka.requests.start()
        kafka.snapshot()
        fault = kafka.faults.add(api="ApiVersions", drop=True)
        kafka.restore()
        with socket.create_connection(("localhost", kafka.port), timeout=150) as client:
            client.sendall(bytes.fromhex("0000000a 0012 0000 00000001 ffff".replace(" ", "")))
            fault.wait_fired()
        assert [each["faults"] for each in kafka.requests.last(api="ApiVersions")] == [[fault.name]]
        fault.remove()


def test_an_unknown_snapshot_is_one_sentence():
    with KafkaBroker() as kafka:
        kafka.snapshot("a")
        with pytest.raises(StateError, match="there is no snapshot 'b'; there are: a"):
            kafka.restore("b")


@pytest.mark.parametrize("on_disk", [False, True])
def test_a_directory_takes_the_state_of_one_broker_to_another(tmp_path, on_disk):
    data = tmp_path / "data" if on_disk else None
    with KafkaBroker(topics=["orders"], data=data) as kafka:
        kafka.seed(seeded(orders=["a", "b"]))
        kafka.save(tmp_path / "saved")
        kafka.seed(seeded(orders=["c"]))
        with pytest.raises(StateError, match="is not empty"):
            kafka.save(tmp_path / "saved")
        kafka.load(tmp_path / "saved")
        assert values(kafka) == ["a", "b"]
        kafka.snapshot()
        kafka.reset()
        assert values(kafka) == []
        kafka.restore()
        assert values(kafka) == ["a", "b"]
    with KafkaBroker(data=tmp_path / "saved") as other:
        assert values(other) == ["a", "b"]


def test_a_directory_that_no_broker_can_use_leaves_the_state_as_it_is(tmp_path):
    with KafkaBroker(topics=["orders"]) as kafka:
        kafka.seed(seeded(orders=["a"]))
        kafka.save(tmp_path / "saved")
        (tmp_path / "saved" / "meta.properties").write_text("version=1\ncluster.id=x\nnode.id=77\n")
        with pytest.raises(BrokerStartError):
            kafka.load(tmp_path / "saved")
        assert values(kafka) == ["a"]
        with pytest.raises(StateError, match="is no data directory"):
            kafka.load(tmp_path)


def test_a_fork_begins_with_the_state_and_is_independent():
    with KafkaBroker(topics=["orders"]) as kafka:
        kafka.seed(seeded(orders=["a"]))
        with kafka.fork() as other:
            other.seed(seeded(orders=["b"]))
            kafka.seed(seeded(orders=["c"]))
            assert (values(kafka), values(other)) == (["a", "c"], ["a", "b"])
            assert other.port != kafka.port


def test_a_seed_has_topics_configs_users_acls_and_records_of_files(tmp_path):
    (tmp_path / "orders.jsonl").write_text(
        '{"key": "k", "value": {"id": 1}, "headers": [["h", "x"]], "partition": 2, "timestamp": 5}\n\n{"value": "2"}\n'
    )
    (tmp_path / "users.csv").write_text("key,value,header.from\n1,alice,file\n,bob,\n")
    seed = {
        "topics": {
            "orders": {"partitions": 3, "configs": {"retention.ms": -1}, "records": "orders.jsonl"},
            "users": {"partitions": 1, "records": "users.csv"},
            "empty": 4,
        },
        "configs": {"message.max.bytes": 2_000_000},
        "users": {"alice": "secret"},
        "acls": ["alice may read topic orders"],
    }
    (tmp_path / "seed.json").write_text(json.dumps(seed))
    with KafkaBroker(acls=[], config={"super.users": "User:ANONYMOUS"}) as kafka:
        kafka.seed(tmp_path / "seed.json")
        (first,) = kafka.records("orders", partition=2)
        assert first == {
            "topic": "orders",
            "partition": 2,
            "offset": 0,
            "timestamp": 5,
            "key": "k",
            "value": '{"id": 1}',
            "headers": [["h", "x"]],
        }
        assert [(each["key"], each["value"], each["headers"]) for each in kafka.records("users")] == [
            ("1", "alice", [["from", "file"]]),
            (None, "bob", []),
        ]
        assert len(kafka.offsets("empty")) == 4
        broker = kafka._server.broker
        assert broker.configs.topic("orders")["retention.ms"] == -1
        assert broker.configs.broker["message.max.bytes"] == 2_000_000
        assert {user for user, _ in broker.image.scram} == {"alice"}
        assert len(list(broker.image.acls)) > 0


def test_an_exported_topic_is_a_seed():
    with KafkaBroker() as kafka, KafkaBroker() as other:
        kafka.seed({"topics": {"orders": {"partitions": 2, "configs": {"retention.ms": 5}}}})
        kafka.seed({"topics": {"orders": {"records": [{"value": {"base64": "/w=="}, "partition": 1, "timestamp": 9}]}}})
        other.seed(kafka.export("orders"))
        assert other.records("orders") == kafka.records("orders")
        assert other.export("orders") == kafka.export("orders")


def test_records_are_given_from_an_offset_or_the_last_ones():
    with KafkaBroker() as kafka:
        kafka.seed({"topics": {"t": {"partitions": 1, "records": [{"value": str(n)} for n in range(2500)]}}})
        assert [each["offset"] for each in kafka.records("t", last=2)] == [2498, 2499]
        assert [each["offset"] for each in kafka.records("t", offset=999, last=3)] == [999, 1000, 1001]
        with pytest.raises(KafkaError, match="there is no topic x"):
            kafka.records("x")
        with pytest.raises(KafkaError, match="has no partition 7"):
            kafka.records("t", partition=7)


@pytest.mark.parametrize(
    ("seed", "sentence"),
    [
        ({"topic": {}}, "a seed has no 'topic'"),
        ({"topics": {"a b": 1}}, "Topic name is invalid"),
        ({"topics": {"a": 0}}, "has 0 partitions"),
        ({"topics": {"a": {"record": []}}}, "the topic a has no 'record'"),
        ({"topics": {"a": {"records": [{"key": "x"}]}}}, "line 1 is not a record"),
        ({"users": {"a": ""}}, "needs a name and a password"),
        ({"acls": ["alice reads"]}, "alice reads"),
    ],
)
def test_an_invalid_seed_is_one_sentence(seed, sentence):
    with KafkaBroker() as kafka, pytest.raises(SeedError, match=sentence):
        kafka.seed(seed)


def test_a_seed_file_that_cannot_be_read_is_one_sentence(tmp_path):
    (tmp_path / "a.csv").write_text("key,amount\n1,2\n")
    (tmp_path / "seed.json").write_text('{"topics": {"a": {"records": "a.csv"}}}')
    (tmp_path / "wrong.json").write_text("topics:")
    with KafkaBroker() as kafka:
        for name, sentence in (("seed", "the columns are"), ("wrong", "is not JSON"), ("none", "cannot read")):
            with pytest.raises(SeedError, match=sentence):
                kafka.seed(tmp_path / f"{name}.json")


def records_of_the_image(kafka):
    """How many records of each kind the metadata has."""
    return Counter(
        record.NAME for record in kafka._in_loop_sync(lambda: [*snapshot_records(kafka._server.broker.image)])
    )


def test_after_a_reset_nothing_of_the_state_before_is_left():
    with KafkaBroker(topics=["orders"], users={"alice": "secret"}) as kafka:
        new = records_of_the_image(kafka)
        kafka.seed(
            {
                "topics": {"more": {"partitions": 2, "configs": {"retention.ms": 1000}, "records": [{"value": "a"}]}},
                "configs": {"message.max.bytes": 2_000_000},
                "users": {"bob": "secret"},
                "acls": ["bob may read topic orders"],
            }
        )
        commit(kafka, 1)
        ask(kafka, m.InitProducerIdRequest(transactional_id="t", transaction_timeout_ms=1000))
        quota = m.AlterClientQuotasRequest.EntryData(
            entity=[m.AlterClientQuotasRequest.EntityData(entity_type="client-id", entity_name="c")],
            ops=[m.AlterClientQuotasRequest.OpData(key="producer_byte_rate", value=1000.0)],
        )
        ask(kafka, m.AlterClientQuotasRequest(entries=[quota]))
        kafka.faults.add(api="Produce", drop=True)
        assert records_of_the_image(kafka) - new
        kafka.reset()
        assert records_of_the_image(kafka) - new == {"ProducerIdsRecord": 1}  # these are not given out again
        assert new - records_of_the_image(kafka) == {}
        assert (kafka.groups(), kafka.transactions(), kafka.connections(), kafka.faults.lines()) == ([], [], [], [])


def test_a_fetch_that_waits_ends_with_a_reset():
    topic = m.FetchRequest.FetchTopic(topic="orders", partitions=[m.FetchRequest.FetchPartition(partition=0)])
    request = m.FetchRequest(max_wait_ms=600_000, min_bytes=1, topics=[topic])
    with (
        KafkaBroker(topics=["orders"]) as kafka,
        socket.create_connection(("localhost", kafka.port), timeout=150) as client,
    ):
        kafka.requests.start()
        client.sendall(encode_request(request.KEY, 11, 1, "test", request))
        kafka.requests.wait_for(api="Fetch")
        kafka.reset()
        assert client.recv(1) == b""
