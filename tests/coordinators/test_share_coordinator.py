"""The share coordinator: what it refuses and what it stores, as Apache Kafka does."""

import pytest

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
