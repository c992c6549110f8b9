"""Damaged files: cut, flipped, deleted, half replaced. A log that opens holds no wrong byte."""

import struct

import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from log_batches import NOW, append, append_marker, batch, marker, offsets

from kwire.errors import StorageFailure
from kwire.storage.config import LogConfig
from kwire.storage.log import Log
from kwire.testing.memory.files import MemoryFiles
from kwire.wire.batches.batch import read_batch_header

PATH = "data/topic-0"
CONFIG = LogConfig(index_interval_bytes=200)
NAMES = [f"{PATH}/{base:020d}" for base in (0, 20)]


@pytest.fixture
def files():
    return written()


def written(count=30):
    """Two segments, closed in order, with an aborted transaction in each."""
    files = MemoryFiles()
    files.make_directory("data")
    log = Log.open(files, PATH, CONFIG, now_ms=NOW, clean=True)
    sequence = 0
    while log.end_offset < count:
        if log.end_offset == 20:
            log.roll(NOW)
        if log.end_offset % 10 == 9:
            append_marker(log, marker(1, committed=False))
        else:
            append(log, batch(producer_id=1, sequence=sequence, transactional=True, timestamp_ms=NOW + log.end_offset))
            sequence += 1
    log.flush()
    log.close()
    assert [segment.base_offset for segment in log.segments] == [0, 20]
    return files


def reopen(files, **stop):
    log = Log.open(files, PATH, CONFIG, now_ms=NOW, **stop)
    log.advance_high_watermark(log.end_offset)
    return log


STOPS = [{"clean": True, "recovery_point": 30}, {"same_boot": True, "recovery_point": 30}, {}]


@pytest.mark.parametrize("stop", STOPS)
def test_a_log_is_complete_after_each_kind_of_stop(files, stop):
    log = reopen(files, **stop)
    assert offsets(log) == [(offset, offset) for offset in range(30)]
    assert [each[:3] for each in log.aborted_transactions(0, 30)] == [(1, 0, 9), (1, 10, 19), (1, 20, 29)]
    assert log.last_stable_offset == 30


@pytest.mark.parametrize("stop", STOPS)
@pytest.mark.parametrize("suffix", [".index", ".timeindex"])
@pytest.mark.parametrize("name", NAMES)
def test_a_deleted_index_is_rebuilt(files, stop, suffix, name):
    before = bytes(files.content(name + suffix))
    files.remove(name + suffix)
    log = reopen(files, **stop)
    assert log.offset_for_timestamp(NOW + 25)[:2] == (NOW + 25, 25)
    assert offsets(log) == [(offset, offset) for offset in range(30)]
    log.close()
    assert bytes(files.content(name + suffix)) == before


@pytest.mark.parametrize("stop", STOPS)
def test_a_deleted_transaction_index_is_rebuilt_from_the_snapshot_on(files, stop):
    log = reopen(files, **stop)
    files.remove(f"{NAMES[0]}.txnindex")
    for name in [name for name in files.sizes(PATH) if name.endswith(".snapshot")]:
        files.remove(f"{PATH}/{name}")
    log = reopen(files, **stop)
    assert [each[:3] for each in log.aborted_transactions(0, 30)] == [(1, 0, 9), (1, 10, 19), (1, 20, 29)]


@settings(max_examples=examples(60), deadline=None)
@given(data=st.data())
def test_a_damaged_index_changes_no_read(data):
    files = written()
    name = data.draw(st.sampled_from(NAMES)) + ".index"
    content = files.content(name)
    if data.draw(st.booleans()):
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    else:
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    log = reopen(files, **data.draw(st.sampled_from(STOPS)))
    for offset in range(30):
        piece = log.read(offset, max_bytes=1, end_offset=30, at_least_one=True)
        assert read_batch_header(piece.pread()).base_offset == offset


@settings(max_examples=examples(150), deadline=None)
@given(data=st.data())
def test_a_damaged_time_index_changes_no_search_by_time(data):
    files = written()
    name = data.draw(st.sampled_from(NAMES)) + ".timeindex"
    # The last entry also has the largest timestamp of the segment, which another test covers.
    content = files.content(name)
    content[data.draw(st.integers(0, len(content) - 13))] ^= 1 << data.draw(st.integers(0, 7))
    log = reopen(files, **data.draw(st.sampled_from(STOPS)))
    for offset in range(30):
        if offset % 10 == 9:  # a marker, of an older time
            continue
        assert log.offset_for_timestamp(NOW + offset)[:2] == (NOW + offset, offset)
    assert log.offset_for_timestamp(NOW + 30) is None


