"""The leader's view of its replicas: in-sync replicas, high watermark, acks=all."""

import pytest

from kwire.errors import Code, KafkaError
from kwire.replication.leader import RECOVERED, RECOVERING, Leader, Leadership

ALIVE = {0: 10, 1: 11, 2: 12}
LAG_MS = 100


def leader(isr=(0, 1, 2), *, end_offset=0, min_insync_replicas=2, replicas=(0, 1, 2), now_ms=0):
    return Leader(
        0,
        Leadership(replicas, isr, leader_epoch=5, partition_epoch=7),
        end_offset=end_offset,
        min_insync_replicas=min_insync_replicas,
        lag_time_max_ms=LAG_MS,
        now_ms=now_ms,
    )


def fetch(state, replica_id, offset, *, end=None, now_ms=0, epoch=None, alive=ALIVE):
    return state.note_fetch(
        replica_id,
        offset=offset,
        log_start_offset=0,
        broker_epoch=ALIVE.get(replica_id, -1) if epoch is None else epoch,
        leader_end_offset=offset if end is None else end,
        alive=alive,
        now_ms=now_ms,
    )


def committed(state, end_offset, *, alive=ALIVE, now_ms=0):
    return state.high_watermark(end_offset=end_offset, alive=alive, now_ms=now_ms)


def code(call, *args, **keywords):
    with pytest.raises(KafkaError) as refused:
        call(*args, **keywords)
    return refused.value.code


# --- high watermark


def test_the_high_watermark_is_the_smallest_end_of_the_in_sync_replicas():
    state = leader()
    fetch(state, 1, 4, end=6)
    assert committed(state, 6) == -1  # replica 2 has not fetched from this leader
    fetch(state, 2, 5, end=6)
    assert committed(state, 6) == 4


def test_a_replica_outside_of_the_isr_does_not_hold_the_high_watermark_back():
    state = leader(isr=(0, 1))
    fetch(state, 1, 6)
    fetch(state, 2, 1, end=6)
    assert committed(state, 6) == 6


def test_a_caught_up_replica_that_may_join_holds_the_high_watermark_back():
    state = leader(isr=(0, 1))
    fetch(state, 1, 6)
    fetch(state, 2, 5, end=5, now_ms=10)
    assert committed(state, 6, now_ms=20) == 5
    assert committed(state, 6, now_ms=11 + LAG_MS) == 6
    assert committed(state, 6, now_ms=20, alive={0: 10, 1: 11}) == 6  # fenced: it may not join


def test_nothing_is_committed_below_min_insync_replicas():
    state = leader(isr=(0,), min_insync_replicas=2)
    assert committed(state, 3) == -1
    state.min_insync_replicas = 1
    assert committed(state, 3) == 3


def test_min_insync_replicas_counts_at_most_the_replicas():
    assert leader(isr=(0,), replicas=(0,), min_insync_replicas=2).effective_min_isr == 1


# --- growth and shrink


def test_a_follower_joins_once_it_has_reached_the_high_watermark_and_the_epoch():
    state = leader(isr=(0, 1), end_offset=5)
    fetch(state, 2, 4, end=6)
    assert state.propose_growth(high_watermark=3, alive=ALIVE) is None  # before the epoch's start
    fetch(state, 2, 5, end=6)
    assert state.propose_growth(high_watermark=6, alive=ALIVE) is None
    proposal = state.propose_growth(high_watermark=5, alive=ALIVE)
    assert proposal.isr == ((0, 10), (1, -1), (2, 12))
    assert (proposal.leader_epoch, proposal.partition_epoch) == (5, 7)


@pytest.mark.parametrize(
    ("epoch", "alive"), [(12, {0: 10}), (11, {0: 10, 2: 12})], ids=["fenced", "earlier registration"]
)
def test_a_fenced_or_earlier_registration_does_not_join(epoch, alive):
    state = leader(isr=(0, 1))
    fetch(state, 2, 0, epoch=epoch, alive={})
    assert state.propose_growth(high_watermark=0, alive=alive) is None


def test_one_proposal_is_in_flight():
    state = leader(isr=(0,))
    fetch(state, 1, 0)
    assert state.propose_growth(high_watermark=0, alive=ALIVE) is state.proposal
    fetch(state, 2, 0)
    assert state.propose_growth(high_watermark=0, alive=ALIVE) is None
    assert state.propose_shrink(end_offset=9, alive=ALIVE, now_ms=10**6) is None


def test_a_growth_counts_for_the_high_watermark_before_it_is_accepted():
    state = leader(isr=(0, 1))
    fetch(state, 1, 4)
    fetch(state, 2, 4)
    state.propose_growth(high_watermark=4, alive=ALIVE)
    fetch(state, 1, 9)
    assert committed(state, 9, now_ms=10**6) == 4


