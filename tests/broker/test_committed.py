"""When an appended record is committed, and how waiting for it ends."""

from __future__ import annotations

import errno
from contextlib import asynccontextmanager

import pytest
import trio
from peer import Peer

from kwire.broker.partitions.partition import Role
from kwire.broker.partitions.watches import Watch
from kwire.broker.start import open_broker
from kwire.errors import Code, KafkaError, StorageFailure
from kwire.metadata.configs.effective import BrokerSettings
from kwire.metadata.decisions.topics import delete_topics
from kwire.testing.memory.files import MemoryFiles
from kwire.wire.batches.batch import read_batch_header
from kwire.wire.batches.records import Record, build_batch
from kwire.wire.messages import FetchRequest, ProduceRequest

FLUSH_EACH = {"flush_messages": 1}


@asynccontextmanager
async def partition_with(**configs):
    files = MemoryFiles()
    async with open_broker(BrokerSettings({"log.dirs": "data"}), files, endpoints=[Peer.endpoint]) as broker:
        await Peer(broker).create_topic("t", **configs)
        yield broker, broker.partitions.get("t", 0), files


def batch_of(*values: bytes, **stamp) -> memoryview:
    return memoryview(build_batch([Record(index, 0, b"k", value) for index, value in enumerate(values)], **stamp))


async def committed(partition, offset):
    await partition.committed(offset, since=partition.leading_since)


def append(partition, *values: bytes, **stamp):
    batch = batch_of(*values, **stamp)
    return partition.append(batch, read_batch_header(batch), acks=-1)


class HeldSyncs:
    """Takes the place of the thread that syncs: each sync waits until ``release``."""

    def __init__(self, monkeypatch):
        self.count = 0
        self._released = trio.Event()
        monkeypatch.setattr(trio.to_thread, "run_sync", self._run)

    async def _run(self, sync):
        self.count += 1
        await self._released.wait()
        return sync()

    def release(self):
        self._released.set()


async def test_without_flush_settings_an_append_is_committed_when_it_returns():
    async with partition_with() as (_, partition, _files):
        appended = append(partition, b"a", b"b")
        assert appended.next_offset == 2
        assert partition.is_committed(2)
        assert not partition.is_committed(3)
        with trio.testing.assert_no_checkpoints():
            await committed(partition, appended.next_offset)


async def test_a_record_is_not_committed_before_its_flush_is_done(monkeypatch):
    async with partition_with(**FLUSH_EACH) as (_, partition, _files):
        with monkeypatch.context() as patch:
            held = HeldSyncs(patch)
            appended = append(partition, b"a")
            assert partition.high_watermark == 0
            done = []

            async def wait():
                await committed(partition, appended.next_offset)
                done.append(partition.high_watermark)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(wait)
                await trio.testing.wait_all_tasks_blocked()
                assert not done
                held.release()
            assert done == [1]
            assert partition.log.recovery_point == 1


async def test_waits_that_come_during_a_flush_share_the_next_one(monkeypatch):
    async with partition_with(**FLUSH_EACH) as (_, partition, _files):
        with monkeypatch.context() as patch:
            held = HeldSyncs(patch)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(committed, partition, append(partition, b"a").next_offset)
                await trio.testing.wait_all_tasks_blocked()
                for value in (b"b", b"c", b"d"):
                    nursery.start_soon(committed, partition, append(partition, value).next_offset)
                await trio.testing.wait_all_tasks_blocked()
                assert held.count == 1
                held.release()
            assert held.count == 2
            assert partition.is_committed(4)


async def test_a_duplicate_of_an_uncommitted_batch_waits_too(monkeypatch):
    async with partition_with(**FLUSH_EACH) as (_, partition, _files):
        with monkeypatch.context() as patch:
            HeldSyncs(patch)
            stamp = {"producer_id": 1, "producer_epoch": 0, "base_sequence": 0}
            append(partition, b"a", **stamp)
            duplicate = append(partition, b"a", **stamp)
            assert duplicate.duplicate
            assert not partition.is_committed(duplicate.next_offset)


async def test_a_failed_flush_commits_nothing_and_ends_every_wait():
    async with partition_with(**FLUSH_EACH) as (_, partition, files):
        first, second = append(partition, b"a").next_offset, append(partition, b"b").next_offset
        files.fault = lambda operation, path: (
            OSError(errno.EIO, "Input/output error") if operation == "sync" and path.startswith("data/t-0") else None
        )
        failures = []

        async def wait(offset):
            with pytest.raises(StorageFailure):
                await committed(partition, offset)
            failures.append(offset)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait, first)
            nursery.start_soon(wait, second)
        files.fault = None
        assert sorted(failures) == [first, second]
        assert partition.high_watermark == 0
        with pytest.raises(StorageFailure):
            append(partition, b"c")


async def test_a_wait_that_is_cancelled_leaves_the_flush_to_the_others(monkeypatch):
    async with partition_with(**FLUSH_EACH) as (_, partition, _files):
        with monkeypatch.context() as patch:
            held = HeldSyncs(patch)
            async with trio.open_nursery() as nursery:
                offset = append(partition, b"a").next_offset
                nursery.start_soon(committed, partition, offset)
                await trio.testing.wait_all_tasks_blocked()
                with trio.move_on_after(0):
                    await committed(partition, offset)
                assert not partition.is_committed(offset)
                held.release()
            assert partition.is_committed(offset)