@pytest.mark.parametrize("suffix", [".index", ".timeindex"])
@pytest.mark.parametrize("name", NAMES)
def test_after_a_kill_a_damaged_index_does_not_change_how_late_the_last_segment_is(suffix, name):
    for position in range(len(written().content(name + suffix))):
        files = written()
        files.content(name + suffix)[position] ^= 1
        log = reopen(files, same_boot=True, recovery_point=30)
        assert log.segments[-1].max_timestamp == (NOW + 28, 28)


@pytest.mark.parametrize("stop", STOPS)
@pytest.mark.parametrize("suffix", [".index", ".timeindex"])
@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_index_does_not_change_how_late_a_segment_is(stop, suffix, name):
    for position in range(len(written().content(name + suffix))):
        files = written()
        files.content(name + suffix)[position] ^= 1
        log = reopen(files, **stop)
        assert [segment.max_timestamp for segment in log.segments] == [(NOW + 18, 18), (NOW + 28, 28)]
        assert log.max_timestamp()[:2] == (NOW + 28, 28)


def test_a_time_index_that_was_found_damaged_is_rebuilt(files):
    name = f"{NAMES[0]}.timeindex"
    before = bytes(files.content(name))
    content = files.content(name)
    content[12 * 3 + 11] ^= 4  # the offset of the fourth entry
    log = reopen(files, clean=True, recovery_point=30)
    at_ms, offset = struct.unpack(">qi", before[36:48])
    assert log.offset_for_timestamp(at_ms)[:2] == (at_ms, offset)
    assert bytes(files.content(name)) != bytes(before[:36]) + bytes(content[36:48]) + bytes(before[48:])
    entries = struct.iter_unpack(">qi", files.content(name))
    assert all(at_ms == NOW + offset for at_ms, offset in entries)


@settings(max_examples=examples(80), deadline=None)
@given(data=st.data())
def test_a_flipped_bit_in_an_unsynced_log_cuts_it_there(data):
    files = written()
    name = data.draw(st.sampled_from(NAMES))
    content = files.content(f"{name}.log")
    position = data.draw(st.integers(0, len(content) - 1))
    begins = 0
    while begins + read_batch_header(content, begins).size_bytes <= position:
        begins += read_batch_header(content, begins).size_bytes
    content[position] ^= 1 << data.draw(st.integers(0, 7))
    log = reopen(files)
    found = offsets(log)
    # Offset and epoch of a batch are outside of its CRC: only a jump backwards can be seen there.
    if position >= begins + 16:
        assert found == [(offset, offset) for offset in range(len(found))]
        assert log.end_offset == len(found) < 30
    appended = append(log, batch())
    assert offsets(log)[-1][0] == appended.base_offset


@pytest.mark.parametrize("stop", STOPS)
def test_a_log_that_was_cut_where_its_last_indexed_batch_began_keeps_what_is_before(stop):
    files = written()
    log = reopen(files, clean=True)
    del files.content(f"{NAMES[1]}.log")[log.active.offsets.last[1] :]
    assert log.active.offsets.last[1] > 0
    last = offsets(reopen(files, **stop))[-1]
    assert last == (log.active.offsets.last[0] + 19,) * 2


@settings(max_examples=examples(80), deadline=None)
@given(data=st.data())
def test_a_log_that_was_cut_ends_with_a_whole_batch(data):
    files = written()
    content = files.content(f"{NAMES[1]}.log")
    size = data.draw(st.integers(0, len(content)))
    sizes = [read_batch_header(view).size_bytes for view in reopen(files, clean=True).read_batches(20)]
    del content[size:]
    whole = sum(1 for index in range(len(sizes)) if sum(sizes[: index + 1]) <= size)
    log = reopen(files, **data.draw(st.sampled_from(STOPS)))
    assert offsets(log) == [(offset, offset) for offset in range(20 + whole)]
    assert files.sizes(PATH)["00000000000000000020.log"] == sum(sizes[:whole])
    append(log, batch())
    assert log.end_offset == 21 + whole


