"""The share coordinator: what it refuses and what it stores, as Apache Kafka does."""

import pytest

from kwire.coordinators.machine import MetadataChange
from kwire.coordinators.share.coordinator import ShareCoordinator, ShareCoordinatorConfig, Write
from kwire.coordinators.share.state import SharePartitionKey, StateBatch
from kwire.errors import Code, KafkaError

KEY = SharePartitionKey("g", b"\1" * 16, 0)


class Topic:
    id = KEY.topic_id
    partition_count = 1


class Metadata:
    """The one topic that there is."""

    def topic_by_id(self, topic_id):
        return Topic() if topic_id == KEY.topic_id else None

    def topic_exists(self, topic_id):
        return topic_id == KEY.topic_id


@pytest.fixture
def coordinator():
    machine = ShareCoordinator(ShareCoordinatorConfig(updates_per_snapshot=100, cold_interval_ms=1000))
    machine.loaded(Metadata(), 0)
    return machine


def run(machine, effects):
    """Append the records of a command."""
    for record in effects.records:
        machine.replay(
            record.key, record.value, offset=machine._end_offset, timestamp_ms=0, producer_id=-1, producer_epoch=-1
        )


def initialize(machine, state_epoch=1, start_offset=0):
    run(machine, machine.initialize(KEY, state_epoch, start_offset, ticket=1, now_ms=0))


def write(machine, *, state_epoch=1, leader_epoch=0, start_offset=0, count=0, batches=()):
    run(machine, machine.write(KEY, Write(state_epoch, leader_epoch, start_offset, count, batches), ticket=1, now_ms=0))


def refusal(call):
    with pytest.raises(KafkaError) as caught:
        call()
    return caught.value.code


def test_negative_epochs_are_invalid(coordinator):
    assert refusal(lambda: initialize(coordinator, -1)) is Code.INVALID_REQUEST
    initialize(coordinator)
    assert refusal(lambda: write(coordinator, leader_epoch=-1)) is Code.INVALID_REQUEST
    assert refusal(lambda: write(coordinator, state_epoch=-1)) is Code.INVALID_REQUEST
    assert refusal(lambda: coordinator.read(KEY, -1, ticket=1, now_ms=0)) is Code.INVALID_REQUEST


def test_a_batch_that_ends_before_it_begins_is_invalid(coordinator):
    initialize(coordinator)
    assert refusal(lambda: write(coordinator, batches=(StateBatch(5, 4, 0, 1),))) is Code.INVALID_REQUEST


def test_old_leaders_stay_fenced_when_the_state_is_initialized_again(coordinator):
    initialize(coordinator)
    run(coordinator, coordinator.read(KEY, 5, ticket=1, now_ms=0))
    initialize(coordinator)
    assert coordinator.stored.get(KEY).state.leader_epoch == 0
    assert refusal(lambda: write(coordinator, leader_epoch=3)) is Code.FENCED_LEADER_EPOCH


def test_a_write_without_a_count_or_a_start_keeps_the_count(coordinator):
    initialize(coordinator)
    write(coordinator, start_offset=3, count=2)
    write(coordinator, start_offset=3, count=-1)
    assert coordinator.stored.get(KEY).state.delivered_count == 2
    write(coordinator, start_offset=-1, count=7)
    assert coordinator.stored.get(KEY).state.delivered_count == 2


# --- epochs


def read(machine, leader_epoch):
    effects = machine.read(KEY, leader_epoch, ticket=1, now_ms=0)
    run(machine, effects)
    return effects


def test_a_later_epoch_of_the_state_is_written_and_an_earlier_one_fenced(coordinator):
    initialize(coordinator, state_epoch=3)
    write(coordinator, state_epoch=4, start_offset=1)
    write(coordinator, state_epoch=3, start_offset=2)
    assert refusal(lambda: write(coordinator, state_epoch=2)) is Code.FENCED_STATE_EPOCH
    assert coordinator.stored.get(KEY).state.start_offset == 2
    assert refusal(lambda: initialize(coordinator, state_epoch=2)) is Code.FENCED_STATE_EPOCH
    initialize(coordinator, state_epoch=3, start_offset=9)
    state = coordinator.stored.get(KEY).state
    assert (state.snapshot_epoch, state.state_epoch, state.start_offset) == (1, 3, 9)


def test_a_read_by_a_new_leader_fences_the_old_one_and_a_repeated_read_writes_nothing(coordinator):
    initialize(coordinator)
    assert len(read(coordinator, 5).records) == 1
    assert read(coordinator, 5).records == []
    assert refusal(lambda: read(coordinator, 4)) is Code.FENCED_LEADER_EPOCH
    assert refusal(lambda: write(coordinator, leader_epoch=4)) is Code.FENCED_LEADER_EPOCH
    write(coordinator, leader_epoch=6, start_offset=3)
    assert coordinator.stored.get(KEY).state.leader_epoch == 5  # only a read makes an epoch the current one


def test_behind_an_unknown_start_offset_the_count_is_unknown(coordinator):
    initialize(coordinator, start_offset=-1)
    assert coordinator.stored.get(KEY).state.delivered_count == -1
    initialize(coordinator, start_offset=0)
    assert coordinator.stored.get(KEY).state.delivered_count == 0


# --- what is not there


