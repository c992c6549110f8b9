import pytest
from log_batches import NOW, append, append_marker, batch, headers_of, marker

from kwire.errors import Code, KafkaError
from kwire.storage.config import LogConfig
from kwire.storage.log import Log
from kwire.storage.producer_state import Producer, ProducerBatch, ProducerStates
from kwire.storage.segments.index import AbortedTransaction
from kwire.storage.segments.segment import AppendedBatch
from kwire.storage.snapshots import read_snapshot, write_snapshot
from kwire.testing.memory.files import MemoryFiles

PATH = "data/topic-0"
LAST = 2**31 - 1


@pytest.fixture
def files():
    files = MemoryFiles()
    files.make_directory("data")
    return files


@pytest.fixture
def log(files):
    return Log.open(files, PATH, LogConfig(), now_ms=NOW, clean=True)


def refusal(call, *arguments, **keywords):
    with pytest.raises(KafkaError) as refused:
        call(*arguments, **keywords)
    return refused.value.code


def test_sequences_must_follow_each_other(log):
    append(log, batch(3, producer_id=1))
    assert refusal(append, log, batch(producer_id=1, sequence=2)) is Code.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert refusal(append, log, batch(producer_id=1, sequence=4)) is Code.OUT_OF_ORDER_SEQUENCE_NUMBER
    append(log, batch(producer_id=1, sequence=3))
    assert log.end_offset == 4


def test_a_retry_of_the_last_five_batches_gets_the_old_offset(log):
    for sequence in range(0, 14, 2):
        append(log, batch(2, producer_id=1, sequence=sequence))
    for sequence in range(4, 14, 2):
        again = append(log, batch(2, producer_id=1, sequence=sequence))
        assert again.duplicate
        assert (again.base_offset, again.last_offset) == (sequence, sequence + 1)
    assert refusal(append, log, batch(2, producer_id=1, sequence=2)) is Code.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert log.end_offset == 14


def test_a_retry_is_the_same_range_of_sequences(log):
    append(log, batch(2, producer_id=1))
    assert refusal(append, log, batch(1, producer_id=1)) is Code.OUT_OF_ORDER_SEQUENCE_NUMBER


def test_an_unknown_producer_may_begin_anywhere(log):
    append(log, batch(producer_id=1, sequence=77))
    append(log, batch(producer_id=1, sequence=78))


def test_a_producer_without_an_epoch_may_begin_anywhere(log):
    append(log, batch(producer_id=1, epoch=-1, sequence=77))
    append(log, batch(producer_id=1, epoch=-1, sequence=5))


def test_a_new_epoch_begins_at_zero_and_fences_the_old_one(log):
    append(log, batch(producer_id=1, epoch=3))
    assert refusal(append, log, batch(producer_id=1, epoch=4, sequence=1)) is Code.OUT_OF_ORDER_SEQUENCE_NUMBER
    append(log, batch(producer_id=1, epoch=4))
    assert refusal(append, log, batch(producer_id=1, epoch=3, sequence=1)) is Code.INVALID_PRODUCER_EPOCH
    append(log, batch(producer_id=1, epoch=4, sequence=1))


def test_sequences_wrap_to_zero(log):
    append(log, batch(2, producer_id=1, sequence=LAST - 1))
    append(log, batch(2, producer_id=1, sequence=0))
    assert append(log, batch(2, producer_id=1, sequence=LAST - 1)).duplicate
    append(log, batch(3, producer_id=2, sequence=LAST - 1))
    assert append(log, batch(3, producer_id=2, sequence=LAST - 1)).duplicate
    append(log, batch(producer_id=2, sequence=1))


def test_batches_of_one_append_are_checked_in_turn(log):
    good = memoryview(bytes(batch(2, producer_id=1)) + bytes(batch(producer_id=1, sequence=2)))
    append(log, good)
    bad = memoryview(bytes(batch(producer_id=1, sequence=3)) + bytes(batch(producer_id=1, sequence=5)))
    assert refusal(append, log, bad) is Code.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert log.end_offset == 3
    append(log, memoryview(bytes(batch(producer_id=1, sequence=3)) + bytes(batch(producer_id=1, sequence=4))))
    # Each of them is remembered.
    assert append(log, batch(2, producer_id=1)).duplicate
    assert append(log, batch(producer_id=1, sequence=3)).duplicate


def test_coordinators_write_without_sequences(log):
    append(log, batch(producer_id=1, sequence=-1, transactional=True), check_sequence=False)
    append(log, batch(producer_id=1, sequence=-1, transactional=True), check_sequence=False)
    assert log.end_offset == 2


