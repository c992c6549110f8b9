"""Compaction: which records and batches stay, in which bytes, and what a crash, a full disk or a rival change.

``official_compaction.json`` holds small logs before and after a round of Apache Kafka 4.3.1's own Cleaner, with what it
said of them: first dirty offset, end of the round, clean bytes, cleanable bytes, and up to where it cleaned.
"""

from __future__ import annotations

import base64
import dataclasses
import errno
import itertools
import json
import os
import zlib
from pathlib import Path

import pytest
from log_batches import NOW, append, append_marker, headers_of, marker

from kwire.errors import Code, KafkaError, StorageFailure
from kwire.storage.compaction.compaction import SLICE_RECORDS, Compaction, cleanable_part
from kwire.storage.config import LogConfig
from kwire.storage.log import Log
from kwire.storage.segments.segment import file_name
from kwire.testing.memory.files import MemoryFiles
from kwire.wire.batches.batch import HEADER_BYTES, read_batch_header
from kwire.wire.batches.compression import Codec
from kwire.wire.batches.records import Record, build_batch, read_records

PATH = "data/kv-0"
RETENTION_MS = 1000
CONFIG = LogConfig(
    segment_bytes=1000,
    index_interval_bytes=100,
    compact=True,
    delete=False,
    delete_retention_ms=RETENTION_MS,
    file_delete_delay_ms=10,
)
PLENTY = 1 << 30


@pytest.fixture
def files() -> MemoryFiles:
    files = MemoryFiles()
    files.make_directory("data")
    return files


@pytest.fixture
def log(files) -> Log:
    return Log.open(files, PATH, CONFIG, now_ms=NOW)


def put(log: Log, *pairs: tuple[str | None, str | None], now_ms: int = NOW, codec: Codec = Codec.NONE, **stamp) -> int:
    """Append one batch; returns its first offset."""
    records = [
        Record(index, now_ms, None if key is None else key.encode(), None if value is None else value.encode())
        for index, (key, value) in enumerate(pairs)
    ]
    return append(log, memoryview(build_batch(records, codec=codec, **stamp)), now_ms=now_ms).base_offset


def clean(log: Log, cleaned_offset: int | None = None, *, now_ms: int = NOW, map_bytes_max: int = PLENTY) -> Compaction:
    """Do a whole round, as its driver does."""
    cleanable = cleanable_part(log, cleaned_offset, now_ms)
    compaction = Compaction(log, cleanable, now_ms=now_ms, map_bytes_max=map_bytes_max)
    for piece in compaction.slices():
        if piece.blocking is not None:
            piece.blocking()
        for deletion in piece.deletions:
            log.files.remove(deletion.path)
    return compaction


def roll(log: Log) -> None:
    """Leave something in the active segment, because only sealed segments can be cleaned."""
    log.roll(NOW)
    put(log, ("active", "x"))


def batches(log: Log) -> list[memoryview]:
    return list(log.read_batches(log.log_start_offset))


def records(log: Log) -> list[tuple[int, str | None, str | None]]:
    """Offset, key and value of every record that is no marker."""
    return [
        (record.offset, record.key and record.key.decode(), None if record.value is None else record.value.decode())
        for batch in batches(log)
        if not read_batch_header(batch).is_control
        for record in read_records(batch)
    ]


def values(log: Log) -> dict[str, str]:
    """The table that a reader builds from the whole log."""
    table: dict[str, str] = {}
    for _, key, value in records(log):
        table.pop(key, None)
        if value is not None:
            table[key] = value
    return table


# ---- the official cleaner

OFFICIAL = json.loads((Path(__file__).parent / "official_compaction.json").read_text())


def _unpacked(packed: dict[str, str]) -> dict[str, bytes]:
    return {name: zlib.decompress(base64.b64decode(content)) for name, content in packed.items()}


