"""KIP-1191: dead letter topics of share groups."""

import pytest
import trio
import trio.testing
from sharing import SharePeer, acquired, write

from kwire.broker.controller.interface import only
from kwire.coordinators.share.acknowledgement import ACCEPT, REJECT, RELEASE
from kwire.coordinators.share.coordinator import Write
from kwire.coordinators.share.state import SharePartitionKey, StateBatch
from kwire.errors import Code
from kwire.metadata.commands.configs import AlterConfigs
from kwire.metadata.entities import Resource, ResourceType
from kwire.metadata.features import bootstrap_levels
from kwire.wire.batches.records import Record, build_batch, read_records

pytestmark = pytest.mark.usefixtures("mock_clock")

DLQ = "dlq.g"
ENABLED = {"errors.deadletterqueue.group.enable": "true"}


async def group_with(broker, **configs):
    """A member of a group with these configs, and the id of the topic that it reads."""
    texts = {"errors.deadletterqueue.topic.name": DLQ, **configs}
    only(await broker.controller.submit(AlterConfigs([(Resource(ResourceType.GROUP, "g"), list(texts.items()))])))
    member = SharePeer(broker)
    topic_id = await member.create_topic("t", 2)
    await member.share(topic_id, 2)
    return member, topic_id


def dead_letters(broker, partition=0, topic=DLQ):
    log = broker.partitions.get(topic, partition).log
    piece = log.read(0, max_bytes=1 << 20, end_offset=log.high_watermark, at_least_one=True)
    if piece is None:
        return []
    content = memoryview(piece.pread())
    piece.close()
    found = []
    while content:
        found += read_records(content)
        content = content[12 + int.from_bytes(content[8:12], "big") :]
    return found


def headers(record):
    return {name.removeprefix("__dlq.errors."): value.decode() for name, value in record.headers}


async def written(broker):
    """What tasks began is done."""
    for _ in range(20):
        await trio.testing.wait_all_tasks_blocked(0.001)


async def stored(broker, topic_id, group="g", partition=0):
    return await broker.share_states.summary(SharePeer(broker), SharePartitionKey(group, topic_id, partition))


def test_new_clusters_have_the_feature():
    assert bootstrap_levels()["share.version"] == 2


async def test_a_rejected_record_is_written_to_the_topic_and_archived(broker):
    member, topic_id = await group_with(broker)
    await member.create_topic(DLQ, **ENABLED)
    write(broker, "t", b"a", b"b", b"c")
    await member.fetch(topic_id)
    assert await member.acknowledge(topic_id, (0, 0, 1, REJECT), (0, 2, 2, ACCEPT)) == {0: Code.NONE}
    await written(broker)
    letters = dead_letters(broker)
    assert [(each.key, each.value) for each in letters] == [(None, None)] * 2
    assert headers(letters[1]) == {
        "topic": "t", "partition": "0", "offset": "1", "group": "g", "delivery.count": "1",
        "message": "Offset rejected by client.",
    }  # fmt: skip
    assert (await stored(broker, topic_id)).start_offset == 3


async def test_a_record_that_was_delivered_too_often_is_written(broker):
    member, topic_id = await group_with(broker, **{"share.delivery.count.limit": "2"})
    await member.create_topic(DLQ, **ENABLED)
    write(broker, "t", b"a")
    for _ in range(2):
        await member.fetch(topic_id)
        await member.acknowledge(topic_id, (0, 0, 0, RELEASE))
    await written(broker)
    (letter,) = dead_letters(broker)
    assert headers(letter)["message"] == "Offset delivery count exceeded the threshold."
    assert headers(letter)["delivery.count"] == "2"


async def test_a_record_whose_last_lock_ends_is_written(broker):
    member, topic_id = await group_with(broker, **{"share.delivery.count.limit": "2"})
    await member.create_topic(DLQ, **ENABLED)
    write(broker, "t", b"a")
    for _ in range(2):
        assert acquired(await member.fetch(topic_id))
        broker.clock.advance(30_000)
        await written(broker)
    assert len(dead_letters(broker)) == 1


