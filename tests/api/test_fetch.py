"""Which partitions a fetch answers and when; what an incremental session tells (KIP-227, KIP-320, KIP-516, KIP-595)."""

import pytest
import trio
from peer import Peer
from test_produce_and_fetch import fetch, fetch_request, produce, records_of, values_in

from kwire.broker.partitions.partition import Role
from kwire.errors import Code
from kwire.metadata.decisions.topics import delete_topics
from kwire.types import METADATA_TOPIC_ID
from kwire.wire import messages as m

COMMITTED = 1
NO_ID = bytes(15) + b"\x07"


class Session:
    """An incremental fetch session of one client."""

    def __init__(self, client, version=18):
        self.client = client
        self.version = version
        self.session_id = self.epoch = 0

    async def fetch(self, topic_id=None, *partitions, forget=(), **more):
        request = fetch_request(topic_id or bytes(16), *partitions)
        if topic_id is None:
            request.topics = []
        for name, value in {"session_id": self.session_id, "session_epoch": self.epoch, **more}.items():
            setattr(request, name, value)
        request.forgotten_topics_data = [
            m.FetchRequest.ForgottenTopic(topic_id=forgotten_id, partitions=list(indexes))
            for forgotten_id, indexes in forget
        ]
        response = await self.client.call(self.version, request)
        self.session_id, self.epoch = response.session_id or self.session_id, self.epoch + 1
        assert response.error_code == 0
        return [one for topic in response.responses for one in topic.partitions]


def delete(client, topic_id):
    client.broker.controller.commit(delete_topics(client.broker.image, [topic_id]).records)


def codes(answers):
    return [one.error_code for one in answers]


@pytest.fixture
def session(client):
    return Session(client)


# ---- leader epochs


@pytest.fixture
async def led_twice(client, broker):
    """A topic whose partition has two records of epoch 0 and one of epoch 3."""
    topic_id = await client.create_topic("a")
    await produce(client, topic_id, b"1", b"2")
    broker.partitions.get("a", 0).change_role(Role.LEADER, leader_id=1, leader_epoch=3)
    await produce(client, topic_id, b"3")
    return topic_id


async def fetch_with_epochs(client, topic_id, offset, **epochs):
    request = fetch_request(topic_id, (0, offset))
    for name, value in epochs.items():
        setattr(request.topics[0].partitions[0], name, value)
    response = await client.call(18, request)
    return response.responses[0].partitions[0]


@pytest.mark.parametrize(
    ("epoch", "code"),
    [
        (2, Code.FENCED_LEADER_EPOCH),
        (0, Code.FENCED_LEADER_EPOCH),
        (3, Code.NONE),
        (4, Code.UNKNOWN_LEADER_EPOCH),
        (-1, Code.NONE),
        (-2, Code.NONE),
        (-(2**31), Code.NONE),
    ],
)
async def test_a_fetch_with_another_leader_epoch_is_refused_unless_it_is_negative(client, led_twice, epoch, code):
    answer = await fetch_with_epochs(client, led_twice, 0, current_leader_epoch=epoch)
    assert answer.error_code == code
    assert bool(answer.records) is (code == Code.NONE)


@pytest.mark.parametrize(
    ("last_fetched_epoch", "offset", "diverging"),
    [
        (0, 2, None),
        (3, 3, None),
        (0, 3, (0, 2)),
        (2, 2, (0, 2)),
        (-1, 3, None),
        (-2, 3, None),
    ],
)
async def test_a_diverging_log_is_answered_with_the_diverging_epoch_and_no_records(
    client, led_twice, last_fetched_epoch, offset, diverging
):
    answer = await fetch_with_epochs(client, led_twice, offset, last_fetched_epoch=last_fetched_epoch)
    assert answer.error_code == Code.NONE
    if diverging is None:
        assert answer.diverging_epoch.epoch == -1
        assert bool(answer.records) is (offset < 3)
    else:
        assert (answer.diverging_epoch.epoch, answer.diverging_epoch.end_offset) == diverging
        assert not answer.records


async def test_a_last_fetched_epoch_after_the_latest_one_is_out_of_range(client, led_twice):
    answer = await fetch_with_epochs(client, led_twice, 3, last_fetched_epoch=4)
    assert answer.error_code == Code.OFFSET_OUT_OF_RANGE