@pytest.mark.parametrize("case", OFFICIAL, ids=lambda case: case["official"])
def test_a_cleaned_log_has_the_same_bytes_as_apache_kafkas(case, files):
    files.make_directory(PATH)
    for name, content in _unpacked(case["before"]).items():
        files.write_bytes(f"{PATH}/{name}", content, durable=True)
    settings = ("segment_bytes", "index_interval_bytes", "delete_retention_ms", "min_compaction_lag_ms")
    config = LogConfig(
        compact=True,
        delete=False,
        log_append_time=case["log_append_time"],
        **{name: case[name] for name in settings},
    )
    log = Log.open(files, PATH, config, now_ms=case["now_ms"], clean=True)
    cleanable = cleanable_part(log, case["cleaned_offset"], case["now_ms"])
    compaction = clean(log, case["cleaned_offset"], now_ms=case["now_ms"])
    assert case["official"].split() == [str(number) for number in (*cleanable[:4], compaction.cleaned_offset)]
    log.close()
    ours = {name: files.read_bytes(f"{PATH}/{name}") for name in files.sizes(PATH)}
    # Empty index files are made at different times.
    theirs = {name: content for name, content in _unpacked(case["after"]).items() if content or name.endswith(".log")}
    active = max(name for name in theirs if name.endswith(".log"))[:20]
    kept = {name: ours[name] for name in ours if name in theirs}
    assert kept.keys() == {name for name in theirs if theirs[name] or not name.startswith(active)}
    assert kept == {name: theirs[name] for name in kept}
    assert not [name for name in ours if name.endswith((".log", "index")) and ours[name] and name not in theirs]


# ---- which records stay


def test_of_each_key_the_latest_record_stays_at_its_offset(log):
    put(log, ("a", "1"), ("b", "1"), ("a", "2"))
    put(log, ("b", "2"), ("c", "1"))
    roll(log)
    compaction = clean(log)
    assert records(log) == [(2, "a", "2"), (3, "b", "2"), (4, "c", "1"), (5, "active", "x")]
    assert compaction.cleaned_offset == 5
    assert (compaction.records_read, compaction.records_kept) == (5, 3)


def test_the_active_segment_stays_as_it_is_but_supersedes_nothing(log):
    put(log, ("a", "1"), ("a", "2"))
    log.roll(NOW)
    put(log, ("a", "3"), ("a", "4"))
    clean(log)
    assert [value for _, _, value in records(log)] == ["2", "3", "4"]


def test_a_second_round_uses_what_came_since_against_the_whole_log(log):
    put(log, ("a", "1"), ("b", "1"))
    roll(log)
    cleaned = clean(log).cleaned_offset
    put(log, ("a", "2"))
    roll(log)
    compaction = clean(log, cleaned)
    assert compaction.cleanable.first_dirty_offset == cleaned
    assert records(log) == [(1, "b", "1"), (2, "active", "x"), (3, "a", "2"), (4, "active", "x")]


@pytest.mark.parametrize("codec", list(Codec))
def test_a_batch_keeps_codec_offsets_and_sequence_and_counts_what_is_left(log, codec):
    put(log, ("a", "1"), ("b", "1"), ("c", "1"), codec=codec, producer_id=5, producer_epoch=1, base_sequence=40)
    put(log, ("a", "2"), ("c", "2"))
    roll(log)
    clean(log)
    header = read_batch_header(batches(log)[0])
    assert (header.base_offset, header.last_offset, header.record_count) == (0, 2, 1)
    assert (header.codec, header.producer_id, header.base_sequence, header.last_sequence) == (codec, 5, 40, 42)
    assert records(log)[0] == (1, "b", "1")


def test_a_batch_with_all_its_records_keeps_its_bytes(log):
    put(log, ("a", "1"), codec=Codec.ZSTD)
    roll(log)
    before = bytes(batches(log)[0])
    clean(log)
    assert bytes(batches(log)[0]) == before


def test_a_record_without_a_key_goes(log):
    put(log, ("a", "1"), (None, "lost"))
    roll(log)
    compaction = clean(log)
    assert [key for _, key, _ in records(log)] == ["a", "active"]
    assert compaction.keyless_records == 1


def test_long_keys_are_distinguished(log):
    long_keys = [f"{'k' * 100}{number}" for number in range(3)]
    put(log, *((key, "1") for key in long_keys), (long_keys[0], "2"))
    roll(log)
    clean(log)
    assert values(log) == {long_keys[1]: "1", long_keys[2]: "1", long_keys[0]: "2", "active": "x"}


