"""Share partitions: single steps that the state machine test found."""

from kwire.coordinators.share.acquiring import FetchedBatch
from kwire.coordinators.share.in_flight import Limits
from kwire.coordinators.share.share_partition import SharePartition
from kwire.coordinators.share.state import DeliveryState, StateBatch

LIMITS = Limits(5, 100)
ACKNOWLEDGED = int(DeliveryState.ACKNOWLEDGED)


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
