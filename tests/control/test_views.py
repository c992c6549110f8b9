"""What a broker knows, and waiting for it."""

import threading

import pytest
from click.testing import CliRunner

from kwire.broker.partitions.partition import Role
from kwire.cli.control.ctl import ctl
from kwire.testing import ConditionError, KafkaBroker, KafkaError, KafkaProcess, NeverHappened
from kwire.wire import messages as m


def ask(kafka, request, version=None):
    bench = kafka._current_bench()
    return kafka._in_loop(lambda: bench.client.call(request, version))


@pytest.fixture(scope="module")
def broker():
    with KafkaBroker(config={"group.initial.rebalance.delay.ms": 0}) as running:
        yield running


@pytest.fixture
def kafka(broker):
    broker.reset()
    records = [{"value": "a", "partition": 0}, {"value": "b", "partition": 0}, {"value": "c", "partition": 1}]
    broker.seed({"topics": {"orders": {"partitions": 2, "records": records}}})
    return broker


def join(kafka, group="g"):
    protocol = m.JoinGroupRequest.JoinGroupRequestProtocol(name="range", metadata=memoryview(b""))
    request = m.JoinGroupRequest(
        group_id=group,
        session_timeout_ms=30_000,
        rebalance_timeout_ms=30_000,
        member_id="",
        protocol_type="consumer",
        protocols=[protocol],
    )
    joined = ask(kafka, request, 3)
    assigned = bytes.fromhex("0000 00000001 0006 6f7264657273 00000001 00000001 ffffffff")
    share = m.SyncGroupRequest.SyncGroupRequestAssignment(member_id=joined.member_id, assignment=memoryview(assigned))
    sync = m.SyncGroupRequest(
        group_id=group, generation_id=joined.generation_id, member_id=joined.member_id, assignments=[share]
    )
    assert ask(kafka, sync, 3).error_code == 0
    return joined.member_id


def commit(kafka, offset, partition=0):
    row = m.OffsetCommitRequest.OffsetCommitRequestPartition(partition_index=partition, committed_offset=offset)
    topic = m.OffsetCommitRequest.OffsetCommitRequestTopic(name="orders", partitions=[row])
    ask(kafka, m.OffsetCommitRequest(group_id="idle", generation_id_or_member_epoch=-1, topics=[topic]), 8)


def test_a_group_has_members_with_assignments(kafka):
    member = join(kafka)
    assert kafka.groups() == [{"group": "g", "kind": "classic", "state": "Stable"}]
    (shown,) = kafka.group("g")["members"]
    assert (shown["member_id"], shown["client_id"], shown["assignment"]) == (member, "kwire-control", {"orders": [1]})
    with pytest.raises(KafkaError, match="there is no group none"):
        kafka.group("none")


def test_lag_counts_from_the_start_where_nothing_is_committed(kafka):
    commit(kafka, 1)
    shown = kafka.group("idle")
    assert [(each["partition"], each["offset"], each["end"], each["lag"]) for each in shown["offsets"]] == [
        (0, 1, 2, 1),
        (1, None, 1, 1),
    ]
    assert (shown["kind"], shown["state"], shown["lag"]) == ("classic", "Empty", 2)


def test_lag_is_shown_where_this_broker_does_not_lead_and_unknown_without_a_replica(kafka, monkeypatch):
    commit(kafka, 1)
    partitions = kafka._current_bench().broker.partitions
    of_topic = partitions.of_topic
    first = of_topic("orders")[0]
    monkeypatch.setattr(first, "role", Role.FOLLOWER)
    monkeypatch.setattr(partitions, "of_topic", lambda topic: {0: first} if topic == "orders" else of_topic(topic))
    shown = kafka.group("idle")
    assert [(each["partition"], each["end"], each["lag"]) for each in shown["offsets"]] == [(0, 2, 1), (1, None, None)]
    assert shown["lag"] == 1
    with pytest.raises(NeverHappened, match="not known here, where there is no replica of orders-1"):
        kafka.wait_until(group="idle", lag=5, timeout=0.0)


def test_consumer_and_share_groups_are_shown_too(kafka):
    beat = m.ConsumerGroupHeartbeatRequest(
        group_id="new",
        member_id="m-1",
        member_epoch=0,
        rebalance_timeout_ms=30_000,
        subscribed_topic_names=["orders"],
        topic_partitions=[],
    )
    ask(kafka, beat, 0)
    ask(kafka, m.ShareGroupHeartbeatRequest(group_id="s", member_id="x", subscribed_topic_names=["orders"]))
    assert {(each["group"], each["kind"]) for each in kafka.groups()} == {("new", "consumer"), ("s", "share")}
    assert kafka.group("new")["members"][0]["assignment"] == {"orders": [0, 1]}
    assert kafka.group("s")["members"][0]["member_id"] == "x"
    assert kafka.locks("s") == []


