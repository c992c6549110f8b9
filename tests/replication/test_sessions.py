"""The follower's side of a fetch session: what each request names, and its epoch."""

from kwire.replication.follower import FetchPosition
from kwire.replication.sessions import FULL, NO_SESSION, FollowerSession, SessionRequest


def position(offset):
    return FetchPosition(offset=offset, log_start_offset=0, leader_epoch=1, last_fetched_epoch=1)


def established(**positions):
    """A session whose first request, with all positions, was answered."""
    session = FollowerSession()
    for key, offset in positions.items():
        session.set(key, position(offset))
    session.build()
    session.answered(77)
    return session


def test_the_first_request_names_every_partition_and_asks_for_a_session():
    session = FollowerSession()
    session.set("a", position(1))
    session.set("b", position(2))
    assert session.build() == SessionRequest(NO_SESSION, FULL, {"a": position(1), "b": position(2)}, [])


def test_a_later_request_names_what_changed_since_the_last_one():
    session = established(a=1, b=2, c=3)
    session.set("a", position(5))
    session.set("b", position(2))
    session.remove("c")
    assert session.build() == SessionRequest(77, 1, {"a": position(5)}, ["c"])
    assert session.requested == {"a": position(5), "b": position(2)}
    session.answered(77)
    assert session.build() == SessionRequest(77, 2, {}, [])


def test_a_partition_that_comes_back_before_the_request_is_not_forgotten():
    session = established(a=1)
    session.remove("a")
    session.set("a", position(1))
    assert session.build() == SessionRequest(77, 1, {"a": position(1)}, [])


def test_a_partition_that_leaves_before_the_request_is_not_named():
    session = established(a=1)
    session.set("b", position(2))
    session.remove("b")
    session.remove("unknown")
    assert session.build() == SessionRequest(77, 1, {}, ["b"])


def test_after_a_failed_request_a_new_session_replaces_the_old_one():
    session = established(a=1)
    session.build()
    session.reset()
    assert session.build() == SessionRequest(77, FULL, {"a": position(1)}, [])
    session.answered(78)
    assert session.build() == SessionRequest(78, 1, {}, [])


def test_a_leader_that_keeps_no_session_gets_full_requests():
    session = established(a=1)
    session.answered(NO_SESSION)
    assert session.build() == SessionRequest(NO_SESSION, FULL, {"a": position(1)}, [])


def test_the_epoch_after_the_largest_is_one():
    session = established(a=1)
    session._epoch = 2**31 - 2
    session.answered(77)
    assert session.build().epoch == 2**31 - 1
    session.answered(77)
    assert session.build().epoch == 1


def test_without_partitions_a_leader_is_asked_only_to_forget_some():
    session = FollowerSession()
    assert not session.has_news
    session.set("a", position(1))
    assert session.has_news
    session.remove("a")
    assert not session.has_news  # the leader has no session that names it
    session = established(a=1)
    session.remove("a")
    assert session.has_news
    session.build()
    session.answered(77)
    assert not session.has_news
