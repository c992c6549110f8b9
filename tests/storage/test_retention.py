import errno

import pytest
from log_batches import NOW, append, batch, offsets

from kwire.errors import StorageFailure
from kwire.storage.config import LogConfig
from kwire.storage.log import Log
from kwire.storage.retention import SEGMENTS_DELETED_AT_ONCE
from kwire.testing.memory.files import MemoryFiles

PATH = "data/topic-0"
SIZE = len(batch())


@pytest.fixture
def files():
    files = MemoryFiles()
    files.make_directory("data")
    return files


def filled(files, count=5, **config):
    """A log with one batch in each segment, one second apart."""
    settings = {"retention_ms": -1, "segment_bytes": SIZE, **config}
    log = Log.open(files, PATH, LogConfig(**settings), now_ms=NOW, clean=True)
    for step in range(count):
        append(log, batch(timestamp_ms=NOW + 1000 * step))
    return log


def first_offsets(log):
    return [segment.base_offset for segment in log.segments]


def test_nothing_is_deleted_without_a_limit(files):
    log = filled(files)
    assert log.apply_retention(NOW + 10**12) == []
    assert len(log.segments) == 5


def test_segments_older_than_the_limit_go(files):
    log = filled(files, retention_ms=5000)
    log.apply_retention(NOW + 6000)
    assert first_offsets(log) == [1, 2, 3, 4]
    log.apply_retention(NOW + 7001)
    assert first_offsets(log) == [3, 4]
    assert log.log_start_offset == 3
    assert offsets(log) == [(3, 3), (4, 4)]


def test_the_last_segment_is_deleted_too_and_an_empty_one_created(files):
    log = filled(files, retention_ms=5000)
    log.apply_retention(NOW + 10**6)
    assert first_offsets(log) == [5]
    assert (log.log_start_offset, log.end_offset, log.size_bytes) == (5, 5, 0)
    assert log.apply_retention(NOW + 10**9) == []
    append(log, batch(timestamp_ms=NOW))
    assert offsets(log) == [(5, 5)]


def test_retention_on_a_full_disk_deletes_all_but_the_last_segment(files):
    log = filled(files, retention_ms=5000)
    files.free_bytes = 0
    deletions = log.apply_retention(NOW + 10**6)
    assert first_offsets(log) == [4]
    assert log.log_start_offset == 4
    assert len({each.path for each in deletions if each.path.endswith(".log.deleted")}) == 4
    with pytest.raises(StorageFailure):
        log.apply_retention(NOW + 10**6)
    files.free_bytes = None
    log.apply_retention(NOW + 10**6)
    assert first_offsets(log) == [5]


def test_records_are_deleted_on_a_full_disk(files):
    log = filled(files)
    files.free_bytes = 0
    log.delete_records_before(3)
    assert len(log.apply_retention(NOW)) >= 3
    assert first_offsets(log) == [3, 4]


def test_a_younger_segment_protects_what_is_behind_it(files):
    log = filled(files, 0, retention_ms=5000)
    for step in (9000, 0, 0):
        append(log, batch(timestamp_ms=NOW + step))
    assert log.apply_retention(NOW + 10_000) == []


def test_records_without_time_are_as_old_as_their_file(files):
    files.clock_ms = NOW + 500_000
    log = filled(files, 0, retention_ms=5000)
    for _ in range(3):
        append(log, batch(timestamp_ms=-1))
    assert log.apply_retention(NOW + 505_000) == []
    log.apply_retention(NOW + 505_001)
    assert log.log_start_offset == 3


def test_segments_beyond_the_size_go(files):
    log = filled(files, retention_bytes=2 * SIZE + 1)
    log.apply_retention(NOW)
    assert first_offsets(log) == [2, 3, 4]
    assert log.size_bytes == 3 * SIZE


def test_a_size_of_zero_keeps_nothing(files):
    log = filled(files, retention_bytes=0)
    log.apply_retention(NOW)
    assert log.size_bytes == 0


def test_segments_below_the_start_offset_go(files):
    log = filled(files)
    log.delete_records_before(3)
    log.apply_retention(NOW)
    assert first_offsets(log) == [3, 4]
    log.delete_records_before(5)
    log.apply_retention(NOW)
    assert first_offsets(log) == [4]


