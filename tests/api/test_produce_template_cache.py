"""What is answered without decoding is answered as the usual way answers it."""

import errno
import random
from dataclasses import replace

import pytest
import trio
from peer import Peer, apis_of

from kwire.api import produce_template_cache
from kwire.api.produce_template_cache import ProduceTemplateCache
from kwire.broker.partitions.validate import RecordChecks
from kwire.errors import Code
from kwire.limits import CHECKED_BATCHES
from kwire.metadata.decisions.topics import delete_topics
from kwire.server.bindings import Limits
from kwire.server.connections.connection import serve_connection
from kwire.server.connections.registry import ConnectionRegistry, Listener
from kwire.testing.memory.transport import MemoryTransport
from kwire.wire import codec
from kwire.wire import messages as m
from kwire.wire.batches.batch import CRC_POSITION, CRC_START, read_batch_header
from kwire.wire.batches.crc import crc32c
from kwire.wire.batches.records import Record, assemble_batch, build_batch

NOW = 1_700_000_000_000
V = m.ProduceRequest


class Producer:
    """A client on a connection, which may take the shortcut."""

    def __init__(self, broker, nursery):
        connections = ConnectionRegistry(apis_of(broker), broker.clock, Limits)
        self.transport = MemoryTransport()
        nursery.start_soon(serve_connection, broker, self.transport, Listener(Peer.endpoint, connections))
        self._correlation_id = 0

    async def call(self, version, request, client_id="test", behind=b""):
        self._correlation_id += 1
        frame = codec.encode_request(0, version, self._correlation_id, client_id, request)[4:] + behind
        self.transport.feed(len(frame).to_bytes(4, "big") + frame)
        if request.acks == 0:
            return None
        reply = await self.transport.next_frame()
        if reply is None:
            return None
        correlation_id, response = codec.decode_response(0, version, memoryview(reply))
        assert correlation_id == self._correlation_id
        return response


@pytest.fixture(autouse=True)
def trusted(monkeypatch):
    """Take over after the first request, not only when the records of several batches were checked."""
    monkeypatch.setattr(produce_template_cache, "CHECKED_BATCHES", 0)


@pytest.fixture
def producer(broker, nursery):
    return Producer(broker, nursery)


@pytest.fixture
def taken(monkeypatch):
    """What the shortcut gave for each request that came by: a reply, or None."""
    seen = []
    answer = ProduceTemplateCache.answer

    def noted(self, frame):
        seen.append(answer(self, frame))
        return seen[-1]

    monkeypatch.setattr(ProduceTemplateCache, "answer", noted)
    return seen


def batch(*values, timestamp=NOW, key=b"key", **more):
    return build_batch([Record(i, timestamp + i, key, value, ()) for i, value in enumerate(values)], **more)


def request(topic, records, index=0, acks=-1, **more):
    """``topic`` is a name, or an id."""
    place = {"name": topic} if isinstance(topic, str) else {"topic_id": topic}
    partition = V.PartitionProduceData(index=index, records=records)
    return V(acks=acks, timeout_ms=1000, topic_data=[V.TopicProduceData(partition_data=[partition], **place)], **more)


def only(response):
    (topic,) = response.responses
    (partition,) = topic.partition_responses
    return partition


@pytest.mark.parametrize("version", [9, 10, 11, 12, 13])
async def test_the_second_request_of_a_kind_takes_the_shortcut(client, producer, taken, version):
    topic_id = await client.create_topic("t", 2)
    topic = topic_id if version > 12 else "t"
    answers = [only(await producer.call(version, request(topic, batch(b"a" * size)))) for size in (1, 100, 20_000)]
    assert [answer.base_offset for answer in answers] == [0, 1, 2]
    assert [reply is not None for reply in taken] == [True, True]
    assert {answer.error_code for answer in answers} == {0}
    assert [answer.index for answer in answers] == [0, 0, 0]
    assert only(await producer.call(version, request(topic, batch(b"a"), index=1))).base_offset == 0
    assert taken[-1] is None


