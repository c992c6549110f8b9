import errno
import os
from pathlib import Path

import pytest
from log_batches import NOW, append, append_marker, batch, headers_of, marker, offsets

from kwire.errors import Code, KafkaError, StorageFailure
from kwire.storage.checkpoints import read_epochs, read_partition_metadata
from kwire.storage.config import LogConfig
from kwire.storage.epochs import EpochEnd, EpochStart
from kwire.storage.log import SNAPSHOT_INTERVAL_BATCHES, Log
from kwire.storage.os_files import OsFiles
from kwire.testing.memory.files import MemoryFiles
from kwire.wire.batches.batch import is_valid_batch, read_batch_header, stamp
from kwire.wire.batches.records import read_records

PATH = "data/topic-0"
TOPIC_ID = bytes(range(16))
DESCRIPTORS = Path("/proc/self/fd")
SIZE = len(batch())


@pytest.fixture
def files():
    files = MemoryFiles()
    files.make_directory("data")
    return files


def open_log(files, **config):
    return Log.open(files, PATH, LogConfig(**config), now_ms=NOW, clean=True, topic_id=TOPIC_ID)


@pytest.fixture
def log(files):
    return open_log(files)


def refusal(call, *arguments, **keywords):
    with pytest.raises(KafkaError) as refused:
        call(*arguments, **keywords)
    return refused.value.code


# --- appending


def test_a_log_without_a_directory_is_empty(log, files):
    assert (log.log_start_offset, log.end_offset, log.high_watermark, log.last_stable_offset) == (0, 0, 0, 0)
    assert log.read(0, max_bytes=1000, end_offset=0) is None
    assert log.apply_retention(NOW) == []
    log.flush()
    log.close()
    assert files.paths() == []


def test_files_appear_at_the_first_append(log, files):
    append(log, batch())
    assert files.directories("data") == ["topic-0"]
    assert read_partition_metadata(files.read_bytes(f"{PATH}/partition.metadata")) == TOPIC_ID
    assert read_epochs(files.read_bytes(f"{PATH}/leader-epoch-checkpoint")) == [EpochStart(0, 0)]
    assert f"{PATH}/00000000000000000000.log" in files.paths()


def test_an_append_assigns_offsets_and_epoch_and_keeps_the_rest(log):
    view = batch(3)
    append(log, batch(2), leader_epoch=4)
    appended = append(log, view, leader_epoch=4)
    assert (appended.base_offset, appended.last_offset, appended.log_append_time_ms) == (2, 4, -1)
    assert not appended.duplicate
    stored = next(log.read_batches(2))
    header = read_batch_header(stored)
    assert (header.base_offset, header.leader_epoch) == (2, 4)
    assert stored[16:] == view[16:]
    assert is_valid_batch(stored, 0, header)


def test_several_batches_are_appended_at_once(log):
    view = memoryview(bytes(batch(2)) + bytes(batch(3)))
    appended = append(log, view)
    assert (appended.base_offset, appended.last_offset) == (0, 4)
    assert offsets(log) == [(0, 1), (2, 4)]


def test_a_partial_batch_behind_is_not_appended(log):
    append(log, memoryview(bytes(batch()) + bytes(batch())[:30]))
    assert log.size_bytes == SIZE


def test_log_append_time_goes_into_every_record(files):
    log = open_log(files, log_append_time=True)
    appended = append(log, memoryview(bytes(batch(2)) + bytes(batch())), now_ms=NOW + 777)
    assert appended.log_append_time_ms == NOW + 777
    for stored in log.read_batches(0):
        assert is_valid_batch(stored, 0, read_batch_header(stored))
        assert {record.timestamp_ms for record in read_records(stored)} == {NOW + 777}


def test_a_follower_takes_batches_as_they_are(log):
    view = batch(2)
    stamped = memoryview(stamp(10, len(view) - 12, 3) + bytes(view[16:]))
    header = read_batch_header(stamped)
    log.append(stamped, [header], leader_epoch=9, now_ms=NOW, assign_offsets=False)
    assert log.end_offset == 12
    assert log.latest_epoch == 3
    assert offsets(log) == [(10, 11)]
    assert refusal(log.append, stamped, [header], leader_epoch=9, now_ms=NOW, assign_offsets=False) is (
        Code.OFFSET_OUT_OF_RANGE
    )