def test_the_end_of_a_round_keeps_its_last_offset_even_without_records(log):
    put(log, ("a", "1"))
    put(log, ("b", "1"))
    log.roll(NOW)
    put(log, ("a", "2"), ("b", "2"))
    roll(log)
    clean(log)
    log.roll(NOW)
    put(log, ("a", "3"), ("b", "3"))
    roll(log)
    clean(log, 4)
    ends = [(read_batch_header(batch).next_offset, read_batch_header(batch).record_count) for batch in batches(log)]
    assert (7, 2) in ends
    assert log.read(0, max_bytes=100, end_offset=log.end_offset, at_least_one=True) is not None


# ---- tombstones (KIP-534)


def test_a_tombstone_stays_until_its_retention_has_passed_since_a_round_met_it(log):
    put(log, ("a", "1"), ("b", "1"))
    put(log, ("a", None))
    roll(log)
    compaction = clean(log, now_ms=NOW + 50)
    assert records(log)[:2] == [(1, "b", "1"), (2, "a", None)]
    horizons = [read_batch_header(batch).delete_horizon_ms for batch in batches(log)]
    assert horizons == [None, NOW + 50 + RETENTION_MS, None]

    put(log, ("c", "1"))
    roll(log)
    compaction = clean(log, compaction.cleaned_offset, now_ms=NOW + 49 + RETENTION_MS)
    assert (2, "a", None) in records(log)
    assert [read_batch_header(batch).delete_horizon_ms for batch in batches(log)][1] == NOW + 50 + RETENTION_MS

    put(log, ("d", "1"))
    roll(log)
    clean(log, compaction.cleaned_offset, now_ms=NOW + 50 + RETENTION_MS)
    assert "a" not in [key for _, key, _ in records(log)]
    assert values(log) == {"b": "1", "c": "1", "d": "1", "active": "x"}


def test_the_horizon_leaves_every_timestamp_as_it_was(log):
    times = [NOW, NOW - 500, NOW + 7]
    sent = [Record(index, time, f"k{index}".encode(), None) for index, time in enumerate(times)]
    append(log, memoryview(build_batch(sent, codec=Codec.GZIP)))
    roll(log)
    clean(log, now_ms=NOW + 3)
    (batch, _) = batches(log)
    header = read_batch_header(batch)
    assert header.base_timestamp == header.delete_horizon_ms == NOW + 3 + RETENTION_MS
    assert list(read_records(batch)) == sent
    assert header.max_timestamp == NOW + 7


def test_with_log_append_time_the_brokers_time_stays(files):
    config = LogConfig(compact=True, delete=False, log_append_time=True, delete_retention_ms=RETENTION_MS)
    log = Log.open(files, PATH, config, now_ms=NOW)
    put(log, ("a", "1"), ("b", "1"), now_ms=NOW + 1)
    put(log, ("a", None), now_ms=NOW + 2)
    roll(log)
    clean(log, now_ms=NOW + 3)
    times = [record.timestamp_ms for batch in batches(log) for record in read_records(batch)]
    assert times == [NOW + 1, NOW + 2, NOW]
    assert all(read_batch_header(batch).is_log_append_time for batch in batches(log))


def test_a_tombstone_is_superseded_like_any_record(log):
    put(log, ("a", None))
    put(log, ("a", "2"))
    roll(log)
    clean(log)
    assert records(log)[0] == (1, "a", "2")


# ---- transactions


def _transaction(log: Log, pairs: list[tuple[str, str]], *, producer_id: int = 7, sequence: int = 0) -> None:
    put(log, *pairs, producer_id=producer_id, producer_epoch=0, base_sequence=sequence, transactional=True)


def _control_batches(log: Log) -> list[int]:
    headers = [read_batch_header(batch) for batch in batches(log)]
    return [header.base_offset for header in headers if header.is_control and header.record_count]


def test_records_of_an_aborted_transaction_go_and_supersede_nothing(log):
    put(log, ("a", "1"))
    _transaction(log, [("a", "aborted"), ("b", "aborted")])
    append_marker(log, marker(7, committed=False))
    roll(log)
    clean(log)
    assert [(key, value) for _, key, value in records(log)] == [("a", "1"), ("active", "x")]


