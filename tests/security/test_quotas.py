import pytest

from kwire.security.quotas import Limit, Meter, TokenBucket, Windows, find_address_limit, find_limit

WINDOWS = Windows(11, 1000)
KEY = "producer_byte_rate"


def quotas(*entities):
    """Entities from the weightiest to the lightest, each with its place as its limit."""
    return {tuple(sorted(entity.items())): {KEY: float(place)} for place, entity in enumerate(entities, 1)}


EVERY = (
    {"user": "u", "client-id": "c"},
    {"user": "u", "client-id": None},
    {"user": "u"},
    {"user": None, "client-id": "c"},
    {"user": None, "client-id": None},
    {"user": None},
    {"client-id": "c"},
    {"client-id": None},
)
SHARED_BY = [("u", "c"), ("u", "c"), ("u", ""), ("u", "c"), ("u", "c"), ("u", ""), ("", "c"), ("", "c")]


@pytest.mark.parametrize("first", range(8))
def test_the_first_that_is_set_counts(first):
    known = {entity: values for entity, values in quotas(*EVERY).items() if values[KEY] > first}
    assert find_limit(known, KEY, "u", "c") == Limit(first + 1.0, SHARED_BY[first])


def test_a_quota_of_another_kind_or_client_does_not_count():
    known = quotas({"user": "u", "client-id": "c"})
    assert find_limit(known, "consumer_byte_rate", "u", "c") is None
    assert find_limit(known, KEY, "u", "d") is None
    assert find_limit(known, KEY, "v", "c") is None


def test_an_address_has_its_own_quota_or_the_default():
    known = {
        (("ip", "1.2.3.4"),): {"connection_creation_rate": 5.0},
        (("ip", None),): {"connection_creation_rate": 9.0},
    }
    assert [find_address_limit(known, one) for one in ("1.2.3.4", "4.3.2.1")] == [5.0, 9.0]
    assert find_address_limit({}, "1.2.3.4") is None


def test_no_pause_while_the_rate_is_not_above_the_limit():
    meter = Meter(WINDOWS)
    for second in range(30):
        # Eleven windows begin within ten seconds, so a little less than the limit is what passes, as in Kafka.
        meter.record(90, second * 1000)
        assert meter.throttle_ms(100, second * 1000) == 0


def test_a_first_burst_is_spread_over_ten_windows():
    meter = Meter(WINDOWS)
    meter.record(1000, 0)
    assert meter.throttle_ms(100, 0) == 0
    meter.record(1000, 0)
    # 2000 in ten seconds is twice what is allowed: ten seconds of pause bring it down.
    assert meter.throttle_ms(100, 0) == 10_000


def test_the_rate_is_taken_from_the_start_of_the_oldest_window():
    meter = Meter(WINDOWS)
    meter.record(1000, 0)
    meter.record(1000, 5_400)
    # 2000 in 10.4 seconds.
    assert meter.throttle_ms(100, 10_400) == 9_600


def test_records_older_than_all_windows_are_dropped():
    meter = Meter(WINDOWS)
    meter.record(1_000_000, 0)
    assert meter.throttle_ms(1, 10_999) > 0
    assert meter.throttle_ms(1, 11_000) == 0


def test_a_steady_excess_is_paused_in_proportion():
    meter = Meter(WINDOWS)
    for second in range(20):
        meter.record(150, second * 1000)
    pause = meter.throttle_ms(100, 19_000)
    assert pause == 6_500


def test_a_bucket_begins_full_and_lets_the_last_take_more_than_there_is():
    bucket = TokenBucket(2, WINDOWS, 0)
    assert bucket.tokens == 22
    bucket.take(30, 2, 0)
    assert bucket.is_exceeded(2, 0)
    assert bucket.throttle_ms(2, 0) == 4_000
    assert not bucket.is_exceeded(2, 4_000)


def test_a_bucket_never_holds_more_than_its_burst():
    bucket = TokenBucket(2, WINDOWS, 0)
    bucket.take(0, 2, 3_600_000)
    assert bucket.tokens == 22


def test_a_pause_fits_into_an_answer_however_small_the_quota():
    bucket = TokenBucket(1e-300, Windows(), 0)
    bucket.take(1, 1e-300, 0)
    assert bucket.throttle_ms(1e-300, 0) == 2**31 - 1
    meter = Meter(Windows())
    meter.record(1, 0)
    assert meter.throttle_ms(1e-300, 0) == 2**31 - 1
