from types import SimpleNamespace

import pytest

from kwire.broker.partitions.fetching.fetch_sessions import EVICTION_MS, FetchSession, FetchSessions
from kwire.errors import Code, KafkaError


class Dice:
    def __init__(self):
        self.rolled = 0

    def __call__(self, count):
        self.rolled += 1
        return self.rolled.to_bytes(count, "big")


def topic(name, *indexes, offset=0):
    return SimpleNamespace(
        topic=name,
        topic_id=bytes(16),
        partitions=[
            SimpleNamespace(
                partition=index,
                fetch_offset=offset,
                current_leader_epoch=-1,
                last_fetched_epoch=-1,
                partition_max_bytes=1000,
            )
            for index in indexes
        ],
    )


def session_of(*topics):
    session = FetchSession(uses_topic_ids=False, committed_only=False)
    session.ask(topics)
    return session


def test_a_session_continues_with_the_next_epoch():
    sessions, session = FetchSessions(10, Dice()), session_of(topic("a", 0))
    assert sessions.keep(session, 0)
    assert sessions.resume(session.session_id, 1, uses_topic_ids=False, now_ms=1) is session
    assert sessions.resume(session.session_id, 2, uses_topic_ids=False, now_ms=1) is session


def test_the_epoch_goes_from_its_highest_value_to_one():
    sessions, session = FetchSessions(10, Dice()), session_of(topic("a", 0))
    sessions.keep(session, 0)
    session.epoch = 2**31 - 1
    sessions.resume(session.session_id, 2**31 - 1, uses_topic_ids=False, now_ms=1)
    assert session.epoch == 1


@pytest.mark.parametrize(
    ("session_id", "epoch", "uses_topic_ids", "code"),
    [
        (99, 1, False, Code.FETCH_SESSION_ID_NOT_FOUND),
        (1, 7, False, Code.INVALID_FETCH_SESSION_EPOCH),
        (1, 1, True, Code.FETCH_SESSION_TOPIC_ID_ERROR),
    ],
)
def test_a_request_that_does_not_fit_its_session_is_refused(session_id, epoch, uses_topic_ids, code):
    sessions = FetchSessions(10, Dice())
    sessions.keep(session_of(topic("a", 0)), 0)
    with pytest.raises(KafkaError) as refusal:
        sessions.resume(session_id, epoch, uses_topic_ids=uses_topic_ids, now_ms=1)
    assert refusal.value.code == code


def test_a_full_cache_does_not_evict_new_sessions():
    sessions = FetchSessions(1, Dice())
    sessions.keep(session_of(topic("a", 0)), 0)
    late = session_of(topic("b", 0))
    assert not sessions.keep(late, EVICTION_MS)
    assert late.session_id == 0


def test_a_full_cache_evicts_a_session_that_was_not_used_for_long():
    sessions, old = FetchSessions(1, Dice()), session_of(topic("a", 0))
    sessions.keep(old, 0)
    assert sessions.keep(session_of(topic("b", 0)), EVICTION_MS + 1)
    assert len(sessions) == 1
    assert not old.items


def test_a_larger_session_takes_the_place_of_a_smaller_one_in_use():
    sessions, small = FetchSessions(1, Dice()), session_of(topic("a", 0))
    sessions.keep(small, 0)
    sessions.resume(small.session_id, 1, uses_topic_ids=False, now_ms=EVICTION_MS)
    assert not sessions.keep(session_of(topic("b", 0)), EVICTION_MS + 1)
    assert sessions.keep(session_of(topic("b", 0, 1)), EVICTION_MS + 1)


def test_forgotten_partitions_are_not_read():
    session = session_of(topic("a", 0, 1))
    session.forget([SimpleNamespace(topic="a", topic_id=bytes(16), partitions=[0])])
    assert [item.index for item in session.dirty_items()] == [1]


def test_a_partition_that_gave_data_is_read_last():
    session = session_of(topic("a", 0, 1, 2))
    session.move_to_end(session.items[("a", 0)])
    assert [item.index for item in session.dirty_items()] == [1, 2, 0]


def test_only_what_changed_is_read_again():
    session = session_of(topic("a", *range(100)))
    session.watch.dirty.clear()
    session.watch.note(("a", 7), 10)
    assert [item.index for item in session.dirty_items()] == [7]
