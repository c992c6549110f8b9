from types import SimpleNamespace

import pytest
import trio
from peer import Peer

from kwire.api.moved_leader import current_leader, current_leader_by_id
from kwire.api.transactional_produce import produced_batch
from kwire.errors import Code, KafkaError, ProtocolViolation
from kwire.limits import CHECKED_BATCHES
from kwire.metadata.decisions.topics import delete_topics
from kwire.wire import messages as m
from kwire.wire.batches.batch import read_batch_header
from kwire.wire.batches.compression import Codec
from kwire.wire.batches.records import Record, assemble_batch, build_batch, read_records

pytestmark = pytest.mark.usefixtures("mock_clock")


def records_of(*values, **batch):
    now = 1_700_000_000_000
    return build_batch([Record(i, now + i, None, value, ()) for i, value in enumerate(values)], **batch)


def produce_request(topic_id, *batches, acks=-1, index=0):
    request = m.ProduceRequest
    return request(
        acks=acks,
        timeout_ms=1000,
        topic_data=[
            request.TopicProduceData(
                topic_id=topic_id, partition_data=[request.PartitionProduceData(index=index, records=batches[0])]
            )
        ],
    )


def fetch_request(topic_id, *partitions, **more):
    request = m.FetchRequest
    return request(
        **{"max_wait_ms": 0, "min_bytes": 1, "session_epoch": -1, **more},
        topics=[
            request.FetchTopic(
                topic_id=topic_id,
                partitions=[
                    request.FetchPartition(partition=index, fetch_offset=offset, partition_max_bytes=1_000_000)
                    for index, offset in partitions
                ],
            )
        ],
    )


async def produce(client, topic_id, *values, **more):
    response = await client.call(13, produce_request(topic_id, records_of(*values), **more))
    return response.responses[0].partition_responses[0]


async def fetch(client, topic_id, *partitions, **more):
    return await client.call(18, fetch_request(topic_id, *partitions, **more))


def values_in(answer):
    found, view = [], memoryview(answer.records)
    while view:
        size = 12 + int.from_bytes(view[8:12], "big")
        found += [record.value for record in read_records(view[:size])]
        view = view[size:]
    return found


async def test_produced_records_are_fetched_in_order(client):
    topic_id = await client.create_topic("a")
    assert (await produce(client, topic_id, b"1", b"2")).base_offset == 0
    assert (await produce(client, topic_id, b"3")).base_offset == 2
    response = await fetch(client, topic_id, (0, 0))
    answer = response.responses[0].partitions[0]
    assert values_in(answer) == [b"1", b"2", b"3"]
    assert (answer.high_watermark, answer.last_stable_offset, answer.log_start_offset) == (3, 3, 0)


async def test_a_fetch_waits_until_enough_bytes_have_come(client, nursery):
    topic_id = await client.create_topic("a")
    seen = []

    async def consume():
        response = await fetch(Peer(client.broker), topic_id, (0, 0), max_wait_ms=60_000, min_bytes=150)
        seen.append(values_in(response.responses[0].partitions[0]))

    nursery.start_soon(consume)
    await trio.testing.wait_all_tasks_blocked()
    await produce(client, topic_id, b"1")
    await trio.testing.wait_all_tasks_blocked()
    assert seen == []
    await produce(client, topic_id, b"2" * 100)
    await trio.testing.wait_all_tasks_blocked()
    assert seen == [[b"1", b"2" * 100]]


async def test_a_fetch_without_new_records_ends_after_max_wait_ms(client, broker, nursery):
    topic_id = await client.create_topic("a")
    ended = trio.Event()

    async def consume():
        response = await fetch(client, topic_id, (0, 0), max_wait_ms=60_000)
        assert values_in(response.responses[0].partitions[0]) == []
        ended.set()

    nursery.start_soon(consume)
    await trio.testing.wait_all_tasks_blocked()
    assert not ended.is_set()
    broker.clock.advance(60_001)
    with trio.fail_after(150):
        await ended.wait()


