"""Topic configs from a client's text to their effect on a log: each test fails if its config has no effect."""

from pathlib import Path

import pytest
import trio
from test_produce_and_fetch import produce, produce_request, records_of

from kwire.errors import Code
from kwire.metadata.entities import ResourceType
from kwire.wire import messages as m
from kwire.wire.batches.compression import Codec
from kwire.wire.batches.records import Record, build_batch

pytestmark = pytest.mark.usefixtures("mock_clock")

DAY_MS = 24 * 3600 * 1000


@pytest.fixture
def settings():
    # Kafka's own default for the first is never, and then flush.ms is not looked at.
    return {"log.flush.scheduler.interval.ms": "1000", "log.flush.offset.checkpoint.interval.ms": "2147483647"}


async def on_append_result():
    await trio.testing.wait_all_tasks_blocked(0.01)


def batch_at(timestamp_ms):
    return build_batch([Record(0, timestamp_ms, None, b"v", ())])


def size_of(data_dir, topic):
    return Path(data_dir, f"{topic}-0", "0" * 20 + ".log").stat().st_size


async def send(client, topic_id, batch):
    response = await client.call(13, produce_request(topic_id, batch))
    return response.responses[0].partition_responses[0].error_code


async def test_preallocate_creates_the_file_at_the_size_of_a_segment(client, data_dir):
    for name, wanted in (("plain", "false"), ("roomy", "true")):
        topic_id = await client.create_topic(name, preallocate=wanted, segment_bytes=2_000_000)
        await produce(client, topic_id, b"1")
    assert size_of(data_dir, "plain") < 1000
    assert size_of(data_dir, "roomy") == 2_000_000


async def test_flush_messages_flushes_after_that_many_records(client, broker):
    topic_id = await client.create_topic("t", flush_messages=3)
    points = []
    for value in (b"1", b"2", b"3"):
        await produce(client, topic_id, value)
        points.append(broker.partitions.get("t", 0).log.recovery_point)
    assert points == [0, 0, 3]


async def flushed(log):
    while log.recovery_point < log.end_offset:
        await trio.lowlevel.checkpoint()


async def test_flush_ms_flushes_after_that_time(client, broker):
    logs = {}
    for name, flush_ms in (("soon", 5000), ("late", DAY_MS)):
        topic_id = await client.create_topic(name, flush_ms=flush_ms)
        await produce(client, topic_id, b"1")
        logs[name] = broker.partitions.get(name, 0).log
    with trio.fail_after(150):
        for _ in range(10):
            broker.clock.advance(1001)
            await on_append_result()
        await flushed(logs["soon"])
    assert (logs["soon"].recovery_point, logs["late"].recovery_point) == (1, 0)


async def test_segment_jitter_ms_spreads_the_rolls_of_a_topic(client, broker):
    now = broker.clock.now_ms()
    counts = {}
    for name, jitter_ms in (("together", 0), ("spread", DAY_MS)):
        topic_id = await client.create_topic(name, 32, segment_ms=DAY_MS, segment_jitter_ms=jitter_ms)
        for index in range(32):
            for at in (now - DAY_MS // 2, now):
                answer = await client.call(13, produce_request(topic_id, batch_at(at), index=index))
                assert answer.responses[0].partition_responses[0].error_code == Code.NONE
        counts[name] = [len(broker.partitions.get(name, index).log.segments) for index in range(32)]
    assert counts["together"] == [1] * 32
    assert set(counts["spread"]) == {1, 2}


async def test_timestamps_beyond_the_limits_of_a_topic_are_refused(client, broker):
    now = broker.clock.now_ms()
    topic_id = await client.create_topic(
        "t", message_timestamp_before_max_ms=60_000, message_timestamp_after_max_ms=30_000
    )
    assert await send(client, topic_id, batch_at(now - 50_000)) == Code.NONE
    assert await send(client, topic_id, batch_at(now - 70_000)) == Code.INVALID_TIMESTAMP
    assert await send(client, topic_id, batch_at(now + 20_000)) == Code.NONE
    assert await send(client, topic_id, batch_at(now + 50_000)) == Code.INVALID_TIMESTAMP


@pytest.mark.parametrize(("codec", "fast", "small"), [("gzip", 1, 9), ("lz4", 1, 17), ("zstd", 1, 19)])
async def test_the_compression_level_of_the_topic_is_used(client, broker, codec, fast, small):
    text = b" ".join(b"%d %x" % (n * n % 9973, n * 7919 % 65521) for n in range(20_000))
    sizes = []
    for level in (fast, small):
        wanted = {"compression_type": codec, f"compression_{codec}_level": level}
        topic_id = await client.create_topic(f"{codec}-{level}", **wanted)
        assert await send(client, topic_id, records_of(text)) == Code.NONE
        sizes.append(broker.partitions.get(f"{codec}-{level}", 0).log.size_bytes)
    assert sizes[1] < sizes[0] < len(text)


@pytest.mark.parametrize("codec", Codec)
async def test_max_decompressed_message_bytes_limits_each_record_of_a_compressed_batch(client, codec):
    topic_id = await client.create_topic("t", max_decompressed_message_bytes=1000)
    small = [Record(n, 0, None, b"x" * 900, ()) for n in range(5)]
    large = [Record(0, 0, None, b"x" * 1000, ())]
    assert await send(client, topic_id, build_batch(small, codec=codec)) == 0
    refused = await send(client, topic_id, build_batch(large, codec=codec))
    assert refused == (Code.NONE if codec is Codec.NONE else Code.INVALID_RECORD)


async def test_file_delete_delay_ms_keeps_the_files_of_a_deleted_topic(client, broker, data_dir):
    for name, delay_ms in (("soon", 1000), ("late", 100_000)):
        topic_id = await client.create_topic(name, file_delete_delay_ms=delay_ms)
        await produce(client, topic_id, b"1")
        state = m.DeleteTopicsRequest.DeleteTopicState(name=name)
        await client.call(6, m.DeleteTopicsRequest(topics=[state], timeout_ms=1000))

    def deletions():
        return sorted(path.name.split("-")[0] for path in Path(data_dir).glob("*-delete"))

    seen = [deletions()]
    for step_ms in (1500, 100_000):
        broker.clock.advance(step_ms)
        await on_append_result()
        seen.append(deletions())
    assert seen == [["late", "soon"], ["late"], []]


async def test_a_changed_broker_config_applies_to_topics_without_their_own(client, broker):
    await client.create_topic("old")
    await client.create_topic("own", retention_ms=5)
    broker.controller.commit(
        [m.ConfigRecord(resource_type=ResourceType.BROKER, resource_name="", name="log.retention.ms", value="77")]
    )
    await client.create_topic("new")
    retained_ms = {name: broker.partitions.get(name, 0).settings.log.retention_ms for name in ("old", "own", "new")}
    assert retained_ms == {"old": 77, "own": 5, "new": 77}
