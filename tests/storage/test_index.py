import pytest
from hypothesis import given
from hypothesis import strategies as st

from kwire.storage.segments.index import UNWRITTEN_MAX, AbortedTransaction, OffsetIndex, TimeIndex, TransactionIndex
from kwire.testing.memory.files import MemoryFiles

BASE = 1000


@pytest.fixture
def files():
    files = MemoryFiles()
    files.make_directory("data")
    return files


def offset_index(files, base=BASE):
    return OffsetIndex(files.open("data/a.index"), base)


def test_entries_have_kafkas_bytes(files):
    offsets = offset_index(files)
    offsets.append(1007, 4200)
    offsets.write_out()
    assert files.read_bytes("data/a.index").hex() == "0000000700001068"
    times = TimeIndex(files.open("data/a.timeindex"), BASE)
    times.append_if_later(1_700_000_000_000, 1003)
    times.write_out()
    assert files.read_bytes("data/a.timeindex").hex() == "0000018bcfe5680000000003"
    aborted = TransactionIndex(files, "data/a.txnindex", exists=False)
    aborted.append(AbortedTransaction(9, 78, 83, 84))
    assert files.read_bytes("data/a.txnindex").hex() == (
        "00000000000000000009000000000000004e00000000000000530000000000000054"
    )


@given(
    steps=st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), max_size=1500),
    written=st.integers(0, 1500),
    reopened=st.booleans(),
)
def test_an_offset_is_found_at_the_last_entry_that_is_not_behind_it(steps, written, reopened):
    files = MemoryFiles()
    files.make_directory("data")
    index = offset_index(files)
    entries = []
    offset, position = BASE, 0
    for count, (offset_step, position_step) in enumerate(steps):
        offset, position = offset + offset_step, position + position_step
        index.append(offset, position)
        entries.append((offset, position))
        if count == written:
            index.write_out()
    if reopened:
        index.write_out()
        index = offset_index(files)
    assert len(index) == len(entries)
    for wanted in {BASE, offset, offset + 1, (BASE + offset) // 2, *(entry[0] - 1 for entry in entries[::97])}:
        expected = [entry for entry in entries if entry[0] <= wanted]
        assert index.before(wanted) == (expected[-1] if expected else None)
    entry_positions = [at for _, at in (*entries[::97], *entries[-1:])]
    for wanted in {0, position // 2, *entry_positions, *(at + 1 for at in entry_positions)}:
        # Kafka's search skips an entry that is the first and is exactly at the offset.
        expected = [entry for n, entry in enumerate(entries) if entry[1] >= wanted + (n == 0)]
        assert index.offset_behind(wanted) == (expected[0][0] if expected else None)


@pytest.mark.parametrize("count", [0, 1, UNWRITTEN_MAX, UNWRITTEN_MAX + 10])
def test_truncation_reaches_entries_in_the_file_and_in_memory(files, count):
    index = offset_index(files)
    for step in range(1, UNWRITTEN_MAX + 21):
        index.append(BASE + step, 10 * step)
        if step == UNWRITTEN_MAX:
            index.write_out()
    index.truncate_to_position(10 * count + 1)
    assert len(index) == count
    assert index.last == ((count, 10 * count) if count else None)
    index.append(BASE + 500, 5000)
    index.write_out()
    again = offset_index(files)
    assert list(again.entries()) == [(step, 10 * step) for step in range(1, count + 1)] + [(500, 5000)]


@pytest.mark.parametrize("padding", [8, 80, 8000])
@pytest.mark.parametrize("count", [0, 1, 5])
def test_zeros_at_the_end_are_no_entries(files, padding, count):
    index = offset_index(files)
    for step in range(1, count + 1):
        index.append(BASE + step, 10 * step)
    index.write_out()
    files.content("data/a.index").extend(bytes(padding))
    again = offset_index(files)
    assert len(again) == count
    again.append(BASE + 9, 90)
    again.write_out()
    assert files.sizes("data") == {"a.index": 8 * (count + 1)}


def test_half_an_entry_is_cut_off(files):
    files.write_bytes("data/a.index", bytes.fromhex("00000007000010680000"), durable=True)
    assert list(offset_index(files).entries()) == [(7, 4200)]
    assert files.sizes("data") == {"a.index": 8}


def test_times_only_rise(files):
    times = TimeIndex(files.open("data/a.timeindex"), BASE)
    for timestamp_ms, offset in [(50, 1001), (50, 1002), (40, 1003), (60, 1004)]:
        times.append_if_later(timestamp_ms, offset)
    assert list(times.entries()) == [(50, 1), (60, 4)]
    assert [times.before(timestamp_ms) for timestamp_ms in (49, 50, 59, 60)] == [
        None,
        (50, 1001),
        (50, 1001),
        (60, 1004),
    ]
    times.truncate_to_offset(1004)
    assert list(times.entries()) == [(50, 1)]


def test_aborted_transactions_are_kept_once(files):
    index = TransactionIndex(files, "data/a.txnindex", exists=False)
    one, two = AbortedTransaction(1, 5, 9, 10), AbortedTransaction(2, 6, 12, 13)
    for aborted in (one, two, one, two):
        index.append(aborted)
    assert TransactionIndex(files, "data/a.txnindex", exists=True).entries() == [one, two]
    index.truncate_to(12)
    assert TransactionIndex(files, "data/a.txnindex", exists=True).entries() == [one]


def test_aborted_transactions_wait_for_a_disk_that_is_full(files):
    index = TransactionIndex(files, "data/a.txnindex", exists=False)
    files.free_bytes = 0
    index.append(AbortedTransaction(1, 5, 9, 10))
    assert index.entries() == [AbortedTransaction(1, 5, 9, 10)]
    files.free_bytes = None
    index.write_out()
    assert TransactionIndex(files, "data/a.txnindex", exists=True).entries() == [AbortedTransaction(1, 5, 9, 10)]