def test_records_of_a_committed_transaction_stay(log):
    put(log, ("a", "1"))
    _transaction(log, [("a", "2"), ("b", "2")])
    append_marker(log, marker(7, committed=True))
    roll(log)
    clean(log)
    assert [(key, value) for _, key, value in records(log)] == [("a", "2"), ("b", "2"), ("active", "x")]
    assert _control_batches(log) == [3]


def test_nothing_beyond_an_open_transaction_is_cleaned(log):
    put(log, ("a", "1"), ("a", "2"))
    log.roll(NOW)
    _transaction(log, [("b", "open")])
    put(log, ("a", "3"), ("a", "4"))
    log.roll(NOW)
    put(log, ("a", "5"))
    roll(log)
    assert cleanable_part(log, None, NOW).end_offset == 2
    clean(log)
    assert [value for _, _, value in records(log)] == ["2", "open", "3", "4", "5", "x"]
    append_marker(log, marker(7, committed=False))
    roll(log)
    clean(log, 2)
    assert [(key, value) for _, key, value in records(log)] == [("a", "5"), ("active", "x"), ("active", "x")]


def test_an_aborted_transaction_stays_in_the_index_while_its_marker_must(log):
    _transaction(log, [("a", "aborted")])
    log.roll(NOW)
    put(log, ("b", "1"))
    append_marker(log, marker(7, committed=False))
    roll(log)
    before = log.aborted_transactions(0, log.end_offset)
    assert len(before) == 1
    clean(log)
    assert log.aborted_transactions(0, log.end_offset) == before
    assert _control_batches(log) == [2]


@pytest.mark.parametrize("committed", [True, False])
def test_a_marker_goes_when_its_records_are_gone_and_its_retention_has_passed(log, committed):
    _transaction(log, [("a", "1")])
    append_marker(log, marker(7, committed=committed))
    put(log, ("a", "2"))
    # Another batch of the producer, so that nothing else keeps the marker.
    put(log, ("z", "1"), producer_id=7, producer_epoch=1, base_sequence=0)
    roll(log)
    cleaned = None
    # The second round finds no record of the transaction, and keeps the marker for its retention time from then on.
    for step, expected in [(0, [1]), (10, [1]), (RETENTION_MS + 9, [1]), (RETENTION_MS + 10, [])]:
        compaction = clean(log, cleaned, now_ms=NOW + step)
        assert _control_batches(log) == expected
        cleaned = compaction.cleaned_offset
        put(log, (f"more{step}", "1"))
        roll(log)
    assert log.aborted_transactions(0, log.end_offset) == []


def test_a_transaction_that_ends_beyond_the_round_does_not_keep_an_older_marker(log):
    _transaction(log, [("a", "1")])
    append_marker(log, marker(7, committed=True))
    put(log, ("a", "2"))
    put(log, ("z", "1"), producer_id=7, producer_epoch=1, base_sequence=0)
    roll(log)
    cleaned = clean(log).cleaned_offset
    put(log, ("b", "1"), producer_id=7, producer_epoch=1, base_sequence=1, transactional=True)
    log.roll(NOW)
    append_marker(log, marker(7, committed=True, epoch=1))
    clean(log, cleaned)
    horizons = {header.base_offset: header.delete_horizon_ms for header in map(read_batch_header, batches(log))}
    assert horizons[1] == NOW + RETENTION_MS


def test_each_marker_is_judged_by_the_records_of_its_own_transaction(log):
    _transaction(log, [("a", "1")])
    append_marker(log, marker(7, committed=True))
    _transaction(log, [("b", "1")], sequence=1)
    append_marker(log, marker(7, committed=True))
    put(log, ("b", "2"))
    put(log, ("z", "1"), producer_id=7, producer_epoch=1, base_sequence=0)
    roll(log)
    cleaned = clean(log).cleaned_offset
    roll(log)
    clean(log, cleaned)
    horizons = {header.base_offset: header.delete_horizon_ms for header in map(read_batch_header, batches(log))}
    assert (horizons[1], horizons[3]) == (None, NOW + RETENTION_MS)


# ---- producers