async def test_a_wait_ends_with_not_leader_when_the_partition_gets_another_leader(monkeypatch):
    async with partition_with(**FLUSH_EACH) as (_, partition, _files):
        with monkeypatch.context() as patch:
            held = HeldSyncs(patch)
            refused = []

            async def wait():
                with pytest.raises(KafkaError) as refusal:
                    await committed(partition, append(partition, b"a").next_offset)
                refused.append(refusal.value.code)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(wait)
                await trio.testing.wait_all_tasks_blocked()
                partition.change_role(Role.FOLLOWER, leader_id=2, leader_epoch=1)
                held.release()
            assert refused == [Code.NOT_LEADER_OR_FOLLOWER]
            assert partition.high_watermark == 0, "a follower's high watermark is its leader's"


async def test_a_follower_refuses_appends_and_is_not_given_to_handlers():
    async with partition_with() as (broker, partition, _files):
        append(partition, b"a")
        partition.change_role(Role.FOLLOWER, leader_id=2, leader_epoch=1)
        with pytest.raises(KafkaError, match="NOT_LEADER_OR_FOLLOWER"):
            append(partition, b"b")
        with pytest.raises(KafkaError, match="NOT_LEADER_OR_FOLLOWER"):
            partition.append_own(batch_of(b"b"))
        with pytest.raises(KafkaError, match="NOT_LEADER_OR_FOLLOWER"):
            broker.partitions.get("t", 0)
        assert partition.log.end_offset == 1

        partition.change_role(Role.LEADER, leader_id=1, leader_epoch=2)
        append(partition, b"b")
        assert partition.log.epoch_of(1) == 2


async def test_a_wait_ends_when_the_topic_is_deleted(monkeypatch):
    async with partition_with(**FLUSH_EACH) as (broker, partition, _files):
        with monkeypatch.context() as patch:
            held = HeldSyncs(patch)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(committed, partition, append(partition, b"a").next_offset)
                await trio.testing.wait_all_tasks_blocked()
                broker.controller.commit(delete_topics(broker.image, [broker.image.topics["t"].id]).records)
                held.release()
            assert partition.deleted


async def test_uncommitted_records_are_not_fetched_and_not_acknowledged(monkeypatch):
    async with partition_with(**FLUSH_EACH) as (broker, _partition, _files):
        client = Peer(broker)
        topic_id = broker.image.topics["t"].id
        with monkeypatch.context() as patch:
            held = HeldSyncs(patch)
            answers = []

            async def produce():
                data = ProduceRequest.PartitionProduceData(index=0, records=batch_of(b"a"))
                topic = ProduceRequest.TopicProduceData(topic_id=topic_id, partition_data=[data])
                answers.append(await client.call(13, ProduceRequest(acks=-1, timeout_ms=1000, topic_data=[topic])))

            async def fetched():
                wanted = FetchRequest.FetchPartition(partition=0, fetch_offset=0, partition_max_bytes=1000)
                topic = FetchRequest.FetchTopic(topic_id=topic_id, partitions=[wanted])
                request = FetchRequest(max_wait_ms=0, min_bytes=1, topics=[topic], session_epoch=-1)
                return (await Peer(broker).call(17, request)).responses[0].partitions[0]

            async with trio.open_nursery() as nursery:
                nursery.start_soon(produce)
                await trio.testing.wait_all_tasks_blocked()
                assert not answers
                before = await fetched()
                assert (before.high_watermark, bytes(before.records or b"")) == (0, b"")
                held.release()
            assert answers[0].responses[0].partition_responses[0].error_code == 0
            assert (await fetched()).high_watermark == 1


@pytest.mark.parametrize("min_bytes", [1, 60])
async def test_a_flush_wakes_a_waiting_fetch_as_soon_as_its_min_bytes_are_committed(min_bytes):
    async with partition_with(**FLUSH_EACH) as (_, partition, _files):
        watch = Watch(committed_only=False)
        partition.watch(watch, "t-0")
        event = watch.arm(min_bytes)
        offset = append(partition, b"a").next_offset
        assert not event.is_set()
        await committed(partition, offset)
        assert event.is_set()


async def test_a_flush_that_commits_nothing_wakes_no_fetch():
    async with partition_with() as (broker, partition, _files):
        append(partition, b"a")
        watch = Watch(committed_only=False)
        partition.watch(watch, "t-0")
        event = watch.arm(1)
        await broker.flusher.flush(partition)
        assert partition.log.recovery_point == 1
        assert not event.is_set()


async def test_a_change_of_leader_wakes_watches_and_begins_an_epoch_before_the_first_append():
    async with partition_with() as (_, partition, _files):
        append(partition, b"a")
        watch = Watch(committed_only=False)
        partition.watch(watch, "t-0")
        event = watch.arm(1000)
        partition.change_role(Role.LEADER, leader_id=1, leader_epoch=5)
        assert event.is_set()
        assert partition.log.latest_epoch == 5
        assert partition.log.offset_for_epoch(4).end_offset == 1


async def test_a_watch_that_was_removed_is_not_notified():
    async with partition_with() as (_, partition, _files):
        watch = Watch(committed_only=False)
        partition.watch(watch, "t-0")
        partition.unwatch(watch)
        append(partition, b"a")
        assert not watch.dirty


async def test_closing_a_partition_completes_the_indexes_of_its_log():
    async with partition_with() as (broker, partition, files):
        append(partition, b"a")
        broker.partitions.close(partition)
        assert partition.opened is None
        assert files.content(f"data/t-0/{0:020d}.timeindex")