def test_time_and_size_do_not_apply_to_a_log_that_is_only_compacted(files):
    log = filled(files, delete=False, compact=True, retention_ms=1, retention_bytes=0)
    assert log.apply_retention(NOW + 10**9) == []
    log.delete_records_before(2)
    log.apply_retention(NOW + 10**9)
    assert first_offsets(log) == [2, 3, 4]


def test_nothing_above_the_high_watermark_is_deleted(files):
    log = filled(files, 2, retention_ms=5000)
    for _ in range(3):
        append(log, batch(), high_watermark=False)
    log.apply_retention(NOW + 10**9)
    assert first_offsets(log) == [2, 3, 4]


def test_files_are_renamed_at_once_and_removed_by_the_caller(files):
    log = filled(files, retention_ms=5000, file_delete_delay_ms=777)
    deletions = log.apply_retention(NOW + 6000)
    assert {each.path for each in deletions} == {
        f"{PATH}/00000000000000000000{suffix}.deleted" for suffix in (".log", ".index", ".timeindex")
    }
    assert {each.due_ms for each in deletions} == {NOW + 6777}
    assert all(each.path in files.paths() for each in deletions)


def test_snapshots_go_with_their_segments(files):
    log = filled(files, retention_ms=5000)
    assert log.snapshots.offsets == [1, 2, 3, 4]
    log.apply_retention(NOW + 8000)
    assert log.snapshots.offsets == [3, 4]


def test_a_segment_that_cannot_be_renamed_stays(files):
    log = filled(files, retention_ms=5000)
    files.fault = lambda name, path: OSError(5, "bad") if name == "rename" and path.endswith("2.log") else None
    assert len([each for each in log.apply_retention(NOW + 10**6) if each.path.endswith(".log.deleted")]) == 2
    with pytest.raises(StorageFailure):
        log.apply_retention(NOW + 10**6)
    files.fault = None
    assert first_offsets(log)[:3] == [2, 3, 4]
    assert offsets(log) == [(2, 2), (3, 3), (4, 4)]
    log.apply_retention(NOW + 10**6)
    assert log.size_bytes == 0


@pytest.mark.parametrize("rolled", [False, True])
def test_a_log_whose_segments_were_all_deleted_continues_at_its_end_offset_after_a_kill(files, rolled):
    log = filled(files, retention_ms=5000)
    end_offset = log.end_offset
    if rolled:
        log.roll(NOW)
    for each in log.apply_retention(NOW + 10**6):
        files.remove(each.path)
    assert log.size_bytes == 0
    files.kill()

    log = Log.open(files, log.path, log.config, now_ms=NOW, same_boot=True)

    assert (log.log_start_offset, log.end_offset) == (end_offset, end_offset)


def test_appends_after_a_failed_one_are_found_again_when_retention_removed_all_other_segments(files):
    log = filled(files, count=1, retention_ms=5000, preallocate=True)
    files.fault = lambda operation, path: (
        OSError(errno.ENOSPC, "No space left on device") if operation == "append" and path.endswith(".log") else None
    )
    with pytest.raises(StorageFailure):
        append(log, batch(timestamp_ms=NOW))
    files.fault = None
    assert log.apply_retention(NOW + 10_000)
    append(log, batch(timestamp_ms=NOW + 10_000))
    log.close()

    again = Log.open(files, PATH, log.config, now_ms=NOW + 10_000, clean=True)
    assert offsets(again) == [(1, 1)]


def test_a_retention_time_of_zero_deletes_everything_older_than_now(files):
    log = filled(files, retention_ms=0)
    log.apply_retention(NOW + 2500)
    assert first_offsets(log) == [3, 4]


def test_one_call_deletes_a_bounded_number_of_segments(files):
    log = filled(files, count=SEGMENTS_DELETED_AT_ONCE + 10, retention_ms=5000)
    lists = []
    files.fault = lambda operation, _: lists.append(operation) if operation == "list" else None
    log.apply_retention(NOW + 10**6)
    assert len(log.segments) == 10
    log.apply_retention(NOW + 10**6)
    assert [segment.size_bytes for segment in log.segments] == [0]
    assert lists == [], "the directory is not listed for each segment"
