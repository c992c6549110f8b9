"""ShareFetch and ShareAcknowledge through dispatch: sessions, delivery, locks, limits, restarts."""

import pytest
import trio
import trio.testing
from sharing import SharePeer, acquired, errors, write

from kwire.coordinators.share.acknowledgement import ACCEPT, REJECT, RELEASE, RENEW
from kwire.errors import Code
from kwire.metadata.commands.topics import DeleteTopics
from kwire.wire.batches.records import read_records

pytestmark = pytest.mark.usefixtures("mock_clock")


async def topic_with(broker, *batches, partitions=1, **configs):
    member = SharePeer(broker)
    topic_id = await member.create_topic("t", partitions, **configs)
    await member.share(topic_id, partitions)
    for size in batches:
        write(broker, "t", *[b"v"] * size)
    return member, topic_id


async def test_a_member_acquires_whole_batches_up_to_max_records(broker):
    member, topic_id = await topic_with(broker, 5, 5, 5)
    first = await member.fetch(topic_id, max_records=7)
    assert acquired(first) == [(0, 0, 9, 1)]
    second = await member.fetch()
    assert acquired(second) == [(0, 10, 14, 1)]


async def test_records_of_batches_that_were_not_acquired_are_not_sent(broker):
    member, topic_id = await topic_with(broker, 5, 5)
    response = await member.fetch(topic_id, max_records=5)
    (partition,) = response.responses[0].partitions
    assert [record.offset for record in read_records(memoryview(partition.records))] == [0, 1, 2, 3, 4]


async def test_the_strict_mode_acquires_exactly_max_records(broker):
    member, topic_id = await topic_with(broker, 5, 5)
    assert acquired(await member.fetch(topic_id, max_records=3, share_acquire_mode=1)) == [(0, 0, 2, 1)]
    assert acquired(await member.fetch(max_records=3, share_acquire_mode=1)) == [(0, 3, 4, 1), (0, 5, 5, 1)]


async def test_a_record_is_held_by_one_member_at_a_time(broker):
    first, topic_id = await topic_with(broker, 5, 5)
    second = SharePeer(broker, "m2")
    assert acquired(await first.fetch(topic_id, max_records=5)) == [(0, 0, 4, 1)]
    assert acquired(await second.fetch(topic_id)) == [(0, 5, 9, 1)]
    assert await second.acknowledge(topic_id, (0, 0, 4, ACCEPT)) == {0: Code.INVALID_RECORD_STATE}


async def test_released_records_are_delivered_again_with_a_higher_count(broker):
    member, topic_id = await topic_with(broker, 5)
    await member.fetch(topic_id)
    assert await member.acknowledge(topic_id, (0, 0, 1, ACCEPT), (0, 2, 4, RELEASE)) == {0: Code.NONE}
    assert acquired(await member.fetch()) == [(0, 2, 4, 2)]


async def test_acknowledgements_come_with_a_fetch(broker):
    member, topic_id = await topic_with(broker, 2, 2)
    await member.fetch(topic_id, max_records=2)
    response = await member.fetch(topic_id, acks=[(0, 0, 1, ACCEPT, REJECT)])
    (partition,) = response.responses[0].partitions
    assert partition.acknowledge_error_code == Code.NONE
    assert acquired(response) == [(0, 2, 3, 1)]


async def test_an_acquisition_lock_ends_after_its_duration(broker):
    first, topic_id = await topic_with(broker, 5)
    second = SharePeer(broker, "m2")
    await first.fetch(topic_id)
    broker.clock.advance(30_000)
    await trio.testing.wait_all_tasks_blocked()
    assert acquired(await second.fetch(topic_id)) == [(0, 0, 4, 2)]
    assert await first.acknowledge(topic_id, (0, 0, 4, ACCEPT)) == {0: Code.INVALID_RECORD_STATE}