def test_the_last_batch_of_a_producer_stays_without_its_records(files, log):
    put(log, ("a", "1"), ("b", "1"), producer_id=5, producer_epoch=2, base_sequence=10)
    put(log, ("a", "2"), ("b", "2"))
    roll(log)
    clean(log)
    header = read_batch_header(batches(log)[0])
    assert (header.record_count, header.size_bytes) == (0, HEADER_BYTES)
    assert (header.producer_id, header.producer_epoch, header.last_sequence) == (5, 2, 11)

    log.close()
    for name in files.sizes(PATH):
        if name.endswith(".snapshot"):
            files.remove(f"{PATH}/{name}")
    reopened = Log.open(files, PATH, CONFIG, now_ms=NOW)
    again = memoryview(
        build_batch(
            [Record(0, NOW, b"a", b"1"), Record(1, NOW, b"b", b"1")],
            producer_id=5,
            producer_epoch=2,
            base_sequence=10,
        )
    )
    assert reopened.append(again, headers_of(again), leader_epoch=0, now_ms=NOW).duplicate


def test_of_a_producer_of_whom_only_a_marker_is_known_its_epoch_stays(files, log):
    _transaction(log, [("a", "1")])
    append_marker(log, marker(7, committed=True, epoch=1))
    put(log, ("a", "2"))
    roll(log)
    cleaned = None
    for step in range(3):
        cleaned = clean(log, cleaned, now_ms=NOW + step * (RETENTION_MS + 1)).cleaned_offset
        put(log, (f"more{step}", "1"))
        roll(log)
    (left,) = [header for header in map(read_batch_header, batches(log)) if header.producer_id == 7]
    assert (left.is_control, left.record_count, left.producer_epoch) == (True, 0, 1)


def test_an_expired_producer_keeps_no_batch(log):
    put(log, ("a", "1"), producer_id=5, producer_epoch=2, base_sequence=10)
    put(log, ("a", "2"))
    roll(log)
    log.producers.expire(NOW + 100, 100)
    clean(log)
    assert [read_batch_header(batch).producer_id for batch in batches(log)] == [-1, -1]


# ---- what can be cleaned


def test_a_log_with_nothing_but_an_active_segment_has_nothing_to_clean(log):
    put(log, ("a", "1"))
    cleanable = cleanable_part(log, None, NOW)
    assert (cleanable.cleanable_bytes, cleanable.ratio) == (0, 0.0)
    assert not cleanable.is_due(0.0)


def test_the_ratio_is_the_dirty_share(log):
    put(log, ("a", "1" * 400))
    roll(log)
    put(log, ("b", "1" * 400))
    roll(log)
    cleanable = cleanable_part(log, 1, NOW)
    assert cleanable.first_dirty_offset == 1
    assert cleanable.ratio == cleanable.cleanable_bytes / (cleanable.cleanable_bytes + cleanable.clean_bytes)
    assert cleanable.is_due(0.3)
    assert not cleanable.is_due(0.9)


def test_young_records_are_not_cleaned(files):
    config = LogConfig(compact=True, min_compaction_lag_ms=1000)
    log = Log.open(files, PATH, config, now_ms=NOW)
    put(log, ("a", "1"), now_ms=NOW - 5000)
    log.roll(NOW)
    put(log, ("a", "2"), now_ms=NOW - 999)
    log.roll(NOW)
    put(log, ("a", "3"), now_ms=NOW - 5000)
    roll(log)
    assert cleanable_part(log, None, NOW).end_offset == 1
    assert cleanable_part(log, None, NOW + 1).end_offset == 3


def test_an_old_dirty_record_is_overdue_whatever_the_ratio(files):
    config = LogConfig(compact=True, max_compaction_lag_ms=1000)
    log = Log.open(files, PATH, config, now_ms=NOW)
    put(log, ("a", "1"))
    put(log, ("a", "2"), now_ms=NOW + 900)
    roll(log)
    assert not cleanable_part(log, None, NOW + 1000).is_overdue
    cleanable = cleanable_part(log, None, NOW + 1001)
    assert cleanable.is_overdue
    assert cleanable.is_due(1.0)


def test_a_record_without_a_time_is_never_overdue(files):
    config = LogConfig(compact=True, max_compaction_lag_ms=1000)
    log = Log.open(files, PATH, config, now_ms=NOW)
    put(log, ("a", "1"), now_ms=0)
    roll(log)
    assert not cleanable_part(log, None, NOW).is_overdue