async def test_deleting_a_topic_ends_the_wait_for_it(client, nursery):
    topic_id = await client.create_topic("a")
    codes = []

    async def consume():
        response = await fetch(Peer(client.broker), topic_id, (0, 0), max_wait_ms=60_000)
        codes.append(response.responses[0].partitions[0].error_code)

    nursery.start_soon(consume)
    await trio.testing.wait_all_tasks_blocked()
    client.broker.controller.commit(delete_topics(client.broker.image, [topic_id]).records)
    with trio.fail_after(150):
        while not codes:
            await trio.lowlevel.checkpoint()
    assert codes == [Code.UNKNOWN_TOPIC_OR_PARTITION]


@pytest.mark.parametrize("offset", [-1, 5, 2**62])
async def test_an_offset_outside_of_the_log_is_out_of_range(client, offset):
    topic_id = await client.create_topic("a")
    await produce(client, topic_id, b"1")
    response = await fetch(client, topic_id, (0, offset))
    answer = response.responses[0].partitions[0]
    assert answer.error_code == Code.OFFSET_OUT_OF_RANGE
    assert (answer.high_watermark, answer.log_start_offset) == (-1, -1)


async def test_an_incremental_session_answers_only_what_has_changed(client):
    topic_id = await client.create_topic("a", partitions=3)
    for index in range(3):
        await produce(client, topic_id, b"old", index=index)
    first = await fetch(client, topic_id, (0, 1), (1, 1), (2, 1), session_epoch=0)
    assert first.session_id > 0
    assert len(first.responses[0].partitions) == 3
    await produce(client, topic_id, b"new", index=1)
    second = await client.call(
        18, m.FetchRequest(max_wait_ms=0, min_bytes=1, session_id=first.session_id, session_epoch=1)
    )
    assert [(one.partition_index, values_in(one)) for one in second.responses[0].partitions] == [(1, [b"new"])]


async def test_a_session_repeats_records_until_the_client_fetches_past_them(client):
    topic_id = await client.create_topic("a")
    await produce(client, topic_id, b"1")
    first = await fetch(client, topic_id, (0, 0), session_epoch=0)
    again = await client.call(
        18, m.FetchRequest(max_wait_ms=0, min_bytes=1, session_id=first.session_id, session_epoch=1)
    )
    assert values_in(again.responses[0].partitions[0]) == [b"1"]


async def test_a_session_answers_that_records_were_deleted(client, broker):
    topic_id = await client.create_topic("a")
    await produce(client, topic_id, b"1", b"2")
    first = await fetch(client, topic_id, (0, 2), session_epoch=0)
    broker.partitions.get("a", 0).delete_records_before(1)
    second = await client.call(
        18, m.FetchRequest(max_wait_ms=0, min_bytes=1, session_id=first.session_id, session_epoch=1)
    )
    assert second.responses[0].partitions[0].log_start_offset == 1


async def test_a_wrong_session_is_refused_as_a_whole(client):
    response = await client.call(18, m.FetchRequest(session_id=12345, session_epoch=1))
    assert response.error_code == Code.FETCH_SESSION_ID_NOT_FOUND
    assert response.responses == []


async def test_at_least_one_batch_is_returned_whatever_the_limits(client):
    topic_id = await client.create_topic("a")
    await produce(client, topic_id, b"x" * 5000)
    response = await fetch(client, topic_id, (0, 0), max_bytes=1)
    assert values_in(response.responses[0].partitions[0]) == [b"x" * 5000]


@pytest.mark.parametrize(("codec", "version", "refused"), [(4, 6, True), (4, 7, False), (1, 6, False), (0, 3, False)])
def test_zstd_is_refused_before_produce_version_7(codec, version, refused):
    records = memoryview(records_of(b"1", codec=Codec(codec)))
    if refused:
        with pytest.raises(KafkaError) as refusal:
            produced_batch(records, version)
        assert refusal.value.code is Code.UNSUPPORTED_COMPRESSION_TYPE
    else:
        batch, header = produced_batch(records, version)
        assert (batch, header.codec) == (records, codec)


async def test_a_partition_that_does_not_exist_has_no_leader(broker, client):
    await client.create_topic("a")
    context = SimpleNamespace(broker=broker)
    assert current_leader(context, "a", 0) == (broker.configs.node_id, 0)
    assert current_leader(context, "a", 1) == (-1, -1)
    assert current_leader_by_id(context, bytes(16), 0) == (-1, -1)


