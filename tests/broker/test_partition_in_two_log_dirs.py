"""A kill during a move can leave complete copies of a partition in two log directories: one of them is served."""

from __future__ import annotations

import pytest
from peer import Peer

from kwire.broker.start import open_broker
from kwire.metadata.commands.partitions import AssignReplicasToDirs
from kwire.metadata.configs.effective import BrokerSettings
from kwire.testing.memory.files import MemoryFiles
from kwire.types import TopicPartition
from kwire.wire.batches.batch import read_batch_header
from kwire.wire.batches.records import Record, build_batch


def running(files: MemoryFiles, log_dirs: str):
    return open_broker(
        BrokerSettings({"log.dirs": log_dirs, "metadata.log.dir": "a"}), files, endpoints=[Peer.endpoint]
    )


def append(partition) -> None:
    batch = memoryview(build_batch([Record(0, 0, b"k", b"v")]))
    partition.append(batch, read_batch_header(batch), acks=-1)


@pytest.mark.parametrize(("log_dirs", "named", "kept"), [("a,b", "b", "b"), ("b,a", "a", "a"), ("a,b", None, "a")])
async def test_the_copy_in_the_directory_that_the_metadata_names_is_served_and_the_other_set_aside(
    log_dirs, named, kept, capsys
):
    files = MemoryFiles()
    async with running(files, "a,b") as broker:
        await Peer(broker).create_topic("t")
        append(broker.partitions.get("t", 0))
        assert broker.partitions.get("t", 0).log_dir == "a"
        if named is not None:
            (directory,) = [one for one in broker.dirs.dirs if one.path == named]
            await broker.controller.submit(AssignReplicasToDirs(1, {TopicPartition("t", 0): directory.id}))
    files.make_directory("b/t-0")
    for name in files.sizes("a/t-0"):
        files.write_bytes(f"b/t-0/{name}", files.read_bytes(f"a/t-0/{name}"), durable=True)

    async with running(files, log_dirs) as broker:
        partition = broker.partitions.get("t", 0)
        assert partition.log_dir == kept
        append(partition)
        assert [one.path for one in broker.dirs.dirs if one.partition_count] == [kept]

    other = "b" if kept == "a" else "a"
    (stray,) = [name for name in files.directories(other) if name.startswith("t-0")]
    assert stray.endswith("-stray")
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "two log directories" in line]
    assert "partition=t-0" in line
    assert f"kept={kept}/t-0" in line
    async with running(files, f"{other},{kept}") as broker:
        assert broker.partitions.get("t", 0).log.end_offset == 2
