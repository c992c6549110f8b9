"""Client quotas: throttling, and how quotas are altered and described."""

import pytest
from peer import Peer

from kwire.broker.clients import quotas
from kwire.errors import Code
from kwire.security.principal import Principal
from kwire.wire import messages as m
from kwire.wire.batches.records import Record, build_batch

pytestmark = pytest.mark.usefixtures("mock_clock")


async def set_quota(client, key, value, **entity):
    alter = m.AlterClientQuotasRequest
    response = await client.call(
        1,
        alter(
            entries=[
                alter.EntryData(
                    entity=[
                        alter.EntityData(entity_type=kind.replace("_", "-"), entity_name=name)
                        for kind, name in entity.items()
                    ],
                    ops=[alter.OpData(key=key, value=value or 0, remove=value is None)],
                )
            ]
        ),
    )
    assert response.entries[0].error_code == 0, response


async def produce(client, size, topic="t"):
    records = build_batch([Record(0, 1_700_000_000_000, None, b"x" * size)])
    request = m.ProduceRequest
    data = request.TopicProduceData(name=topic, partition_data=[request.PartitionProduceData(index=0, records=records)])
    return await client.call(9, request(acks=-1, timeout_ms=1000, topic_data=[data]))


async def fetch(client, max_bytes=50_000_000):
    request = m.FetchRequest
    topic = request.FetchTopic(
        topic="t", partitions=[request.FetchPartition(partition=0, partition_max_bytes=max_bytes)]
    )
    return await client.call(12, request(max_bytes=max_bytes, session_epoch=-1, topics=[topic]))


@pytest.fixture
async def topic(client):
    return await client.create_topic("t")


async def test_without_quotas_there_is_no_throttling(client, topic):
    assert (await produce(client, 100_000)).throttle_time_ms == 0
    assert not client.broker.quotas.any


async def test_a_producer_above_its_rate_is_throttled(client, topic):
    await set_quota(client, "producer_byte_rate", 1000, client_id="test")
    assert (await produce(client, 5_000)).throttle_time_ms == 0
    response = await produce(client, 10_000)
    assert response.responses[0].partition_responses[0].error_code == 0
    assert 4_000 < response.throttle_time_ms < 6_000
    client.broker.clock.advance(12_000)
    assert (await produce(client, 5_000)).throttle_time_ms == 0


async def test_a_quota_of_a_client_id_does_not_throttle_another_client_id(client, topic):
    await set_quota(client, "producer_byte_rate", 1, client_id="test")
    assert (await produce(Peer(client.broker, "another"), 10_000)).throttle_time_ms == 0
    assert (await produce(client, 10_000)).throttle_time_ms > 0


async def test_a_user_without_authentication_is_anonymous(client, topic):
    await set_quota(client, "producer_byte_rate", 1, user="ANONYMOUS")
    assert (await produce(client, 10_000)).throttle_time_ms > 0


async def test_the_number_of_tracked_client_ids_is_bounded(broker, topic, monkeypatch):
    monkeypatch.setattr(quotas, "_KNOWN_MAX", 10)
    await set_quota(Peer(broker), "producer_byte_rate", 1000, client_id=None)
    await set_quota(Peer(broker), "controller_mutation_rate", 1, client_id=None)
    for number in range(50):
        one = Peer(broker, client_id=f"c{number}")
        await produce(one, 100)
        await one.call(5, m.DeleteTopicsRequest(topic_names=["none"]))
        create = m.CreateTopicsRequest
        await one.call(5, create(topics=[create.CreatableTopic(name=f"t{number}", num_partitions=1)]))

    assert len(broker.quotas._meters) <= 10
    assert len(broker.quotas._buckets) <= 10


async def test_the_throttle_time_is_at_most_an_int32(client, topic):
    await set_quota(client, "producer_byte_rate", 1, client_id="test")
    responses = [await produce(client, 900_000) for _ in range(4)]
    assert max(response.throttle_time_ms for response in responses) == 2**31 - 1


