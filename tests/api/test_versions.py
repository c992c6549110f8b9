"""Every version that is advertised can be asked and answered."""

import pytest
from peer import Peer, all_apis
from test_produce_and_fetch import records_of

from kwire.wire import messages as m


def versions_of(key):
    lowest, highest = all_apis()[key].served
    return range(lowest, highest + 1)


@pytest.mark.parametrize("version", versions_of(0))
async def test_produce_is_served_at_every_version(client, version):
    topic_id = await client.create_topic("a")
    for index, code in ((0, 0), (9, 3)):
        request = m.ProduceRequest(
            acks=1,
            timeout_ms=1000,
            topic_data=[
                m.ProduceRequest.TopicProduceData(
                    name="a" if version < 13 else "",
                    topic_id=bytes(16) if version < 13 else topic_id,
                    partition_data=[m.ProduceRequest.PartitionProduceData(index=index, records=records_of(b"1"))],
                )
            ],
        )
        response = await client.call(version, request)
        assert response.responses[0].partition_responses[0].error_code == code


@pytest.mark.parametrize("version", versions_of(1))
async def test_fetch_is_served_at_every_version(client, version):
    topic_id = await client.create_topic("a")
    for index, code in ((0, 0), (9, 3)):
        request = m.FetchRequest(
            min_bytes=1,
            session_epoch=0 if version >= 7 else -1,
            isolation_level=1,
            topics=[
                m.FetchRequest.FetchTopic(
                    topic="a" if version < 13 else "",
                    topic_id=bytes(16) if version < 13 else topic_id,
                    partitions=[m.FetchRequest.FetchPartition(partition=index, partition_max_bytes=1000)],
                )
            ],
        )
        response = await client.call(version, request)
        answer = response.responses[0].partitions[0]
        assert (answer.error_code, answer.records) == (code, b"")


@pytest.mark.parametrize("version", versions_of(2))
@pytest.mark.parametrize("timestamp", range(-7, 1))
async def test_list_offsets_is_served_at_every_version(client, version, timestamp):
    await client.create_topic("a")
    request = m.ListOffsetsRequest(
        replica_id=-1,
        topics=[
            m.ListOffsetsRequest.ListOffsetsTopic(
                name="a",
                partitions=[m.ListOffsetsRequest.ListOffsetsPartition(partition_index=0, timestamp=timestamp)],
            )
        ],
    )
    response = await client.call(version, request)
    known = {-6: 11, -5: 9, -4: 8, -3: 7, -7: 99}.get(timestamp, 1) <= version
    assert response.topics[0].partitions[0].error_code == (0 if known else 35)


@pytest.mark.parametrize("version", versions_of(3))
async def test_metadata_is_served_at_every_version(client, version):
    await client.create_topic("a")
    wanted = m.MetadataRequest.MetadataRequestTopic
    everything = await client.call(version, m.MetadataRequest(topics=[] if version == 0 else None))
    assert [topic.name for topic in everything.topics] == ["a"]
    response = await client.call(version, m.MetadataRequest(topics=[wanted(name="b"), wanted(name="no/slash")]))
    assert [topic.error_code for topic in response.topics] == [0, 17]
    if version >= 4:
        quiet = m.MetadataRequest(topics=[wanted(name="c")], allow_auto_topic_creation=False)
        assert (await client.call(version, quiet)).topics[0].error_code == 3


@pytest.mark.parametrize("version", versions_of(18))
async def test_api_versions_is_served_at_every_version(client, version):
    request = m.ApiVersionsRequest()
    if version >= 3:
        request = m.ApiVersionsRequest(client_software_name="test", client_software_version="1.0")
    response = await client.call(version, request)
    assert (0, 0, 13) in {(one.api_key, one.min_version, one.max_version) for one in response.api_keys}


@pytest.mark.parametrize("version", versions_of(22))
async def test_init_producer_id_is_served_at_every_version(client, version):
    request = m.InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=1000)
    first = await client.call(version, request)
    second = await client.call(version, request)
    assert second.producer_id == first.producer_id + 1
    assert second.producer_epoch == 0


@pytest.mark.parametrize("version", versions_of(23))
async def test_offset_for_leader_epoch(client, version):
    await client.create_topic("a")
    topic = m.OffsetForLeaderEpochRequest.OffsetForLeaderTopic
    partition = m.OffsetForLeaderEpochRequest.OffsetForLeaderPartition
    request = m.OffsetForLeaderEpochRequest(
        topics=[topic(topic="a", partitions=[partition(partition=0, leader_epoch=0), partition(partition=9)])]
    )
    response = await client.call(version, request)
    assert [one.error_code for one in response.topics[0].partitions] == [0, 3]


async def test_a_producer_id_is_never_given_twice_across_restarts(start_broker):
    request = m.InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=1000)
    given = []
    for _ in range(2):
        async with start_broker() as broker:
            given.append((await Peer(broker).call(5, request)).producer_id)
    assert given[0] != given[1]


@pytest.mark.parametrize("version", versions_of(17))
async def test_sasl_handshake_on_a_listener_without_authentication(client, version):
    response = await client.call(version, m.SaslHandshakeRequest(mechanism="PLAIN"))
    assert (response.error_code, response.mechanisms) == (34, [])


@pytest.mark.parametrize("version", versions_of(36))
async def test_sasl_authenticate_on_a_listener_without_authentication(client, version):
    assert (await client.call(version, m.SaslAuthenticateRequest(auth_bytes=b"?"))).error_code == 34