def test_segments_behind_a_bad_one_are_removed(files):
    files.content(f"{NAMES[0]}.log")[81 * 5 + 70] ^= 1
    log = reopen(files)
    assert log.end_offset == 5
    assert [segment.base_offset for segment in log.segments] == [0]
    assert [path for path in files.paths() if path.startswith(NAMES[1]) and not path.endswith(".snapshot")] == []
    assert log.snapshots.offsets == []


def test_records_below_the_recovery_point_are_not_read_again(files):
    content = files.content(f"{NAMES[0]}.log")
    content[200] ^= 1
    assert reopen(files, recovery_point=25).end_offset == 30


def test_progress_is_counted_in_bytes(files):
    progress = []
    Log.open(files, PATH, CONFIG, now_ms=NOW, on_progress=lambda done, total: progress.append((done, total)))
    sizes = [files.sizes(PATH)[f"{base:020d}.log"] for base in (0, 20)]
    assert progress == [(sizes[0], sum(sizes)), (sum(sizes), sum(sizes))]


def test_a_killed_apache_kafka_leaves_zeros_behind_the_index_entries(files):
    for suffix, entry in ((".index", 8), (".timeindex", 12)):
        content = files.content(NAMES[1] + suffix)
        # Its last time index entry is only written when a segment is sealed.
        content[:] = content[:-entry] if suffix == ".timeindex" else content
        content += bytes(10_000 * entry)
    log = reopen(files, same_boot=True)
    assert offsets(log) == [(offset, offset) for offset in range(30)]
    log.close()
    assert files.sizes(PATH)["00000000000000000020.index"] < 200


def test_files_of_old_deletions_are_removed(files):
    for name in (f"{NAMES[0]}.log.deleted", f"{NAMES[0]}.index.cleaned", f"{PATH}/leader-epoch-checkpoint.tmp"):
        files.write_bytes(name, b"x", durable=True)
    reopen(files, same_boot=True)
    assert [path for path in files.paths() if path.endswith((".deleted", ".cleaned", ".tmp"))] == []


def test_an_index_without_its_log_is_removed(files):
    files.write_bytes(f"{PATH}/{77:020d}.index", bytes(8), durable=True)
    reopen(files, same_boot=True)
    assert f"{PATH}/{77:020d}.index" not in files.paths()


def test_a_replacement_that_was_complete_is_finished(files):
    for suffix in (".log", ".index", ".timeindex"):
        files.rename(NAMES[0] + suffix, f"{NAMES[0]}{suffix}.swap")
    # What is replaced is still there, with other content.
    files.write_bytes(f"{NAMES[0]}.log", b"old", durable=True)
    files.write_bytes(f"{PATH}/{7:020d}.log", b"old", durable=True)
    log = reopen(files, same_boot=True)
    assert [segment.base_offset for segment in log.segments] == [0, 20]
    assert offsets(log) == [(offset, offset) for offset in range(30)]
    assert [path for path in files.paths() if path.endswith(".swap")] == []
    assert f"{PATH}/{7:020d}.log" not in files.paths()


def test_a_replacement_that_was_not_complete_is_undone(files):
    files.write_bytes(f"{NAMES[0]}.log.swap", b"new", durable=True)
    files.write_bytes(f"{NAMES[0]}.index.cleaned", b"new", durable=True)
    log = reopen(files, same_boot=True)
    assert offsets(log) == [(offset, offset) for offset in range(30)]
    assert [path for path in files.paths() if path.endswith((".swap", ".cleaned"))] == []


def test_a_log_that_ends_before_its_start_offset_begins_there(files):
    log = reopen(files, same_boot=True, log_start_offset=100)
    assert (log.log_start_offset, log.end_offset, log.size_bytes) == (100, 100, 0)
    append(log, batch())
    assert offsets(log) == [(100, 100)]
    assert [path for path in files.paths() if path.endswith(".log")] == [f"{PATH}/{100:020d}.log"]


def test_messages_of_an_old_format_are_left_alone(files):
    import struct
    import zlib

    message = struct.pack(">bbqii", 1, 0, NOW, -1, 3) + b"old"
    content = struct.pack(">qiI", 0, len(message) + 4, zlib.crc32(message)) + message
    content *= 3
    files.content(f"{NAMES[0]}.log")[:] = content
    with pytest.raises(StorageFailure, match=r"before 0\.11"):
        reopen(files)
    assert bytes(files.content(f"{NAMES[0]}.log")) == content