def test_a_checkpoint_that_does_not_fit_the_log_is_void(log):
    put(log, ("a", "1"), ("a", "2"))
    roll(log)
    assert cleanable_part(log, 100, NOW).first_dirty_offset == 0
    log.delete_records_before(1)
    assert cleanable_part(log, 0, NOW).first_dirty_offset == 1


# ---- segments


def test_small_neighbours_become_one_segment_and_large_ones_do_not(files):
    log = Log.open(files, PATH, CONFIG, now_ms=NOW)
    for number in range(9):
        put(log, (f"k{number}", "v" * 100))
        log.roll(NOW)
    roll(log)
    clean(log)
    assert all(segment.size_bytes <= CONFIG.segment_bytes for segment in log.segments)
    assert [segment.base_offset for segment in log.segments] == [0, 5, 9]
    assert log.size_bytes == sum(segment.size_bytes for segment in log.segments)
    assert sorted(name for name in files.sizes(PATH) if name.endswith(".log")) == [
        f"{file_name(offset)}.log" for offset in (0, 5, 9)
    ]


def test_the_new_segments_are_indexed_and_synced(files, log):
    for number in range(30):
        put(log, (f"k{number}", "v" * 30), now_ms=NOW + number)
    roll(log)
    clean(log)
    for offset in range(30):
        assert log.read(offset, max_bytes=1, end_offset=31, at_least_one=True) is not None
        assert log.offset_for_timestamp(NOW + offset).offset == offset or offset == 0
    for segment in log.segments[:-1]:
        assert not segment.unsynced
        assert list(segment.offsets.entries())
    files.sync_directory(PATH)
    files.cut_power(lambda _: 0)
    reopened = Log.open(files, PATH, CONFIG, now_ms=NOW)
    assert [key for _, key, _ in records(reopened)] == [f"k{number}" for number in range(30)]


def test_snapshots_of_segments_that_went_go_too(files, log):
    for number in range(4):
        put(log, (f"k{number}", "v"))
        log.roll(NOW)
    roll(log)
    clean(log)
    snapshots = sorted(name for name in files.sizes(PATH) if name.endswith(".snapshot"))
    assert snapshots == [f"{file_name(4)}.snapshot"]


def test_a_segment_of_which_nothing_stays_is_an_empty_file(log):
    put(log, ("a", "1" * 900))
    log.roll(NOW)
    put(log, ("a", "2" * 900))
    roll(log)
    clean(log)
    assert [segment.size_bytes > 0 for segment in log.segments] == [False, True, True]
    assert log.log_start_offset == 0
    assert records(log)[0][0] == 1


def test_a_reader_goes_on_with_the_bytes_it_has(log):
    put(log, ("a", "1"), ("a", "2"))
    roll(log)
    piece = log.read(0, max_bytes=10_000, end_offset=log.end_offset)
    before = bytes(piece.pread())
    clean(log)
    assert piece.pread() == before


# ---- slices


def test_a_slice_looks_at_few_records_and_a_batch_may_take_several(files):
    log = Log.open(files, PATH, LogConfig(compact=True), now_ms=NOW)
    put(log, *((f"k{number}", "v") for number in range(10 * SLICE_RECORDS)))
    roll(log)
    compaction = Compaction(log, cleanable_part(log, None, NOW), now_ms=NOW, map_bytes_max=PLENTY)
    assert sum(1 for _ in compaction.slices()) >= 10 + 5
    assert compaction.records_kept == 10 * SLICE_RECORDS


def test_moved_bytes_are_what_was_read_and_written(log):
    for number in range(20):
        put(log, (f"k{number % 3}", "v" * 100))
    roll(log)
    compaction = Compaction(log, cleanable_part(log, None, NOW), now_ms=NOW, map_bytes_max=PLENTY)
    moved_bytes = sum(piece.moved_bytes for piece in compaction.slices())
    assert moved_bytes == compaction.bytes_read + compaction.bytes_written
    assert compaction.bytes_read == compaction.bytes_to_read
    assert 0 < compaction.bytes_written < compaction.bytes_read // 2


