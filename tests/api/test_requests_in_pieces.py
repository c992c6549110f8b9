"""Requests of many partitions are carried out a few at a time: answers, transactions and the order stay right."""

import pytest
import trio
from peer import Peer
from transactional import Producer, batch, seen, state

from kwire.api.group_partitions import OFFSETS_AT_ONCE
from kwire.broker.start import open_broker
from kwire.errors import Code
from kwire.metadata.configs.effective import BrokerSettings
from kwire.testing.memory.files import MemoryFiles
from kwire.wire import messages as m

# More than is appended in one turn, and more than is committed by one command.
MANY = 150
MANY_OFFSETS = 3 * OFFSETS_AT_ONCE


@pytest.fixture
async def broker():
    texts = {"log.dirs": "/data", "offsets.topic.num.partitions": "1", "transaction.state.log.num.partitions": "1"}
    async with open_broker(BrokerSettings(texts), MemoryFiles(), endpoints=[Peer.endpoint]) as running:
        yield running


class YieldingPeer(Peer):
    """A client whose handlers lose their turn at each point where they may; ``meanwhile`` runs at the first."""

    def __init__(self, broker, meanwhile=None):
        super().__init__(broker)
        self.meanwhile = meanwhile

    async def yield_turn(self):
        await super().yield_turn()
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            await meanwhile()


def produce(producer, topics, partitions, *, version=12):
    request = m.ProduceRequest
    data = [
        request.TopicProduceData(
            name=topic,
            partition_data=[
                request.PartitionProduceData(
                    index=index,
                    records=batch(b"v", producer_id=producer.producer_id, epoch=producer.epoch, sequence=0),
                )
                for index in partitions
            ],
        )
        for topic in topics
    ]
    return version, request(acks=-1, timeout_ms=1000, transactional_id=producer.transactional_id, topic_data=data)


def codes_of(answer):
    return [Code(partition.error_code) for topic in answer.responses for partition in topic.partition_responses]


async def a_producer(client, **more):
    producer = Producer(client, "tx", **more)
    while await producer.init():
        await trio.lowlevel.checkpoint()
    return producer


async def is_over(client):
    """Wait until the markers of the transaction are written."""
    while not (await state(client, "tx")).startswith("Complete"):
        await trio.lowlevel.checkpoint()


async def records_of_transactions(broker):
    return broker.partitions.get("__transaction_state", 0).log.end_offset


async def test_partitions_of_a_large_produce_are_added_to_the_transaction_in_one_record(broker, client):
    await client.create_topic("a", MANY)
    producer = await a_producer(client)
    before = await records_of_transactions(broker)

    answer = await YieldingPeer(broker).call(*produce(producer, ["a"], range(MANY)))

    assert codes_of(answer) == [Code.NONE] * MANY
    assert await records_of_transactions(broker) == before + 1
    assert await producer.commit() is Code.NONE
    await is_over(client)
    for index in (0, 64, MANY - 1):
        assert await seen(client, "a", partition=index) == [b"v"]


async def test_a_transaction_that_ends_within_a_large_produce_refuses_the_rest(broker, client):
    await client.create_topic("a", MANY)
    producer = await a_producer(client)

    async def abort_after_the_first_piece():
        while not broker.partitions.get("a", 0).log.end_offset:
            await trio.lowlevel.checkpoint()
        other = Producer(client, "tx")
        while await other.init():
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(abort_after_the_first_piece)
        answer = await YieldingPeer(broker).call(*produce(producer, ["a"], range(MANY)))

    codes = codes_of(answer)
    written = codes.count(Code.NONE)
    assert 0 < written < MANY
    assert codes[:written] == [Code.NONE] * written
    assert Code.NONE not in codes[written:]
    for index in range(MANY):
        log = broker.partitions.get("a", index).log
        assert log.last_stable_offset == log.end_offset, "nothing is left open"


