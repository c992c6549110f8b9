"""States of groups and transactions that random commands seldom reach: one step out of each."""

import pytest
from playback import AllTopics

from kwire.coordinators.group.classic.group import ClassicGroup
from kwire.coordinators.group.commands import CommitOffsets, CommittedOffset, GroupConfig, OffsetToCommit
from kwire.coordinators.group.consumer import embedded
from kwire.coordinators.group.consumer import member as consumer_member
from kwire.coordinators.group.consumer import reconciliation as consumer_reconciliation
from kwire.coordinators.group.consumer import state as consumer_state
from kwire.coordinators.group.consumer.state import ResolvedRegex, epoch_record, regex_record, regex_tombstone
from kwire.coordinators.group.coordinator import GroupCoordinator
from kwire.coordinators.group.records import offset_record
from kwire.coordinators.group.share import state as share_state
from kwire.coordinators.group.share.state import States, TopicState, states_record
from kwire.coordinators.group.share.state import epoch_record as share_epoch_record
from kwire.coordinators.group.streams import member as streams_member
from kwire.coordinators.group.streams import reconciliation as streams_reconciliation
from kwire.coordinators.group.streams import state as streams_state
from kwire.coordinators.group.streams.tasks import NOTHING, HeldTasks, TaskSet
from kwire.coordinators.machine import MetadataChange, ProducerStamp
from kwire.coordinators.topics import TopicDescription
from kwire.coordinators.transaction.commands import TransactionConfig
from kwire.coordinators.transaction.coordinator import TransactionCoordinator
from kwire.coordinators.transaction.transaction import Transaction
from kwire.errors import Code, KafkaError
from kwire.types import TopicPartition
from kwire.wire.messages import GroupMetadataValue

TOPIC_ID = b"t" * 16
OTHER_ID = b"o" * 16


def replay(machine, *records):
    for offset, (key, value) in enumerate(records):
        machine.replay(key, value, offset=offset, timestamp_ms=0, producer_id=-1, producer_epoch=-1)


# Members


def test_a_streams_member_that_has_revoked_its_tasks_moves_to_the_next_epoch():
    member = streams_member.Member(
        "m",
        epoch=5,
        previous_epoch=4,
        state=streams_member.MemberState.UNREVOKED_TASKS,
        revoking=HeldTasks({"s": {0: 0}}),
        assigned=HeldTasks({"s": {1: 0}}),
    )
    # The target has changed again, so that there is one more task to revoke.
    around = streams_reconciliation.ReconciliationInputs(
        9, NOTHING, streams_reconciliation.Holders([member]), TaskSet({"s": frozenset({1})})
    )
    after = streams_reconciliation.reconcile(member, around)
    assert (after.state, after.epoch) == (streams_member.MemberState.UNREVOKED_TASKS, 6)


@pytest.mark.parametrize("owned", [None, {TOPIC_ID: [0]}])
def test_a_consumer_in_a_state_of_a_newer_release_is_fenced_while_it_may_own_partitions(owned):
    member = consumer_member.Member("m", epoch=5, state=consumer_member.MemberState.UNKNOWN)
    around = consumer_reconciliation.ReconciliationInputs(9, {}, {TOPIC_ID}, lambda *_: False, owned)
    with pytest.raises(KafkaError) as refusal:
        consumer_reconciliation.reconcile(member, around, subscription_changed=False)
    assert refusal.value.code == Code.FENCED_MEMBER_EPOCH


def test_a_consumer_in_a_state_of_a_newer_release_that_owns_nothing_takes_the_target_epoch():
    member = consumer_member.Member("m", epoch=5, state=consumer_member.MemberState.UNKNOWN)
    around = consumer_reconciliation.ReconciliationInputs(9, {}, {TOPIC_ID}, lambda *_: False, {})
    after = consumer_reconciliation.reconcile(member, around, subscription_changed=False)
    assert (after.state, after.epoch) == (consumer_member.MemberState.STABLE, 9)


# Groups


def test_the_topics_of_a_regular_expression_end_with_its_tombstone():
    machine = GroupCoordinator(GroupConfig())
    resolved = ResolvedRegex(frozenset({"t"}), 1, 2)
    replay(machine, epoch_record("g", 3, 0), regex_record("g", "t.*", resolved))
    regexes = machine.consumer.parts.tables.regexes
    assert dict(regexes.under("g")) == {("g", "t.*"): resolved}
    replay(machine, regex_tombstone("g", "t.*"))
    assert not dict(regexes.under("g"))