def test_appends_between_slices_are_not_lost(log):
    for number in range(50):
        put(log, (f"k{number % 3}", "v" * 100))
    roll(log)
    compaction = Compaction(log, cleanable_part(log, None, NOW), now_ms=NOW, map_bytes_max=PLENTY)
    for number, _ in enumerate(compaction.slices()):
        put(log, (f"late{number}", "v" * 300))
    assert compaction.cleaned_offset is not None
    assert {f"late{index}" for index in range(number + 1)} <= set(values(log))


def test_a_full_map_ends_the_round_early_and_the_next_one_goes_on(log):
    for number in range(40):
        put(log, (f"k{number % 10}", f"v{number}"))
    roll(log)
    expected = values(log)
    cleaned = None
    ends = []
    while cleaned is None or cleaned < 40:
        cleaned = clean(log, cleaned, map_bytes_max=700).cleaned_offset
        ends.append(cleaned)
        assert values(log) == expected
    assert len(ends) > 2
    assert ends == sorted(set(ends))
    assert len(records(log)) == 11


def test_an_abandoned_round_leaves_no_files(files, log):
    for number in range(30):
        put(log, (f"k{number % 3}", "v" * 100))
    roll(log)
    before = (records(log), files.sizes(PATH))
    slices = Compaction(log, cleanable_part(log, None, NOW), now_ms=NOW, map_bytes_max=PLENTY).slices()
    while not any(name.endswith(".cleaned") for name in files.sizes(PATH)):
        next(slices)
    slices.close()
    assert (records(log), files.sizes(PATH)) == before


def test_a_round_ends_unfinished_when_retention_took_a_segment_of_it(files, log):
    for number in range(30):
        put(log, (f"k{number % 3}", "v" * 100))
    roll(log)
    compaction = Compaction(log, cleanable_part(log, None, NOW), now_ms=NOW, map_bytes_max=PLENTY)
    slices = compaction.slices()
    while not any(name.endswith(".cleaned") for name in files.sizes(PATH)):
        next(slices)
    log.delete_records_before(log.segments[1].base_offset)
    log.apply_retention(NOW)
    assert list(slices) == []
    assert compaction.cleaned_offset is None
    assert not any(name.endswith((".cleaned", ".swap")) for name in files.sizes(PATH))
    assert records(log)[0][0] == log.log_start_offset


def test_a_batch_that_cannot_be_read_ends_the_round_with_its_error(files, log):
    put(log, ("a", "1"), codec=Codec.ZSTD)
    roll(log)
    content = files.content(f"{PATH}/{file_name(0)}.log")
    content[HEADER_BYTES : HEADER_BYTES + 4] = b"junk"
    with pytest.raises(KafkaError) as refusal:
        clean(log)
    assert refusal.value.code is Code.CORRUPT_MESSAGE
    assert not any(name.endswith(".cleaned") for name in files.sizes(PATH))


# ---- crashes and failures


def _filled(files: MemoryFiles) -> Log:
    log = Log.open(files, PATH, CONFIG, now_ms=NOW)
    for number in range(25):
        put(log, (f"k{number % 7}", f"v{number}"), (f"k{number % 3}", None if number % 4 == 0 else f"w{number}"))
        if number % 6 == 5:
            log.roll(NOW)
    _transaction(log, [("k1", "aborted")])
    append_marker(log, marker(7, committed=False))
    roll(log)
    log.flush()
    log.checkpoint()
    return log


class Crash(Exception):
    """The process ends here."""


