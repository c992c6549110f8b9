"""Each effect on a broker with real sockets, seen by a client that speaks the protocol."""

import contextlib
import select
import socket
import struct
import threading
import time

import pytest

from kwire.errors import Code
from kwire.faults.rules import Hold, RuleFields, Throttle, read_rule
from kwire.testing import FaultNeverFired, KafkaBroker, RuleError
from kwire.wire import codec
from kwire.wire import messages as m
from kwire.wire.batches.records import Record, build_batch

PRODUCE, FETCH, METADATA, HEARTBEAT, API_VERSIONS, DELETE_RECORDS, FIND = 0, 1, 3, 12, 18, 21, 10


class Client:
    """One connection; ``call`` sends a request and returns the decoded response."""

    def __init__(self, kafka, client_id="client"):
        self.socket = socket.create_connection(("localhost", kafka.port), timeout=150)
        self.client_id = client_id
        self.sent = 0

    def send(self, key, version, body):
        self.sent += 1
        self.socket.sendall(codec.encode_request(key, version, self.sent, self.client_id, body))

    def send_together(self, *requests):
        frames = []
        for key, version, body in requests:
            self.sent += 1
            frames.append(codec.encode_request(key, version, self.sent, self.client_id, body))
        self.socket.sendall(b"".join(frames))

    def receive(self):
        size = struct.unpack(">i", self._exactly(4))[0]
        return memoryview(self._exactly(size))

    def call(self, key, version, body):
        self.send(key, version, body)
        return codec.decode_response(key, version, self.receive())[1]

    def _exactly(self, count):
        content = b""
        while len(content) < count:
            chunk = self.socket.recv(count - len(content))
            if not chunk:
                raise EOFError(content)
            content += chunk
        return content


@pytest.fixture(scope="module")
def shared():
    with KafkaBroker(topics={"orders": 2, "other": 1}) as broker:
        yield broker


@pytest.fixture
def kafka(shared):
    yield shared
    shared.faults.clear()


@pytest.fixture
def connect(kafka):
    """Makes clients whose connections end with the test."""
    with contextlib.ExitStack() as stack:

        def new(client_id="client"):
            one = Client(kafka, client_id)
            stack.enter_context(one.socket)
            return one

        yield new


@pytest.fixture
def client(connect):
    return connect()


def produce(*partitions):
    topic = m.ProduceRequest.TopicProduceData
    partition = m.ProduceRequest.PartitionProduceData
    return m.ProduceRequest(
        acks=-1,
        timeout_ms=1000,
        topic_data=[
            topic(
                name=name, partition_data=[partition(index=index, records=build_batch([Record(0, 1_000, None, b"v")]))]
            )
            for name, index in partitions
        ],
    )


def fetch(topic, partition, offset=0, max_wait_ms=20_000, **fields):
    request = m.FetchRequest
    return request(
        max_wait_ms=max_wait_ms,
        min_bytes=1,
        topics=[
            request.FetchTopic(
                topic=topic,
                partitions=[
                    request.FetchPartition(partition=partition, fetch_offset=offset, partition_max_bytes=1_000_000)
                ],
            )
        ],
        **fields,
    )


def codes(response):
    return {
        (topic.name, partition.index): partition.error_code
        for topic in response.responses
        for partition in topic.partition_responses
    }


def end_offset(client, topic, partition):
    request = m.ListOffsetsRequest
    response = client.call(
        2,
        6,
        request(
            replica_id=-1,
            topics=[
                request.ListOffsetsTopic(
                    name=topic, partitions=[request.ListOffsetsPartition(partition_index=partition, timestamp=-1)]
                )
            ],
        ),
    )
    return response.topics[0].partitions[0].offset


