"""The runtime of coordinators, by the example of groups: appending, replaying, loading, waiting, giving up."""

import errno
import threading
import time
from functools import partial

import pytest
import trio
from peer import Peer

from kwire.broker.coordination.metadata_view import MetadataView
from kwire.broker.coordination.replay import replay_log
from kwire.broker.coordination.runtime import Runtime, RuntimeParts
from kwire.broker.requests.context import Context
from kwire.broker.start import open_broker
from kwire.coordinators.group.commands import CommitOffsets, GroupConfig, JoinGroup, OffsetToCommit, SyncGroup
from kwire.coordinators.group.coordinator import GroupCoordinator
from kwire.coordinators.machine import ProducerStamp
from kwire.errors import Code, KafkaError
from kwire.metadata.configs.effective import BrokerSettings
from kwire.metadata.decisions.topics import delete_topics
from kwire.testing.memory.files import MemoryFiles
from kwire.types import OFFSETS_TOPIC, ZERO_UUID
from kwire.wire.batches.batch import read_batch_header
from kwire.wire.batches.compression import Codec
from kwire.wire.batches.records import Record, build_batch

pytestmark = pytest.mark.usefixtures("mock_clock")

GROUP = "g"


@pytest.fixture
def files():
    return MemoryFiles()


@pytest.fixture
def start(files):
    """Start a broker on the files of this test; several after each other find what the one before left."""

    def open_with(**settings):
        texts = {"log.dirs": "/data", "offsets.topic.num.partitions": "1"}
        texts |= {name.replace("_", "."): str(value) for name, value in settings.items()}
        return open_broker(BrokerSettings(texts), files, endpoints=[Peer.endpoint])

    return open_with


def context_of(broker):
    return Context(broker, Peer(broker), 8, 9, "test", 1)


def parts_of(broker):
    async def create_topic(name):
        raise AssertionError(name)

    return RuntimeParts(
        clock=broker.clock,
        partitions=broker.partitions,
        metadata=MetadataView(broker.image, broker.configs),
        create_topic=create_topic,
        storage_failed=broker.storage_failures.report,
    )


def offset(topic, partition, value):
    return OffsetToCommit(topic, ZERO_UUID, partition, value, -1, "")


async def commit(broker, *offsets, group=GROUP, producer=None):
    command = CommitOffsets(group, -1, "", None, offsets)

    def run(machine, ticket, now_ms):
        if producer is not None:
            return machine.commit_transactional_offsets(command, producer, ticket=ticket, now_ms=now_ms)
        return machine.commit_offsets(command, ticket=ticket, now_ms=now_ms)

    return await broker.groups.submit(context_of(broker), group, run)


async def committed(broker, topic="t", partition=0, group=GROUP):
    machine = await broker.groups.machine(context_of(broker), group)
    ((_, (found,)),) = machine.fetch_offsets(group, [(topic, ZERO_UUID, [partition])], require_stable=False)
    return found.offset


async def join(broker, instance="i", member_id="", group=GROUP, session_ms=10_000):
    command = JoinGroup(
        group, member_id, instance, "c", "/h", session_ms, 60_000, "consumer", (("range", b"m"),), str(id(object()))
    )
    return await broker.groups.submit(
        context_of(broker), group, lambda machine, ticket, now_ms: machine.join(command, ticket=ticket, now_ms=now_ms)
    )


async def sync(broker, joined, instance="i", group=GROUP):
    command = SyncGroup(
        group, joined.generation_id, joined.member_id, instance, None, None, ((joined.member_id, b"assigned"),)
    )
    return await broker.groups.submit(
        context_of(broker), group, lambda machine, ticket, now_ms: machine.sync(command, ticket=ticket, now_ms=now_ms)
    )


async def state(broker, group=GROUP):
    return (await broker.groups.machine(context_of(broker), group)).describe(group).state


async def pass_ms(broker, duration_ms):
    broker.clock.advance(duration_ms)
    await trio.testing.wait_all_tasks_blocked()