@pytest.mark.parametrize("ending", ["kill", "power"])
def test_a_crash_at_any_step_leaves_a_log_with_the_same_records(ending):
    prepared = MemoryFiles()
    prepared.make_directory("data")
    expected = values(_filled(prepared))
    expected.pop("k1", None)
    for steps in itertools.count():
        files = prepared.fork()
        log = Log.open(files, PATH, CONFIG, now_ms=NOW, recovery_point=52, same_boot=True)
        countdown = itertools.count()

        def fault(_operation: str, _path: str, *, countdown=countdown, steps=steps) -> None:
            if next(countdown) == steps:
                raise Crash

        files.fault = fault
        crashed = False
        try:
            compaction = clean(log)
        except Crash:
            crashed = True
        files.fault = None
        if not crashed:
            assert compaction.cleaned_offset is not None
            break
        if ending == "kill":
            files.kill()
        else:
            files.cut_power(lambda most: most // 2)
        reopened = Log.open(files, PATH, CONFIG, now_ms=NOW, recovery_point=52, same_boot=ending == "kill")
        table = values(reopened)
        table.pop("k1", None)
        assert table == expected, f"after {steps} steps"
        assert not any(name.endswith((".cleaned", ".swap", ".deleted")) for name in files.sizes(PATH))
        # And it can be cleaned from there.
        assert clean(reopened).cleaned_offset is not None
        table = values(reopened)
        table.pop("k1", None)
        assert table == expected
    assert steps > 30


def test_a_full_disk_ends_the_round_and_loses_nothing(files):
    log = _filled(files)
    before = values(log)
    # Each time a little further, as segments that were done stay done.
    for free_bytes in (0, 50, 100, 150, 200):
        files.free_bytes = free_bytes
        with pytest.raises(StorageFailure):
            clean(log)
        assert values(log) == before
        assert not any(name.endswith((".cleaned", ".swap")) for name in files.sizes(PATH))
    files.free_bytes = None
    assert clean(log).cleaned_offset is not None
    del before["k1"]
    assert values(log).items() >= before.items()


def test_a_rename_that_fails_before_the_swap_changes_nothing(files):
    log = _filled(files)
    before = (records(log), set(files.sizes(PATH)))

    def fault(operation: str, path: str) -> OSError | None:
        return OSError(errno.EIO, os.strerror(errno.EIO)) if operation == "rename" and ".timeindex" in path else None

    files.fault = fault
    with pytest.raises(StorageFailure):
        clean(log)
    files.fault = None
    assert (records(log), set(files.sizes(PATH))) == before


LARGE = "v" * 2_000_000


def test_a_large_batch_is_read_opened_and_written_by_the_driver(files):
    log = Log.open(files, PATH, dataclasses.replace(CONFIG, segment_bytes=10_000_000), now_ms=NOW)
    put(log, ("a", "superseded"), ("b", LARGE))
    put(log, ("a", "kept"))
    roll(log)
    is_driven = False
    driven = []

    def note(operation: str, path: str) -> None:
        if is_driven:
            driven.append((operation, path.rpartition(".")[2]))

    files.fault = note
    compaction = Compaction(log, cleanable_part(log, None, NOW), now_ms=NOW, map_bytes_max=PLENTY)
    for piece in compaction.slices():
        if piece.blocking is not None:
            is_driven = True
            piece.blocking()
            is_driven = False
    files.fault = None

    assert driven.count(("read", "log")) == 2, "once in each pass"
    assert ("append", "cleaned") in driven
    assert values(log) == {"a": "kept", "b": LARGE, "active": "x"}


def test_a_damaged_large_batch_ends_the_round(files):
    log = Log.open(files, PATH, dataclasses.replace(CONFIG, segment_bytes=10_000_000), now_ms=NOW)
    put(log, ("a", LARGE))
    roll(log)
    files.content(f"{PATH}/{file_name(0)}.log")[1_000_000] ^= 1
    with pytest.raises(KafkaError) as refused:
        clean(log)
    assert refused.value.code is Code.CORRUPT_MESSAGE


def test_the_directory_is_not_listed_for_each_segment(files):
    log = Log.open(files, PATH, CONFIG, now_ms=NOW)
    for number in range(50):
        put(log, ("k", str(number)))
        log.roll(NOW)
    roll(log)
    lists = []
    files.fault = lambda operation, _: lists.append(operation) if operation == "list" else None
    clean(log)
    assert len(lists) <= 2


def test_hashing_long_keys_ends_slices(files):
    log = Log.open(files, PATH, dataclasses.replace(CONFIG, segment_bytes=10_000_000), now_ms=NOW)
    for number in range(6):
        put(log, (str(number) * 1_000_000, "v"))
    roll(log)
    compaction = Compaction(log, cleanable_part(log, None, NOW), now_ms=NOW, map_bytes_max=PLENTY)
    pieces = []
    for piece in compaction.slices():
        pieces.append(piece)
        if piece.blocking is not None:
            piece.blocking()
    assert len(pieces) >= 2 * 6
    assert compaction.records_kept == 6