def test_records_outside_of_an_open_transaction_are_refused(log):
    append(log, batch(producer_id=1, transactional=True))
    assert refusal(append, log, batch(producer_id=1, sequence=1)) is Code.INVALID_TXN_STATE
    append(log, batch(producer_id=1, sequence=1, transactional=True))
    append_marker(log, marker(1, committed=True))
    append(log, batch(producer_id=1, sequence=2))


def test_an_old_coordinator_is_fenced(log):
    append_marker(log, marker(1, committed=True, coordinator_epoch=5))
    late = marker(1, committed=True, coordinator_epoch=4)
    assert refusal(append_marker, log, late) is Code.TRANSACTION_COORDINATOR_FENCED
    append_marker(log, marker(1, committed=True, coordinator_epoch=5))


def test_a_marker_of_an_old_epoch_is_refused(log):
    append(log, batch(producer_id=1, epoch=3, transactional=True))
    assert refusal(append_marker, log, marker(1, committed=False, epoch=2)) is Code.INVALID_PRODUCER_EPOCH
    append_marker(log, marker(1, committed=False, epoch=3))


def test_a_marker_with_a_new_epoch_fences_the_producer(log):
    append(log, batch(producer_id=1, epoch=3, transactional=True))
    append_marker(log, marker(1, committed=False, epoch=4))
    assert refusal(append, log, batch(producer_id=1, epoch=3, sequence=1, transactional=True)) is (
        Code.INVALID_PRODUCER_EPOCH
    )
    append(log, batch(producer_id=1, epoch=4, transactional=True))


def test_in_transaction_version_2_a_marker_ends_its_epoch(log):
    append(log, batch(producer_id=1, epoch=3, transactional=True))
    late = marker(1, committed=False, epoch=3)
    assert refusal(append_marker, log, late, transaction_version=2) is Code.INVALID_PRODUCER_EPOCH
    append_marker(log, marker(1, committed=True, epoch=4), transaction_version=2)
    # The same marker again: its transaction is over, so it has no effect.
    append_marker(log, marker(1, committed=True, epoch=4), transaction_version=2)
    assert refusal(append_marker, log, late, transaction_version=2) is Code.INVALID_PRODUCER_EPOCH


def test_in_transaction_version_2_the_last_epoch_may_end_a_transaction(log):
    append(log, batch(producer_id=1, epoch=2**15 - 1, transactional=True))
    append_marker(log, marker(1, committed=False, epoch=2**15 - 1), transaction_version=2)
    assert log.last_stable_offset == 2


def test_of_batches_that_wait_to_be_verified_the_lowest_sequence_comes_first(log):
    """KIP-890: the one before may have been refused, and then those behind it must not pass."""
    for epoch, sequence in [(0, 9), (1, 5), (1, 3), (1, 4), (0, 1)]:
        assert log.producers.must_verify(1, epoch, sequence, begins_at_zero=False, now_ms=NOW)
    late = batch(producer_id=1, epoch=1, sequence=4, transactional=True)
    assert refusal(append, log, late) is Code.OUT_OF_ORDER_SEQUENCE_NUMBER
    append(log, batch(producer_id=1, epoch=1, sequence=3, transactional=True))
    append(log, late)
    assert not log.producers.must_verify(1, 1, 5, begins_at_zero=False, now_ms=NOW)


def test_a_batch_outside_a_transaction_does_not_end_the_wait_for_verification(log):
    log.producers.must_verify(1, 0, 0, begins_at_zero=False, now_ms=NOW)
    append(log, batch(producer_id=1))
    assert refusal(append, log, batch(producer_id=1, sequence=1)) is Code.OUT_OF_ORDER_SEQUENCE_NUMBER


def test_producers_expire_by_the_clock_of_the_broker(log):
    years_ago = NOW - 5 * 365 * 24 * 3600 * 1000
    append(log, batch(producer_id=1, timestamp_ms=years_ago), now_ms=NOW)
    append(log, batch(producer_id=2), now_ms=NOW - 1000)
    append(log, batch(producer_id=3, transactional=True), now_ms=NOW - 1000)
    assert log.producers.expire(NOW, 1000) == [2]
    assert set(log.producers.producers) == {1, 3}
    assert log.producers.expire(NOW + 1000, 1000) == [1]


def test_a_restart_does_not_make_a_producer_older(log, files):
    years_ago = NOW - 5 * 365 * 24 * 3600 * 1000
    append(log, batch(producer_id=1, timestamp_ms=years_ago), now_ms=NOW)
    log.close()
    reopened = Log.open(files, PATH, LogConfig(), now_ms=NOW + 10, clean=True)
    assert reopened.producers.expire(NOW + 999, 1000) == []
    assert append(reopened, batch(producer_id=1, timestamp_ms=years_ago)).duplicate
    assert reopened.producers.expire(NOW + 1000, 1000) == [1]


