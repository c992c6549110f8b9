"""What a disk that fails leaves behind for the next start."""

from __future__ import annotations

import errno

import pytest
import trio
from peer import Peer

from kwire.broker.start import open_broker
from kwire.errors import StorageFailure
from kwire.metadata.configs.effective import BrokerSettings
from kwire.testing.memory.files import MemoryFiles
from kwire.wire.batches.batch import read_batch_header
from kwire.wire.batches.records import Record, build_batch

pytestmark = pytest.mark.usefixtures("mock_clock")


def running(files: MemoryFiles):
    return open_broker(BrokerSettings({"log.dirs": "data"}), files, endpoints=[Peer.endpoint])


def cannot_sync(files: MemoryFiles, folder: str) -> None:
    files.fault = lambda operation, path: (
        OSError(errno.EIO, "Input/output error") if operation == "sync" and path.startswith(folder) else None
    )


async def test_after_a_failed_sync_the_next_start_trusts_no_page_cache():
    files = MemoryFiles()
    async with running(files) as broker:
        await Peer(broker).create_topic("t")
        partition = broker.partitions.get("t", 0)
        batch = memoryview(build_batch([Record(0, 0, b"k", b"v")]))
        partition.append(batch, read_batch_header(batch), acks=1)
        cannot_sync(files, "data/t-0")
        with pytest.raises(StorageFailure):
            await broker.flusher.flush(partition)
        files.fault = None

    async with running(files) as broker:
        assert not broker.dirs.dirs[0].clean
        assert not broker.dirs.dirs[0].same_boot


async def run_until_the_metadata_log_cannot_be_synced(files: MemoryFiles) -> None:
    async with running(files) as broker:
        cannot_sync(files, "data/__cluster_metadata-0")
        with pytest.raises(StorageFailure):
            broker.controller.log.flush()
        await trio.sleep_forever()


async def test_a_failed_sync_of_the_metadata_log_ends_the_broker_and_the_next_start_trusts_no_page_cache():
    files = MemoryFiles()
    with pytest.raises(ExceptionGroup) as ended:
        await run_until_the_metadata_log_cannot_be_synced(files)
    assert ended.group_contains(StorageFailure, match="kwire stops")
    files.fault = None

    async with running(files) as broker:
        assert not broker.dirs.dirs[0].clean
        assert not broker.dirs.dirs[0].same_boot


async def test_a_failing_file_is_logged_once_a_minute(capsys):
    async with running(MemoryFiles()) as broker:
        failure = StorageFailure("data/t-0/x.log", "No space left on device")
        broker.storage_failures.report(failure)
        broker.storage_failures.report(failure)
        broker.storage_failures.report(StorageFailure("data/t-1/x.log", "No space left on device"))
        broker.clock.advance(60_000)
        broker.storage_failures.report(failure)

    logged = [line for line in capsys.readouterr().err.splitlines() if "log directory I/O error" in line]
    assert ["t-0" in line for line in logged] == [True, False, True]


async def test_a_stop_is_not_clean_while_a_log_could_not_be_recovered():
    files = MemoryFiles()
    async with running(files) as broker:
        await Peer(broker).create_topic("t")
        batch = memoryview(build_batch([Record(0, 0, b"k", b"v")]))
        broker.partitions.get("t", 0).append(batch, read_batch_header(batch), acks=1)
        crashed = files.fork()
    crashed.boot = "another"
    crashed.fault = lambda operation, path: (
        OSError(errno.EIO, "Input/output error") if (operation, path) == ("list", "data/t-0") else None
    )
    async with running(crashed):
        crashed.fault = None

    async with running(crashed) as broker:
        assert not broker.dirs.dirs[0].clean
        assert broker.partitions.get("t", 0).opened is not None, "recovered before anything is served"