@pytest.mark.parametrize(
    ("records", "code"),
    [
        (None, Code.INVALID_RECORD),
        (b"", Code.INVALID_RECORD),
        (b"\0" * 61, Code.CORRUPT_MESSAGE),
        (records_of(b"1")[:16] + b"\3" + records_of(b"1")[17:], Code.CORRUPT_MESSAGE),
        (records_of(b"1")[:16] + b"\1" + records_of(b"1")[17:], Code.INVALID_RECORD),
        (records_of(b"1")[:-1], Code.INVALID_RECORD),
        (records_of(b"1") + records_of(b"2"), Code.INVALID_RECORD),
        (records_of(b"1")[:-1] + b"?", Code.CORRUPT_MESSAGE),
        (records_of(b"x" * 2_000_000), Code.MESSAGE_TOO_LARGE),
    ],
)
async def test_bad_records_are_refused_and_nothing_is_written(client, broker, records, code):
    topic_id = await client.create_topic("a")
    response = await client.call(13, produce_request(topic_id, records))
    answer = response.responses[0].partition_responses[0]
    assert (answer.error_code, answer.base_offset) == (code, -1)
    assert broker.partitions.get("a", 0).log.end_offset == 0


async def test_unknown_acks_are_refused(client):
    topic_id = await client.create_topic("a")
    assert (await produce(client, topic_id, b"1", acks=2)).error_code == Code.INVALID_REQUIRED_ACKS


async def test_an_unknown_topic_id_has_its_own_error_code(client):
    assert (await produce(client, b"?" * 16, b"1")).error_code == Code.UNKNOWN_TOPIC_ID


async def test_acks_zero_is_not_answered_and_closes_on_a_refusal(client, broker):
    topic_id = await client.create_topic("a")
    assert await client.call(13, produce_request(topic_id, records_of(b"1"), acks=0)) is None
    assert broker.partitions.get("a", 0).log.end_offset == 1
    with pytest.raises(ProtocolViolation, match="UNKNOWN_TOPIC_OR_PARTITION"):
        await client.call(13, produce_request(topic_id, records_of(b"1"), acks=0, index=9))


async def test_min_insync_replicas_cannot_ask_for_more_than_there_are(client):
    topic_id = await client.create_topic("a", min_insync_replicas=2)
    assert (await produce(client, topic_id, b"1")).error_code == 0


async def test_an_incomplete_batch_behind_the_first_is_ignored(client, broker):
    topic_id = await client.create_topic("a")
    response = await client.call(13, produce_request(topic_id, records_of(b"1") + b"\0"))
    assert response.responses[0].partition_responses[0].error_code == 0
    assert broker.partitions.get("a", 0).log.size_bytes == len(records_of(b"1"))


async def test_a_refused_append_is_answered_with_the_log_start_and_no_message(client):
    topic_id = await client.create_topic("a")
    gap = build_batch([Record(0, 0, None, b"1", ())], producer_id=7, producer_epoch=0, base_sequence=0)
    await client.call(13, produce_request(topic_id, gap))
    gap = build_batch([Record(0, 0, None, b"1", ())], producer_id=7, producer_epoch=0, base_sequence=5)
    answer = (await client.call(13, produce_request(topic_id, gap))).responses[0].partition_responses[0]
    assert answer.error_code == Code.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert (answer.log_start_offset, answer.error_message) == (0, None)


async def test_with_flush_messages_one_the_answer_comes_from_the_disk(client, broker):
    topic_id = await client.create_topic("a", flush_messages=1)
    await produce(client, topic_id, b"1")
    log = broker.partitions.get("a", 0).log
    assert (log.recovery_point, log.high_watermark) == (1, 1)


async def test_log_append_time_is_stamped_and_answered(client, broker):
    topic_id = await client.create_topic("a", message_timestamp_type="LogAppendTime")
    answer = await produce(client, topic_id, b"1")
    assert abs(answer.log_append_time_ms - broker.clock.now_ms()) < 60_000