def test_an_error_refuses_the_named_partition_undone_and_serves_the_others(kafka, client):
    before = end_offset(client, "orders", 0), end_offset(client, "orders", 1)
    with kafka.faults.add(api="Produce", topic="orders", partition=1, error="NOT_LEADER_OR_FOLLOWER", times=1) as fault:
        response = client.call(PRODUCE, 9, produce(("orders", 0), ("orders", 1)))
    assert codes(response) == {("orders", 0): 0, ("orders", 1): Code.NOT_LEADER_OR_FOLLOWER}
    assert (fault.matched, fault.fired) == (1, 1)
    assert (end_offset(client, "orders", 0), end_offset(client, "orders", 1)) == (before[0] + 1, before[1])


def test_an_error_that_is_done_all_the_same_leaves_the_records(kafka, client):
    before = end_offset(client, "orders", 0)
    with kafka.faults.add(api="Produce", topic="orders", error="REQUEST_TIMED_OUT", done=True):
        response = client.call(PRODUCE, 9, produce(("orders", 0)))
    assert codes(response) == {("orders", 0): Code.REQUEST_TIMED_OUT}
    assert end_offset(client, "orders", 0) == before + 1


def test_an_error_of_a_fetch_ends_the_long_poll_and_its_session(kafka, client):
    end = end_offset(client, "other", 0)
    first = client.call(FETCH, 11, fetch("other", 0, end, session_id=0, session_epoch=0, max_wait_ms=0))
    assert first.session_id != 0
    with kafka.faults.add(api="Fetch", topic="other", error="FENCED_LEADER_EPOCH", times=1):
        request = m.FetchRequest(max_wait_ms=0, session_id=first.session_id, session_epoch=1)
        assert client.call(FETCH, 11, request).error_code == Code.FETCH_SESSION_ID_NOT_FOUND
        response = client.call(FETCH, 11, fetch("other", 0, end, session_id=0, session_epoch=0))
    assert response.responses[0].partitions[0].error_code == Code.FENCED_LEADER_EPOCH
    assert response.session_id == 0


def test_the_level_chooses_where_an_error_is_put(kafka, client):
    topics = [m.MetadataRequest.MetadataRequestTopic(name="orders")]
    with kafka.faults.add(api="Metadata", topic="orders", error="LEADER_NOT_AVAILABLE", times=1):
        topic = client.call(METADATA, 9, m.MetadataRequest(topics=topics)).topics[0]
    assert (topic.error_code, topic.partitions) == (Code.LEADER_NOT_AVAILABLE, [])
    with kafka.faults.add(api="Metadata", topic="orders", partition=1, error="LEADER_NOT_AVAILABLE", times=1):
        topic = client.call(METADATA, 9, m.MetadataRequest(topics=topics)).topics[0]
    errors = {each.partition_index: each.error_code for each in topic.partitions}
    assert (topic.error_code, errors) == (0, {0: 0, 1: Code.LEADER_NOT_AVAILABLE})


def test_an_answer_may_name_what_the_request_did_not(kafka, client):
    with kafka.faults.add(api="Metadata", topic="orders", error="LEADER_NOT_AVAILABLE") as fault:
        topics = client.call(METADATA, 9, m.MetadataRequest(topics=None)).topics
        client.call(METADATA, 9, m.MetadataRequest(topics=[]))
    assert {each.name: each.error_code for each in topics} == {"orders": Code.LEADER_NOT_AVAILABLE, "other": 0}
    assert fault.matched == 1


def test_a_request_about_one_group_gets_the_error_as_a_whole(kafka, client):
    request = m.HeartbeatRequest(group_id="g", member_id="m", generation_id=1)
    with kafka.faults.add(api="Heartbeat", group="g", error="COORDINATOR_LOAD_IN_PROGRESS", times=1):
        assert client.call(HEARTBEAT, 4, request).error_code == Code.COORDINATOR_LOAD_IN_PROGRESS
        assert client.call(HEARTBEAT, 4, request).error_code == Code.UNKNOWN_MEMBER_ID


def test_a_coordinator_can_be_unavailable_for_one_group(kafka, client):
    with kafka.faults.add(api="FindCoordinator", group="g", error=15):
        response = client.call(FIND, 4, m.FindCoordinatorRequest(key_type=0, coordinator_keys=["g", "h"]))
    assert {each.key: each.error_code for each in response.coordinators} == {"g": 15, "h": 0}