@pytest.mark.parametrize("version", [3, 7, 8])
async def test_versions_before_compact_lengths_never_take_it(client, producer, taken, version):
    await client.create_topic("t")
    for offset in range(3):
        assert only(await producer.call(version, request("t", batch(b"a")))).base_offset == offset
    assert not any(taken)


def sealed(content):
    """The batch with the CRC that its bytes have."""
    content = bytearray(content)
    content[CRC_POSITION:CRC_START] = crc32c(content[CRC_START:]).to_bytes(4, "big")
    return bytes(content)


def changed(at, value):
    def change(content):
        content = bytearray(content)
        content[at : at + len(value)] = value
        return bytes(content)

    return change


ODD = {
    "good": lambda content: content,
    "two batches": lambda content: content * 2,
    "a batch and a part": lambda content: content + content[:40],
    "cut": lambda content: content[:-1],
    "no header": lambda content: content[:30],
    "empty": lambda content: b"",
    "null": lambda content: None,
    "crc": changed(CRC_POSITION, b"1234"),
    "magic 1": changed(16, b"\1"),
    "magic 9": changed(16, b"\x09"),
    "base offset": changed(0, (5).to_bytes(8, "big")),
    "length": changed(8, (60).to_bytes(4, "big")),
    "negative length": changed(8, b"\xff\xff\xff\xff"),
    "count": lambda content: sealed(changed(57, (9).to_bytes(4, "big"))(content)),
    "control": lambda content: sealed(changed(22, b"\x20")(content)),
    "transactional": lambda content: sealed(changed(22, b"\x10")(content)),
    "append time": lambda content: sealed(changed(22, b"\x08")(content)),
    "codec 7": lambda content: sealed(changed(22, b"\x07")(content)),
    "zstd that is none": lambda content: sealed(changed(22, b"\x04")(content)),
    "sequence without epoch": lambda content: sealed(changed(43, (9).to_bytes(8, "big"))(content)),
}
SIZES = (1, 30, 60, 61, 62, 63, 64, 65, 126, 127, 128, 500, 16_300, 16_320, 16_400, 40_000, 70_000)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("version", [9, 12, 13])
async def test_any_sequence_of_requests_is_answered_as_usual(client, producer, taken, seed, version):
    client.broker.clock.now_ms = lambda: NOW  # refusals tell the time
    settings = {"max_message_bytes": 50_000}
    if seed % 4 == 3:
        settings["cleanup_policy"] = "compact"
    topics = {name: await client.create_topic(name, 2, **settings) for name in ("again", "usual")}
    dice = random.Random(seed)
    sequence = 0
    for _ in range(150):
        values = [dice.randbytes(dice.choice(SIZES)) for _ in range(dice.choice((1, 1, 1, 3)))]
        more = {}
        if dice.random() < 0.3:
            more = {
                "producer_id": 77,
                "producer_epoch": 0,
                "base_sequence": max(0, sequence + dice.choice((-1, 0, 0, 0, 1))),
            }
        if dice.random() < 0.1:
            more["key"] = None
        if dice.random() < 0.1:
            more["timestamp"] = NOW * 2
        records = ODD[dice.choice(list(ODD)) if dice.random() < 0.3 else "good"](batch(*values, **more))
        acks, index = dice.choice((-1, -1, -1, -1, 1, 2)), dice.choice((0, 0, 0, 0, 1, 9))
        client.client_id = dice.choice(("test", "test", "other"))
        asked = [request(name if version < 13 else topics[name], records, index, acks) for name in ("again", "usual")]
        answer = only(await producer.call(version, asked[0], client.client_id))
        expected = only(await client.call(version, asked[1]))
        assert repr(answer).replace("again", "usual") == repr(expected)
        if answer.error_code == 0 and "base_sequence" in more:
            sequence = max(sequence, more["base_sequence"] + len(values))
    # Both ways were gone.
    replies = sum(reply is not None for reply in taken)
    assert 5 < replies < len(taken) - 20


