"""Since when a follower has what its leader has."""

from kwire.replication.progress import ReplicaProgress


def fetch(progress, offset, *, leader_end, now_ms):
    progress.note_fetch(offset=offset, log_start_offset=0, broker_epoch=1, leader_end_offset=leader_end, now_ms=now_ms)


def test_a_fetch_from_the_log_end_is_caught_up_now():
    progress = ReplicaProgress(None)
    fetch(progress, 4, leader_end=5, now_ms=10)
    assert progress.caught_up_ms is None
    fetch(progress, 5, leader_end=5, now_ms=20)
    assert progress.caught_up_ms == 20


def test_a_fetch_from_the_log_end_of_the_fetch_before_was_caught_up_then():
    progress = ReplicaProgress(None)
    fetch(progress, 0, leader_end=5, now_ms=10)
    fetch(progress, 4, leader_end=9, now_ms=20)
    assert progress.caught_up_ms is None
    fetch(progress, 9, leader_end=12, now_ms=30)
    assert progress.caught_up_ms == 20


def test_a_leader_that_is_elected_again_counts_from_its_log_end_of_then():
    progress = ReplicaProgress(None)
    fetch(progress, 0, leader_end=5, now_ms=10)
    progress.begin_epoch(leader_end_offset=8, in_sync=True, now_ms=100)
    assert progress.caught_up_ms == 100
    fetch(progress, 5, leader_end=12, now_ms=200)
    assert progress.caught_up_ms == 100
    progress.begin_epoch(leader_end_offset=12, in_sync=False, now_ms=300)
    assert progress.caught_up_ms is None


def test_a_follower_may_lag_for_the_whole_lag_time():
    progress = ReplicaProgress(100)
    fetch(progress, 4, leader_end=5, now_ms=110)
    assert progress.is_caught_up(5, now_ms=150, lag_time_max_ms=50)
    assert not progress.is_caught_up(5, now_ms=151, lag_time_max_ms=50)
    assert progress.is_caught_up(4, now_ms=1000, lag_time_max_ms=50)
    assert not ReplicaProgress(None).is_caught_up(5, now_ms=0, lag_time_max_ms=50)
