"""Moves, cleaner and housekeeping over the parts that each of them uses."""

from __future__ import annotations

import errno
import threading
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from log_parts import NODE_ID, LogParts, append, keys, offsets

from kwire.broker import logs
from kwire.broker.background.cleaner import Cleaner
from kwire.broker.background.housekeeping import Housekeeping
from kwire.broker.partitions.copying import truncate
from kwire.broker.partitions.moves import Moves
from kwire.broker.watchdog import Watchdog
from kwire.metadata.commands.partitions import AssignReplicasToDirs
from kwire.storage import checkpoints

pytestmark = pytest.mark.usefixtures("mock_clock")


class RecordingController:
    """Notes the commands that it is given."""

    def __init__(self):
        self.commands = []

    async def submit(self, command):
        await trio.lowlevel.checkpoint()
        self.commands.append(command)
        return []


def housekeeping_of(parts: LogParts) -> Housekeeping:
    return Housekeeping(
        partitions=parts.partitions,
        dirs=parts.dirs,
        clock=parts.clock,
        configs=parts.configs,
        flusher=parts.flusher,
        file_remover=parts.file_remover,
        storage_failures=parts.storage_failures,
        watchdog=Watchdog(),
    )


@asynccontextmanager
async def running(parts: LogParts, *tasks):
    async with trio.open_nursery() as nursery:
        for task in (parts.clock.run, *tasks):
            nursery.start_soon(task)
        yield nursery
        nursery.cancel_scope.cancel()


async def move(parts: LogParts, partition, path: str) -> RecordingController:
    controller = RecordingController()
    moves = Moves(
        node_id=NODE_ID,
        partitions=parts.partitions,
        dirs=parts.dirs,
        clock=parts.clock,
        controller=controller,
        remove_later=parts.file_remover.remove_when_due,
        storage_failures=parts.storage_failures,
    )
    moves.request(partition, parts.dirs.by_path(path))
    async with running(parts, moves.run):
        while moves.pending:  # noqa: ASYNC110 - nothing else waits for this, so there is no event
            await trio.sleep(0.001)
    return controller


async def test_a_moved_partition_has_its_records_in_the_new_directory_and_the_controller_records_it():
    parts = LogParts(log_dirs=("a", "b"))
    partition = parts.create("t")
    append(partition, b"x", b"y")
    partition.delete_records_before(1)

    controller = await move(parts, partition, "b")

    assert partition.log_dir == "b"
    assert offsets(partition) == [1]
    directory_id = parts.dirs.by_path("b").id
    assert controller.commands == [AssignReplicasToDirs(NODE_ID, {partition.topic_partition: directory_id})]
    written = checkpoints.read_offsets(parts.files.read_bytes("b/log-start-offset-checkpoint"))
    assert written == {partition.topic_partition: 1}
    assert parts.dirs.by_path("a").log_start_offsets == {}


@pytest.mark.parametrize("operation", ["write", "rename", "sync"])
async def test_a_move_that_the_new_directory_refuses_changes_nothing(operation):
    parts = LogParts(log_dirs=("a", "b"))
    partition = parts.create("t")
    append(partition, b"x", b"y")
    partition.delete_records_before(1)
    parts.files.fault = lambda name, path: (
        OSError(errno.EIO, "Input/output error") if name == operation and path.startswith("b") else None
    )

    controller = await move(parts, partition, "b")

    parts.files.fault = None
    assert not controller.commands
    assert partition.log_dir == "a"
    assert (partition.log.log_start_offset, offsets(partition)) == (1, [1])
    assert parts.files.directories("b") == []
    assert parts.dirs.by_path("b").log_start_offsets == {}
    append(partition, b"z")
    assert offsets(partition) == [1, 2]


