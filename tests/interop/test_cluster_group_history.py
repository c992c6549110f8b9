"""The checker of groups finds each broken promise, and nothing in a history where all were kept."""

import pytest

from interop.cluster.group_history import (
    Begin,
    Commit,
    CommittedRead,
    Delivery,
    GroupHistory,
    ShareHistory,
    check_group,
    check_share_group,
)
from interop.cluster.history import Where

T = Where("t", 0)
ACKNOWLEDGED = {(T, offset) for offset in range(4)}


def commit(offset: int, at: int, *, member: str = "a", assignment: int = 0, acknowledged: bool = True) -> Commit:
    return Commit(T, offset, member, assignment, at, at + 5, acknowledged)


def a_group() -> GroupHistory:
    """Member a commits 2, then 3 without an answer; b begins there and commits 4."""
    return GroupHistory(
        "g",
        read=set(ACKNOWLEDGED),
        commits=[commit(2, 10), commit(3, 20, acknowledged=False), commit(4, 50, member="b", assignment=1)],
        reads_of_committed=[
            CommittedRead(T, 0, 0, 5),
            CommittedRead(T, 2, 11, 13),
            CommittedRead(T, 3, 30, 35),
            CommittedRead(T, 4, 60, 65),
        ],
        begins=[Begin(T, 0, "a", 1), Begin(T, 3, "b", 40)],
    )


def promises(history: GroupHistory) -> set[str]:
    return {one.promise for one in check_group(history, ACKNOWLEDGED)}


def test_a_group_that_kept_every_promise_has_no_violation() -> None:
    assert promises(a_group()) == set()


def test_a_commit_without_an_answer_may_have_had_no_effect() -> None:
    history = a_group()
    history.reads_of_committed[2] = CommittedRead(T, 2, 30, 35)
    history.begins[1] = Begin(T, 2, "b", 40)
    assert promises(history) == set()


@pytest.mark.parametrize(
    "read",
    [
        CommittedRead(T, 0, 16, 18),  # the commit of 2 was acknowledged at 15
        CommittedRead(T, 2, 36, 38),  # 3 was read before
        CommittedRead(T, 3, 60, 65),  # the commit of 4 was acknowledged at 55
        CommittedRead(T, 4, 30, 35),  # the commit of 4 began at 50
    ],
)
def test_a_committed_offset_that_goes_back_or_was_never_sent_is_found(read: CommittedRead) -> None:
    history = a_group()
    history.reads_of_committed.append(read)
    assert promises(history) == {"committed offset"}


def test_a_committed_offset_that_goes_back_during_a_long_read_is_found() -> None:
    history = a_group()
    history.reads_of_committed += [
        CommittedRead(T, 4, 51, 100),
        CommittedRead(T, 3, 51, 52),
        CommittedRead(T, 2, 53, 54),
    ]
    assert promises(history) == {"committed offset"}


def test_a_member_that_begins_before_the_committed_offset_is_found() -> None:
    history = a_group()
    history.begins[1] = Begin(T, 1, "b", 40)
    assert promises(history) == {"began before the committed offset"}


def test_a_commit_with_an_older_assignment_after_one_with_a_newer_is_found() -> None:
    history = a_group()
    history.commits.append(commit(4, 70))
    assert promises(history) == {"two owners"}


def test_a_commit_with_an_older_assignment_is_found_while_a_newer_one_is_committed() -> None:
    history = a_group()
    history.commits += [commit(4, 70), Commit(T, 4, "c", 2, 56, 72, acknowledged=True)]
    assert promises(history) == {"two owners"}


def test_a_commit_with_an_older_assignment_that_began_before_may_be_answered_later() -> None:
    history = a_group()
    history.commits.append(Commit(T, 4, "a", 0, 52, 58, acknowledged=True))
    assert promises(history) == set()


def test_an_acknowledged_record_that_no_member_read_is_found() -> None:
    history = a_group()
    history.read.discard((T, 3))
    assert promises(history) == {"not read"}


def a_share_group() -> ShareHistory:
    first = [Delivery(T, offset, 1, "a") for offset in range(3)]
    released = Delivery(T, 2, 2, "b")
    last = Delivery(T, 3, 1, "b")
    return ShareHistory("s", 5, delivered=[*first, released, last], accepted=[*first[:2], released, last])


def share_promises(history: ShareHistory) -> set[str]:
    return {one.promise for one in check_share_group(history, ACKNOWLEDGED)}


def test_a_share_group_that_kept_every_promise_has_no_violation() -> None:
    assert share_promises(a_share_group()) == set()


def test_a_delivery_that_reaches_a_member_late_is_none_after_the_acceptance() -> None:
    history = a_share_group()
    history.delivered.append(Delivery(T, 2, 1, "c"))
    assert share_promises(history) == set()


@pytest.mark.parametrize(
    ("delivery", "promise"),
    [(Delivery(T, 0, 2, "b"), "accepted and delivered again"), (Delivery(T, 2, 6, "b"), "delivered too often")],
)
def test_a_delivery_that_should_not_be_is_found(delivery: Delivery, promise: str) -> None:
    history = a_share_group()
    history.accepted = [one for one in history.accepted if one.offset != 2]
    history.delivered.append(delivery)
    assert share_promises(history) == {promise}


def test_a_record_that_is_accepted_and_delivered_again_is_found_if_it_is_accepted_again() -> None:
    history = a_share_group()
    again = Delivery(T, 0, 2, "b")
    history.delivered.append(again)
    history.accepted.append(again)
    assert share_promises(history) == {"accepted and delivered again"}


def test_an_acknowledged_record_that_was_not_delivered_is_found() -> None:
    history = a_share_group()
    history.delivered.pop()
    assert share_promises(history) == {"not delivered"}