def test_transactions_and_producers_are_shown(kafka):
    ask(kafka, m.InitProducerIdRequest(transactional_id="t", transaction_timeout_ms=5000))
    (shown,) = kafka.transactions()
    assert (shown["transactional_id"], shown["state"], shown["partitions"]) == ("t", "Empty", {})
    happened = kafka.happen("transaction_left_hanging", topic="orders")
    assert [(each["producer_id"], each["transaction_began_at"]) for each in kafka.producers("orders")] == [
        (happened["producer_id"], 2)
    ]
    kafka.wait_until(transactional_id="t", state="Empty")
    with pytest.raises(NeverHappened, match="the transaction of t is CompleteCommit; it is Empty"):
        kafka.wait_until(transactional_id="t", timeout=0)


def test_connections_are_shown(kafka):
    import socket

    with socket.create_connection(("localhost", kafka.port), timeout=150) as client:
        while not kafka.connections():
            pass
        (shown,) = kafka.connections()
        assert shown["peer"].endswith(f":{client.getsockname()[1]}")
        assert (shown["listener"], shown["principal"]) == ("PLAINTEXT", "User:ANONYMOUS")


def test_a_wait_ends_when_it_holds(kafka):
    later = threading.Timer(0.05, lambda: (join(kafka), commit(kafka, 2), commit(kafka, 1, 1)))
    later.start()
    kafka.wait_until(group="g", members=1)
    kafka.wait_until(group="idle", lag=0)
    later.join()
    kafka.wait_until(topic="orders", records=3)
    kafka.wait_until(group="g", left="worker-1")
    kafka.happen("member_fenced", group="g", client_id="kwire-control")
    kafka.wait_until(group="g", left="kwire-control")


@pytest.mark.parametrize(
    ("condition", "sentence"),
    [
        ({"group": "none"}, "not within 0 s: the group none is Stable; there is no group none"),
        ({"group": "g", "members": 2}, r"is Stable with 2 members; it is Stable with 1 member \(kwire-control\)"),
        ({"group": "g", "lag": 0}, "it has committed no offset"),
        ({"group": "idle", "lag": 1}, r"at most 1; its lag is 2 \(orders-0: 1, orders-1: 1\)"),
        ({"group": "g", "left": "kwire-control"}, r"it has 1 member \(kwire-control\)"),
        ({"topic": "orders", "records": 9}, "at least 9 records; it has 3"),
        ({"topic": "none", "records": 1}, "there is no topic none"),
        ({"transactional_id": "none"}, "there is no transactional id none"),
    ],
)
def test_a_wait_that_times_out_returns_the_current_state(kafka, condition, sentence):
    join(kafka)
    commit(kafka, 1)
    with pytest.raises(NeverHappened, match=sentence):
        kafka.wait_until(timeout=0, **condition)


@pytest.mark.parametrize("condition", [{}, {"topic": "a"}, {"group": "g", "lag": 0, "members": 1}, {"group": 5}])
def test_an_unknown_condition_is_one_sentence(kafka, condition):
    with pytest.raises(ConditionError):
        kafka.wait_until(**condition)


def test_http_and_the_commands_show_and_wait_for_the_same():
    with KafkaProcess(topics=["orders"]) as kafka:
        kafka.seed({"topics": {"orders": {"records": [{"value": "a"}]}}})
        kafka.wait_until(topic="orders", records=1)
        with pytest.raises(NeverHappened, match="it has 1"):
            kafka.wait_until(topic="orders", records=2, timeout=0)
        with pytest.raises(ConditionError, match="a condition is"):
            kafka.wait_until(topic="orders")
        assert (kafka.groups(), kafka.transactions(), kafka.producers("orders")) == ([], [], [])
        assert (kafka.connections(), kafka.locks("g")) == ([], [])
        with pytest.raises(KafkaError, match="GROUP_ID_NOT_FOUND"):
            kafka.group("g")

        def run(*arguments):
            return CliRunner().invoke(ctl, ["--url", kafka.url, *arguments]).exit_code

        assert run("until", "topic=orders", "records=1") == 0
        assert run("until", "topic=orders", "records=2", "--timeout", "1ms") == 3
        assert run("until", "topic=orders") == 1
        for command in (["groups"], ["transactions"], ["producers", "orders"], ["connections"], ["locks", "g"]):
            assert run(*command) == 0
        assert run("groups", "none") == 1


def test_a_streams_group_shows_its_tasks_and_loses_a_member(kafka):
    part = m.StreamsGroupHeartbeatRequest.Subtopology(subtopology_id="0", source_topics=["orders"])
    request = m.StreamsGroupHeartbeatRequest(
        group_id="app",
        member_id="m",
        process_id="p",
        rebalance_timeout_ms=1000,
        topology=m.StreamsGroupHeartbeatRequest.Topology(subtopologies=[part]),
        active_tasks=[],
        standby_tasks=[],
        warmup_tasks=[],
    )
    ask(kafka, request)
    (member,) = kafka.group("app")["members"]
    assert (member["member_id"], member["assignment"]) == ("m", {})
    kafka.happen("member_fenced", group="app", member_id="m")
    assert kafka.group("app")["members"] == []