async def test_a_duplicate_of_an_idempotent_producer_gets_its_old_offset(client):
    topic_id = await client.create_topic("a")
    batch = records_of(b"1", producer_id=5, producer_epoch=0, base_sequence=0)
    for _ in range(2):
        response = await client.call(13, produce_request(topic_id, batch))
        assert response.responses[0].partition_responses[0].base_offset == 0
    gap = records_of(b"1", producer_id=5, producer_epoch=0, base_sequence=7)
    response = await client.call(13, produce_request(topic_id, gap))
    assert response.responses[0].partition_responses[0].error_code == Code.OUT_OF_ORDER_SEQUENCE_NUMBER


async def test_all_state_is_present_after_a_restart(start_broker):
    async with start_broker() as broker:
        topic_id = await Peer(broker).create_topic("a", partitions=2)
        await produce(Peer(broker), topic_id, b"1", index=1)
    async with start_broker() as broker:
        response = await fetch(Peer(broker), topic_id, (0, 0), (1, 0))
        assert [values_in(one) for one in response.responses[0].partitions] == [[], [b"1"]]
        assert (await produce(Peer(broker), topic_id, b"2", index=1)).base_offset == 1


GARBAGE = assemble_batch(read_batch_header(records_of(b"1")), b"no record")


@pytest.mark.parametrize(("checks", "first", "later"), [("strict", 87, 87), ("first", 87, 0), ("header", 0, 0)])
async def test_record_checks_say_which_batches_of_a_connection_are_read(start_broker, checks, first, later):
    async with start_broker(**{"kwire.record.checks": checks}) as broker:
        client = Peer(broker)
        topic_id = await client.create_topic("a")

        async def code():
            response = await client.call(13, produce_request(topic_id, GARBAGE))
            return response.responses[0].partition_responses[0].error_code

        assert await code() == first
        for _ in range(CHECKED_BATCHES):
            assert (await produce(client, topic_id, b"1")).error_code == 0
        assert await code() == later


async def test_record_checks_change_while_the_broker_runs(client):
    topic_id = await client.create_topic("a")
    client.checked_batches = CHECKED_BATCHES
    response = await client.call(13, produce_request(topic_id, GARBAGE))
    assert response.responses[0].partition_responses[0].error_code == 0
    request = m.IncrementalAlterConfigsRequest
    config = request.AlterableConfig(name="kwire.record.checks", config_operation=0, value="strict")
    resource = request.AlterConfigsResource(resource_type=4, resource_name="", configs=[config])
    assert (await client.call(1, request(resources=[resource]))).responses[0].error_code == 0
    response = await client.call(13, produce_request(topic_id, GARBAGE))
    assert response.responses[0].partition_responses[0].error_code == Code.INVALID_RECORD


@pytest.mark.parametrize(
    ("client_id", "code"),
    [("__admin_client", Code.NONE), ("admin", Code.INVALID_TOPIC_EXCEPTION), (None, Code.INVALID_TOPIC_EXCEPTION)],
)
async def test_only_the_admin_client_id_may_produce_to_an_internal_topic(broker, client, client_id, code):
    await client.call(4, m.FindCoordinatorRequest(key_type=0, coordinator_keys=["g"]))
    topic = broker.image.topics["__consumer_offsets"]
    batch = build_batch([Record(0, 1_700_000_000_000, b"k", b"v", ())])
    answer = await Peer(broker, client_id).call(13, produce_request(topic.id, batch))

    assert answer.responses[0].partition_responses[0].error_code == code


@pytest.mark.parametrize(("count", "metadata_bytes"), [(1, 2 * 1024 * 1024), (65_600, 0)])
async def test_a_join_with_metadata_that_no_group_record_holds_is_refused(client, count, metadata_bytes):
    protocol = m.JoinGroupRequest.JoinGroupRequestProtocol(name="range", metadata=bytes(metadata_bytes))
    request = m.JoinGroupRequest(
        group_id="g",
        session_timeout_ms=10_000,
        rebalance_timeout_ms=10_000,
        protocol_type="consumer",
        protocols=[protocol] * count,
    )

    assert (await client.call(3, request)).error_code == Code.UNKNOWN_SERVER_ERROR