@pytest.mark.parametrize(
    ("key", "code"),
    [
        (KEY._replace(partition=-1), Code.INVALID_REQUEST),
        (KEY._replace(partition=1), Code.UNKNOWN_TOPIC_OR_PARTITION),
        (KEY._replace(topic_id=b"\2" * 16), Code.UNKNOWN_TOPIC_OR_PARTITION),
    ],
)
def test_a_partition_that_is_not_there_is_refused(coordinator, key, code):
    calls = [
        lambda: coordinator.initialize(key, 1, 0, ticket=1, now_ms=0),
        lambda: coordinator.summary(key),
        lambda: coordinator.delete(key, ticket=1, now_ms=0),
    ]
    assert [refusal(call) for call in calls] == [code] * 3


def test_a_state_that_is_not_initialized_is_neither_written_nor_read(coordinator):
    assert refusal(lambda: write(coordinator)) is Code.INVALID_REQUEST
    assert refusal(lambda: read(coordinator, 1)) is Code.INVALID_REQUEST
    assert coordinator.summary(KEY) is None
    effects = coordinator.delete(KEY, ticket=1, now_ms=0)
    assert (effects.records, len(effects.replies)) == ([], 1)


def test_the_state_of_a_topic_that_went_away_is_neither_written_nor_read(coordinator):
    initialize(coordinator)

    class NoTopics(Metadata):
        def topic_by_id(self, topic_id):
            return None

    coordinator.on_metadata_change(MetadataChange(), NoTopics(), 0)
    assert refusal(lambda: write(coordinator)) is Code.UNKNOWN_TOPIC_OR_PARTITION
    assert refusal(lambda: read(coordinator, 1)) is Code.UNKNOWN_TOPIC_OR_PARTITION


def test_a_deleted_state_is_gone(coordinator):
    initialize(coordinator)
    run(coordinator, coordinator.delete(KEY, ticket=1, now_ms=0))
    assert KEY not in coordinator.stored
    assert refusal(lambda: read(coordinator, 1)) is Code.INVALID_REQUEST


def test_the_state_of_a_deleted_topic_is_deleted(coordinator):
    initialize(coordinator)

    class NoTopics(Metadata):
        def topic_exists(self, topic_id):
            return False

    assert coordinator.on_metadata_change(MetadataChange(), NoTopics(), 0).records == []
    run(coordinator, coordinator.on_metadata_change(MetadataChange({"t": KEY.topic_id}), NoTopics(), 0))
    assert KEY not in coordinator.stored


# --- snapshots


def test_after_so_many_updates_a_write_is_a_snapshot(coordinator):
    coordinator.config = ShareCoordinatorConfig(updates_per_snapshot=2, cold_interval_ms=1000)
    initialize(coordinator, start_offset=1)
    assert coordinator.redundant_below() == 0
    write(coordinator, start_offset=5, count=3, batches=(StateBatch(5, 9, 2, 1),))
    write(coordinator, start_offset=-1, batches=(StateBatch(12, 14, 2, 1),))
    assert (coordinator.stored.get(KEY).updates, coordinator.redundant_below()) == (2, 0)
    write(coordinator, start_offset=-1, count=9, batches=(StateBatch(15, 16, 4, 2),))
    stored = coordinator.stored.get(KEY)
    assert (stored.updates, coordinator.redundant_below()) == (0, 3)
    state = stored.state
    assert (state.snapshot_epoch, state.state_epoch, state.start_offset, state.delivered_count) == (1, 1, 5, 3)
    assert state.batches == (StateBatch(5, 9, 2, 1), StateBatch(12, 14, 2, 1), StateBatch(15, 16, 4, 2))


def cold(machine, now_ms):
    """A pass over cold partitions; the records of its snapshots, and when the next one is."""
    [timer] = (effects := machine.on_timer(("cold partitions",), now_ms)).timers
    run(machine, effects)
    return len(effects.records), timer.deadline_ms


def test_a_partition_that_did_not_change_for_long_gets_one_snapshot(coordinator):
    initialize(coordinator)
    write(coordinator, start_offset=5)
    assert cold(coordinator, 999) == (0, 1999)
    assert cold(coordinator, 1000) == (1, 2000)
    assert (coordinator.stored.get(KEY).updates, coordinator.redundant_below()) == (0, 2)
    state = coordinator.stored.get(KEY).state
    assert (state.snapshot_epoch, state.created_ms, state.written_ms) == (1, 0, 1000)
    assert cold(coordinator, 5000) == (0, 6000)
    write(coordinator, start_offset=6)
    assert cold(coordinator, 9000) == (1, 10_000)


def test_a_pass_over_many_cold_partitions_gives_way(coordinator):
    for number in range(250):
        key = KEY._replace(group_id=f"g{number}")
        run(coordinator, coordinator.initialize(key, 1, 0, ticket=1, now_ms=0))
    assert cold(coordinator, 1000) == (200, 1000)
    assert cold(coordinator, 1000) == (50, 2000)


def test_without_states_every_record_is_redundant(coordinator):
    assert coordinator.redundant_below() == 0
    initialize(coordinator)
    run(coordinator, coordinator.delete(KEY, ticket=1, now_ms=0))
    assert coordinator.redundant_below() == 2


def test_an_update_whose_snapshot_was_lost_counts_by_itself(coordinator):
    initialize(coordinator)
    update = coordinator.write(KEY, Write(1, 7, 5, 3, (StateBatch(5, 9, 2, 1),)), ticket=1, now_ms=0)
    coordinator.stored.pop(KEY)
    run(coordinator, update)
    stored = coordinator.stored.get(KEY)
    assert (stored.state.start_offset, stored.state.delivered_count, stored.updates) == (5, 3, 0)
    assert stored.state.batches == (StateBatch(5, 9, 2, 1),)
