"""Passes over all groups, offsets or transactional ids are made in slices, so that other requests run in between."""

from functools import partial

import pytest
from playback import Playback
from test_group_transcripts import durable, show_record
from test_transaction_transcripts import Stage, stamp

from kwire.coordinators.group.commands import CommitOffsets, GroupConfig, OffsetToCommit
from kwire.coordinators.group.coordinator import GroupCoordinator
from kwire.coordinators.machine import MetadataChange, ProducerStamp
from kwire.coordinators.transaction.commands import TransactionConfig
from kwire.coordinators.transaction.records import transaction_record
from kwire.coordinators.transaction.transaction import State, Transaction
from kwire.types import ZERO_UUID, TopicPartition

T_ID = b"t" * 16
IN_TURN = 1500  # more than any slice has
COUNT = 5000


@pytest.fixture
def groups():
    config = GroupConfig(offsets_retention_ms=100_000, offsets_retention_check_interval_ms=50_000)
    return Playback(partial(GroupCoordinator, config), durable, show_record)


def commit(playback, group_id, *partitions, topic_id=T_ID, producer=None):
    offsets = tuple(OffsetToCommit("t", topic_id, partition, 5, -1, "") for partition in partitions)
    command = CommitOffsets(group_id, -1, "", None, offsets)
    if producer is None:
        playback.run(playback.machine.commit_offsets, command)
    else:
        playback.run(playback.machine.commit_transactional_offsets, command, producer)


def written_in_one_turn(playback, turn):
    before = len(playback.log)
    turn()
    return len(playback.log) - before


def written_by_turns(playback, *keys):
    """How much each further turn of these timers writes, until none is due."""
    counts = []
    while due := [key for key in keys if playback.timers.get(key, playback.now_ms + 1) <= playback.now_ms]:
        del playback.timers[due[0]]
        before = len(playback.log)
        playback.apply(lambda machine, now_ms, key=due[0]: machine.on_timer(key, now_ms))
        counts.append(len(playback.log) - before)
    return counts


def delete_topic(playback):
    playback.change_metadata(MetadataChange(topics_deleted={"t": T_ID}))


def test_the_offsets_of_a_deleted_topic_are_deleted_in_slices(groups):
    for number in range(COUNT // 10):
        commit(groups, f"g{number}", *range(10))
    first = written_in_one_turn(groups, lambda: delete_topic(groups))
    rest = written_by_turns(groups, ("deleted topics",))

    assert 0 < max(first, *rest) <= IN_TURN
    assert first + sum(rest) == COUNT
    assert not groups.machine.offsets.group_ids()
    groups.check()


def test_what_is_committed_after_the_deletion_of_a_topic_stays(groups):
    """A topic of the same name may exist again before the pass is over."""
    for number in range(COUNT // 10):
        commit(groups, f"g{number}", *range(10))
    delete_topic(groups)
    last = groups.machine.offsets.group_ids()[0]
    commit(groups, last, 3, topic_id=ZERO_UUID)
    written_by_turns(groups, ("deleted topics",))

    assert [path for path, _ in groups.machine.offsets.committed.under()] == [(last, "t", 3)]


def test_topics_that_were_deleted_while_the_broker_was_down_are_found_in_slices(groups):
    for number in range(COUNT // 10):
        commit(groups, f"g{number}", *range(9))
        commit(groups, f"g{number}", 9, topic_id=ZERO_UUID)
    commit(groups, "open", 0, producer=ProducerStamp(1, 0))
    groups.metadata.topic_exists = lambda topic_id: False
    first = written_in_one_turn(groups, groups.restart)
    rest = written_by_turns(groups, ("deleted topics",))

    assert max(first, *rest) <= IN_TURN
    assert first + sum(rest) == COUNT // 10 * 9 + 1
    assert {path[2] for path, _ in groups.machine.offsets.committed.under()} == {9}


def test_offsets_expire_in_slices(groups):
    for number in range(COUNT // 10):
        commit(groups, f"g{number}", *range(10))
    groups.now_ms = groups.timers["retention",] = groups.now_ms + 200_000
    counts = written_by_turns(groups, ("retention",))

    assert max(counts) <= IN_TURN
    assert sum(counts) == COUNT + COUNT // 10
    assert not groups.machine.classic.group_ids()


def transactions(**settings):
    stage = Stage(TransactionConfig(**settings), 2)
    stage.actions = []
    return stage


def put(stage, count, state):
    for number in range(count):
        written = Transaction(
            number,
            0,
            timeout_ms=1000,
            state=state,
            partitions=frozenset({TopicPartition("t", 0)}),
            start_ms=stage.now_ms,
            update_ms=stage.now_ms,
        )
        stage.append_foreign(transaction_record(f"id{number}", written, 2))
    stage.restart()


def test_transactions_that_timed_out_are_aborted_in_slices():
    stage = transactions()
    put(stage, 300, State.ONGOING)
    stage.now_ms = stage.timers["overdue",] = stage.now_ms + 60_000
    counts = written_by_turns(stage, ("overdue",), ("overdue", "rest"))

    assert max(counts) <= 50
    assert sum(counts) == 300
    assert {each.state for each in stage.machine.transactions.values()} == {State.PREPARE_ABORT}


def test_a_transaction_that_times_out_during_a_pass_is_aborted_by_the_next():
    stage = transactions(abort_interval_ms=10)
    put(stage, 2000, State.COMPLETE_COMMIT)
    put(stage, 1, State.ONGOING)
    stage.advance(1000)
    stage.run(stage.machine.add_partitions, "id5", stamp("5:0"), {TopicPartition("t", 0)}, client_version=2)
    stage.advance(1100)

    states = [each.state for each in stage.machine.transactions.values()]
    assert states.count(State.PREPARE_ABORT) == 2
    assert State.ONGOING not in states


def test_transactional_ids_expire_in_slices():
    stage = transactions(id_expiration_ms=1000, expire_interval_ms=100)
    put(stage, COUNT, State.COMPLETE_COMMIT)
    stage.now_ms = stage.timers["expired",] = stage.now_ms + 2000
    counts = written_by_turns(stage, ("expired",))

    assert max(counts) <= IN_TURN
    assert sum(counts) == COUNT
    assert not stage.machine.transactions
    assert stage.timers["expired",] > stage.now_ms