def durable(machine):
    return machine.classic.records, machine.offsets.committed, machine.offsets.pending


def batches(broker):
    return [read_batch_header(batch) for batch in broker.partitions.get(OFFSETS_TOPIC, 0).log.read_batches(0)]


def fails_on(operation, code=errno.ENOSPC):
    def fault(asked, path):
        return OSError(code, "no") if asked == operation and OFFSETS_TOPIC in path else None

    return fault


async def test_the_topic_is_created_as_its_settings_say(start):
    async with start(offsets_topic_num_partitions=7, offsets_topic_segment_bytes=2345678) as broker:
        await commit(broker, offset("t", 0, 5))

        values = broker.configs.topic(OFFSETS_TOPIC)
        assert len(broker.image.topics[OFFSETS_TOPIC].partitions) == 7
        assert (list(values["cleanup.policy"]), values["compression.type"]) == (["compact"], "producer")
        assert values["segment.bytes"] == 2345678


async def test_a_topic_that_cannot_be_created_is_a_coordinator_that_is_not_available(start):
    async with start(offsets_topic_replication_factor=3) as broker:
        with pytest.raises(KafkaError) as refusal:
            await commit(broker, offset("t", 0, 5))

        assert refusal.value.code is Code.COORDINATOR_NOT_AVAILABLE


async def test_a_topic_that_cannot_be_created_is_logged_once_for_repeated_requests(start, capsys):
    async with start(offsets_topic_replication_factor=3) as broker:
        for _ in range(3):
            with pytest.raises(KafkaError):
                await commit(broker, offset("t", 0, 5))

    assert capsys.readouterr().err.count("cannot create internal topic") == 1


async def test_the_records_of_one_command_are_one_batch(start):
    async with start(offsets_topic_compression_codec=1) as broker:
        await commit(broker, *(offset("t", partition, 5) for partition in range(3)))

        (header,) = batches(broker)
        assert (header.record_count, header.codec, header.is_transactional) == (3, Codec.GZIP, False)
        assert (header.producer_id, header.base_sequence) == (-1, 0)


async def test_replaying_the_log_gives_the_durable_part(start):
    async with start() as broker:
        await sync(broker, await join(broker))
        await commit(broker, offset("t", 0, 1), offset("t", 1, 2), group="other")
        await commit(broker, offset("t", 1, 3), group="other", producer=ProducerStamp(7, 0))
        await commit(broker, offset("u", 0, 3), group="gone")
        await broker.groups.submit(
            context_of(broker),
            "gone",
            lambda machine, ticket, now_ms: machine.delete_group("gone", ticket=ticket, now_ms=now_ms),
        )

        replayed = GroupCoordinator(GroupConfig())
        for _ in replay_log(broker.partitions.get(OFFSETS_TOPIC, 0), replayed):
            pass

        running = await broker.groups.machine(context_of(broker), GROUP)
        assert durable(replayed) == durable(running)
        assert set(replayed.classic.records) == {GROUP, "other"}


async def test_a_restart_keeps_groups_and_offsets_and_restarts_sessions(start):
    async with start() as broker:
        await sync(broker, await join(broker, session_ms=6000))
        await commit(broker, offset("t", 0, 5), group="other")
        await pass_ms(broker, 5000)

    async with start() as broker:
        assert await committed(broker, group="other") == 5
        assert await state(broker) == "Stable"
        await pass_ms(broker, 3000)
        assert await state(broker) == "Stable"
        await pass_ms(broker, 3000)
        assert await state(broker) == "Empty"


async def test_stored_coordinators_are_loaded_without_a_request(start):
    async with start() as broker:
        await sync(broker, await join(broker, session_ms=6000))
        before = len(batches(broker))

    async with start() as broker:
        await trio.testing.wait_all_tasks_blocked()
        await pass_ms(broker, 6100)
        assert len(batches(broker)) == before + 1  # the group without members