def test_triggers_skip_count_and_repeat_by_a_seed(kafka, client):
    def answers(count):
        request = m.HeartbeatRequest(group_id="g")
        return [client.call(HEARTBEAT, 4, request).error_code == 14 for _ in range(count)]

    with kafka.faults.add(api="Heartbeat", error=14, skip=1, times=2):
        assert answers(5) == [False, True, True, False, False]
    with kafka.faults.add(api="Heartbeat", error=14, probability=0.5, seed=3) as fault:
        once = answers(20)
        assert 0 < fault.fired < 20
    with kafka.faults.add(api="Heartbeat", error=14, probability=0.5, seed=3):
        assert answers(20) == once


def test_a_trigger_between_two_moments_follows_the_clock_of_the_broker(kafka, client):
    now_ms = time.time() * 1000
    with kafka.faults.add(api="Heartbeat", error=14, from_ms=int(now_ms + 1e9), until_ms=int(now_ms + 2e9)):
        request = m.HeartbeatRequest(group_id="g")
        assert client.call(HEARTBEAT, 4, request).error_code != 14
        kafka.advance(1.5e9)
        assert client.call(HEARTBEAT, 4, request).error_code == 14
        kafka.advance(1e9)
        assert client.call(HEARTBEAT, 4, request).error_code != 14


def test_a_scope_can_name_the_client_and_versions(kafka, client, connect):
    request = m.HeartbeatRequest(group_id="g")
    with kafka.faults.add(api="Heartbeat", error=14, client_id="client", versions=[3, 4]):
        assert client.call(HEARTBEAT, 4, request).error_code == 14
        assert client.call(HEARTBEAT, 2, request).error_code != 14
        assert connect("another").call(HEARTBEAT, 4, request).error_code != 14
    with kafka.faults.add(api="Heartbeat", error=14, principal="User:ANONYMOUS", listener="PLAINTEXT"):
        assert client.call(HEARTBEAT, 4, request).error_code == 14


def test_a_delay_follows_the_clock_of_the_broker(kafka, client):
    with kafka.faults.add(api="ApiVersions", delay_ms=3_600_000) as fault:
        client.send(API_VERSIONS, 0, m.ApiVersionsRequest())
        fault.wait_fired()
        kafka.advance(3_600_000)
        client.receive()


def test_a_held_request_goes_on_when_it_is_released(kafka, client, connect):
    before = end_offset(client, "orders", 0)
    with kafka.faults.add(api="Produce", topic="orders", hold=True) as fault:
        client.send(PRODUCE, 9, produce(("orders", 0)))
        fault.wait_fired()
        assert end_offset(connect(), "orders", 0) == before
        fault.release()
        client.receive()
    assert end_offset(client, "orders", 0) == before + 1


def test_a_request_held_after_it_took_effect_has_its_records(kafka, client, connect):
    before = end_offset(client, "orders", 0)
    with kafka.faults.add(api="Produce", hold=True, done=True) as fault:
        client.send(PRODUCE, 9, produce(("orders", 0)))
        fault.wait_fired()
        assert end_offset(connect(), "orders", 0) == before + 1
    client.receive()  # removing the rule releases it


@pytest.mark.parametrize("done", [False, True])
def test_after_a_dropped_request_its_connection_is_open_and_silent(kafka, client, connect, done):
    before = end_offset(client, "orders", 0)
    with kafka.faults.add(api="Produce", drop=True, done=done, times=1) as fault:
        client.send_together(
            (API_VERSIONS, 0, m.ApiVersionsRequest()),
            (PRODUCE, 9, produce(("orders", 0))),
            (PRODUCE, 9, produce(("orders", 0))),
        )
        client.receive()  # the answer to what came before it
        fault.wait_fired()
    client.send(PRODUCE, 9, produce(("orders", 0)))
    other = connect()
    other.call(PRODUCE, 9, produce(("orders", 0)))
    assert end_offset(other, "orders", 0) == before + done + 1
    assert not select.select([client.socket], [], [], 0)[0]