def test_a_shrink_counts_for_the_high_watermark_after_it_is_accepted():
    state = leader()
    fetch(state, 1, 9)
    fetch(state, 2, 4, end=9)
    proposal = state.propose_shrink(end_offset=9, alive=ALIVE, now_ms=LAG_MS + 1)
    assert proposal.isr == ((0, 10), (1, 11))
    assert committed(state, 9, now_ms=LAG_MS + 1) == 4
    state.accepted(proposal, isr=[0, 1], leader_epoch=5, partition_epoch=8)
    assert committed(state, 9, now_ms=LAG_MS + 1) == 9
    assert state.isr == {0, 1}
    assert state.proposal is None


def test_a_follower_with_the_whole_log_never_lags():
    state = leader(isr=(0, 1))
    fetch(state, 1, 4)
    assert state.propose_shrink(end_offset=4, alive=ALIVE, now_ms=10**6) is None


def test_the_time_in_which_to_catch_up_begins_with_the_append():
    state = leader(isr=(0, 1))
    fetch(state, 1, 4, now_ms=0)
    state.note_append(4, 5000)
    assert state.propose_shrink(end_offset=5, alive=ALIVE, now_ms=5000 + LAG_MS) is None
    assert state.propose_shrink(end_offset=5, alive=ALIVE, now_ms=5001 + LAG_MS) is not None


def test_a_follower_that_reaches_the_end_of_the_fetch_before_is_caught_up():
    state = leader(isr=(0, 1))
    fetch(state, 1, 0, end=100, now_ms=0)
    fetch(state, 1, 100, end=200, now_ms=90)
    fetch(state, 1, 200, end=300, now_ms=180)
    assert state.propose_shrink(end_offset=300, alive=ALIVE, now_ms=190) is None


# --- answers of the controller


@pytest.mark.parametrize("refusal", [Code.INELIGIBLE_REPLICA, Code.OPERATION_NOT_ATTEMPTED])
def test_a_proposal_that_was_not_applied_is_taken_back(refusal):
    state = leader(isr=(0, 1), min_insync_replicas=1)
    fetch(state, 1, 9)
    fetch(state, 2, 4, end=9)
    proposal = state.propose_growth(high_watermark=4, alive=ALIVE)
    assert not state.refused(proposal, refusal)
    assert state.proposal is None
    assert committed(state, 9, now_ms=10**6) == 9


@pytest.mark.parametrize(
    "refusal",
    [
        Code.FENCED_LEADER_EPOCH,
        Code.INVALID_UPDATE_VERSION,
        Code.UNKNOWN_TOPIC_ID,
        Code.UNKNOWN_TOPIC_OR_PARTITION,
        Code.INVALID_REQUEST,
        Code.NEW_LEADER_ELECTED,
    ],
)
def test_a_proposal_that_may_have_been_applied_stays_until_metadata_comes(refusal):
    state = leader(isr=(0,))
    fetch(state, 1, 0)
    proposal = state.propose_growth(high_watermark=0, alive=ALIVE)
    assert not state.refused(proposal, refusal)
    assert state.proposal is proposal
    state.follow_metadata(Leadership((0, 1, 2), (0, 1), 5, 8), end_offset=0, now_ms=0)
    assert state.proposal is None
    assert state.isr == {0, 1}


def test_other_refusals_are_sent_again():
    state = leader(isr=(0,))
    fetch(state, 1, 0)
    proposal = state.propose_growth(high_watermark=0, alive=ALIVE)
    assert state.refused(proposal, Code.UNKNOWN_SERVER_ERROR)
    assert state.proposal is proposal


def test_an_answer_that_metadata_has_overtaken_changes_nothing():
    state = leader(isr=(0,))
    fetch(state, 1, 0)
    proposal = state.propose_growth(high_watermark=0, alive=ALIVE)
    state.follow_metadata(Leadership((0, 1, 2), (0,), 5, 9), end_offset=0, now_ms=0)
    state.accepted(proposal, isr=[0, 1], leader_epoch=5, partition_epoch=8)
    assert state.isr == {0}
    assert not state.refused(proposal, Code.UNKNOWN_SERVER_ERROR)


@pytest.mark.parametrize(
    ("leader_epoch", "partition_epoch", "applied"), [(5, 8, True), (5, 7, True), (5, 6, False), (4, 8, False)]
)
def test_an_answer_of_an_earlier_epoch_is_not_applied(leader_epoch, partition_epoch, applied):
    state = leader(isr=(0, 1))
    fetch(state, 2, 0)
    proposal = state.propose_growth(high_watermark=0, alive=ALIVE)
    state.accepted(proposal, isr=[0, 1, 2], leader_epoch=leader_epoch, partition_epoch=partition_epoch)
    assert (state.isr == {0, 1, 2}) is applied
    assert (state.proposal is None) is applied
    assert state.partition_epoch == (partition_epoch if applied else 7)