@pytest.mark.parametrize("step_ms", [-3_600_000, 3_600_000])
async def test_a_step_of_the_wall_clock_neither_ends_nor_prolongs_sessions(start, monkeypatch, step_ms):
    async with start() as broker:
        await sync(broker, await join(broker, session_ms=6000))
        await pass_ms(broker, 3000)
        wall_time = time.time
        monkeypatch.setattr(time, "time", lambda: wall_time() + step_ms / 1000)

        await pass_ms(broker, 2900)
        assert await state(broker) == "Stable"
        await pass_ms(broker, 200)
        assert await state(broker) == "Empty"


async def test_offsets_of_deleted_topics_are_removed_at_the_start(start):
    async with start() as broker:
        here = await Peer(broker).create_topic("t", 2)
        gone = b"g" * 16
        await commit(broker, OffsetToCommit("t", here, 0, 5, -1, ""), OffsetToCommit("t", ZERO_UUID, 1, 5, -1, ""))
        await commit(broker, OffsetToCommit("t", gone, 0, 5, -1, ""), group="other")

    async with start() as broker:
        assert [await committed(broker, partition=0), await committed(broker, partition=1)] == [5, 5]
        assert await committed(broker, group="other") == -1


async def test_a_query_creates_nothing_on_disk(start, files):
    async with start() as broker:
        assert await committed(broker) == -1
        assert await broker.groups.machines(context_of(broker)) == []
        assert not any(OFFSETS_TOPIC in path for path in files.paths())


async def test_a_failed_append_changes_nothing(start, files):
    async with start() as broker:
        await commit(broker, offset("t", 0, 5))
        files.fault = fails_on("append")
        with pytest.raises(KafkaError) as refusal:
            await commit(broker, offset("t", 0, 6))
        files.fault = None

        assert refusal.value.code is Code.NOT_COORDINATOR
        assert await committed(broker) == 5
        assert await commit(broker, offset("t", 0, 7)) == [Code.NONE]


async def test_min_insync_replicas_counts_at_most_the_replicas_of_the_offsets_topic(start):
    async with start(min_insync_replicas=2) as broker:
        assert await commit(broker, offset("t", 0, 5)) == [Code.NONE]
        assert await committed(broker) == 5


async def test_a_batch_above_the_limit_of_the_topic_is_refused(start):
    async with start(message_max_bytes=1000) as broker:
        with pytest.raises(KafkaError) as refusal:
            await commit(broker, *(offset("t", partition, 5) for partition in range(100)))

        assert refusal.value.code is Code.UNKNOWN_SERVER_ERROR
        assert batches(broker) == []


async def test_long_clean_ups_are_several_batches(start):
    async with start(message_max_bytes=1000) as broker:
        client = Peer(broker)
        topic_id = await client.create_topic("t", 100)
        for first in range(0, 100, 5):
            await commit(broker, *(offset("t", partition, 5) for partition in range(first, first + 5)))
        before = len(batches(broker))

        broker.controller.commit(delete_topics(broker.image, [topic_id]).records)

        after = batches(broker)[before:]
        assert len(after) > 1
        assert sum(header.record_count for header in after) == 100
        assert all(header.size_bytes <= 1000 for header in after)
        assert await committed(broker, partition=99) == -1


@pytest.fixture
def disk(files):
    """A disk on which nothing of the offsets topic gets until it is set."""
    ready = threading.Event()

    def fault(operation, path):
        if operation == "sync" and OFFSETS_TOPIC in path:
            ready.wait(150)

    files.fault = fault
    yield ready
    ready.set()


async def test_a_reply_waits_for_the_disk_if_the_topic_wants_it(start, disk):
    async with start(log_flush_interval_messages=1) as broker:
        disk.set()
        joined = await join(broker)
        await commit(broker, offset("t", 0, 5), group="other")  # the group's first record is committed
        disk.clear()
        answered = []

        async def ask():
            answered.append(await sync(broker, joined))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert answered == []
            assert await state(broker) == "CompletingRebalance"
            disk.set()
        assert answered[0].assignment == b"assigned"
        assert await state(broker) == "Stable"