def test_a_batch_larger_than_a_segment_is_refused(files):
    log = open_log(files, segment_bytes=SIZE)
    append(log, batch())
    assert refusal(append, log, batch(size=11)) is Code.RECORD_LIST_TOO_LARGE
    assert log.end_offset == 1


# --- rolling


def test_a_full_segment_is_rolled(files):
    log = open_log(files, segment_bytes=SIZE * 2)
    for _ in range(5):
        append(log, batch())
    assert [segment.base_offset for segment in log.segments] == [0, 2, 4]
    assert offsets(log) == [(offset, offset) for offset in range(5)]


def test_a_segment_is_rolled_when_its_records_span_too_much_time(files):
    log = open_log(files, segment_ms=1000)
    for delay_ms in (0, 1000, 1001, 1500):
        append(log, batch(timestamp_ms=NOW + delay_ms))
    assert [segment.base_offset for segment in log.segments] == [0, 2]


def test_records_without_time_go_by_the_clock(files):
    log = open_log(files, segment_ms=1000)
    for delay_ms in (0, 1000, 1001):
        append(log, batch(timestamp_ms=-1), now_ms=NOW + delay_ms)
    assert [segment.base_offset for segment in log.segments] == [0, 2]


def test_jitter_rolls_earlier_but_not_always_differently(files):
    log = open_log(files, segment_ms=1000, segment_jitter_ms=900)
    append(log, batch())
    jitter_ms = log.active._jitter_ms(log.config)
    assert 0 < jitter_ms < 900
    append(log, batch(timestamp_ms=NOW + 1000 - jitter_ms))
    assert len(log.segments) == 1
    append(log, batch(timestamp_ms=NOW + 1001 - jitter_ms))
    assert len(log.segments) == 2


def test_a_full_index_rolls_the_segment(files):
    log = open_log(files, index_interval_bytes=0, segment_index_bytes=5 * 8)
    for step in range(8):
        append(log, batch(timestamp_ms=NOW - step))
    assert [segment.base_offset for segment in log.segments] == [0, 6]


def test_a_full_time_index_keeps_one_place_for_the_end(files):
    log = open_log(files, index_interval_bytes=0, segment_index_bytes=5 * 12)
    for step in range(8):
        append(log, batch(timestamp_ms=NOW + step))
    assert [segment.base_offset for segment in log.segments] == [0, 5]
    assert len(log.segments[0].times) == 4


def test_offsets_that_do_not_fit_the_index_roll_the_segment(log):
    for offset in (0, 2**31 - 1, 2**31, 2**32):
        view = batch()
        stamped = memoryview(stamp(offset, len(view) - 12, 0) + bytes(view[16:]))
        log.append(stamped, [read_batch_header(stamped)], leader_epoch=0, now_ms=NOW, assign_offsets=False)
    assert [segment.base_offset for segment in log.segments] == [0, 2**31, 2**32]
    assert [first for first, _ in offsets(log)] == [0, 2**31 - 1, 2**31, 2**32]


def test_an_empty_segment_with_another_base_offset_is_replaced(log, files):
    """A follower may begin far behind the start of its empty log: its leader compacted all records before."""
    view = batch()
    stamped = memoryview(stamp(2**32, len(view) - 12, 0) + bytes(view[16:]))
    log.append(stamped, [read_batch_header(stamped)], leader_epoch=0, now_ms=NOW, assign_offsets=False)
    assert [segment.base_offset for segment in log.segments] == [2**32]
    assert [name for name in files.sizes(PATH) if name.endswith(".log")] == [f"{2**32:020d}.log"]


@pytest.mark.skipif(not DESCRIPTORS.exists(), reason="lists descriptors where Linux shows them")
def test_a_closed_log_has_no_open_files(tmp_path):
    log = Log.open(OsFiles(), str(tmp_path / "topic-0"), LogConfig(), now_ms=NOW, clean=True)
    append(log, batch())
    log.roll(NOW)
    append(log, batch())
    assert _open_below(tmp_path) != []
    log.close()
    assert _open_below(tmp_path) == []


