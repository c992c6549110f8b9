"""Answers that are rewritten or stale, and events, as a client on the wire sees them."""

import pytest
from blocking_client import BlockingClient

from kwire.errors import Code
from kwire.faults.rewriting import rewrite
from kwire.testing import EventError, KafkaBroker, KafkaError, RuleError
from kwire.wire import messages as m


@pytest.fixture(scope="module")
def broker():
    with KafkaBroker(topics={"orders": 2, "other": 1}, config={"group.initial.rebalance.delay.ms": 0}) as running:
        yield running


@pytest.fixture
def kafka(broker):
    broker.reset()
    return broker


@pytest.fixture
def client(kafka):
    with BlockingClient(kafka.port) as connected:
        yield connected


def metadata(client, *names):
    wanted = [m.MetadataRequest.MetadataRequestTopic(name=name) for name in names] if names else None
    answer = client.call(8, m.MetadataRequest(topics=wanted))
    return {topic.name: [each.leader_id for each in topic.partitions] for topic in answer.topics}, answer


@pytest.mark.parametrize("named", [["orders", "other"], []])
def test_fields_are_set_in_the_items_of_the_scope(kafka, client, named):
    with kafka.faults.add(api="Metadata", topic="orders", partition=1, set={"leader_id": 9}) as fault:
        found = metadata(client, *named)[0]
        assert found["orders"][1] == 9
        assert 9 not in (found["orders"][0], found["other"][0])
    assert fault.fired == 1


def test_fields_are_set_everywhere_without_a_scope(kafka, client):
    with kafka.faults.add(api="Metadata", set={"host": "nowhere.invalid", "port": 1}):
        answer = metadata(client, "orders")[1]
        assert [(each.host, each.port) for each in answer.brokers] == [("nowhere.invalid", 1)]
    assert metadata(client, "orders")[1].brokers[0].port == kafka.port


@pytest.mark.parametrize("version", [3, 4])
def test_a_field_is_set_where_one_struct_is_at_two_places_for_versions_of_their_own(version):
    made = m.AddPartitionsToTxnResponse
    topic = made.AddPartitionsToTxnTopicResult(
        name="t", results_by_partition=[made.AddPartitionsToTxnPartitionResult(partition_index=0)]
    )
    transaction = made.AddPartitionsToTxnResult(topic_results=[topic])
    response = (
        made(results_by_topic_v3_and_below=[topic]) if version == 3 else made(results_by_transaction=[transaction])
    )
    rewrite(response, version, {"partition_error_code": 7}, lambda _subject: True, lambda _topic_id: None)
    assert topic.results_by_partition[0].partition_error_code == 7


def test_a_stale_answer_lacks_later_changes(kafka, client):
    with kafka.faults.add(api="Metadata", stale=True, times=1) as fault:
        assert "later" not in metadata(client)[0]
        assert fault.fired == 0
        kafka.create_topic("later")
        assert "later" not in metadata(client)[0]
        assert fault.fired == 1
        assert "later" in metadata(client)[0]


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        ({"api": "Metadata", "set": {"leader": 1}}, "no answer has a field 'leader' that can be set"),
        ({"api": "Metadata", "set": {"leader_id": "x"}}, "is of type int32, which 'x' is not"),
        ({"api": "Metadata", "set": {}}, "set has names of fields"),
        ({"api": "Produce", "stale": True}, "stale is for requests that only read"),
        ({"stale": True}, "stale needs an api"),
    ],
)
def test_an_invalid_rule_is_one_sentence(kafka, rule, sentence):
    with pytest.raises(RuleError, match=sentence):
        kafka.faults.add(**rule)


def join(client, group, member=""):
    protocol = m.JoinGroupRequest.JoinGroupRequestProtocol(name="range", metadata=b"")
    request = m.JoinGroupRequest(
        group_id=group,
        session_timeout_ms=30_000,
        rebalance_timeout_ms=30_000,
        member_id=member,
        protocol_type="consumer",
        protocols=[protocol],
    )
    joined = client.call(3, request)
    assert joined.error_code == 0
    share = m.SyncGroupRequest.SyncGroupRequestAssignment(member_id=joined.member_id, assignment=b"")
    sync = m.SyncGroupRequest(
        group_id=group, generation_id=joined.generation_id, member_id=joined.member_id, assignments=[share]
    )
    assert client.call(3, sync).error_code == 0
    return joined


def heartbeat(client, group, joined):
    request = m.HeartbeatRequest(group_id=group, generation_id=joined.generation_id, member_id=joined.member_id)
    return Code(client.call(3, request).error_code)


def test_a_forced_rebalance_has_members_join_again(kafka, client):
    joined = join(client, "g")
    assert heartbeat(client, "g", joined) is Code.NONE
    kafka.happen("rebalance", group="g")
    assert heartbeat(client, "g", joined) is Code.REBALANCE_IN_PROGRESS
    assert join(client, "g", joined.member_id).generation_id == joined.generation_id + 1
    with pytest.raises(KafkaError, match="the group none has no members"):
        kafka.happen("rebalance", group="none")