async def test_a_large_produce_of_a_client_that_adds_partitions_itself_is_verified(broker, client):
    await client.create_topic("a", MANY)
    producer = await a_producer(client)
    assert await producer.add("a", *range(MANY // 2)) is Code.NONE

    answer = await YieldingPeer(broker).call(*produce(producer, ["a"], range(MANY), version=11))

    assert codes_of(answer) == [Code.NONE] * (MANY // 2) + [Code.TRANSACTION_ABORTABLE] * (MANY // 2)


async def test_a_second_producer_id_in_a_large_produce_refuses_all_of_it(broker, client):
    await client.create_topic("a", MANY)
    producer = await a_producer(client)
    version, request = produce(producer, ["a"], range(MANY))
    request.topic_data[0].partition_data[-1].records = batch(
        b"v", producer_id=producer.producer_id + 1, epoch=0, sequence=0
    )

    answer = await YieldingPeer(broker).call(version, request)

    assert set(codes_of(answer)) == {Code.INVALID_PRODUCER_ID_MAPPING}
    assert all(not broker.partitions.get("a", index).log.end_offset for index in range(MANY))


async def test_a_refused_transaction_refuses_each_partition_of_a_large_produce(broker, client):
    await client.create_topic("a", MANY)
    producer = await a_producer(client)
    producer.epoch += 1

    answer = await YieldingPeer(broker).call(*produce(producer, ["a"], range(MANY)))

    assert set(codes_of(answer)) == {Code.INVALID_PRODUCER_EPOCH}


async def test_of_two_batches_for_one_partition_in_a_large_produce_the_last_is_appended(broker, client):
    await client.create_topic("a", MANY)
    producer = await a_producer(client)
    version, request = produce(producer, ["a", "a"], range(MANY))
    request.topic_data[1].partition_data[3].records = batch(
        b"last", producer_id=producer.producer_id, epoch=producer.epoch, sequence=0
    )

    answer = await YieldingPeer(broker).call(version, request)

    assert codes_of(answer) == [Code.NONE] * MANY
    assert await producer.commit() is Code.NONE
    await is_over(client)
    assert await seen(client, "a", partition=3) == [b"last"]


def commit_offsets(group, indexes, **more):
    request = m.OffsetCommitRequest
    partitions = [
        request.OffsetCommitRequestPartition(partition_index=index, committed_offset=index, committed_metadata="")
        for index in indexes
    ]
    topics = [request.OffsetCommitRequestTopic(name="a", partitions=partitions)]
    return request(group_id=group, topics=topics, **{"generation_id_or_member_epoch": -1, **more})


def fetch_offsets(group, indexes=None, *, stable=False):
    request = m.OffsetFetchRequest
    topics = None
    if indexes is not None:
        topics = [request.OffsetFetchRequestTopics(name="a", partition_indexes=list(indexes))]
    wanted = request.OffsetFetchRequestGroup(group_id=group, topics=topics)
    return request(groups=[wanted], require_stable=stable)


def offsets_of(answer):
    return {one.partition_index: one.committed_offset for topic in answer.groups[0].topics for one in topic.partitions}


@pytest.mark.parametrize("count", [OFFSETS_AT_ONCE, OFFSETS_AT_ONCE + 1, 5 * OFFSETS_AT_ONCE])
async def test_many_offsets_are_committed_and_fetched(broker, client, count):
    await client.create_topic("a", count)
    yielding = YieldingPeer(broker)
    answer = await yielding.call(8, commit_offsets("g", [*range(count), count]))
    codes = {one.partition_index: one.error_code for topic in answer.topics for one in topic.partitions}
    assert codes == dict.fromkeys(range(count), Code.NONE) | {count: Code.UNKNOWN_TOPIC_OR_PARTITION}

    expected = {index: index for index in range(count)}
    for wanted in (fetch_offsets("g"), fetch_offsets("g", range(count))):
        answer = await yielding.call(8, wanted)
        assert [topic.name for topic in answer.groups[0].topics] == ["a"]
        assert offsets_of(answer) == expected
    assert offsets_of(await yielding.call(8, fetch_offsets("unknown-group"))) == {}
    assert offsets_of(await yielding.call(8, fetch_offsets("unknown-group", [0]))) == {0: -1}


async def test_a_topic_in_pieces_gets_no_offsets_of_the_topic_before(client):
    await client.create_topic("b", 1)
    await client.create_topic("a", MANY_OFFSETS)
    request = fetch_offsets("g", range(MANY_OFFSETS))
    first = m.OffsetFetchRequest.OffsetFetchRequestTopics(name="b", partition_indexes=[0])
    request.groups[0].topics.insert(0, first)
    answer = await client.call(8, request)
    found = {topic.name: [one.partition_index for one in topic.partitions] for topic in answer.groups[0].topics}
    assert found == {"b": [0], "a": list(range(MANY_OFFSETS))}


async def test_many_offsets_of_an_unknown_generation_are_all_refused(broker, client):
    await client.create_topic("a", MANY_OFFSETS)
    wanted = commit_offsets("g", range(MANY_OFFSETS), generation_id_or_member_epoch=3, member_id="m")
    answer = await YieldingPeer(broker).call(8, wanted)
    assert {one.error_code for topic in answer.topics for one in topic.partitions} == {Code.ILLEGAL_GENERATION}


async def test_many_offsets_of_a_transaction_are_pending_until_it_commits(broker, client):
    await client.create_topic("a", MANY_OFFSETS)
    producer = await a_producer(client)
    request = m.TxnOffsetCommitRequest
    partitions = [
        request.TxnOffsetCommitRequestPartition(partition_index=index, committed_offset=index, committed_metadata="")
        for index in range(MANY_OFFSETS)
    ]
    yielding = YieldingPeer(broker)
    answer = await yielding.call(
        5,
        request(
            transactional_id="tx",
            group_id="g",
            producer_id=producer.producer_id,
            producer_epoch=producer.epoch,
            topics=[request.TxnOffsetCommitRequestTopic(name="a", partitions=partitions)],
        ),
    )
    assert {one.error_code for one in answer.topics[0].partitions} == {Code.NONE}

    answer = await yielding.call(8, fetch_offsets("g", range(MANY_OFFSETS), stable=True))
    codes = {one.error_code for topic in answer.groups[0].topics for one in topic.partitions}
    assert codes == {Code.UNSTABLE_OFFSET_COMMIT}
    assert await producer.commit() is Code.NONE
    await is_over(client)
    assert offsets_of(await yielding.call(8, fetch_offsets("g"))) == {index: index for index in range(MANY_OFFSETS)}


async def test_many_offsets_are_deleted(broker, client):
    await client.create_topic("a", MANY_OFFSETS)
    yielding = YieldingPeer(broker)
    await yielding.call(8, commit_offsets("g", range(MANY_OFFSETS)))
    request = m.OffsetDeleteRequest
    partitions = [request.OffsetDeleteRequestPartition(partition_index=index) for index in range(1, MANY_OFFSETS)]
    topics = [request.OffsetDeleteRequestTopic(name="a", partitions=partitions)]
    answer = await yielding.call(0, request(group_id="g", topics=topics))
    assert {one.error_code for one in answer.topics[0].partitions} == {Code.NONE}
    assert offsets_of(await yielding.call(8, fetch_offsets("g"))) == {0: 0}
    answer = await yielding.call(0, request(group_id="unknown-group", topics=[]))
    assert answer.error_code == Code.GROUP_ID_NOT_FOUND