async def test_a_removed_quota_does_not_throttle(client, topic):
    await set_quota(client, "producer_byte_rate", 1, user=None)
    assert (await produce(client, 10_000)).throttle_time_ms > 0
    await set_quota(client, "producer_byte_rate", None, user=None)
    assert (await produce(client, 10_000)).throttle_time_ms == 0


async def test_a_consumer_above_its_rate_is_throttled_and_gets_its_records(client, topic):
    for _ in range(3):
        await produce(client, 5_000)
    await set_quota(client, "consumer_byte_rate", 1000, client_id=None)
    response = await fetch(client)
    # Limited to what the quota allows in all its windows, 11,000 bytes: two batches and a part of the third.
    assert 10_000 < len(response.responses[0].partitions[0].records) <= 11_000
    assert response.throttle_time_ms == pytest.approx(1_000, abs=600)


async def test_the_request_percentage_counts_the_time_of_handlers(client, topic):
    await set_quota(client, "request_percentage", 0.0001, client_id="test")
    response = await client.call(12, m.MetadataRequest(topics=None))
    assert 0 < response.throttle_time_ms <= 1000
    # The time that a handler waits does not count.
    waited = await fetch(client)
    assert 0 < waited.throttle_time_ms <= 1000


async def test_metadata_changes_above_the_mutation_rate_are_refused(client):
    await set_quota(client, "controller_mutation_rate", 1, client_id="test")
    create = m.CreateTopicsRequest

    async def make(name, count, version):
        topic = create.CreatableTopic(name=name, num_partitions=count, replication_factor=1)
        return await client.call(version, create(topics=[topic]))

    assert (await make("a", 20, 7)).topics[0].error_code == 0
    refused = await make("b", 1, 7)
    assert (refused.topics[0].error_code, refused.throttle_time_ms) == (89, pytest.approx(9_000, abs=500))
    assert "b" not in client.broker.image.topics
    # Versions without this error code are throttled instead of refused (KIP-599).
    old = await make("c", 1, 5)
    assert (old.topics[0].error_code, old.throttle_time_ms) == (0, pytest.approx(10_000, abs=500))
    grow = m.CreatePartitionsRequest
    grown = await client.call(3, grow(topics=[grow.CreatePartitionsTopic(name="a", count=21, assignments=None)]))
    assert grown.results[0].error_code == 89
    delete = m.DeleteTopicsRequest
    deleted = await client.call(6, delete(topics=[delete.DeleteTopicState(name="a")]))
    assert deleted.responses[0].error_code == 89
    client.broker.clock.advance(11_000)
    assert (await make("d", 1, 7)).topics[0].error_code == 0


async def test_an_address_above_its_connection_rate_is_refused(client):
    quotas = client.broker.quotas
    assert quotas.refusal("127.0.0.1") is None
    await set_quota(client, "connection_creation_rate", 1, ip="127.0.0.1")
    answers = [quotas.refusal("127.0.0.1") for _ in range(13)]
    assert answers[:11] == [None] * 11
    assert answers[11:] == ["more than 1 connections a second from there"] * 2
    assert quotas.refusal("127.0.0.2") is None
    client.broker.clock.advance(12_000)
    assert quotas.refusal("127.0.0.1") is None


@pytest.mark.parametrize("version", [0, 1])
async def test_quotas_are_described_by_filter(client, version):
    await set_quota(client, "producer_byte_rate", 5, user="alice")
    await set_quota(client, "producer_byte_rate", 6, user="alice", client_id="app")
    await set_quota(client, "producer_byte_rate", 7, user=None)
    describe = m.DescribeClientQuotasRequest

    async def found(match_type, match, *, strict=False):
        component = describe.ComponentData(entity_type="user", match_type=match_type, match=match)
        response = await client.call(version, describe(components=[component], strict=strict))
        return sorted(entry.values[0].value for entry in response.entries)

    assert await found(0, "alice") == [5.0, 6.0]
    assert await found(0, "alice", strict=True) == [5.0]
    assert await found(1, None) == [7.0]
    assert await found(2, None) == [5.0, 6.0, 7.0]