async def test_renew_restarts_the_lock(broker):
    member, topic_id = await topic_with(broker, 5)
    await member.fetch(topic_id)
    broker.clock.advance(20_000)
    await trio.testing.wait_all_tasks_blocked()
    assert await member.acknowledge(topic_id, (0, 0, 4, RENEW), is_renew_ack=True) == {0: Code.NONE}
    broker.clock.advance(20_000)
    await trio.testing.wait_all_tasks_blocked()
    assert await member.acknowledge(topic_id, (0, 0, 4, ACCEPT)) == {0: Code.NONE}


async def test_a_record_is_archived_after_the_last_delivery(broker):
    member, topic_id = await topic_with(broker, 1, 1)
    await member.fetch(topic_id, max_records=1)
    for count in range(2, 6):
        assert await member.acknowledge(topic_id, (0, 0, 0, RELEASE)) == {0: Code.NONE}
        assert acquired(await member.fetch(max_records=1)) == [(0, 0, 0, count)]
    assert await member.acknowledge(topic_id, (0, 0, 0, RELEASE)) == {0: Code.NONE}
    assert acquired(await member.fetch()) == [(0, 1, 1, 1)]


async def test_a_fetch_waits_for_an_append(broker):
    member, topic_id = await topic_with(broker)
    await member.fetch(topic_id)
    got = []

    async def fetch():
        got.append(acquired(await member.fetch(max_wait_ms=60_000)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(fetch)
        await trio.testing.wait_all_tasks_blocked()
        write(broker, "t", b"v")
    assert got == [[(0, 0, 0, 1)]]


async def test_a_fetch_waits_for_a_release(broker):
    first, topic_id = await topic_with(broker, 5)
    second = SharePeer(broker, "m2")
    await first.fetch(topic_id)
    got = []

    async def fetch():
        got.append(acquired(await second.fetch(topic_id, max_wait_ms=60_000)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(fetch)
        await trio.testing.wait_all_tasks_blocked()
        await first.acknowledge(topic_id, (0, 0, 4, RELEASE))
    assert got == [[(0, 0, 4, 2)]]


async def test_a_closed_connection_releases_its_records(broker):
    first, topic_id = await topic_with(broker, 5)
    second = SharePeer(broker, "m2")
    await first.fetch(topic_id)
    first.close()
    assert acquired(await second.fetch(topic_id)) == [(0, 0, 4, 2)]
    assert await first.acknowledge(topic_id, (0, 0, 4, ACCEPT)) == Code.SHARE_SESSION_NOT_FOUND


async def test_the_final_epoch_ends_the_session(broker):
    member, topic_id = await topic_with(broker, 5)
    await member.fetch(topic_id)
    assert await member.acknowledge(topic_id, (0, 0, 1, ACCEPT), epoch=-1) == {0: Code.NONE}
    assert (await member.fetch()).error_code == Code.SHARE_SESSION_NOT_FOUND
    member.epoch = 0
    assert acquired(await member.fetch(topic_id)) == [(0, 2, 4, 2)]


@pytest.mark.parametrize(
    ("epoch", "code"),
    [(5, Code.INVALID_SHARE_SESSION_EPOCH), (0, Code.INVALID_SHARE_SESSION_EPOCH)],
)
async def test_an_acknowledgement_needs_the_next_epoch(broker, epoch, code):
    member, topic_id = await topic_with(broker, 5)
    await member.fetch(topic_id)
    assert await member.acknowledge(topic_id, (0, 0, 4, ACCEPT), epoch=epoch) == code


async def test_a_fetch_needs_the_next_epoch(broker):
    member, topic_id = await topic_with(broker, 5)
    await member.fetch(topic_id)
    assert (await member.fetch(epoch=7)).error_code == Code.INVALID_SHARE_SESSION_EPOCH
    assert (await SharePeer(broker, "x").fetch(epoch=1)).error_code == Code.SHARE_SESSION_NOT_FOUND


async def test_acknowledgements_in_the_first_request_are_invalid(broker):
    member, topic_id = await topic_with(broker, 5)
    response = await member.fetch(topic_id, acks=[(0, 0, 1, ACCEPT)])
    assert response.error_code == Code.INVALID_REQUEST


async def test_sessions_have_a_limit(start_broker):
    settings = {"group.share.max.share.sessions": "1", "group.share.max.size": "1"}
    async with start_broker(**settings) as broker:
        member, topic_id = await topic_with(broker, 5)
        await member.fetch(topic_id)
        assert (await SharePeer(broker, "m2").fetch(topic_id)).error_code == Code.SHARE_SESSION_LIMIT_REACHED
        member.epoch = 0
        assert (await member.fetch(topic_id)).error_code == Code.NONE


@pytest.mark.parametrize(
    "batch",
    [(4, 0, ACCEPT), (0, 4), (0, 4, ACCEPT, ACCEPT), (0, 4, 9), (0, 4, RENEW)],
    ids=["reversed", "without types", "with too few types", "of an unknown type", "renewed without saying so"],
)
async def test_an_invalid_acknowledgement_is_refused(broker, batch):
    member, topic_id = await topic_with(broker, 5)
    await member.fetch(topic_id)
    assert await member.acknowledge(topic_id, (0, *batch)) == {0: Code.INVALID_REQUEST}


async def test_unknown_partitions_are_refused_one_by_one(broker):
    member, topic_id = await topic_with(broker, 5)
    response = await member.fetch(topic_id, partitions=(0, 7))
    assert errors(response) == {0: Code.NONE, 7: Code.UNKNOWN_TOPIC_OR_PARTITION}
    other = SharePeer(broker, "m2")
    assert errors(await other.fetch(b"\x01" * 16)) == {0: Code.UNKNOWN_TOPIC_ID}


async def test_a_topic_that_was_deleted_is_unknown_by_name(broker):
    member, topic_id = await topic_with(broker, 5)
    await member.fetch(topic_id)
    await broker.controller.submit(DeleteTopics([topic_id]))
    assert errors(await member.fetch()) == {0: Code.UNKNOWN_TOPIC_OR_PARTITION}


async def test_no_more_records_are_in_flight_than_the_group_allows(start_broker):
    limits = {"group.share.partition.max.record.locks": "100"}
    async with start_broker(**limits) as broker:
        member, topic_id = await topic_with(broker, *[10] * 20)
        assert acquired(await member.fetch(topic_id)) == [(0, 0, 99, 1)]
        assert acquired(await member.fetch()) == []
        await member.acknowledge(topic_id, (0, 0, 49, ACCEPT))
        assert acquired(await member.fetch()) == [(0, 100, 149, 1)]


async def test_records_that_were_deleted_are_not_waited_for(broker):
    member, topic_id = await topic_with(broker, 5, 5)
    broker.partitions.get("t", 0).delete_records_before(5)
    await member.fetch(topic_id)
    assert acquired(await member.fetch()) == [(0, 5, 9, 1)]


async def test_acknowledgements_survive_a_restart(start_broker):
    async with start_broker() as broker:
        member, topic_id = await topic_with(broker, 5, 5)
        await member.fetch(topic_id)
        await member.acknowledge(topic_id, (0, 0, 2, ACCEPT), (0, 3, 3, RELEASE), (0, 4, 5, REJECT))
    async with start_broker() as broker:
        member = SharePeer(broker)
        assert acquired(await member.fetch(topic_id)) == [(0, 3, 3, 2), (0, 6, 9, 1)]


async def test_an_acquired_batch_may_begin_before_the_start(start_broker):
    async with start_broker() as broker:
        member, topic_id = await topic_with(broker, 5)
        await member.fetch(topic_id)
        await member.acknowledge(topic_id, (0, 0, 2, ACCEPT))
    async with start_broker() as broker:
        response = await SharePeer(broker).fetch(topic_id)
        assert acquired(response) == [(0, 3, 4, 1)]