def test_a_replay_of_the_log_restarts_the_expiration_of_a_producer(log, files):
    append(log, batch(producer_id=1, timestamp_ms=NOW - 10**12), now_ms=NOW)
    files.kill()
    reopened = Log.open(files, PATH, LogConfig(), now_ms=NOW + 10, same_boot=True)
    assert reopened.producers.producers[1].last_seen_ms == NOW + 10


def test_the_state_of_producers_survives_deleted_records(log, files):
    append(log, batch(producer_id=1))
    append(log, batch(producer_id=2, transactional=True))
    append_marker(log, marker(2, committed=True))
    log.delete_records_before(3)
    log.close()
    reopened = Log.open(files, PATH, LogConfig(), now_ms=NOW, clean=True, log_start_offset=3)
    assert append(reopened, batch(producer_id=1)).duplicate
    append(reopened, batch(producer_id=2, sequence=1, transactional=True))


# --- snapshots


PRODUCERS = [
    Producer(1, 0, -1, NOW, NOW, -1, (ProducerBatch(41, 99, 4, NOW),)),
    Producer(2**40, 7, 3, NOW, NOW, 55, (ProducerBatch(0, 60, 0, NOW),)),
    Producer(3, 2, 9, NOW, NOW, -1, ()),
]


def test_a_snapshot_has_the_last_batch_of_a_producer_only():
    assert read_snapshot(write_snapshot(PRODUCERS)) == PRODUCERS
    assert read_snapshot(write_snapshot([])) == []


def test_a_snapshot_has_kafkas_bytes():
    # As Apache Kafka 4.3.1 wrote it for one producer with one batch.
    content = bytes.fromhex(
        "00019d5fc95b00000001"
        "00000000000000050002000000090000000000000013000000040000018bcfe56800ffffffffffffffffffffffff"
    )
    producer = Producer(5, 2, -1, NOW, NOW, -1, (ProducerBatch(9, 19, 4, NOW),))
    assert write_snapshot([producer])[6:] == content[6:]


@pytest.mark.parametrize("damage", [lambda c: c[:-1], lambda c: c + b"x", lambda c: b"\0\2" + c[2:], lambda c: b""])
def test_a_damaged_snapshot_is_none(damage):
    assert read_snapshot(damage(write_snapshot(PRODUCERS))) is None


def test_a_flipped_bit_in_a_snapshot_is_seen():
    content = write_snapshot(PRODUCERS)
    for position in range(len(content)):
        flipped = bytearray(content)
        flipped[position] ^= 4
        assert read_snapshot(bytes(flipped)) is None


def test_an_older_snapshot_serves_when_the_latest_is_damaged(files):
    log = Log.open(files, PATH, LogConfig(), now_ms=NOW, clean=True)
    append(log, batch(producer_id=1))
    log.roll(NOW)
    append(log, batch(producer_id=1, sequence=1))
    log.close()
    assert log.snapshots.offsets == [1, 2]
    files.content(f"{PATH}/00000000000000000002.snapshot")[8] ^= 1
    reopened = Log.open(files, PATH, LogConfig(), now_ms=NOW, clean=True)
    assert reopened.snapshots.offsets == [1]
    assert append(reopened, batch(producer_id=1, sequence=1)).duplicate


def test_open_transactions_come_back_in_order():
    states = ProducerStates()
    states.load([Producer(1, transaction_first_offset=50), Producer(2, transaction_first_offset=20), Producer(3)])
    assert states.first_unstable_offset == 20
    assert list(states.open) == [20, 50]


# --- open, aborted and expired


def test_a_transaction_that_begins_at_offset_zero_is_open(log):
    append(log, batch(producer_id=1, transactional=True))
    assert log.producers.open == {0: 1}
    assert not log.producers.must_verify(1, 0, 1, begins_at_zero=True, now_ms=NOW)
    assert refusal(append, log, batch(producer_id=1, sequence=1)) is Code.INVALID_TXN_STATE
    assert log.producers.expire(NOW + 1000, 1000) == []
    append(log, batch(producer_id=1, sequence=1, transactional=True))
    assert log.producers.open == {0: 1}
    append_marker(log, marker(1, committed=False))
    assert log.aborted_transactions(0, 3) == [AbortedTransaction(1, 0, 2, 3)]
    assert log.producers.open == {}


def test_the_stable_offset_of_an_abort_is_where_another_transaction_begins(log):
    append(log, batch(producer_id=1, transactional=True))
    append(log, batch(producer_id=2, transactional=True))
    append(log, batch(producer_id=3, transactional=True))
    append_marker(log, marker(1, committed=False))
    assert log.aborted_transactions(0, 4) == [AbortedTransaction(1, 0, 3, 1)]