def test_a_connection_that_was_cut_off_ends_with_its_client(kafka, client):
    with kafka.faults.add(api="Produce", drop=True):
        client.send(PRODUCE, 9, produce(("orders", 0)))
        client.socket.shutdown(socket.SHUT_WR)
        assert client.socket.recv(1) == b""


def test_requests_behind_one_that_closes_the_connection_are_not_handled(kafka, client, connect):
    before = end_offset(client, "orders", 0)
    with kafka.faults.add(api="Produce", close=True, times=1):
        client.send_together((PRODUCE, 9, produce(("orders", 0))), (PRODUCE, 9, produce(("orders", 0))))
        assert client.socket.recv(1) == b""
    assert end_offset(connect(), "orders", 0) == before


@pytest.mark.parametrize("done", [False, True])
def test_a_connection_is_closed_instead_of_the_reply(kafka, client, connect, done):
    before = end_offset(client, "orders", 0)
    with kafka.faults.add(api="Produce", close=True, done=done, times=1):
        client.send(PRODUCE, 9, produce(("orders", 0)))
        assert client.socket.recv(1) == b""
    assert end_offset(connect(), "orders", 0) == before + done


@pytest.mark.parametrize("done", [False, True])
def test_a_connection_is_reset_instead_of_the_reply(kafka, client, connect, done):
    before = end_offset(client, "orders", 0)
    with kafka.faults.add(api="Produce", reset=True, done=done, times=1):
        client.send(PRODUCE, 9, produce(("orders", 0)))
        with pytest.raises(ConnectionResetError):
            client.socket.recv(1)
    assert end_offset(connect(), "orders", 0) == before + done


def test_a_truncated_reply_ends_in_the_middle(kafka, client):
    with kafka.faults.add(api="ApiVersions", truncate=10):
        client.send(API_VERSIONS, 0, m.ApiVersionsRequest())
        with pytest.raises(EOFError) as end:
            client.receive()
        assert len(end.value.args[0]) == 6


def test_a_garbage_reply_has_the_right_size_and_correlation_id(kafka, client):
    size = len(client.call(API_VERSIONS, 0, m.ApiVersionsRequest()).api_keys)
    with kafka.faults.add(api="ApiVersions", garbage=True):
        client.send(API_VERSIONS, 0, m.ApiVersionsRequest())
        frame = client.receive()
    assert struct.unpack_from(">i", frame)[0] == client.sent
    assert len(frame) > size
    assert set(frame[4:]) == {0xFF}


def test_a_throttle_time_is_answered_and_mutes_the_connection(kafka, client):
    with kafka.faults.add(api="Heartbeat", throttle_ms=60_000, times=1):
        response = client.call(HEARTBEAT, 4, m.HeartbeatRequest(group_id="g"))
        assert response.throttle_time_ms == 60_000
        client.send(API_VERSIONS, 0, m.ApiVersionsRequest())
        client.socket.settimeout(0.1)
        with pytest.raises(TimeoutError):
            client.socket.recv(1)
        client.socket.settimeout(150)
        kafka.advance(60_000)
        client.receive()


def test_corrupt_records_have_another_crc_and_the_log_keeps_the_right_one(kafka, client):
    client.call(PRODUCE, 9, produce(("other", 0)))
    sound = client.call(FETCH, 11, fetch("other", 0)).responses[0].partitions[0].records
    with kafka.faults.add(api="Fetch", topic="other", corrupt_records=True, times=1):
        spoilt = client.call(FETCH, 11, fetch("other", 0)).responses[0].partitions[0].records
    assert [a ^ b for a, b in zip(sound, spoilt, strict=True) if a != b][0:1] == [1]
    assert sound[17] ^ spoilt[17] == 1
    assert client.call(FETCH, 11, fetch("other", 0)).responses[0].partitions[0].records == sound