async def test_a_diverging_partition_answers_at_once(client, led_twice):
    request = fetch_request(led_twice, (0, 3), max_wait_ms=60_000)
    request.topics[0].partitions[0].last_fetched_epoch = 0
    await client.call(18, request)
    assert client.waits == 0


@pytest.mark.parametrize("epoch", [-2, 2, 4])
async def test_other_apis_refuse_each_leader_epoch_but_the_own_and_minus_one(client, led_twice, epoch):
    list_offsets = m.ListOffsetsRequest
    wanted = list_offsets.ListOffsetsPartition(partition_index=0, current_leader_epoch=epoch, timestamp=-1)
    topic = list_offsets.ListOffsetsTopic(name="a", partitions=[wanted])
    answer = await client.call(11, list_offsets(replica_id=-1, topics=[topic]))
    expected = Code.UNKNOWN_LEADER_EPOCH if epoch > 3 else Code.FENCED_LEADER_EPOCH
    assert codes(answer.topics[0].partitions) == [expected]


# ---- replica ids


@pytest.mark.parametrize(("version", "in_state"), [(14, False), (15, True), (18, True)])
@pytest.mark.parametrize(
    ("replica_id", "code"),
    [(-1, Code.NONE), (-2, Code.NONE), (0, Code.NOT_LEADER_OR_FOLLOWER), (7, Code.NOT_LEADER_OR_FOLLOWER)],
)
async def test_a_fetch_in_the_name_of_a_replica_is_refused(client, version, in_state, replica_id, code):
    topic_id = await client.create_topic("a")
    await produce(client, topic_id, b"1")
    request = fetch_request(topic_id, (0, 0))
    if in_state:
        request.replica_state = m.FetchRequest.ReplicaState(replica_id=replica_id)
    else:
        request.replica_id = replica_id
    response = await client.call(version, request)
    (answer,) = response.responses[0].partitions
    assert (answer.error_code, bool(answer.records)) == (code, code == Code.NONE)


# ---- when a fetch waits


async def test_a_partition_out_of_range_answers_at_once(client):
    topic_id = await client.create_topic("a", 2)
    response = await fetch(client, topic_id, (0, 0), (1, 9), max_wait_ms=60_000)
    assert codes(response.responses[0].partitions) == [0, Code.OFFSET_OUT_OF_RANGE]
    assert client.waits == 0


async def test_a_partition_that_does_not_exist_waits_with_the_others_and_is_answered_last(client, broker, nursery):
    topic_id = await client.create_topic("a")
    answers = []

    async def consume():
        response = await fetch(Peer(broker), topic_id, (7, 0), (0, 0), max_wait_ms=60_000)
        answers.extend((one.partition_index, one.error_code) for one in response.responses[0].partitions)

    nursery.start_soon(consume)
    await trio.testing.wait_all_tasks_blocked()
    assert not answers
    await produce(client, topic_id, b"1")
    await trio.testing.wait_all_tasks_blocked()
    assert answers == [(0, Code.NONE), (7, Code.UNKNOWN_TOPIC_OR_PARTITION)]


async def test_a_fetch_waits_for_no_more_than_min_bytes(client):
    topic_id = await client.create_topic("a")
    nothing = await fetch(client, topic_id, (0, 0), min_bytes=0, max_wait_ms=100)
    assert not nothing.responses[0].partitions[0].records
    await produce(client, topic_id, b"1")
    records = (await fetch(client, topic_id, (0, 0))).responses[0].partitions[0].records
    again = await fetch(client, topic_id, (0, 0), min_bytes=len(records), max_wait_ms=100)
    assert again.responses[0].partitions[0].records == records
    assert client.waits == 0


async def test_a_topic_that_is_deleted_while_a_fetch_waits_ends_the_wait(client, broker, nursery):
    deleted, other = await client.create_topic("a"), await client.create_topic("b")
    request = fetch_request(deleted, (0, 0), max_wait_ms=60_000)
    request.topics += fetch_request(other, (0, 0)).topics
    answers = []

    async def consume():
        response = await Peer(broker).call(18, request)
        answers.extend((one.topic_id, one.partitions[0].error_code) for one in response.responses)

    nursery.start_soon(consume)
    await trio.testing.wait_all_tasks_blocked()
    assert not answers
    delete(client, deleted)
    await trio.testing.wait_all_tasks_blocked()
    assert sorted(answers) == sorted([(other, Code.NONE), (deleted, Code.UNKNOWN_TOPIC_OR_PARTITION)])