def _open_below(directory):
    targets = [entry.readlink() for entry in DESCRIPTORS.iterdir() if entry.exists()]
    return [target for target in targets if target.is_relative_to(directory)]


def test_an_empty_segment_is_not_rolled(log):
    log.roll(NOW)
    append(log, batch())
    log.roll(NOW)
    log.roll(NOW)
    assert [segment.base_offset for segment in log.segments] == [0, 1]


def test_preallocated_segments_are_trimmed_when_sealed(files):
    log = open_log(files, segment_bytes=1000, preallocate=True)
    while len(log.segments) < 2:
        append(log, batch())
    sizes = files.sizes(PATH)
    assert sizes["00000000000000000000.log"] == log.segments[0].size_bytes < 1000
    assert sizes[f"{log.active.base_offset:020d}.log"] == 1000


# --- reading


def test_reading_outside_of_the_log_is_refused(log):
    for _ in range(4):
        append(log, batch())
    log.delete_records_before(2)
    assert refusal(log.read, 1, max_bytes=1, end_offset=4) is Code.OFFSET_OUT_OF_RANGE
    assert refusal(log.read, 5, max_bytes=1, end_offset=4) is Code.OFFSET_OUT_OF_RANGE
    assert log.read(4, max_bytes=1000, end_offset=4) is None
    assert len(log.read(2, max_bytes=1000, end_offset=4)) == 2 * SIZE


def test_a_first_batch_that_does_not_fit_is_given_whole_or_not_at_all(log):
    append(log, batch())
    append(log, batch())
    assert log.read(0, max_bytes=SIZE - 1, end_offset=2) is None
    assert len(log.read(0, max_bytes=SIZE - 1, end_offset=2, at_least_one=True)) == SIZE
    assert len(log.read(0, max_bytes=SIZE, end_offset=2)) == SIZE
    assert len(log.read(0, max_bytes=SIZE + 7, end_offset=2)) == SIZE + 7