async def test_the_cleaner_keeps_the_last_record_of_each_key_and_writes_its_checkpoint():
    parts = LogParts()
    partition = parts.create("kv", cleanup_policy="compact")
    append(partition, b"x", b"y", b"x", b"x")
    partition.log.roll(parts.clock.now_ms())
    append(partition, b"z")
    cleaner = Cleaner(
        partitions=parts.partitions,
        dirs=parts.dirs,
        clock=parts.clock,
        configs=parts.configs,
        file_remover=parts.file_remover,
        storage_failures=parts.storage_failures,
    )
    async with running(parts):
        compaction = await cleaner.clean(partition)

    assert (compaction.records_read, compaction.records_kept) == (4, 2)
    assert offsets(partition) == [1, 3, 4]
    written = checkpoints.read_offsets(parts.files.read_bytes("a/cleaner-offset-checkpoint"))
    assert written == {partition.topic_partition: 4}


async def test_retention_renames_old_segments_and_their_files_go_after_the_delay():
    parts = LogParts()
    partition = parts.create("t", retention_ms="1000", file_delete_delay_ms="5000")
    append(partition, b"x", b"y")
    partition.log.roll(parts.clock.now_ms())

    async with running(parts) as nursery:
        parts.file_remover.task.begin(nursery, nursery.start_soon)
        housekeeping_of(parts).apply_retention(partition)
        assert partition.log.log_start_offset == 2
        assert any(path.endswith(".log.deleted") for path in parts.files.paths())
        parts.clock.advance(5001)
        await trio.testing.wait_all_tasks_blocked()
        assert not any(path.endswith(".deleted") for path in parts.files.paths())


@pytest.fixture
def info_lines():
    before = logs.level()
    logs.set_level("INFO")
    yield
    logs.set_level(before)


@pytest.mark.parametrize(
    ("configs", "segments", "reason"),
    [
        ({"retention_ms": "1000"}, 3, "log start offset, retention.ms"),
        ({"retention_ms": "-1", "retention_bytes": "1"}, 2, "log start offset, retention.bytes"),
        ({"retention_ms": "-1"}, 1, "log start offset"),
    ],
)
def test_the_line_about_deleted_segments_has_their_number_and_the_reason(configs, segments, reason, info_lines, capsys):
    parts = LogParts()
    partition = parts.create("t", **configs)
    for value in (b"x", b"y", b"z"):
        append(partition, value)
        partition.log.roll(parts.clock.now_ms())
    partition.log.delete_records_before(1)
    housekeeping_of(parts).apply_retention(partition)
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "segments deleted" in line]
    assert f"segments={segments}" in line
    assert reason in line


async def test_retention_leaves_a_deleted_partition_alone():
    parts = LogParts()
    partition = parts.create("t", retention_ms="1000")
    append(partition, b"x")
    partition.mark_deleted(topic_deleted=True)
    housekeeping_of(parts).apply_retention(partition)
    assert partition.log.log_start_offset == 0


async def test_a_flush_moves_the_recovery_point_that_the_checkpoint_has():
    parts = LogParts()
    partition = parts.create("t")
    append(partition, b"x", b"y")
    await housekeeping_of(parts).flush_and_checkpoint()
    written = checkpoints.read_offsets(parts.files.read_bytes("a/recovery-point-offset-checkpoint"))
    assert written == {partition.topic_partition: 2}


async def test_a_failed_directory_does_not_prevent_the_checkpoints_of_others():
    parts = LogParts(log_dirs=("a", "b"))
    for topic in ("t", "u"):
        append(parts.create(topic), b"x")
    parts.files.fault = lambda operation, path: (
        OSError(errno.EIO, "Input/output error") if operation == "write" and path.startswith("a/") else None
    )
    await housekeeping_of(parts).flush_and_checkpoint()
    assert parts.files.read_bytes("a/recovery-point-offset-checkpoint") is None
    assert parts.files.read_bytes("b/recovery-point-offset-checkpoint") is not None