async def test_a_fetch_of_partitions_that_do_not_exist_answers_at_once(client):
    response = await fetch(client, NO_ID, (0, 0), max_wait_ms=60_000)
    assert codes(response.responses[0].partitions) == [Code.UNKNOWN_TOPIC_ID]
    assert client.waits == 0


async def test_the_metadata_log_is_not_served_by_a_brokers_fetch(client):
    response = await fetch(client, METADATA_TOPIC_ID, (0, 0), max_wait_ms=60_000)
    assert codes(response.responses[0].partitions) == [Code.NOT_LEADER_OR_FOLLOWER]


# ---- sessions


async def test_a_full_fetch_without_topics_begins_a_session(client, session):
    topic_id = await client.create_topic("a")
    assert await session.fetch() == []
    assert session.session_id > 0
    await produce(client, topic_id, b"1")
    (answer,) = await session.fetch(topic_id, (0, 0))
    assert values_in(answer) == [b"1"]


async def test_a_partition_added_and_forgotten_in_one_request_is_not_in_the_session(client, session):
    topic_id = await client.create_topic("a", 2)
    await session.fetch(topic_id, (0, 0))
    assert await session.fetch(topic_id, (1, 0), forget=[(topic_id, [1])]) == []
    await produce(client, topic_id, b"1", index=1)
    assert await session.fetch() == []


async def test_a_session_left_without_partitions_ends_and_answers_the_requested_ones(client, session):
    topic_id = await client.create_topic("a")
    await produce(client, topic_id, b"1")
    await session.fetch(topic_id, (0, 1))
    (answer,) = await session.fetch(topic_id, (0, 0), forget=[(topic_id, [0])])
    assert values_in(answer) == [b"1"]
    assert len(client.broker.fetch_sessions) == 0


async def test_errors_and_watermarks_behind_the_byte_limit_are_in_the_same_answer(client, session):
    topic_id = await client.create_topic("a", 4)
    await session.fetch(topic_id, (0, 0), (1, 0), (2, 9), (3, 0))
    await produce(client, topic_id, b"1", index=0)
    await produce(client, topic_id, b"2", index=1)
    answers = await session.fetch(max_bytes=1)
    assert [(one.partition_index, one.error_code, one.high_watermark) for one in answers] == [
        (0, 0, 1),
        (1, 0, 1),
        (2, Code.OFFSET_OUT_OF_RANGE, -1),
    ]
    assert [values_in(one) for one in answers] == [[b"1"], [], []]


async def test_partitions_take_turns_when_the_byte_limit_holds_one(client, session):
    topic_id = await client.create_topic("a", 3)
    for index in range(3):
        await produce(client, topic_id, b"%d" % index, index=index)
    await session.fetch(topic_id, (0, 0), (1, 0), (2, 0), max_bytes=1)
    seen = [[one.partition_index for one in await session.fetch(max_bytes=1) if one.records] for _ in range(4)]
    assert seen == [[0], [1], [2], [0]]


async def test_an_offset_out_of_range_is_refused_where_there_is_no_room(client):
    topic_id = await client.create_topic("a", 2)
    await produce(client, topic_id, b"1")
    response = await fetch(client, topic_id, (0, 0), (1, 9), max_bytes=1)
    assert codes(response.responses[0].partitions) == [0, Code.OFFSET_OUT_OF_RANGE]


async def begin_transaction(client, topic_id):
    init = m.InitProducerIdRequest(
        transactional_id="t", transaction_timeout_ms=60_000, producer_id=-1, producer_epoch=-1
    )
    producer = await client.call(5, init)
    batch = records_of(
        b"open",
        transactional=True,
        producer_id=producer.producer_id,
        producer_epoch=producer.producer_epoch,
        base_sequence=0,
    )
    request = m.ProduceRequest
    partition = request.PartitionProduceData(index=0, records=batch)
    topic = request.TopicProduceData(topic_id=topic_id, partition_data=[partition])
    answer = await client.call(13, request(acks=-1, timeout_ms=1000, transactional_id="t", topic_data=[topic]))
    assert codes(answer.responses[0].partition_responses) == [0]
    return producer


