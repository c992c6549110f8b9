"""What a follower does with its leader's answers."""

import pytest

from kwire.errors import Code
from kwire.replication.follower import (
    Backoff,
    FetchFromEnd,
    FetchPosition,
    Reaction,
    RestartAt,
    TruncateTo,
    fetch_position,
    out_of_range,
    reaction,
    truncation_offset,
)
from kwire.storage.epochs import EpochStart, LeaderEpochs


class Log:
    def __init__(self, end_offset, *epochs, log_start_offset=0):
        self.end_offset = end_offset
        self.log_start_offset = log_start_offset
        self.epochs = LeaderEpochs([EpochStart(*one) for one in epochs])
        self.latest_epoch = self.epochs.latest

    def offset_for_epoch(self, epoch):
        return self.epochs.end_of(epoch, self.end_offset)


def test_the_position_of_a_fetch_is_the_end_of_the_log():
    assert fetch_position(Log(9, (1, 0), (4, 7), log_start_offset=2), 5) == FetchPosition(9, 5, 4, 2)
    assert fetch_position(Log(0), 5) == FetchPosition(0, 5, -1, 0)


@pytest.mark.parametrize(
    ("epochs", "answer", "truncated"),
    [
        # The follower has more of the epoch than the leader.
        ([(0, 0), (1, 5)], (0, 3), 3),
        # It has less of the epoch than the leader, and records of a later one that is not the leader's.
        ([(0, 0), (1, 5)], (0, 8), 5),
        # It lacks the leader's epoch: what belongs to lower epochs stays, and the next fetch is compared again.
        ([(0, 0), (2, 4), (5, 7)], (3, 6), 7),
        # All its epochs are later.
        ([(4, 0)], (2, 6), 0),
        # It has no epochs.
        ([], (2, 6), 6),
        # Its latest epoch has no records.
        ([(0, 0), (3, 9)], (2, 9), 9),
    ],
)
def test_truncation_of_a_diverging_log(epochs, answer, truncated):
    epoch, end_offset = answer
    assert truncation_offset(Log(9, *epochs), epoch=epoch, end_offset=end_offset) == truncated


def test_truncation_never_lies_behind_the_log():
    assert truncation_offset(Log(2), epoch=0, end_offset=6) == 2


@pytest.mark.parametrize(
    ("start", "end", "decision"),
    [(0, 3, TruncateTo(3)), (8, 20, RestartAt(8)), (5, 20, FetchFromEnd()), (0, 5, FetchFromEnd())],
)
def test_a_fetch_offset_out_of_range_decides_where_to_continue(start, end, decision):
    assert out_of_range(Log(5, (0, 0)), leader_start=start, leader_end=end) == decision


def test_each_error_of_a_fetch_has_its_reaction():
    assert reaction(Code.OFFSET_OUT_OF_RANGE) is Reaction.ASK_OFFSETS
    assert reaction(Code.FENCED_LEADER_EPOCH) is Reaction.AWAIT_METADATA
    for code in (Code.UNKNOWN_LEADER_EPOCH, Code.UNKNOWN_TOPIC_ID, Code.NOT_LEADER_OR_FOLLOWER):
        assert reaction(code) is Reaction.RETRY


def test_pauses_double_up_to_the_setting():
    backoff = Backoff(100)
    assert [backoff.failed() for _ in range(5)] == [20, 40, 80, 100, 100]
    backoff.succeeded()
    assert backoff.failed() == 20
