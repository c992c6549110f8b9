"""The losses that recovery reports: offsets, bytes and cause."""

import pytest
from log_batches import NOW, append, batch, offsets

from kwire.storage.config import LogConfig
from kwire.storage.log import Log
from kwire.storage.recovery.losses import Cause
from kwire.testing.memory.files import MemoryFiles

PATH = "data/topic-0"
SIZE = len(batch())
CLEAN, KILLED, CRASHED = {"clean": True}, {"same_boot": True}, {}


def name(base_offset, suffix=".log"):
    return f"{PATH}/{base_offset:020d}{suffix}"


def filled(count=30, **config):
    """Three segments of ten batches, each batch one record of the same size, flushed and closed."""
    files = MemoryFiles()
    files.make_directory("data")
    log = Log.open(files, PATH, LogConfig(segment_bytes=10 * SIZE, **config), now_ms=NOW, clean=True)
    for step in range(count):
        append(log, batch(timestamp_ms=NOW + step))
    log.flush()
    log.close()
    return files


def reopened(files, stop, *, recovery_point=0, keep=False, **config):
    return Log.open(
        files,
        PATH,
        LogConfig(segment_bytes=10 * SIZE, **config),
        now_ms=NOW,
        recovery_point=recovery_point,
        keep_cut_bytes=keep,
        **stop,
    )


@pytest.mark.parametrize("stop", [CLEAN, KILLED, CRASHED])
def test_a_sound_log_has_no_losses(stop):
    assert reopened(filled(), stop, recovery_point=30).losses == []
    assert reopened(filled(), stop).losses == []


def test_a_damaged_batch_in_an_earlier_segment_loses_all_records_behind_it():
    files = filled()
    files.content(name(10))[4 * SIZE + SIZE // 2] ^= 1
    log = reopened(files, CRASHED)
    assert log.end_offset == 14
    assert log.losses == [
        (14, 20, 6 * SIZE, Cause.DAMAGED_BATCH),
        (20, 30, 10 * SIZE, Cause.DAMAGED_BATCH),
    ]


def test_a_batch_whose_header_is_garbage_hides_how_many_records_are_lost_unless_a_checkpoint_shows_it():
    files = filled()
    files.content(name(20))[5 * SIZE : 6 * SIZE] = b"\xff" * SIZE
    files.remove(name(30, ".snapshot"))
    assert reopened(files.fork(), CRASHED).losses == [(25, 25, 5 * SIZE, Cause.DAMAGED_BATCH)]
    # Below the recovery point everything was synced and is not read again.
    assert reopened(files.fork(), CRASHED, recovery_point=25).losses == [(25, 25, 5 * SIZE, Cause.DAMAGED_BATCH)]


def test_a_snapshot_shows_up_to_which_offset_records_are_lost():
    files = filled()
    files.content(name(20))[5 * SIZE : 6 * SIZE] = b"\xff" * SIZE
    assert reopened(files, CRASHED).losses == [(25, 30, 5 * SIZE, Cause.DAMAGED_BATCH)]


def test_the_write_that_a_kill_met_is_no_loss():
    files = filled()
    files.remove(name(30, ".snapshot"))
    del files.content(name(20))[-SIZE // 2 :]
    log = reopened(files, KILLED, recovery_point=20)
    assert (log.end_offset, log.losses) == (29, [])


def test_an_incomplete_batch_is_a_loss_after_a_crash_and_after_a_kill_if_it_was_synced():
    files = filled()
    del files.content(name(20))[-SIZE // 2 :]
    size = SIZE - (SIZE + 1) // 2
    assert reopened(files.fork(), CRASHED).losses == [(29, 30, size, Cause.INCOMPLETE_BATCH)]
    assert reopened(files.fork(), KILLED, recovery_point=30).losses == [(29, 30, 0, Cause.SHORT_LOG)]


def test_preallocated_zeros_are_no_loss():
    files = filled()
    content = files.content(name(20))
    content += bytes(5 * SIZE)
    log = reopened(files, KILLED, preallocate=True)
    assert (log.end_offset, log.losses) == (30, [])


def test_zeros_where_records_were_are_a_loss():
    files = filled()
    files.content(name(20))[5 * SIZE :] = bytes(5 * SIZE)
    assert reopened(files, CRASHED).losses == [(25, 30, 5 * SIZE, Cause.DAMAGED_BATCH)]


@pytest.mark.parametrize("stop", [CLEAN, KILLED, CRASHED])
def test_a_missing_log_file_of_a_middle_segment_is_a_loss(stop):
    files = filled()
    files.remove(name(10))
    assert reopened(files, stop, recovery_point=30).losses == [(10, 20, 0, Cause.SEGMENT_MISSING)]
    assert reopened(files, stop, recovery_point=30).losses == [], "a loss is reported once"


@pytest.mark.parametrize("stop", [CLEAN, KILLED])
def test_an_empty_log_file_of_a_middle_segment_is_a_loss(stop):
    files = filled()
    files.content(name(10)).clear()
    assert reopened(files, stop, recovery_point=30).losses == [(10, 20, 0, Cause.SEGMENT_EMPTY)]
    assert reopened(files, stop, recovery_point=30).losses == [], "a loss is reported once"


@pytest.mark.parametrize("stop", [CLEAN, KILLED, CRASHED])
def test_a_missing_log_file_of_the_last_segment_is_a_loss(stop):
    files = filled()
    files.remove(name(20))
    log = reopened(files, stop, recovery_point=30)
    assert log.end_offset == 20
    assert log.losses == [(20, 30, 0, Cause.SEGMENT_MISSING)]


def test_records_deleted_by_retention_are_no_loss():
    files = filled(retention_ms=1)
    log = reopened(files, CLEAN, recovery_point=30, retention_ms=1)
    log.advance_high_watermark(30)
    log.apply_retention(NOW + 10**6)
    log.flush()
    log.close()
    assert reopened(files, CLEAN, recovery_point=30).losses == []
    assert reopened(files, KILLED, recovery_point=30).losses == []


@pytest.mark.parametrize("keep", [False, True])
def test_cut_bytes_are_kept_aside_if_wanted(keep):
    files = filled()
    files.content(name(10))[4 * SIZE + SIZE // 2] ^= 1
    tail, last = bytes(files.content(name(10))[4 * SIZE :]), bytes(files.content(name(20)))
    log = reopened(files, CRASHED, keep=keep)
    kept = {path: bytes(files.content(path)) for path in files.paths() if path.endswith(".cut")}
    wanted = {f"{name(10)}.{4 * SIZE}.cut": tail, f"{name(20)}.0.cut": last}
    assert kept == (wanted if keep else {})
    append(log, batch())
    log.close()
    assert offsets(reopened(files, CLEAN))[-1] == (14, 14)


def test_a_damaged_base_offset_does_not_count_as_records():
    files = filled()
    files.content(name(20))[5 * SIZE] ^= 1
    files.remove(name(30, ".snapshot"))
    assert reopened(files, CRASHED).losses == [(25, 25, 5 * SIZE, Cause.DAMAGED_BATCH)]