async def test_a_high_watermark_that_moved_behind_an_open_transaction_is_answered(client, session):
    topic_id = await client.create_topic("a")
    await session.fetch(topic_id, (0, 0), isolation_level=COMMITTED)
    await begin_transaction(client, topic_id)
    (first,) = await session.fetch(isolation_level=COMMITTED)
    await produce(client, topic_id, b"2")
    (second,) = await session.fetch(isolation_level=COMMITTED)
    assert [(one.high_watermark, one.last_stable_offset) for one in (first, second)] == [(1, 0), (2, 0)]
    assert await session.fetch(isolation_level=COMMITTED) == []


async def test_a_high_watermark_behind_an_open_transaction_ends_no_wait(client, broker, nursery):
    topic_id = await client.create_topic("a")
    await begin_transaction(client, topic_id)
    answers = []

    async def consume():
        answers.append(await fetch(Peer(broker), topic_id, (0, 0), max_wait_ms=60_000, isolation_level=COMMITTED))

    nursery.start_soon(consume)
    await trio.testing.wait_all_tasks_blocked()
    await produce(client, topic_id, b"2")
    await trio.testing.wait_all_tasks_blocked()
    assert not answers


async def test_a_change_that_ends_no_wait_is_answered_when_the_wait_is_over(client, session):
    topic_id = await client.create_topic("a")
    (refused,) = await session.fetch(topic_id, (0, 2))
    assert refused.error_code == Code.OFFSET_OUT_OF_RANGE
    await produce(client, topic_id, b"0", b"1")
    (answer,) = await session.fetch(max_wait_ms=500)
    assert (answer.error_code, answer.high_watermark) == (0, 2)
    assert client.waits == 1
    assert await session.fetch() == []


async def test_another_isolation_level_reads_each_partition_of_the_session_again(client, session):
    topic_id = await client.create_topic("a")
    await begin_transaction(client, topic_id)
    await session.fetch(topic_id, (0, 0), isolation_level=COMMITTED)
    assert await session.fetch(isolation_level=COMMITTED) == []
    (answer,) = await session.fetch(isolation_level=0)
    assert values_in(answer) == [b"open"]
    assert await session.fetch(isolation_level=COMMITTED) == []


# ---- topic ids


async def test_a_session_answers_a_deleted_topic_with_3_and_a_recreated_one_with_103(client, session):
    topic_id = await client.create_topic("a", 2)
    await session.fetch(topic_id, (0, 0), (1, 0), isolation_level=COMMITTED)
    delete(client, topic_id)
    gone = await session.fetch(isolation_level=COMMITTED)
    assert codes(gone) == [Code.UNKNOWN_TOPIC_OR_PARTITION] * 2
    assert [one.aborted_transactions for one in gone] == [[], []]
    await client.create_topic("a", 1)
    for _ in range(2):
        again = await session.fetch(isolation_level=COMMITTED)
        assert codes(again) == [Code.INCONSISTENT_TOPIC_ID, Code.UNKNOWN_TOPIC_OR_PARTITION]
        assert [one.aborted_transactions for one in again] == [None, []]
    assert codes(await session.fetch(forget=[(topic_id, [1])])) == [Code.INCONSISTENT_TOPIC_ID]


async def test_a_session_by_names_continues_with_the_recreated_topic(client):
    session = Session(client, version=12)
    request = m.FetchRequest
    await client.create_topic("a")
    partition = request.FetchPartition(partition=0, fetch_offset=0, partition_max_bytes=1000)
    topics = [request.FetchTopic(topic="a", partitions=[partition])]
    first = await client.call(12, request(max_wait_ms=0, min_bytes=1, session_epoch=0, topics=topics))
    session.session_id, session.epoch = first.session_id, 1
    delete(client, client.broker.image.topics["a"].id)
    assert codes(await session.fetch()) == [Code.UNKNOWN_TOPIC_OR_PARTITION]
    topic_id = await client.create_topic("a")
    await produce(client, topic_id, b"new")
    (answer,) = await session.fetch()
    assert values_in(answer) == [b"new"]


async def test_an_id_that_a_session_has_never_known_is_answered_with_100_until_it_exists(client, session):
    for _ in range(2):
        assert codes(await session.fetch(NO_ID, (0, 0))) == [Code.UNKNOWN_TOPIC_ID]