@pytest.mark.parametrize("state", [consumer_state, share_state, streams_state])
def test_a_target_assignment_that_is_deleted_was_never_computed(state):
    machine = GroupCoordinator(GroupConfig())
    replay(machine, state.target_epoch_record("g", 3, 1000))
    group = machine._find("g")
    assert (group.epochs.assignment, group.epochs.assigned_at_ms) == (3, 1000)
    replay(machine, state.target_epoch_tombstone("g"))
    assert (group.epochs.assignment, group.epochs.assigned_at_ms) == (-1, 0)


def test_an_empty_classic_group_whose_record_has_an_empty_protocol_has_none():
    value = GroupMetadataValue(protocol_type="", generation=0, protocol="", leader="", members=[])
    assert ClassicGroup.from_record("g", value).protocol_name is None


def test_an_empty_protocol_of_a_classic_group_with_members_is_kept():
    stored = GroupMetadataValue.MemberMetadata(member_id="m", session_timeout=1, rebalance_timeout=1)
    value = GroupMetadataValue(protocol_type="x", generation=1, protocol="", leader="m", members=[stored])
    assert ClassicGroup.from_record("g", value).protocol_name == ""


def test_a_subscription_of_two_bytes_has_a_version():
    assert embedded.version_of(b"\0\3") == 3
    with pytest.raises(embedded.MalformedProtocol, match="no version"):
        embedded.version_of(b"\0")


def test_offsets_of_a_transaction_have_no_expiry_of_their_own():
    machine = GroupCoordinator(GroupConfig())
    command = CommitOffsets("g", -1, "", None, (OffsetToCommit("t", TOPIC_ID, 0, 7, -1, None),))
    effects = machine.commit_transactional_offsets(command, ProducerStamp(1, 0), ticket=1, now_ms=5)
    committed = CommittedOffset(7, -1, "", commit_ms=5, expire_ms=-1, topic_id=TOPIC_ID)
    assert effects.records == [offset_record("g", "t", 0, committed)]


def test_a_share_group_keeps_no_states_of_topics_that_are_deleted():
    machine = GroupCoordinator(GroupConfig())
    kept, gone = TopicState("o", frozenset({0})), TopicState("t", frozenset({0, 1}))
    replay(machine, states_record("g", States({}, {TOPIC_ID: gone, OTHER_ID: kept}, {})))
    effects = machine.on_metadata_change(MetadataChange(topics_deleted={"t": TOPIC_ID}), AllTopics({}), 0)
    assert effects.records == [states_record("g", States({}, {OTHER_ID: kept}, {}))]


def test_the_deletion_of_a_share_group_deletes_again_what_was_being_deleted_of_a_topic_that_exists():
    machine = GroupCoordinator(GroupConfig())
    metadata = AllTopics({})
    metadata.group_configs["share.session.timeout.ms"] = 45_000
    metadata.topics["t"] = TopicDescription("t", TOPIC_ID, ((), (), ()))
    replay(machine, share_epoch_record("g", 1, 0), states_record("g", States({}, {}, {TOPIC_ID: "t", OTHER_ID: "o"})))
    machine.loaded(metadata, 0)
    effects = machine.share.begin_delete("g", ticket=1, now_ms=0)
    assert effects.replies[0].result == {TOPIC_ID: frozenset({0, 1, 2})}
    assert effects.records == [states_record("g", States({}, {}, {TOPIC_ID: "t"}))]


# Transactions


@pytest.mark.parametrize(("level", "client_version"), [(0, 0), (1, 0), (1, 2), (2, 0), (2, 2)])
def test_partitions_are_added_for_each_client_that_the_level_can_record(level, client_version):
    effects = add_partition(level, client_version)
    assert (len(effects.records), len(effects.replies)) == (1, 1)


def test_a_client_of_version_2_is_refused_while_the_level_is_0():
    with pytest.raises(KafkaError) as refusal:
        add_partition(0, 2)
    assert refusal.value.code == Code.UNSUPPORTED_VERSION


def add_partition(level, client_version):
    machine = TransactionCoordinator(TransactionConfig())
    machine.loaded(AllTopics({"transaction.version": level}), 0)
    machine.transactions["x"] = Transaction(1, 0, timeout_ms=1000)
    return machine.add_partitions(
        "x", ProducerStamp(1, 0), [TopicPartition("t", 0)], client_version=client_version, ticket=1, now_ms=0
    )
