"""A topic is deleted while its partitions are in use: being flushed, or lying on a full disk."""

from __future__ import annotations

import errno

import pytest
import trio
from peer import Peer

from kwire.broker.start import open_broker
from kwire.errors import KafkaError
from kwire.metadata.configs.effective import BrokerSettings
from kwire.metadata.decisions.topics import delete_topics
from kwire.testing.memory.files import MemoryFiles
from kwire.wire.batches.batch import read_batch_header
from kwire.wire.batches.records import Record, build_batch

pytestmark = pytest.mark.usefixtures("mock_clock")


def running(files: MemoryFiles):
    return open_broker(BrokerSettings({"log.dirs": "data"}), files, endpoints=[Peer.endpoint])


def put(partition) -> None:
    batch = memoryview(build_batch([Record(0, 0, b"k", b"v")]))
    partition.append(batch, read_batch_header(batch), acks=1)


def delete(broker, *names: str) -> None:
    ids = [broker.image.topics[name].id for name in names]
    broker.controller.commit(delete_topics(broker.image, ids).records)


async def test_a_flush_ends_with_the_topic_that_is_deleted_meanwhile(monkeypatch):
    async with running(MemoryFiles()) as broker:
        await Peer(broker).create_topic("t")
        partition = broker.partitions.get("t", 0)
        put(partition)
        syncs = []

        async def delete_first(sync):
            await trio.lowlevel.checkpoint()
            assert not syncs, "and again"
            syncs.append(sync)
            delete(broker, "t")
            sync()

        with monkeypatch.context() as patch:
            patch.setattr(trio.to_thread, "run_sync", delete_first)
            await broker.flusher.flush(partition)

        assert syncs


async def test_a_topic_is_deleted_whole_though_its_logs_cannot_be_completed():
    files = MemoryFiles()
    async with running(files) as broker:
        await Peer(broker).create_topic("t", partitions=3)
        partitions = list(broker.partitions.of_topic("t").values())
        for partition in partitions:
            put(partition)
        files.fault = lambda operation, path: (
            OSError(errno.ENOSPC, "No space left on device")
            if operation in ("append", "write") and path.startswith("data/t-")
            else None
        )
        delete(broker, "t")

        assert all(partition.deleted for partition in partitions)
        assert not [name for name in files.directories("data") if name in {"t-0", "t-1", "t-2"}]


async def test_a_directory_that_cannot_be_renamed_does_not_keep_the_others():
    files = MemoryFiles()
    async with running(files) as broker:
        await Peer(broker).create_topic("t", partitions=3)
        for partition in broker.partitions.of_topic("t").values():
            put(partition)
        files.fault = lambda operation, path: (
            OSError(errno.EIO, "Input/output error") if (operation, path) == ("rename", "data/t-0") else None
        )
        delete(broker, "t")
        files.fault = None

        assert [name for name in files.directories("data") if name in {"t-0", "t-1", "t-2"}] == ["t-0"]


async def test_other_tasks_run_while_the_files_of_a_large_topic_are_removed():
    files = MemoryFiles()
    async with running(files) as broker:
        await Peer(broker).create_topic("t", partitions=20)
        for partition in broker.partitions.of_topic("t").values():
            put(partition)
        delete(broker, "t")
        await trio.testing.wait_all_tasks_blocked()
        broker.clock.advance(60_000)

        left = []
        for _ in range(200):
            await trio.lowlevel.checkpoint()
            left.append(sum(name.endswith("-delete") for name in files.directories("data")))

        assert len(set(left)) > 10, left
        assert left[-1] == 0


async def test_a_topic_that_left_no_files_leaves_nothing_to_remove():
    async with running(MemoryFiles()) as broker:
        await Peer(broker).create_topic("t", partitions=20)
        waiting = broker.clock.pending_count
        delete(broker, "t")
        assert broker.clock.pending_count == waiting


async def test_a_deleted_partition_takes_no_appends_and_writes_nothing_to_a_topic_of_the_same_name():
    files = MemoryFiles()
    async with running(files) as broker:
        client = Peer(broker)
        await client.create_topic("t")
        deleted = broker.partitions.get("t", 0)
        put(deleted)
        delete(broker, "t")
        await client.create_topic("t")
        created = broker.partitions.get("t", 0)
        with pytest.raises(KafkaError, match="NOT_LEADER_OR_FOLLOWER"):
            put(deleted)
        put(created)
        assert created.log.end_offset == 1
        assert len(files.content(f"data/t-0/{0:020d}.log")) == created.log.size_bytes