async def test_the_order_of_parts_does_not_make_another_entity(client):
    alter = m.AlterClientQuotasRequest
    user = alter.EntityData(entity_type="user", entity_name="alice")
    app = alter.EntityData(entity_type="client-id", entity_name="app")
    ops = [alter.OpData(key="producer_byte_rate", value=5.0)]
    both = [alter.EntryData(entity=[user, app], ops=ops), alter.EntryData(entity=[app, user], ops=ops)]

    response = await client.call(1, alter(entries=both))

    assert [entry.error_code for entry in response.entries] == [42]
    assert [part.entity_type for part in response.entries[0].entity] == ["client-id", "user"]


async def test_parts_and_values_are_answered_in_kafkas_order(client):
    for key in ("controller_mutation_rate", "consumer_byte_rate", "producer_byte_rate", "request_percentage"):
        await set_quota(client, key, 5, user="alice", client_id="app")

    response = await client.call(1, m.DescribeClientQuotasRequest(components=[]))

    (entry,) = response.entries
    assert [part.entity_type for part in entry.entity] == ["client-id", "user"]
    assert [value.key for value in entry.values] == [
        "request_percentage",
        "producer_byte_rate",
        "consumer_byte_rate",
        "controller_mutation_rate",
    ]


# --- users that have logged in ---


def user(broker, name, client_id="c"):
    peer = Peer(broker, client_id)
    peer.client = peer.client._replace(principal=Principal("User", name))
    return peer


# From the most specific entity to the least, as Kafka looks for a quota (KIP-55). None is the default.
PRECEDENCE = [
    {"user": "alice", "client_id": "c"},
    {"user": "alice", "client_id": None},
    {"user": "alice"},
    {"user": None, "client_id": "c"},
    {"user": None, "client_id": None},
    {"user": None},
    {"client_id": "c"},
    {"client_id": None},
]


@pytest.mark.parametrize("place", range(len(PRECEDENCE) - 1))
async def test_the_quota_of_the_more_specific_entity_counts(client, topic, place):
    specific, general = PRECEDENCE[place], PRECEDENCE[place + 1]
    alice = user(client.broker, "alice")
    await set_quota(client, "producer_byte_rate", 10**12, **specific)
    await set_quota(client, "producer_byte_rate", 1, **general)
    assert (await produce(alice, 10_000)).throttle_time_ms == 0

    await set_quota(client, "producer_byte_rate", None, **specific)
    assert (await produce(alice, 10_000)).throttle_time_ms > 0


@pytest.mark.parametrize("key", ["producer_byte_rate", "request_percentage"])
async def test_a_quota_of_a_user_is_that_of_all_its_clients_and_of_no_other_user(client, topic, key):
    await set_quota(client, key, 1e-6 if key == "request_percentage" else 1, user="alice")
    assert (await produce(user(client.broker, "bob"), 10_000)).throttle_time_ms == 0
    assert (await produce(user(client.broker, "alice", "one"), 10_000)).throttle_time_ms > 0
    assert (await produce(user(client.broker, "alice", "two"), 1)).throttle_time_ms > 0


async def test_a_consumer_is_throttled_as_the_user_that_it_is(client, topic):
    await produce(client, 100_000)
    await set_quota(client, "consumer_byte_rate", 1000, user="alice")
    assert (await fetch(user(client.broker, "bob"))).throttle_time_ms == 0
    assert (await fetch(user(client.broker, "alice"))).throttle_time_ms > 0


async def test_changes_of_metadata_are_counted_for_the_user_that_makes_them(client):
    await set_quota(client, "controller_mutation_rate", 1, user="alice")
    request = m.CreateTopicsRequest

    async def create(peer, name):
        topic = request.CreatableTopic(name=name, num_partitions=50, replication_factor=1)
        return (await peer.call(7, request(topics=[topic], timeout_ms=1000))).topics[0].error_code

    alice, bob = user(client.broker, "alice"), user(client.broker, "bob")
    assert await create(alice, "a1") == Code.NONE
    assert await create(alice, "a2") == Code.THROTTLING_QUOTA_EXCEEDED
    assert await create(bob, "b1") == Code.NONE
    assert await create(bob, "b2") == Code.NONE
