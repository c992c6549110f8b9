"""Share partitions: single steps that random commands found, or seldom take."""

from kwire.coordinators.share.acquiring import FetchedBatch, aborted_batches
from kwire.coordinators.share.in_flight import Limits
from kwire.coordinators.share.share_partition import SharePartition
from kwire.coordinators.share.state import DeliveryState, StateBatch

LIMITS = Limits(5, 100)
ACKNOWLEDGED = int(DeliveryState.ACKNOWLEDGED)
AVAILABLE = int(DeliveryState.AVAILABLE)


def test_the_log_start_moves_into_a_gap_of_the_stored_state():
    partition = SharePartition(0, 0, [StateBatch(1, 1, ACKNOWLEDGED, 1)], LIMITS)
    assert partition.next_fetch_offset == 0
    partition.log_start_moved(1)
    assert partition.next_fetch_offset == 2


def test_the_log_start_moves_to_before_what_is_stored():
    partition = SharePartition(0, 0, [StateBatch(3, 3, ACKNOWLEDGED, 1)], LIMITS)
    partition.log_start_moved(2)
    assert partition.next_fetch_offset == 2
    acquired = partition.acquire(
        "m", [FetchedBatch(2, 4)], fetch_offset=2, max_records=10, batch_size=10, strict=False, deadline_ms=1
    )
    assert [(each.first_offset, each.last_offset) for each in acquired] == [(2, 2), (4, 4)]


def delivered(first_offset, last_offset, count):
    """Available records of one run with so many deliveries; at most 5 are allowed."""
    return SharePartition(first_offset, 0, [StateBatch(first_offset, last_offset, AVAILABLE, count)], LIMITS)


def acquire(partition, first_offset, last_offset):
    acquired = partition.acquire(
        "m",
        [FetchedBatch(first_offset, last_offset)],
        fetch_offset=first_offset,
        max_records=100,
        batch_size=100,
        strict=False,
        deadline_ms=1,
    )
    return [tuple(each) for each in acquired]


def test_the_last_delivery_of_a_record_is_a_delivery_of_it_alone():
    assert acquire(delivered(0, 31, 4), 0, 31) == [(0, 0, 5)]


def test_an_acquisition_ends_before_a_record_whose_last_delivery_it_would_be():
    partition = delivered(0, 15, 3)
    assert acquire(partition, 4, 15) == [(4, 11, 4)]
    assert partition.complete(partition.release("m")) is False
    assert acquire(partition, 0, 15) == [(0, 3, 4)]


def test_a_batch_before_the_first_offset_of_an_aborted_transaction_is_not_aborted():
    committed = FetchedBatch(0, 4, producer_id=7, is_transactional=True)
    commit = FetchedBatch(5, 5, producer_id=7, is_transactional=True)
    aborted = FetchedBatch(6, 9, producer_id=7, is_transactional=True)
    other = FetchedBatch(10, 11, producer_id=8, is_transactional=True)
    assert list(aborted_batches([committed, commit, aborted, other], [(7, 6)])) == [aborted]