def test_epochs_are_read_back_and_completed_from_the_log(files):
    log = reopen(files, clean=True)
    append(log, batch(), leader_epoch=5)
    files.write_bytes(f"{PATH}/leader-epoch-checkpoint", b"0\n1\n0 0\n", durable=True)
    files.kill()
    assert reopen(files, same_boot=True).epochs.entries == [(0, 0), (5, 30)]


@pytest.mark.parametrize("stop", STOPS)
@pytest.mark.parametrize(
    "content",
    [
        b"\0\0\0",
        b"",
        b"0\n0\n",
        b"0\n2\n0 0\n",
        b"0\n2\n5 30\n0 0\n",
        b"0\n3\n0 0\n5 32\n7 31\n",
        b"0\n1\n-3 0\n",
        None,
    ],
)
def test_a_damaged_epoch_checkpoint_is_rebuilt_from_the_batches(files, content, stop):
    log = reopen(files, clean=True)
    append(log, batch(), leader_epoch=5)
    log.roll(NOW)
    append(log, batch(), leader_epoch=7)
    log.flush()
    log.close()
    path = f"{PATH}/leader-epoch-checkpoint"
    before = bytes(files.content(path))
    if content is None:
        files.remove(path)
    else:
        files.write_bytes(path, content, durable=True)
    log = reopen(files, **stop)
    assert log.epochs.rebuilt
    assert log.epochs.entries == [(0, 0), (5, 30), (7, 31)]
    assert log.offset_for_epoch(0) == (0, 30)
    # The file is repaired as well, so that the next start finds it.
    assert bytes(files.content(path)) == before
    log.close()
    assert not reopen(files, clean=True).epochs.rebuilt


def test_rebuilt_epochs_begin_at_the_log_start_offset(files):
    files.write_bytes(f"{PATH}/leader-epoch-checkpoint", b"\0\0\0", durable=True)
    assert reopen(files, clean=True, log_start_offset=25).epochs.entries == [(0, 25)]


def test_an_epoch_checkpoint_that_cannot_be_written_does_not_stop_the_log(files):
    files.write_bytes(f"{PATH}/leader-epoch-checkpoint", b"\0\0\0", durable=True)
    files.fault = lambda name, path: (
        OSError(28, "disk full") if name == "write" and path.endswith("checkpoint") else None
    )
    assert reopen(files, clean=True).epochs.entries == [(0, 0)]
    files.fault = None
    assert reopen(files, clean=True).epochs.rebuilt


def test_a_batch_with_an_offset_of_the_next_segment_ends_an_unsynced_log(files):
    content = files.content(f"{NAMES[0]}.log")
    position = 0
    while (header := read_batch_header(content, position)).base_offset != 19:
        position += header.size_bytes
    content[position + 4] ^= 1  # no CRC covers the base offset

    log = reopen(files)

    assert log.end_offset == 19
    assert offsets(log) == [(offset, offset) for offset in range(19)]


