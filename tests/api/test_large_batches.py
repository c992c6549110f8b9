"""Produced batches that are validated in a thread: what may change while the request waits for it."""

import trio
from peer import Peer
from test_produce_and_fetch import fetch, produce_request, records_of, values_in

from kwire.errors import Code
from kwire.limits import CHECKED_BATCHES
from kwire.server.bindings import Limits
from kwire.server.connections.connection import serve_connection
from kwire.server.connections.registry import ConnectionRegistry, Listener
from kwire.testing.memory.transport import MemoryTransport
from kwire.wire import codec
from kwire.wire import messages as m
from kwire.wire.batches.batch import read_batch_header
from kwire.wire.batches.compression import Codec

LARGE = bytes(100_000)


class Waiting(Peer):
    """A connection that calls ``meanwhile`` before each large batch is validated."""

    def __init__(self, broker, meanwhile):
        super().__init__(broker)
        self.meanwhile = meanwhile
        self.in_threads = 0

    async def in_thread(self, call):
        self.in_threads += 1
        await self.meanwhile()
        await super().in_thread(call)


async def nothing():
    await trio.lowlevel.checkpoint()


async def produce(client, topic_id, records, **more):
    response = await client.call(13, produce_request(topic_id, records, **more))
    return response.responses[0].partition_responses[0]


async def test_a_large_batch_is_recompressed_in_a_thread(broker, client):
    waiting = Waiting(broker, nothing)
    topic_id = await client.create_topic("a", compression_type="gzip")
    assert (await produce(waiting, topic_id, records_of(LARGE))).error_code == Code.NONE
    assert waiting.in_threads == 1
    answer = (await fetch(client, topic_id, (0, 0))).responses[0].partitions[0]
    assert read_batch_header(answer.records).codec == Codec.GZIP
    assert values_in(answer) == [LARGE]


async def test_a_batch_that_opens_too_large_is_refused_in_a_thread(broker, client):
    waiting = Waiting(broker, nothing)
    topic_id = await client.create_topic("a", compression_type="gzip", max_message_bytes=100_000)
    bomb = records_of(bytes(20_000_000), codec=Codec.ZSTD)
    assert len(bomb) < 10_000
    assert (await produce(waiting, topic_id, bomb)).error_code == Code.MESSAGE_TOO_LARGE
    assert waiting.in_threads == 1
    assert broker.partitions.get("a", 0).log.end_offset == 0


async def test_a_topic_deleted_while_its_batch_is_validated_is_unknown(broker, client):
    topic_id = await client.create_topic("a", compression_type="gzip")

    async def delete():
        await client.call(6, m.DeleteTopicsRequest(topics=[m.DeleteTopicsRequest.DeleteTopicState(name="a")]))

    answer = await produce(Waiting(broker, delete), topic_id, records_of(LARGE))
    assert answer.error_code == Code.UNKNOWN_TOPIC_OR_PARTITION


async def test_configs_changed_while_a_batch_is_validated_hold_for_it(broker, client):
    topic_id = await client.create_topic("a", compression_type="gzip")

    async def alter():
        request = m.IncrementalAlterConfigsRequest
        config = request.AlterableConfig(name="compression.type", config_operation=0, value="zstd")
        await client.call(
            1, request(resources=[request.AlterConfigsResource(resource_type=2, resource_name="a", configs=[config])])
        )

    assert (await produce(Waiting(broker, alter), topic_id, records_of(LARGE))).error_code == Code.NONE
    answer = (await fetch(client, topic_id, (0, 0))).responses[0].partitions[0]
    assert read_batch_header(answer.records).codec == Codec.ZSTD


async def test_a_transaction_that_ends_while_a_batch_is_validated_refuses_it(broker, client):
    topic_id = await client.create_topic("a", compression_type="gzip")
    producer = await client.call(4, m.InitProducerIdRequest(transactional_id="t", transaction_timeout_ms=60_000))
    while producer.error_code:
        await trio.sleep(0.001)
        producer = await client.call(4, m.InitProducerIdRequest(transactional_id="t", transaction_timeout_ms=60_000))
    stamp = {"producer_id": producer.producer_id, "producer_epoch": producer.producer_epoch}
    add = m.AddPartitionsToTxnRequest
    topic = add.AddPartitionsToTxnTopic(name="a", partitions=[0])
    await client.call(
        3,
        add(
            v3_and_below_transactional_id="t",
            v3_and_below_topics=[topic],
            **{f"v3_and_below_{name}": value for name, value in stamp.items()},
        ),
    )

    async def abort():
        ended = await client.call(3, m.EndTxnRequest(transactional_id="t", committed=False, **stamp))
        assert ended.error_code == Code.NONE

    request = produce_request(topic_id, records_of(LARGE, transactional=True, base_sequence=0, **stamp))
    request.transactional_id = "t"
    request.topic_data[0].name = "a"
    request.topic_data[0].topic_id = bytes(16)
    response = await Waiting(broker, abort).call(11, request)
    assert response.responses[0].partition_responses[0].error_code == Code.TRANSACTION_ABORTABLE


async def test_pipelined_large_batches_of_a_producer_keep_their_order(broker, client):
    topic_id = await client.create_topic("a", compression_type="zstd")
    count = 2 * CHECKED_BATCHES
    values = [b"%d " % i + (LARGE if i % 3 else b"") for i in range(count)]
    requests = [
        produce_request(topic_id, records_of(value, producer_id=1, producer_epoch=0, base_sequence=i))
        for i, value in enumerate(values)
    ]
    async with trio.open_nursery() as nursery:
        registry = ConnectionRegistry(client.apis, broker.clock, Limits)
        transport = MemoryTransport()
        nursery.start_soon(serve_connection, broker, transport, Listener(Peer.endpoint, registry))
        transport.feed(b"".join(codec.encode_request(0, 13, i, "test", request) for i, request in enumerate(requests)))
        for i in range(count):
            correlation_id, response = codec.decode_response(0, 13, memoryview(await transport.next_frame()))
            answer = response.responses[0].partition_responses[0]
            assert (correlation_id, answer.error_code, answer.base_offset) == (i, 0, i)
        nursery.cancel_scope.cancel()
    answer = (await fetch(client, topic_id, (0, 0), max_bytes=50_000_000)).responses[0].partitions[0]
    assert values_in(answer) == values