def test_a_fenced_member_is_not_known_any_more(kafka, client):
    joined = join(client, "g")
    assert kafka.happen("member_fenced", group="g", client_id="client") == {"members": [joined.member_id]}
    assert heartbeat(client, "g", joined) is Code.UNKNOWN_MEMBER_ID
    joined = join(client, "g")
    with pytest.raises(EventError, match=r"its members are: .* \(client\)"):
        kafka.happen("member_fenced", group="g", client_id="other")


def test_a_moved_coordinator_answers_waiting_requests(kafka, client):
    joined = join(client, "g")
    with BlockingClient(kafka.port) as second:
        protocol = m.JoinGroupRequest.JoinGroupRequestProtocol(name="range", metadata=b"")
        request = m.JoinGroupRequest(
            group_id="g",
            session_timeout_ms=30_000,
            rebalance_timeout_ms=30_000,
            protocol_type="consumer",
            protocols=[protocol],
        )
        kafka.requests.start()
        second.send(3, request)
        kafka.requests.wait_for(api="JoinGroup")
        while heartbeat(client, "g", joined) is not Code.REBALANCE_IN_PROGRESS:
            pass
        kafka.happen("coordinator_moved", group="g")
        assert second.answer(3, request).error_code == Code.NOT_COORDINATOR


def test_a_consumer_of_the_new_protocol_is_fenced_and_rebalanced(kafka, client):
    def beat(epoch, member="m-1"):
        request = m.ConsumerGroupHeartbeatRequest(
            group_id="new",
            member_id=member,
            member_epoch=epoch,
            rebalance_timeout_ms=30_000 if epoch == 0 else -1,
            subscribed_topic_names=["orders"] if epoch == 0 else None,
            topic_partitions=[] if epoch == 0 else None,
        )
        return client.call(0, request)

    first = beat(0)
    kafka.happen("rebalance", group="new")
    second = beat(first.member_epoch)
    assert second.member_epoch == first.member_epoch + 1
    kafka.happen("member_fenced", group="new", member_id="m-1")
    assert beat(second.member_epoch).error_code == Code.UNKNOWN_MEMBER_ID


def test_a_bumped_leader_epoch_fences_clients_with_the_old_one(kafka, client):
    before = metadata(client, "orders")[1].topics[0].partitions[0].leader_epoch
    assert kafka.happen("leader_epoch_bumped", topic="orders", partition=0) == {"leader_epoch": before + 1}
    assert metadata(client, "orders")[1].topics[0].partitions[0].leader_epoch == before + 1
    partition = m.ListOffsetsRequest.ListOffsetsPartition(partition_index=0, current_leader_epoch=before, timestamp=-1)
    topic = m.ListOffsetsRequest.ListOffsetsTopic(name="orders", partitions=[partition])
    answer = client.call(5, m.ListOffsetsRequest(replica_id=-1, topics=[topic]))
    assert answer.topics[0].partitions[0].error_code == Code.FENCED_LEADER_EPOCH
    with pytest.raises(KafkaError, match="there is no partition orders-7"):
        kafka.happen("leader_epoch_bumped", topic="orders", partition=7)


def test_a_fenced_producer_is_refused(kafka, client):
    request = m.InitProducerIdRequest(transactional_id="t", transaction_timeout_ms=10_000)
    client.call(3, m.FindCoordinatorRequest(key="t", key_type=1))
    first = client.call(3, request)
    assert first.error_code == 0
    assert kafka.happen("producer_fenced", transactional_id="t")["producer_epoch"] == first.producer_epoch + 1
    end = m.EndTxnRequest(
        transactional_id="t", producer_id=first.producer_id, producer_epoch=first.producer_epoch, committed=True
    )
    assert client.call(1, end).error_code in (Code.INVALID_PRODUCER_EPOCH, Code.PRODUCER_FENCED)
    with pytest.raises(KafkaError):
        kafka.happen("producer_fenced", transactional_id="none")


def test_a_transaction_left_hanging_keeps_the_last_stable_offset(kafka):
    kafka.seed({"topics": {"orders": {"records": [{"value": "a", "partition": 0}]}}})
    happened = kafka.happen("transaction_left_hanging", topic="orders", partition=0)
    kafka.seed({"topics": {"orders": {"records": [{"value": "b", "partition": 0}]}}})
    log = kafka._in_loop_sync(lambda: kafka._server.broker.partitions.get("orders", 0).log)
    assert (happened["offset"], log.last_stable_offset, log.high_watermark) == (1, 1, 3)


@pytest.mark.parametrize(
    ("event", "what", "sentence"),
    [
        ("explosion", {}, "there is no event 'explosion'"),
        ("rebalance", {"topic": "orders"}, "rebalance has no 'topic'"),
        ("rebalance", {}, "this event needs a group"),
        ("leader_epoch_bumped", {"topic": "orders", "partition": "x"}, "partition is a whole number"),
        ("coordinator_moved", {}, "has a group or a transactional_id"),
    ],
)
def test_an_impossible_event_is_one_sentence(kafka, event, what, sentence):
    with pytest.raises(EventError, match=sentence):
        kafka.happen(event, **what)