@pytest.mark.parametrize("top_byte", [0x40, 0x80])
def test_a_batch_whose_offset_is_damaged_is_not_indexed(files, top_byte):
    log = Log.open(files, "data/other-0", LogConfig(index_interval_bytes=0), now_ms=NOW, clean=True)
    for later_ms in (0, 5, 1):
        append(log, batch(timestamp_ms=NOW + later_ms))
    log.flush()
    log.close()
    name = f"data/other-0/{0:020d}"
    # No CRC covers the base offset.
    files.content(f"{name}.log")[len(files.content(f"{name}.log")) // 3] ^= top_byte
    for suffix in (".timeindex", ".index"):
        files.remove(name + suffix)
        log = Log.open(files, "data/other-0", LogConfig(index_interval_bytes=0), now_ms=NOW, clean=True)
        append(log, batch(timestamp_ms=NOW + 2))
        log.close()
    files.content(f"{name}.timeindex")[:] = b""
    Log.open(files, "data/other-0", LogConfig(index_interval_bytes=0), now_ms=NOW, clean=True).close()


def test_a_disk_that_cannot_be_read_is_a_storage_failure(files):
    files.fault = lambda name, path: OSError(5, "bad sector") if name == "read" and path.endswith(".log") else None
    with pytest.raises(StorageFailure, match="bad sector"):
        reopen(files)


@pytest.mark.parametrize("preallocate", [False, True])
@pytest.mark.parametrize("size", [10, 1_000_000, 3_000_000])
def test_a_kill_in_the_middle_of_a_write_costs_that_write_alone(preallocate, size):
    files = MemoryFiles()
    files.make_directory("data")
    config = LogConfig(segment_bytes=20_000_000, preallocate=preallocate)
    log = Log.open(files, PATH, config, now_ms=NOW, clean=True)
    for _ in range(4):
        append(log, batch(size=size))
    files.kill(torn_bytes=11)
    reopened = Log.open(files, PATH, config, now_ms=NOW, same_boot=True)
    assert offsets(reopened) == [(0, 0), (1, 1), (2, 2)]
    assert reopened.active.size_bytes == 3 * log.active.size_bytes // 4


@pytest.mark.parametrize(
    ("index_interval_bytes", "size", "damaged", "kept"),
    [
        pytest.param(4096, 3000, 0, 10, id="before the last index entry: not read"),
        pytest.param(4096, 3000, 9, 9, id="behind it: checked"),
        pytest.param(10**9, 1_000_000, 6, 10, id="behind it, more than two megabytes from the end: headers only"),
        pytest.param(10**9, 1_000_000, 8, 8, id="behind it, within two megabytes: checked"),
    ],
)
def test_the_batches_that_are_checked_after_a_kill(index_interval_bytes, size, damaged, kept):
    files = MemoryFiles()
    files.make_directory("data")
    config = LogConfig(segment_bytes=20_000_000, index_interval_bytes=index_interval_bytes)
    log = Log.open(files, PATH, config, now_ms=NOW, clean=True)
    for _ in range(10):
        append(log, batch(size=size))
    log.checkpoint()  # writes the index entries
    files.kill()
    content = files.content(f"{PATH}/{0:020d}.log")
    content[len(content) // 10 * damaged + 100] ^= 1

    assert Log.open(files, PATH, config, now_ms=NOW, same_boot=True).end_offset == kept


def test_an_aborted_transaction_is_known_after_a_crash_that_lost_its_index():
    files = MemoryFiles()
    files.make_directory("data")
    log = Log.open(files, PATH, CONFIG, now_ms=NOW, clean=True)
    append(log, batch(producer_id=1, transactional=True))
    append_marker(log, marker(1, committed=False))
    expected = log.aborted_transactions(0, 2)
    assert len(expected) == 1
    files.remove(f"{PATH}/{0:020d}.txnindex")
    again = Log.open(files, PATH, CONFIG, now_ms=NOW)
    assert again.aborted_transactions(0, 2) == expected


def test_aborted_transactions_are_those_of_the_batches_after_a_loss_of_power(files):
    """Their index may hold zeros, or lack entries, while a later snapshot of the producers is whole."""
    files.content(f"{NAMES[1]}.txnindex")[:] = bytes(34)
    del files.content(f"{NAMES[0]}.txnindex")[34:]
    log = reopen(files, recovery_point=15)
    assert [each[:3] for each in log.aborted_transactions(0, 30)] == [(1, 0, 9), (1, 10, 19), (1, 20, 29)]
    log.close()
    assert [each[:3] for each in reopen(files, clean=True).aborted_transactions(0, 30)][1:] == [
        (1, 10, 19),
        (1, 20, 29),
    ]


LOG_AND_INDEXES = [".log", ".index", ".timeindex", ".txnindex"]


@pytest.mark.parametrize(
    ("gone", "stop", "doubtful_from"),
    [
        ([], {"clean": True}, None),
        ([], {"same_boot": True}, None),
        ([], {"recovery_point": 20}, None),
        ([], {"recovery_point": 19}, 19),
        ([".log"], {"clean": True, "recovery_point": 30}, 0),
        (LOG_AND_INDEXES, {}, 0),
        (LOG_AND_INDEXES, {"log_start_offset": 20, "recovery_point": 20}, None),
    ],
)
def test_records_that_may_be_missing_before_others(files, gone, stop, doubtful_from):
    for suffix in gone:
        files.remove(NAMES[0] + suffix)
    log = reopen(files, **stop)
    assert log.doubtful_from == doubtful_from
    log.begin_epoch(1)
    assert log.doubtful_from is None