@pytest.mark.parametrize("interval", [0, 200, 100_000])
def test_reading_ends_below_the_end_offset(files, interval):
    log = open_log(files, index_interval_bytes=interval, segment_bytes=SIZE * 7)
    for _ in range(20):
        append(log, batch())
    for end in range(1, 21):
        pieces = []
        offset = 0
        while (piece := log.read(offset, max_bytes=10_000, end_offset=end)) is not None:
            pieces.append(len(piece))
            offset = min(end, (offset // 7 + 1) * 7)
        assert sum(pieces) == end * SIZE


def test_reading_begins_at_the_batch_that_holds_the_offset(log):
    for count in (3, 1, 4):
        append(log, batch(count))
    for offset, base_offset in enumerate([0, 0, 0, 3, 4, 4, 4, 4]):
        piece = log.read(offset, max_bytes=10_000, end_offset=8)
        assert read_batch_header(piece.pread()).base_offset == base_offset


def test_a_slice_survives_the_deletion_of_its_segment(files):
    log = open_log(files, segment_bytes=SIZE, retention_bytes=0)
    append(log, batch())
    append(log, batch())
    piece = log.read(0, max_bytes=1000, end_offset=2)
    for deletion in log.apply_retention(NOW):
        files.remove(deletion.path)
    assert read_batch_header(piece.pread()).base_offset == 0


def test_batches_larger_than_a_read_are_still_given_whole(log):
    for size in (10, 5000, 10):
        append(log, batch(size=size))
    assert len(list(log.read_batches(0, read_bytes=100))) == 3
    assert len(list(log.read_batches(1, end_offset=2, read_bytes=100))) == 1


# --- disks that refuse


def test_an_append_that_fails_changes_nothing_and_the_next_one_may_succeed(log, files):
    append(log, batch(producer_id=1))
    files.fault = lambda name, _: OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) if name == "append" else None
    with pytest.raises(StorageFailure, match="No space"):
        append(log, batch(producer_id=1, sequence=1))
    assert log.failure is not None
    assert log.end_offset == 1
    files.fault = None
    assert not append(log, batch(producer_id=1, sequence=1)).duplicate
    assert log.failure is None
    assert offsets(log) == [(0, 0), (1, 1)]


def test_a_roll_that_fails_refuses_the_append(files):
    log = open_log(files, segment_bytes=SIZE)
    append(log, batch())
    files.fault = lambda name, path: OSError(errno.EIO, "bad") if path.endswith(".snapshot") else None
    with pytest.raises(StorageFailure):
        append(log, batch())
    assert (len(log.segments), log.end_offset) == (1, 1)
    files.fault = None
    append(log, batch())
    assert offsets(log) == [(0, 0), (1, 1)]


def test_a_full_disk_holds_index_entries_up_but_no_batches(files):
    log = open_log(files, index_interval_bytes=0)
    files.fault = lambda name, path: OSError(errno.ENOSPC, "full") if path.endswith("index") else None
    for step in range(200):
        append(log, batch(timestamp_ms=NOW + step))
    assert len(log.active.offsets) == 199
    files.fault = None
    log.close()
    assert files.sizes(PATH)["00000000000000000000.index"] == 199 * 8


def test_a_failed_sync_closes_the_log_until_it_is_opened_again(log, files):
    append(log, batch())
    files.fault = lambda name, _: OSError(errno.EIO, "bad") if name == "sync" else None
    with pytest.raises(StorageFailure):
        log.flush()
    files.fault = None
    assert log.recovery_point == 0
    for refused in (log.flush, lambda: append(log, batch()), log.close):
        with pytest.raises(StorageFailure, match="after a failed sync"):
            refused()
    assert offsets(Log.open(files, PATH, LogConfig(), now_ms=NOW)) == [(0, 0)]


# --- flushing


def test_a_flush_moves_the_recovery_point(log):
    append(log, batch())
    log.flush()
    append(log, batch())
    assert log.recovery_point == 1
    pending = log.begin_flush()
    append(log, batch())
    pending.sync()
    log.finish_flush(pending)
    assert log.recovery_point == 2
    log.flush()
    assert log.recovery_point == 3


def test_a_flush_that_overtakes_another_syncs_for_both(log, files):
    append(log, batch())
    slow = log.begin_flush()
    second = log.begin_flush()
    second.sync()
    log.finish_flush(second)
    files.cut_power(lambda most: 0)
    slow.close()
    assert offsets(Log.open(files, PATH, LogConfig(), now_ms=NOW, recovery_point=1)) == [(0, 0)]


def test_a_flush_gives_its_descriptors_back_when_one_cannot_be_had(log, files, monkeypatch):
    append(log, batch())
    closed = []
    monkeypatch.setattr("kwire.testing.memory.files.MemorySyncer.close", lambda _: closed.append(1))
    files.fault = lambda name, path: OSError(errno.EMFILE, "many") if name == "list" else None
    with pytest.raises(StorageFailure):
        log.begin_flush()
    assert closed == [1]
    files.fault = None
    log.flush()
    assert log.recovery_point == 1


def test_a_snapshot_is_taken_every_so_many_batches(log, files):
    for sequence in range(2 * SNAPSHOT_INTERVAL_BATCHES):
        append(log, batch(producer_id=1, sequence=sequence))
    assert log.snapshots.offsets == [2 * SNAPSHOT_INTERVAL_BATCHES]
    assert [path for path in files.paths() if path.endswith(".snapshot")] == [
        f"{PATH}/{2 * SNAPSHOT_INTERVAL_BATCHES:020d}.snapshot"
    ]


# --- high watermark and transactions


def test_the_high_watermark_moves_up_to_the_end(log):
    append(log, batch(3), high_watermark=False)
    assert log.high_watermark == 0
    log.advance_high_watermark(2)
    log.advance_high_watermark(1)
    assert log.high_watermark == 2
    log.advance_high_watermark(99)
    assert log.high_watermark == 3


def test_the_last_stable_offset_waits_for_open_transactions(log):
    append(log, batch())
    append(log, batch(producer_id=1, transactional=True))
    append(log, batch(producer_id=2, transactional=True))
    append(log, batch())
    assert log.last_stable_offset == 1
    append_marker(log, marker(1, committed=True))
    assert log.last_stable_offset == 2
    append_marker(log, marker(2, committed=False))
    assert log.last_stable_offset == 6


def test_a_decision_counts_once_its_marker_is_below_the_high_watermark(log):
    append(log, batch(producer_id=1, transactional=True))
    view = marker(1, committed=True)
    log.append(view, [read_batch_header(view)], leader_epoch=0, now_ms=NOW, check_sequence=False)
    assert (log.high_watermark, log.last_stable_offset) == (1, 0)
    log.advance_high_watermark(2)
    assert log.last_stable_offset == 2


def test_a_marker_at_the_high_watermark_is_not_below_it(log):
    append(log, batch(producer_id=1, transactional=True), high_watermark=False)
    view = marker(1, committed=True)
    log.append(view, [read_batch_header(view)], leader_epoch=0, now_ms=NOW, check_sequence=False)
    for high_watermark, stable in [(1, 0), (2, 2)]:
        log.advance_high_watermark(high_watermark)
        assert log.last_stable_offset == stable


def test_a_decision_above_the_high_watermark_holds_back_what_is_open_behind_it(log):
    append(log, batch(producer_id=1, transactional=True))
    append(log, batch(producer_id=2, transactional=True))
    view = marker(1, committed=True)
    log.append(view, [read_batch_header(view)], leader_epoch=0, now_ms=NOW, check_sequence=False)
    assert (log.high_watermark, log.last_stable_offset) == (2, 0)
    log.advance_high_watermark(3)
    assert log.last_stable_offset == 1


def test_aborted_transactions_are_found_where_they_overlap(files):
    log = open_log(files, segment_bytes=500)
    sequences = {1: 0, 2: 0}
    spans = []
    for producer_id, committed in [(1, False), (2, True), (1, False), (2, False), (1, True)]:
        first = log.end_offset
        for _ in range(3):
            append(log, batch(producer_id=producer_id, sequence=sequences[producer_id], transactional=True))
            sequences[producer_id] += 1
        last = append_marker(log, marker(producer_id, committed=committed)).base_offset
        if not committed:
            spans.append((producer_id, first, last))
    assert len(log.segments) > 2
    for begin in range(log.end_offset):
        for end in range(begin + 1, log.end_offset + 1):
            found = [each[:3] for each in log.aborted_transactions(begin, end)]
            assert found == [span for span in spans if span[2] >= begin and span[1] < end]


def test_an_aborted_transaction_is_found_behind_one_that_began_after_it_and_ended_before(files):
    """The index says of each how far everything was decided, so that a search knows when it has seen enough."""
    log = open_log(files)
    for producer_id in (1, 2, 3):
        append(log, batch(producer_id=producer_id, transactional=True))
    for producer_id in (3, 2, 1):
        append_marker(log, marker(producer_id, committed=False))
    assert [each.last_stable_offset for each in log.active.aborted.entries()] == [0, 0, 6]
    for end in range(1, 4):
        found = {each.producer_id for each in log.aborted_transactions(0, end)}
        assert found == set(range(1, end + 1))


def test_a_marker_without_records_aborts_nothing(log):
    append_marker(log, marker(1, committed=False))
    assert log.aborted_transactions(0, 10) == []
    assert log.last_stable_offset == 1


def test_a_slice_is_bounded_by_the_last_offset_of_the_next_indexed_batch(files):
    """Below that bound Kafka names aborted transactions, for the slice and some offsets behind it."""
    log = open_log(files, index_interval_bytes=0)
    for sequence in range(0, 20, 2):
        append(log, batch(2, producer_id=1, sequence=sequence, transactional=True))
    append_marker(log, marker(1, committed=False))
    size = len(log.read(0, max_bytes=1, end_offset=21, at_least_one=True))

    def bound(max_bytes: int, end_offset: int = 21) -> int:
        return log.read(0, max_bytes=max_bytes, end_offset=end_offset).end_offset

    # The batch at 3 * size has the offsets 6 and 7.
    assert [bound(3 * size - 1), bound(3 * size), bound(3 * size + 1)] == [7, 7, 9]
    # The first entry of an index, exactly at the end of the slice, does not count.
    assert [bound(size), bound(size + 1)] == [5, 5]
    # No entry is behind the marker: the log end is the bound, whatever the reader's end offset is.
    assert [bound(100_000), bound(10 * size), bound(100_000, end_offset=6)] == [21, 20, 7]


def test_a_slice_of_an_earlier_segment_is_bounded_by_the_next_one(files):
    log = open_log(files, index_interval_bytes=100_000, segment_bytes=SIZE * 3)
    for sequence in range(7):
        append(log, batch(producer_id=1, sequence=sequence, transactional=True))
    append_marker(log, marker(1, committed=False))
    for offset, bound in [(0, 3), (2, 3), (3, 6), (6, 8)]:
        for end_offset in (offset + 1, log.end_offset):
            piece = log.read(offset, max_bytes=1, end_offset=end_offset, at_least_one=True)
            assert piece.end_offset == bound


def test_a_transaction_that_was_aborted_beyond_an_open_one_is_named(files):
    log = open_log(files)
    append(log, batch(producer_id=1, transactional=True))
    append(log, batch())
    append(log, batch(producer_id=2, transactional=True))
    append_marker(log, marker(2, committed=False))
    append_marker(log, marker(1, committed=False))
    append(log, batch(producer_id=1, sequence=1, transactional=True))
    assert log.last_stable_offset == 5
    piece = log.read(0, max_bytes=100_000, end_offset=2)
    found = log.aborted_transactions(0, piece.end_offset)
    assert [each.first_offset for each in found] == [2, 0]


# --- cutting


def test_truncation_cuts_at_a_batch_boundary(files):
    log = open_log(files, segment_bytes=3 * SIZE)
    for _ in range(8):
        append(log, batch())
    log.truncate_to(4, now_ms=NOW)
    assert (log.end_offset, log.high_watermark) == (4, 4)
    assert [segment.base_offset for segment in log.segments] == [0, 3]
    assert files.sizes(PATH)["00000000000000000003.log"] == SIZE
    append(log, batch())
    assert offsets(log) == [(offset, offset) for offset in range(5)]
    log.truncate_to(99, now_ms=NOW)
    assert log.end_offset == 5


def test_truncation_removes_sequences_epochs_and_transactions_behind(log):
    append(log, batch(producer_id=1), leader_epoch=1)
    append(log, batch(producer_id=1, sequence=1), leader_epoch=2)
    append(log, batch(producer_id=2, transactional=True), leader_epoch=3)
    log.truncate_to(1, now_ms=NOW)
    assert log.latest_epoch == 1
    assert log.last_stable_offset == 1
    assert not append(log, batch(producer_id=1, sequence=1), leader_epoch=5).duplicate
    assert log.epochs.entries == [EpochStart(1, 0), EpochStart(5, 1)]


def test_truncation_below_the_log_start_moves_it_back(log):
    for _ in range(5):
        append(log, batch())
    log.delete_records_before(4)
    log.truncate_to(2, now_ms=NOW)
    assert (log.log_start_offset, log.end_offset, log.high_watermark) == (2, 2, 2)
    append(log, batch())
    assert offsets(log) == [(2, 2)]


def test_truncation_below_the_log_starts_over(files):
    log = open_log(files, segment_bytes=SIZE)
    for epoch in range(3):
        append(log, batch(producer_id=1, sequence=log.end_offset), leader_epoch=epoch)
    log.truncate_fully_and_start_at(100)
    assert (log.log_start_offset, log.end_offset, log.high_watermark, log.size_bytes) == (100, 100, 100, 0)
    assert log.latest_epoch == -1
    assert [path for path in files.paths() if path.endswith((".log", ".snapshot"))] == []
    append(log, batch())
    assert offsets(log) == [(100, 100)]


def test_deleting_records_moves_the_start(log):
    for epoch in range(4):
        append(log, batch(), leader_epoch=epoch)
    log.delete_records_before(2)
    log.delete_records_before(1)
    assert log.log_start_offset == 2
    assert log.epochs.entries == [EpochStart(2, 2), EpochStart(3, 3)]
    assert refusal(log.delete_records_before, 5) is Code.OFFSET_OUT_OF_RANGE


def test_a_deleted_log_is_renamed_first(log, files):
    append(log, batch())
    log.delete("data/topic-0.abc-delete")
    assert files.directories("data") == ["topic-0.abc-delete"]
    files.remove_directory("data/topic-0.abc-delete")
    assert files.paths() == []


def test_a_log_is_deleted_on_a_full_disk(log, files):
    append(log, batch(producer_id=1))
    files.free_bytes = 0
    log.delete("data/topic-0.abc-delete")
    assert files.directories("data") == ["topic-0.abc-delete"]


def test_a_log_that_was_never_written_leaves_nothing_to_delete(log, files):
    log.delete("data/topic-0.abc-delete")
    assert files.directories("data") == []


# --- epochs and times


def test_epochs_are_answered_from_the_log(log):
    for epoch in (1, 1, 3):
        append(log, batch(), leader_epoch=epoch)
    assert log.offset_for_epoch(1) == EpochEnd(1, 2)
    assert log.offset_for_epoch(2) == EpochEnd(1, 2)
    assert log.offset_for_epoch(3) == EpochEnd(3, 3)
    assert log.offset_for_epoch(4) == EpochEnd(-1, -1)
    assert log.epoch_of(2) == 3


def test_a_time_is_found_inside_a_batch_and_at_or_behind_the_log_start(log):
    append(log, batch(5, timestamp_ms=NOW))
    append(log, batch(5, timestamp_ms=NOW + 2, codec=1), leader_epoch=1)
    assert log.offset_for_timestamp(0)[:2] == (NOW, 0)
    assert log.offset_for_timestamp(NOW + 3)[:2] == (NOW + 3, 3)
    assert log.offset_for_timestamp(NOW + 5) == (NOW + 5, 8, 1)
    assert log.offset_for_timestamp(NOW + 7) is None
    log.delete_records_before(4)
    assert log.offset_for_timestamp(0)[:2] == (NOW + 4, 4)


def test_the_largest_timestamp_is_that_of_its_first_record(files):
    log = open_log(files, segment_bytes=2 * SIZE)
    assert log.max_timestamp() is None
    for step in (5, 9, 9, 3, 1):
        append(log, batch(timestamp_ms=NOW + step))
    assert log.max_timestamp()[:2] == (NOW + 9, 1)


def test_of_records_without_time_the_first_counts_as_the_latest(log):
    append(log, batch(timestamp_ms=-1))
    append(log, batch(timestamp_ms=-1))
    assert log.max_timestamp()[:2] == (-1, 0)


def test_log_append_time_is_found_without_opening_batches(files):
    log = open_log(files, log_append_time=True)
    append(log, batch(3), now_ms=NOW)
    append(log, batch(3), now_ms=NOW + 10)
    assert log.offset_for_timestamp(NOW + 1)[:2] == (NOW + 10, 3)
    log.delete_records_before(4)
    assert log.offset_for_timestamp(NOW)[:2] == (NOW + 10, 4)
    assert log.max_timestamp()[:2] == (NOW + 10, 3)


def test_all_batches_of_an_append_are_taken(log):
    view = memoryview(bytes(batch(2)) + bytes(batch(3)))
    assert log.append(view, headers_of(view), leader_epoch=0, now_ms=NOW).last_offset == 4


def test_the_largest_timestamp_may_be_that_of_a_record_below_the_log_start(files):
    log = open_log(files, segment_bytes=2 * SIZE)
    for step in (5, 9, 7, 3, 1):
        append(log, batch(timestamp_ms=NOW + step))
    log.delete_records_before(4)
    assert log.max_timestamp()[:2] == (NOW + 9, 1)


def test_an_open_transaction_is_gone_when_the_log_starts_again_at_another_offset(files):
    log = Log.open(files, PATH, LogConfig(), now_ms=NOW, clean=True)
    append(log, batch(producer_id=1, transactional=True))
    assert log.last_stable_offset == 0
    log.truncate_fully_and_start_at(100)
    append(log, batch())
    assert log.last_stable_offset == log.high_watermark == 101