async def test_records_appended_by_the_template_cache_can_be_fetched(client, producer, taken, broker):
    topic_id = await client.create_topic("t")
    for value in (b"one", b"two", b"three"):
        await producer.call(13, request(topic_id, batch(value)))
    assert len([reply for reply in taken if reply]) == 2
    read = broker.partitions.get("t", 0).log.read_batches(0)
    assert [value in bytes(content) for value, content in zip((b"one", b"two", b"three"), read, strict=True)] == [
        True
    ] * 3


async def test_acks_0_gets_no_answer(client, producer, taken, broker):
    topic_id = await client.create_topic("t")
    for _ in range(3):
        await producer.call(13, request(topic_id, batch(b"a"), acks=0))
    assert only(await producer.call(13, request(topic_id, batch(b"a")))).base_offset == 3
    assert not any(taken)


async def test_bytes_behind_a_request_are_passed_over_as_usual(client, producer, taken):
    topic_id = await client.create_topic("t")
    answers = [
        only(await producer.call(13, request(topic_id, batch(b"a")), behind=behind)) for behind in (b"", b"xyz", b"")
    ]
    assert [answer.base_offset for answer in answers] == [0, 1, 2]
    assert [reply is not None for reply in taken] == [False, True]


@pytest.mark.parametrize("version", [12, 13])
async def test_a_topic_that_is_deleted_and_made_again_is_another_one(client, producer, taken, broker, version):
    for _ in range(2):
        topic_id = await client.create_topic("t")
        topic = topic_id if version > 12 else "t"
        for offset in range(3):
            assert only(await producer.call(version, request(topic, batch(b"a")))).base_offset == offset
        broker.controller.commit(delete_topics(broker.image, [topic_id]).records)
        gone = Code.UNKNOWN_TOPIC_ID if version > 12 else Code.UNKNOWN_TOPIC_OR_PARTITION
        assert only(await producer.call(version, request(topic, batch(b"a")))).error_code == gone
        await trio.testing.wait_all_tasks_blocked()
    assert len([reply for reply in taken if reply]) == 4


async def test_topics_with_flush_settings_take_the_usual_path(client, producer, taken, broker):
    topic_id = await client.create_topic("t", flush_messages=1)
    for _ in range(3):
        await producer.call(13, request(topic_id, batch(b"a")))
    assert broker.partitions.get("t", 0).log.recovery_point == 3
    assert not any(taken)


async def test_changed_topic_configs_hold_at_once(client, producer, taken, broker):
    topic_id = await client.create_topic("t")
    for _ in range(2):
        await producer.call(13, request(topic_id, batch(b"a" * 500)))
    alter = m.IncrementalAlterConfigsRequest
    config = alter.AlterableConfig(name="max.message.bytes", config_operation=0, value="300")
    await client.call(
        1, alter(resources=[alter.AlterConfigsResource(resource_type=2, resource_name="t", configs=[config])])
    )
    refused = only(await producer.call(13, request(topic_id, batch(b"a" * 500))))
    assert refused.error_code == Code.MESSAGE_TOO_LARGE
    assert [reply is not None for reply in taken] == [True, False]


async def test_a_quota_set_later_throttles(client, producer, taken, broker):
    topic_id = await client.create_topic("t")
    for _ in range(2):
        assert (await producer.call(13, request(topic_id, batch(b"a" * 500)))).throttle_time_ms == 0
    alter = m.AlterClientQuotasRequest
    entity = alter.EntityData(entity_type="client-id", entity_name="test")
    op = alter.OpData(key="producer_byte_rate", value=1.0)
    await client.call(1, alter(entries=[alter.EntryData(entity=[entity], ops=[op])]))
    assert (await producer.call(13, request(topic_id, batch(b"a" * 500)))).throttle_time_ms > 0
    assert len(taken) == 1


async def test_the_templates_of_a_connection_are_bounded(client, producer, taken):
    topic_id = await client.create_topic("t", 200)
    for _ in range(2):
        for index in range(200):
            await producer.call(13, request(topic_id, batch(b"a"), index=index))
    assert len([reply for reply in taken if reply]) == 128