def test_a_rule_that_disturbed_nothing_fails_the_block(kafka):
    with pytest.raises(FaultNeverFired) as failure:  # noqa: SIM117
        with kafka.faults.add(name="never", api="Produce", error=1):
            pass
    assert str(failure.value).splitlines() == [
        "'never' disturbed no Produce request (error=1)",
        "no Produce request was seen while it was armed",
    ]


def test_the_error_of_a_rule_that_disturbed_nothing_tells_which_requests_were_seen(kafka, client):
    with (
        pytest.raises(FaultNeverFired) as failure,
        kafka.faults.add(name="a", api=["Fetch", 18], drop=True, client_id="else"),
    ):
        client.call(API_VERSIONS, 0, m.ApiVersionsRequest())
    assert str(failure.value).splitlines() == [
        "'a' disturbed no Fetch or ApiVersions request (drop)",
        "Fetch or ApiVersions requests seen while it was armed: 1, none of which matched (client_id=else)",
    ]
    with pytest.raises(FaultNeverFired) as failure, kafka.faults.add(name="b", error=35, skip=3):
        client.call(API_VERSIONS, 0, m.ApiVersionsRequest())
    assert str(failure.value).splitlines() == [
        "'b' disturbed no request (error=35)",
        "matched while it was armed: 1 (skip=3)",
    ]


def test_the_failure_of_a_block_is_not_replaced(kafka):
    with pytest.raises(KeyError), kafka.faults.add(api="Produce", error=1):
        raise KeyError


def test_waiting_for_a_fault_ends_with_its_counts(kafka):
    fault = kafka.faults.add(api="Produce", error=1)
    with pytest.raises(FaultNeverFired, match=r"disturbed no Produce request in 0\.01 s \(error=1\)"):
        fault.wait_fired(2, timeout=0.01)
    with pytest.raises(FaultNeverFired):
        kafka.faults.check()