def test_a_completed_transaction_is_unstable_until_its_marker_is_below_the_high_watermark(log):
    append(log, batch(producer_id=1, transactional=True))
    append(log, batch(producer_id=2, transactional=True))
    append(log, marker(2, committed=True), high_watermark=False, check_sequence=False)
    append(log, marker(1, committed=True), high_watermark=False, check_sequence=False)
    states = log.producers
    assert states.first_unstable_offset == 0
    append(log, batch(producer_id=3, transactional=True), high_watermark=False)
    assert (states.undecided, states.open) == ({1: 2, 0: 3}, {4: 3})
    assert states.first_unstable_offset == 0
    log.advance_high_watermark(3)
    assert states.undecided == {0: 3}
    log.advance_high_watermark(4)
    assert states.undecided == {}
    assert states.first_unstable_offset == 4


def test_loading_a_snapshot_forgets_what_was_known_before():
    states = ProducerStates()
    states.load([Producer(1, transaction_first_offset=0)])
    states.undecided[7] = 9
    states.must_verify(2, 0, 0, begins_at_zero=False, now_ms=NOW)
    states.load([Producer(3)])
    assert (set(states.producers), states.open, states.undecided, states.unverified) == ({3}, {}, {}, {})


def test_a_producer_that_waits_for_verification_expires(log):
    log.producers.must_verify(1, 0, 5, begins_at_zero=False, now_ms=NOW)
    log.producers.must_verify(2, 0, 5, begins_at_zero=False, now_ms=NOW + 1)
    assert log.producers.expire(NOW + 1000, 1000) == []
    assert set(log.producers.unverified) == {2}


def test_in_transaction_version_2_a_producer_begins_at_zero(log):
    """KIP-890: its batch 0 may still be on the way."""
    log.producers.must_verify(1, 0, 1, begins_at_zero=True, now_ms=NOW)
    late = batch(producer_id=1, sequence=1, transactional=True)
    assert refusal(append, log, late) is Code.OUT_OF_ORDER_SEQUENCE_NUMBER
    log.producers.must_verify(1, 0, 0, begins_at_zero=True, now_ms=NOW)
    append(log, batch(producer_id=1, transactional=True))
    append(log, late)


def test_a_producer_with_earlier_batches_goes_on_in_transaction_version_2(log):
    append(log, batch(producer_id=1, transactional=True))
    append_marker(log, marker(1, committed=True))
    log.producers.must_verify(1, 0, 1, begins_at_zero=True, now_ms=NOW)
    append(log, batch(producer_id=1, sequence=1, transactional=True))


def test_an_old_epoch_is_refused_before_the_coordinator_is_asked(log):
    append(log, batch(producer_id=1, epoch=3))
    assert refusal(log.producers.must_verify, 1, 2, 0, begins_at_zero=False, now_ms=NOW) is Code.INVALID_PRODUCER_EPOCH
    assert log.producers.must_verify(1, 3, 1, begins_at_zero=False, now_ms=NOW)
    assert log.producers.must_verify(1, 4, 0, begins_at_zero=False, now_ms=NOW)


def test_a_follower_takes_what_its_leader_accepted(log):
    """The leader decided with what it knew, and the follower may know less or more."""
    states = log.producers
    append(log, batch(producer_id=1, epoch=3, transactional=True))
    append_marker(log, marker(2, committed=True, epoch=3, coordinator_epoch=5))
    from_leader = [
        batch(producer_id=1, epoch=2, sequence=9),
        batch(producer_id=1, epoch=3, sequence=9),
        marker(2, committed=True, epoch=2, coordinator_epoch=4),
    ]
    for view in from_leader:
        [header] = headers_of(view)
        row = AppendedBatch(5, 5, NOW, header.size_bytes)
        [change] = states.check_all(view, [header], [row], now_ms=NOW, check_sequence=True, fenced=False)
        assert change.producer.epoch == header.producer_epoch
        with pytest.raises(KafkaError):
            states.check_all(view, [header], [row], now_ms=NOW, check_sequence=True)


@pytest.mark.parametrize("committed", [True, False])
def test_a_marker_without_a_transaction_completes_none(log, committed):
    append(log, batch(producer_id=1))
    append_marker(log, marker(1, committed=committed))
    assert log.aborted_transactions(0, 2) == []
    assert log.producers.undecided == {}


def test_after_its_marker_a_producer_has_no_transaction_in_the_snapshot(log):
    append(log, batch(producer_id=1, transactional=True))
    append_marker(log, marker(1, committed=True))
    assert write_snapshot(log.producers.producers.values()).endswith((-1).to_bytes(8, "big", signed=True))