async def test_key_and_value_are_copied_where_the_group_wants_that(broker):
    member, topic_id = await group_with(broker, **{"errors.deadletterqueue.copy.record.enable": "true"})
    await member.create_topic(DLQ, **ENABLED)
    batch = build_batch([Record(0, 7, b"k", b"v", (("h", b"1"),)), Record(1, 7, None, b"w", ())])
    broker.partitions.get("t", 0).append_own(batch)
    await member.fetch(topic_id)
    await member.acknowledge(topic_id, (0, 0, 1, REJECT))
    await written(broker)
    assert [(each.key, each.value) for each in dead_letters(broker)] == [(b"k", b"v"), (None, b"w")]


async def test_source_partitions_are_spread_over_those_of_the_topic(broker):
    member, topic_id = await group_with(broker)
    await member.create_topic(DLQ, 3, **ENABLED)
    write(broker, "t", b"a", partition=1)
    await member.fetch(topic_id, partitions=(1,))
    await member.acknowledge(topic_id, (1, 0, 0, REJECT))
    await written(broker)
    assert [len(dead_letters(broker, index)) for index in range(3)] == [0, 1, 0]


async def test_a_topic_that_does_not_exist_is_created_where_the_broker_allows_it(start_broker):
    async with start_broker(**{"errors.deadletterqueue.auto.create.topics.enable": "true"}) as broker:
        member, topic_id = await group_with(broker)
        write(broker, "t", b"a")
        await member.fetch(topic_id)
        await member.acknowledge(topic_id, (0, 0, 0, REJECT))
        await written(broker)
        assert len(dead_letters(broker)) == 1
        assert broker.configs.topic(DLQ)["errors.deadletterqueue.group.enable"]


@pytest.mark.parametrize(
    ("topic", "configs"),
    [(None, {}), (DLQ, {}), ("other", ENABLED)],
    ids=["does not exist", "does not allow it", "has another prefix"],
)
async def test_a_record_is_archived_though_its_dead_letter_cannot_be_written(broker, topic, configs):
    member, topic_id = await group_with(
        broker, **({} if topic != "other" else {"errors.deadletterqueue.topic.name": topic})
    )
    if topic:
        await member.create_topic(topic, **configs)
    write(broker, "t", b"a")
    await member.fetch(topic_id)
    assert await member.acknowledge(topic_id, (0, 0, 0, REJECT)) == {0: Code.NONE}
    await written(broker)
    assert (await stored(broker, topic_id)).start_offset == 1
    assert not topic or not dead_letters(broker, topic=topic)


async def test_what_a_stop_interrupted_is_written_by_the_next_leader(broker):
    member, topic_id = await group_with(broker)
    await member.create_topic(DLQ, **ENABLED)
    write(broker, "t", b"a", b"b")
    archiving = (StateBatch(0, 0, 3, 5), StateBatch(1, 1, 3, 2))
    key = SharePartitionKey("g", topic_id, 0)
    await broker.share_states.write(member, key, Write(0, 0, 0, 0, archiving))
    await member.fetch(topic_id)
    await written(broker)
    assert [headers(each)["message"].split()[1] for each in dead_letters(broker)] == ["delivery", "rejected"]
    assert (await stored(broker, topic_id)).start_offset == 2


async def test_more_than_a_batch_of_dead_letters_is_written_in_several(broker):
    member, topic_id = await group_with(broker)
    await member.create_topic(DLQ, **ENABLED, **{"max.message.bytes": "2000"})
    write(broker, "t", *[b"v"] * 50)
    await member.fetch(topic_id)
    await member.acknowledge(topic_id, (0, 0, 49, REJECT))
    await written(broker)
    assert [headers(each)["offset"] for each in dead_letters(broker)] == [str(n) for n in range(50)]


async def test_letters_that_are_written_when_the_last_session_ends_are_not_written_again(broker, monkeypatch):
    member, topic_id = await group_with(broker)
    await member.create_topic(DLQ, **ENABLED)
    write(broker, "t", b"a")
    await member.fetch(topic_id)
    writer = broker.share_partitions._dead_letters
    write_now, may_write = writer.write, trio.Event()

    async def write_later(*arguments):
        await may_write.wait()
        await write_now(*arguments)

    monkeypatch.setattr(writer, "write", write_later)
    await member.acknowledge(topic_id, (0, 0, 0, REJECT))
    await member.fetch(epoch=-1)
    may_write.set()
    await written(broker)
    assert (await stored(broker, topic_id)).start_offset == 1
    member.epoch = 0
    write(broker, "t", b"b")
    assert acquired(await member.fetch(topic_id)) == [(0, 1, 1, 1)]
    await written(broker)
    assert len(dead_letters(broker)) == 1
