"""Replication quotas."""

import pytest

from kwire.replication.throttle import ReplicationQuota, throttled_partitions


def test_the_rate_is_that_of_the_last_windows():
    quota = ReplicationQuota(window_count=3, window_ms=1000)
    assert quota.rate(0) == 0
    quota.record(500, 0)
    assert quota.rate(10) == 500  # at least one whole window counts
    quota.record(1500, 1000)
    assert quota.rate(2000) == 1000
    assert quota.rate(3001) == pytest.approx(1500 * 1000 / 2001)
    assert quota.rate(10_000) == 0


def test_a_window_ends_after_its_length_even_while_bytes_come():
    quota = ReplicationQuota(window_count=2, window_ms=1000)
    for now_ms in (1_000_000, 1_000_999, 1_001_000):
        quota.record(100, now_ms)
    # The first window, with its two records, is forgotten as a whole.
    assert quota.rate(1_002_000) == 150
    assert quota.rate(1_002_001) == pytest.approx(100 * 1000 / 1001)


def test_bytes_count_in_the_newest_window():
    quota = ReplicationQuota(window_count=3, window_ms=1000)
    for now_ms in (0, 1000, 1999):
        quota.record(100, now_ms)
    assert quota.rate(4000) == 200 * 1000 / 3000
    assert quota.rate(4001) == 0


def test_a_quota_is_exceeded_above_its_bound():
    quota = ReplicationQuota(window_count=3, window_ms=1000)
    quota.record(1000, 0)
    assert not quota.is_exceeded(1000, 1000)
    assert quota.is_exceeded(999, 1000)


@pytest.mark.parametrize(
    ("values", "throttled"),
    [(["0:1", "1:2", " 2:1 "], [0, 2]), (["*"], [0, 1, 2, 3]), ([], []), (["0:11"], [])],
)
def test_throttled_replicas_are_selected_by_broker_or_wildcard(values, throttled):
    found = throttled_partitions(values, 1)
    assert [index for index in range(4) if index in found] == throttled