def test_waiting_in_one_thread_sees_what_another_does(kafka, client):
    fault = kafka.faults.add(api="ApiVersions", error=35)
    asker = threading.Thread(target=lambda: client.call(API_VERSIONS, 0, m.ApiVersionsRequest()))
    asker.start()
    fault.wait_fired()
    asker.join()


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        ({"api": "Prodce", "error": 1}, "there is no API 'Prodce': did you mean Produce?"),
        ({"api": "Produce", "error": "NOT_LEADER"}, "there is no error code 'NOT_LEADER'"),
        ({"api": "Produce", "error": "NOT_LEADER_OR_FOLOWER"}, "did you mean NOT_LEADER_OR_FOLLOWER?"),
        ({"api": "Produce", "error": 0}, "NONE is no error"),
        ({"api": "Produce"}, "a rule has one effect of"),
        ({"api": "Produce", "error": 1, "drop": True}, "this one has 2"),
        ({"api": "Produce", "eror": 1}, "a rule has no 'eror': did you mean error?"),
        ({"api": "Produce", "error": 1, "level": "request"}, "has no place for an error at the level 'request'"),
        ({"api": "Heartbeat", "error": 1, "topic": "a"}, "a request of Heartbeat names no topic"),
        ({"api": "AlterReplicaLogDirs", "error": 1}, "cannot be refused one by one"),
        ({"api": "AlterPartition", "error": 1}, "AlterPartition is not served"),
        ({"api": "Produce", "delay_ms": 0}, "a number of milliseconds above 0"),
        ({"api": "Produce", "drop": True, "level": "topic"}, "level belongs to an error"),
        ({"api": "Produce", "garbage": True, "done": True}, "leave out done"),
        ({"api": "Produce", "drop": True, "probability": 1.5}, "between 0 and 1"),
        ({"api": "Produce", "drop": True, "times": -1}, "times is not negative"),
        ({"api": "Produce", "drop": True, "partition": "1"}, "partition is a whole number, not '1'"),
        ({"api": "Produce", "drop": True, "versions": [3, 1]}, "versions is a number or [lowest, highest]"),
        ({"api": [], "drop": True}, "api names no API"),
        ({"api": 3.0, "drop": True}, "there is no API 3.0"),
        ({"api": "Produce", "drop": True, "versions": True}, "versions is a number or [lowest, highest], not True"),
        ({"api": "Produce", "drop": True, "versions": -1}, "versions is a number or [lowest, highest], not -1"),
        ({"api": "Produce", "drop": True, "partition": -1}, "partition is not negative, but -1"),
        ({"api": "Produce", "drop": True, "from_ms": -1}, "from_ms is not negative, but -1"),
        ({"api": "Produce", "drop": True, "from_ms": 5, "until_ms": 5}, "until_ms is after from_ms, but 5"),
        ({"api": "Produce", "drop": True, "probability": float("nan")}, "probability is between 0 and 1, not nan"),
        ({"api": "Produce", "drop": True, "seed": 0.5}, "seed is a whole number, not 0.5"),
        ({"api": "Produce", "drop": True, "topic": ""}, "topic is the name of a topic, not ''"),
        ({"api": "Produce", "drop": True, "principal": "alice"}, "such as User:alice, not 'alice'"),
        ({"api": "Produce", "drop": True, "name": 7}, "name is a string, not 7"),
        ({"api": "Produce", "drop": True, "done": "no"}, "done is true or false, not 'no'"),
        ({"api": "Produce", "drop": True, "hold": "no"}, "hold is true or false, not 'no'"),
        ({"api": "Produce", "delay_ms": float("nan")}, "delay_ms is a number of milliseconds above 0"),
        ({"api": "Produce", "delay_ms": 2**31}, "and at most 2147483647, not 2147483648"),
        ({"api": "Produce", "delay_ms": False}, "delay_ms is a number of milliseconds above 0"),
        ({"api": "Produce", "error": False}, "there is no error code False"),
        ({"api": "Produce", "throttle_ms": "1"}, "throttle_ms is a number of milliseconds"),
        ({"api": "Produce", "truncate": 1.5}, "truncate is a number of bytes above 0, not 1.5"),
        ({"api": "Produce", "set": {1: 2}}, "set has names of fields and their values"),
        ({"api": "Produce", "set": {"throttle_time_ms": 2**31}}, "is of type int32, which 2147483648 is not"),
        ({"api": "Produce", "set": {"throttle_time_ms": True}}, "is of type int32, which True is not"),
        ({"api": "Produce", "corrupt_records": 1}, "corrupt_records is true or false, not 1"),
    ],
)
def test_an_invalid_rule_is_one_sentence(kafka, rule, sentence):
    with pytest.raises(RuleError) as refusal:
        kafka.faults.add(**rule)
    assert sentence in str(refusal.value)


@pytest.mark.parametrize(
    "effect", sorted(key for key, kind in RuleFields.__annotations__.items() if "bool" in str(kind))
)
@pytest.mark.parametrize("value", ["yes", "true", 1, 0, [True]])
def test_a_key_that_is_true_or_false_has_no_other_value(effect, value):
    with pytest.raises(RuleError) as refusal:
        read_rule({"api": "Produce", "drop": True, effect: value})
    assert str(refusal.value) == f"{effect} is true or false, not {value!r}"


def test_a_key_without_a_value_is_as_if_left_out():
    given = dict.fromkeys(RuleFields.__annotations__) | {"api": "Produce", "throttle_ms": 0.5}
    assert read_rule(given).effect == Throttle(1)
    assert read_rule({"api": "Produce", "drop": False, "hold": True}).effect == Hold()


def test_the_name_of_a_rule_is_unique(kafka):
    kafka.faults.add(name="one", api="Produce", drop=True)
    with pytest.raises(RuleError, match="'one' is armed"):
        kafka.faults.add(name="one", api="Produce", drop=True)


def test_a_removed_rule_leaves_no_hook(kafka, client):
    kafka.faults.add(drop=True, client_id="another client").remove()
    hooks = kafka._server.broker.hooks
    assert (hooks.dispatch, hooks.replies) == ({}, {})