def test_an_answer_to_another_proposal_is_not_applied():
    state = leader(isr=(0, 1))
    fetch(state, 2, 0)
    old = state.propose_growth(high_watermark=0, alive=ALIVE)
    assert not state.refused(old, Code.OPERATION_NOT_ATTEMPTED)
    proposal = state.propose_growth(high_watermark=0, alive=ALIVE)
    state.accepted(old, isr=[0, 1, 2], leader_epoch=5, partition_epoch=8)
    assert (state.isr, state.partition_epoch) == ({0, 1}, 7)
    assert state.proposal is proposal


def test_metadata_of_the_epoch_that_an_answer_brought_keeps_the_next_proposal():
    state = leader(isr=(0,))
    fetch(state, 1, 0)
    state.accepted(state.propose_growth(high_watermark=0, alive=ALIVE), isr=[0, 1], leader_epoch=5, partition_epoch=8)
    fetch(state, 2, 0)
    proposal = state.propose_growth(high_watermark=0, alive=ALIVE)
    state.follow_metadata(Leadership((0, 1, 2), (0, 1), 5, 8), end_offset=0, now_ms=0)
    assert state.proposal is proposal
    fetch(state, 1, 5)
    assert committed(state, 5, now_ms=10**6) == 0


# --- epochs and assignment


def test_a_leader_that_is_elected_again_keeps_what_it_knows():
    state = leader(isr=(0, 1))
    fetch(state, 1, 4)
    state.follow_metadata(Leadership((0, 1, 2), (0, 1), 6, 8), end_offset=4, now_ms=50)
    assert committed(state, 4) == 4
    assert (state.leader_epoch, state.epoch_start_offset) == (6, 4)
    assert state.propose_shrink(end_offset=9, alive=ALIVE, now_ms=50 + LAG_MS) is None


def test_a_reassignment_adds_and_removes_followers():
    state = leader()
    state.follow_metadata(Leadership((0, 3), (0,), 5, 8), end_offset=0, now_ms=0)
    assert [one for one in range(4) if state.is_follower(one)] == [3]
    assert code(fetch, state, 1, 0) is Code.UNKNOWN_LEADER_EPOCH


def test_a_fetch_of_an_earlier_registration_is_refused():
    state = leader()
    assert code(fetch, state, 1, 0, epoch=9) is Code.NOT_LEADER_OR_FOLLOWER
    assert fetch(state, 1, 0, epoch=-1)  # before it is registered


# --- acks=all, low watermark


def test_acks_all_is_refused_before_and_after_the_append():
    state = leader(isr=(0,), min_insync_replicas=2)
    assert code(state.check_before_append, "t-0") is Code.NOT_ENOUGH_REPLICAS
    assert code(state.check_after_commit) is Code.NOT_ENOUGH_REPLICAS_AFTER_APPEND
    fetch(state, 1, 0)
    state.propose_growth(high_watermark=0, alive=ALIVE)
    assert code(state.check_before_append, "t-0") is Code.NOT_ENOUGH_REPLICAS
    state.check_after_commit()  # the maximal ISR counts


def test_the_low_watermark_counts_live_replicas():
    state = leader()
    for replica_id, start in ((1, 3), (2, 1)):
        state.note_fetch(
            replica_id,
            offset=9,
            log_start_offset=start,
            broker_epoch=-1,
            leader_end_offset=9,
            alive=ALIVE,
            now_ms=0,
        )
    assert state.low_watermark(5, ALIVE) == 1
    assert state.low_watermark(5, {0: 10, 1: 11}) == 3
    assert state.low_watermark(2, {0: 10, 1: 11}) == 2


# --- recovery (KIP-704)


def test_a_leader_that_was_elected_uncleanly_proposes_once_that_it_has_recovered():
    state = Leader(
        0,
        Leadership((0, 1), (0,), 5, 7, RECOVERING),
        end_offset=0,
        min_insync_replicas=1,
        lag_time_max_ms=LAG_MS,
        now_ms=0,
    )
    proposal = state.propose_recovered(alive=ALIVE)
    assert [broker_id for broker_id, _ in proposal.isr] == [0]
    assert (proposal.leader_recovery_state, proposal.partition_epoch) == (RECOVERED, 7)
    assert state.propose_recovered(alive=ALIVE) is None  # one in flight
    state.accepted(proposal, isr=(0,), leader_epoch=5, partition_epoch=8)
    assert state.propose_recovered(alive=ALIVE) is None
    state.follow_metadata(Leadership((0, 1), (0,), 6, 9, RECOVERING), end_offset=0, now_ms=0)
    assert state.propose_recovered(alive=ALIVE) is not None


def test_a_leader_that_is_recovered_proposes_nothing():
    assert leader(isr=(0,)).propose_recovered(alive=ALIVE) is None