async def test_a_partition_moves_while_retention_deletes_a_segment_that_is_being_copied():
    parts = LogParts(log_dirs=("a", "b"))
    partition = parts.create("t")
    append(partition, b"x")
    partition.log.roll(0)
    append(partition, b"y")
    first = f"a/t-0/{0:020d}.log"
    calls = []

    def delete_segment(operation, path):
        if (operation, path) == ("read", first) and not calls:
            calls.append(path)
            partition.delete_records_before(1)
            for deletion in partition.log.apply_retention(0):
                parts.files.remove(deletion.path)

    parts.files.fault = delete_segment
    controller = await move(parts, partition, "b")
    assert calls
    assert len(controller.commands) == 1
    assert partition.log_dir == "b"
    assert offsets(partition) == [1]
    assert f"b/t-0/{0:020d}.log" not in parts.files.paths()


async def test_a_follower_that_truncates_while_it_moves_has_its_leaders_records_in_the_new_directory():
    parts = LogParts(log_dirs=("a", "b"))
    partition = parts.create("t")
    append(partition, b"a")
    append(partition, b"lost")
    calls = []

    def truncate_once(operation, path):
        # What was read of the segment is about to be written to the copy.
        if operation == "write" and path.startswith("b/") and path.endswith(".log"):
            calls.append(path)
            parts.files.fault = None
            truncate(partition, 1)
            append(partition, b"kept")  # as long as what was cut, in the same millisecond

    parts.files.fault = truncate_once
    await move(parts, partition, "b")
    assert calls
    assert partition.log_dir == "b"
    assert keys(partition) == [b"a", b"kept"]


async def test_a_segment_that_is_cut_while_it_is_copied_is_no_failure_of_the_disk(capsys):
    parts = LogParts(log_dirs=("a", "b"))
    partition = parts.create("t")
    append(partition, b"a")
    append(partition, b"b")
    first = f"a/t-0/{0:020d}.log"
    calls = []

    def truncate_once(operation, path):
        if (operation, path) == ("read", first) and not calls:
            calls.append(path)
            parts.files.fault = None
            truncate(partition, 1)

    parts.files.fault = truncate_once
    await move(parts, partition, "b")
    assert calls
    assert partition.log_dir == "b"
    assert offsets(partition) == [0]
    assert "cannot move" not in capsys.readouterr().err


async def test_high_watermarks_are_written_in_a_thread_and_only_when_they_have_changed():
    parts = LogParts()
    append(parts.create("t"), b"x")
    housekeeping, threads = housekeeping_of(parts), []

    def note(operation, path):
        if operation == "write" and path.endswith(checkpoints.HIGH_WATERMARK_CHECKPOINT):
            threads.append(threading.current_thread())

    parts.files.fault = note
    await housekeeping.write_high_watermarks()
    await housekeeping.write_high_watermarks()
    assert len(threads) == 1
    assert threads[0] is not threading.main_thread()
    written = checkpoints.read_offsets(parts.files.read_bytes(f"a/{checkpoints.HIGH_WATERMARK_CHECKPOINT}"))
    assert list(written.values()) == [1]


async def test_the_high_watermark_of_a_topic_that_is_deleted_while_it_is_written_is_dropped_for_the_next_of_its_name():
    parts = LogParts()
    partition = parts.create("t")
    append(partition, b"x")
    (one,), key = parts.dirs.dirs, partition.topic_partition
    write = one.high_watermarks_to_write({key: 1})
    one.forget(key)
    write()
    assert parts.files.read_bytes(f"a/{checkpoints.HIGH_WATERMARK_CHECKPOINT}") is None

    write = one.high_watermarks_to_write({key: 1})

    def forget_meanwhile(operation, path):
        if operation == "write" and path.endswith(checkpoints.HIGH_WATERMARK_CHECKPOINT):
            parts.files.fault = None
            one.forget(key)

    parts.files.fault = forget_meanwhile
    write()
    one.drop_stale_entries(key)
    written = checkpoints.read_offsets(parts.files.read_bytes(f"a/{checkpoints.HIGH_WATERMARK_CHECKPOINT}"))
    assert written == {}