async def test_a_client_that_changes_the_version_is_answered_in_each_version(client, producer, taken):
    await client.create_topic("t")
    for version in (9, 12, 9, 12, 9):
        assert only(await producer.call(version, request("t", batch(b"a")))).error_code == 0
    assert [reply is not None for reply in taken] == [False, True, False, True]


async def test_templates_of_deleted_topics_make_room_for_new_ones(client, producer, taken, broker):
    for _ in range(3):
        topic_id = await client.create_topic("t", 100)
        for _ in range(2):
            for index in range(100):
                await producer.call(13, request(topic_id, batch(b"a"), index=index))
        broker.controller.commit(delete_topics(broker.image, [topic_id]).records)
        await trio.testing.wait_all_tasks_blocked()
    assert len([reply for reply in taken if reply]) == 300


async def test_topics_with_names_of_another_length_take_the_usual_path(client, producer, taken):
    for name in ("short", "a-longer-one"):
        await client.create_topic(name)
    for offset in range(3):
        for name in ("short", "a-longer-one"):
            assert only(await producer.call(12, request(name, batch(b"a")))).base_offset == offset
    assert len([reply for reply in taken if reply]) == 2


async def test_a_full_disk_is_answered_and_tried_once(client, producer, taken, broker, monkeypatch):
    topic_id = await client.create_topic("t")
    for _ in range(2):
        await producer.call(13, request(topic_id, batch(b"a")))
    tries = []

    def no_space(fd, parts):
        tries.append(fd)
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(broker.dirs.files, "writev", no_space)
        refused = only(await producer.call(13, request(topic_id, batch(b"b"))))
    assert (refused.error_code, refused.base_offset, len(tries)) == (Code.KAFKA_STORAGE_ERROR, -1, 1)
    assert only(await producer.call(13, request(topic_id, batch(b"c")))).base_offset == 2
    assert [reply is not None for reply in taken] == [True, True, True]


async def test_a_connection_whose_first_batches_were_not_checked_is_not_answered_from_the_cache(
    client, producer, taken, monkeypatch
):
    monkeypatch.setattr(produce_template_cache, "CHECKED_BATCHES", CHECKED_BATCHES)
    await client.create_topic("t")
    for _ in range(CHECKED_BATCHES + 1):
        await producer.call(9, request("t", batch(b"v")))
    assert taken[-1] is not None
    assert not any(taken[:-1])
    assert len(taken) >= CHECKED_BATCHES


async def test_garbage_is_refused_until_the_first_batches_of_a_connection_were_checked(client, producer, monkeypatch):
    monkeypatch.setattr(produce_template_cache, "CHECKED_BATCHES", CHECKED_BATCHES)
    await client.create_topic("t")
    garbage = bytes(assemble_batch(read_batch_header(batch(b"v")), b"no record"))

    async def code(records):
        answer = await producer.call(9, request("t", records))
        return answer.responses[0].partition_responses[0].error_code

    for _ in range(CHECKED_BATCHES):
        assert await code(garbage) == Code.INVALID_RECORD
        assert await code(batch(b"v")) == Code.NONE
    # docs/decisions/checked-records.md: what is trusted from here on.
    assert await code(garbage) == Code.NONE


async def test_with_strict_checks_the_cache_refuses_garbage_too(client, broker, producer, taken):
    await client.create_topic("t")
    partition = broker.partitions.get("t", 0)
    validation = replace(partition.settings.validation, record_checks=RecordChecks.STRICT)
    partition.configure(replace(partition.settings, validation=validation))
    for _ in range(2):
        await producer.call(9, request("t", batch(b"v")))
    assert taken[-1] is not None
    garbage = bytes(assemble_batch(read_batch_header(batch(b"v")), b"no record"))
    answer = await producer.call(9, request("t", garbage))
    assert answer.responses[0].partition_responses[0].error_code == Code.INVALID_RECORD
