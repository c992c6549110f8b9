"""What recovery took from a log is written to the broker's log and kept in the log directory."""

from __future__ import annotations

import pytest
from peer import Peer

from kwire.broker.directories import loss_report
from kwire.broker.directories.loss_report import ReportedLoss
from kwire.broker.start import open_broker
from kwire.limits import LOSSES_KEPT_MAX
from kwire.metadata.configs.effective import BrokerSettings
from kwire.metadata.decisions.topics import delete_topics
from kwire.storage.recovery.losses import Cause, Loss
from kwire.testing.memory.files import MemoryFiles
from kwire.types import TopicPartition
from kwire.wire.batches.batch import read_batch_header
from kwire.wire.batches.records import Record, build_batch

LOG = f"data/t-0/{0:020d}.log"


def running(files, **settings):
    own = {key.replace("_", "."): value for key, value in settings.items()}
    return open_broker(BrokerSettings({"log.dirs": "data", **own}), files, endpoints=[Peer.endpoint])


async def with_records(count=10) -> MemoryFiles:
    """A log directory as it is after the machine has crashed, with records in ``t-0``."""
    files = MemoryFiles()
    async with running(files) as broker:
        await Peer(broker).create_topic("t")
        for index in range(count):
            batch = memoryview(build_batch([Record(0, 0, b"k", b"%d" % index)]))
            broker.partitions.get("t", 0).append(batch, read_batch_header(batch), acks=-1)
        left = files.fork()
    left.boot = "another"
    return left


def size_of_batches(files, first) -> int:
    content = bytes(files.content(LOG))
    position = 0
    for _ in range(first):
        position += read_batch_header(memoryview(content)[position:]).size_bytes
    return len(content) - position


async def test_records_lost_at_a_start_are_logged_and_reported(capsys):
    files = await with_records()
    lost_bytes = size_of_batches(files, 4)
    files.content(LOG)[-lost_bytes + 65] ^= 1
    async with running(files) as broker:
        assert broker.partitions.get("t", 0).log.end_offset == 4
        now_ms = broker.clock.now_ms()

    (line,) = [line for line in capsys.readouterr().err.splitlines() if "records lost" in line]
    for part in ("partition=t-0", "first_offset=4", "end_offset=10", f"bytes={lost_bytes}", Cause.DAMAGED_BATCH):
        assert part in line
    (reported,) = loss_report.read(files, "data")
    assert reported[1:] == ("t", 0, 4, 10, lost_bytes, "a batch fails its check")
    assert 0 <= now_ms - reported.time_ms < 60_000

    async with running(files):
        pass
    assert len(loss_report.read(files, "data")) == 1


async def test_a_sound_log_reports_nothing(capsys):
    files = await with_records()
    async with running(files) as broker:
        assert broker.partitions.get("t", 0).log.end_offset == 10
    assert "records lost" not in capsys.readouterr().err
    assert f"data/{loss_report.FILE_NAME}" not in files.paths()


@pytest.mark.parametrize("kept", ["true", "false"])
async def test_cut_bytes_are_kept_if_the_setting_is_true(kept):
    files = await with_records()
    files.content(LOG)[-1] ^= 1
    async with running(files, kwire_recovery_keep_cut_bytes=kept):
        pass
    assert any(path.endswith(".cut") for path in files.paths()) == (kept == "true")


def test_the_report_keeps_the_latest_losses_and_survives_lines_that_it_cannot_read():
    files = MemoryFiles()
    loss = Loss(1, 2, 3, Cause.INCOMPLETE_BATCH)
    loss_report.write(files, "data", TopicPartition("t", 0), [loss] * LOSSES_KEPT_MAX, time_ms=0)
    files.content(f"data/{loss_report.FILE_NAME}").extend(b'{"time_ms": 1}\nno json\n\xff\n[]\n')
    for time_ms in range(1, 6):
        loss_report.write(files, "data", TopicPartition("t", 0), [loss], time_ms=time_ms)
    reported = loss_report.read(files, "data")
    assert len(reported) == LOSSES_KEPT_MAX
    assert [one.time_ms for one in reported[-6:]] == [0, 1, 2, 3, 4, 5]
    assert reported[-1] == ReportedLoss(5, "t", 0, 1, 2, 3, "incomplete batch at the end of the log")


async def stopped_with(files, topic: str, count: int) -> None:
    """Create a topic with ``count`` records, then stop cleanly."""
    async with running(files) as broker:
        await Peer(broker).create_topic(topic)
        for _ in range(count):
            batch = memoryview(build_batch([Record(0, 0, b"k", b"v")]))
            broker.partitions.get(topic, 0).append(batch, read_batch_header(batch), acks=-1)
        broker.partitions.get(topic, 0).delete_records_before(min(count, 1))


async def test_records_of_a_missing_partition_directory_are_reported_once(capsys):
    files = MemoryFiles()
    await stopped_with(files, "t", 5)
    files.remove_directory("data/t-0")
    async with running(files) as broker:
        assert broker.partitions.get("t", 0).log.end_offset == 0
    async with running(files):
        pass
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "records lost" in line]
    for part in ("partition=t-0", "first_offset=1", "end_offset=5"):
        assert part in line
    (reported,) = loss_report.read(files, "data")
    assert reported[1:] == ("t", 0, 1, 5, 0, "the directory of the partition is missing")


@pytest.mark.parametrize("count", [0, 1])
async def test_a_missing_directory_without_records_is_no_loss(capsys, count):
    files = MemoryFiles()
    await stopped_with(files, "t", count)
    files.remove_directory("data/t-0")
    async with running(files):
        pass
    assert "records lost" not in capsys.readouterr().err


async def test_an_entry_of_a_deleted_topic_reports_no_loss_of_the_topic_that_took_its_name(capsys):
    files = MemoryFiles()
    await stopped_with(files, "t", 5)
    async with running(files) as broker:
        topic_id = broker.image.topics["t"].id
        broker.controller.commit(delete_topics(broker.image, [topic_id]).records)
        await Peer(broker).create_topic("t")
        killed = files.fork()
    async with running(killed):
        pass
    assert "records lost" not in capsys.readouterr().err


async def test_losses_of_the_metadata_log_are_reported(capsys):
    files = MemoryFiles()
    await stopped_with(files, "t", 1)
    files.write_bytes(f"data/__cluster_metadata-0/{1000:020d}.index", b"\0\0\0\1\0\0\0\1", durable=True)
    async with running(files):
        pass
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "records lost" in line]
    assert "partition=__cluster_metadata-0" in line
    (reported,) = loss_report.read(files, "data")
    assert (reported.topic, reported.cause) == ("__cluster_metadata", Cause.SEGMENT_MISSING)