async def test_a_client_that_disconnects_during_a_commit_leaves_the_group_consistent(start, disk):
    async with start(log_flush_interval_messages=1) as broker:
        disk.set()
        joined = await join(broker)
        disk.clear()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sync, broker, joined)
            await trio.testing.wait_all_tasks_blocked(0.01)
            nursery.cancel_scope.cancel()
        disk.set()

        # Behind the flush of this commit lies the one that the client did not wait for.
        await commit(broker, offset("t", 0, 5), group="other")

        assert await state(broker) == "Stable"


async def test_a_failed_sync_leaves_no_machine_with_more_state_than_the_log(start, files):
    async with start(log_flush_interval_messages=1) as broker:
        await commit(broker, offset("t", 0, 5))
        files.fault = fails_on("sync", errno.EIO)
        with pytest.raises(KafkaError) as refusal:
            await commit(broker, offset("t", 0, 6))
        files.fault = None

        assert refusal.value.code is Code.NOT_COORDINATOR
        assert await committed(broker) == 5
        with pytest.raises(KafkaError):
            await commit(broker, offset("t", 0, 7))

    async with start() as broker:
        assert await commit(broker, offset("t", 0, 8)) == [Code.NONE]


async def test_requests_wait_while_a_long_log_is_replayed(start, nursery):
    async with start() as broker:
        for value in range(1000):
            await commit(broker, *(offset("t", partition, value) for partition in range(3)))

    async with start() as broker:
        broker.groups = Runtime(parts_of(broker), OFFSETS_TOPIC, partial(GroupCoordinator, GroupConfig()))
        broker.groups.begin(nursery)
        await broker.groups.load_stored()
        found = []

        async def ask():
            found.append(await committed(broker))

        async with trio.open_nursery() as askers:
            for _ in range(3):
                askers.start_soon(ask)
        assert found == [999] * 3
        nursery.cancel_scope.cancel()


async def test_a_log_that_cannot_be_read_has_no_coordinator(start):
    async with start() as broker:
        await broker.groups.partition_count()
        partition = broker.partitions.get(OFFSETS_TOPIC, 0)
        partition.append_own(build_batch([Record(0, 0, b"\0\1\0", b"no", ())]))

        for _ in range(2):
            with pytest.raises(KafkaError) as refusal:
                await commit(broker, offset("t", 0, 5))
            assert refusal.value.code is Code.NOT_COORDINATOR


async def test_without_its_topic_a_coordinator_forgets_everything(start, nursery):
    async with start() as broker:
        await commit(broker, offset("t", 0, 5))
        joined = await join(broker)
        told = []

        async def wait_for_assignment():
            try:
                await sync(broker, await join(broker, "another"), "another")
            except KafkaError as refusal:
                told.append(refusal.code)

        nursery.start_soon(wait_for_assignment)
        await trio.testing.wait_all_tasks_blocked()
        topic_id = broker.image.topics[OFFSETS_TOPIC].id
        broker.controller.commit(delete_topics(broker.image, [topic_id]).records)
        await trio.testing.wait_all_tasks_blocked()

        assert told == [Code.NOT_COORDINATOR]
        assert joined.generation_id == 1
        assert await committed(broker) == -1
        assert OFFSETS_TOPIC in broker.image.topics


async def test_the_end_of_a_transaction_reaches_a_loaded_machine(start):
    async with start() as broker:
        producer = ProducerStamp(7, 0)
        await commit(broker, offset("t", 0, 5), producer=producer)
        assert await committed(broker) == -1
        assert batches(broker)[0].is_transactional

        broker.groups.marker_appended(0, producer, 1, committed=True)

        assert await committed(broker) == 5
