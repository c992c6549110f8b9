"""Coordinators follow the leadership of their partitions: loaded where it is gained, unloaded where it is lost."""

from types import SimpleNamespace

import pytest
import trio
from runtime_parts import TOPIC, Stage

from kwire.broker.partitions.partition import Role
from kwire.errors import Code, KafkaError
from kwire.metadata.image import Delta
from kwire.types import TopicPartition

pytestmark = pytest.mark.usefixtures("mock_clock")


class Impatient:
    """A connection that waits for nothing."""

    async def wait(self, event, timeout_ms):
        await trio.testing.wait_all_tasks_blocked()
        return event.is_set()


@pytest.fixture
async def stage(nursery):
    made = Stage(load_wait_ms=100)
    made.partition.replicas = (1, 2)
    made.image.partition = lambda topic, index: SimpleNamespace(leader=made.leader)
    made.leader = 1
    nursery.start_soon(made.clock.run)
    made.runtime.begin(nursery)
    await made.runtime.load_stored()
    return made


def change_leader(stage, *, to):
    stage.leader = to
    stage.partition.role = Role.LEADER if to == 1 else Role.FOLLOWER
    stage.runtime.on_metadata_delta(Delta(partitions_changed={TopicPartition(TOPIC, 0): (None, None)}))


async def add_code(stage, by=1):
    with pytest.raises(KafkaError) as refused:
        await stage.add(by)
    return refused.value.code


async def ask_code(stage):
    with pytest.raises(KafkaError) as refused:
        await stage.runtime.machine(Impatient(), "key")
    return refused.value.code


async def test_a_lost_leadership_unloads_the_machine_and_answers_waiting_requests(stage, nursery):
    stage.partition.is_held = True
    codes = []

    async def add():
        codes.append(await add_code(stage))

    nursery.start_soon(add)
    await trio.testing.wait_all_tasks_blocked()
    change_leader(stage, to=2)
    await trio.testing.wait_all_tasks_blocked()
    assert codes == [Code.NOT_COORDINATOR]
    assert stage.made[-1].was_unloaded
    assert stage.runtime.loaded_shards() == []


async def test_the_timers_of_a_lost_machine_write_nothing(stage):
    await stage.add(1)
    change_leader(stage, to=2)
    end_offset = stage.partition.log.end_offset
    await stage.pass_ms(200_000)
    assert stage.partition.log.end_offset == end_offset


async def test_a_gained_leadership_loads_the_machine_from_the_log(stage):
    await stage.add(5)
    change_leader(stage, to=2)
    change_leader(stage, to=1)
    await trio.testing.wait_all_tasks_blocked()
    assert len(stage.made) == 2
    (shard,) = stage.runtime.loaded_shards()
    assert shard.machine is stage.made[-1]
    assert shard.machine.read() == 5


async def test_a_new_epoch_of_the_same_leader_keeps_the_machine(stage):
    await stage.add(5)
    change_leader(stage, to=1)
    assert stage.runtime.loaded_shards()[0].machine is stage.made[0]


async def test_a_new_leader_answers_once_its_log_is_committed(stage):
    await stage.add(5)
    change_leader(stage, to=2)
    stage.partition.high_watermark = 0
    change_leader(stage, to=1)
    assert await ask_code(stage) is Code.COORDINATOR_LOAD_IN_PROGRESS
    assert stage.runtime.loaded_shards() == []
    stage.partition.commit()
    await trio.testing.wait_all_tasks_blocked()
    assert await stage.read() == 5


async def test_a_marker_that_comes_while_the_machine_waits_for_commits_is_replayed_from_the_log(stage):
    await stage.add(5)
    change_leader(stage, to=2)
    stage.partition.high_watermark = 0
    change_leader(stage, to=1)
    await trio.testing.wait_all_tasks_blocked()
    stage.partition.append_own(bytes(stage.partition.batches[0]))
    stage.partition.commit()
    await trio.testing.wait_all_tasks_blocked()
    assert stage.made[-1].offsets == [0, 1]


async def test_a_leadership_that_is_lost_while_loading_is_answered_not_coordinator(stage, nursery):
    await stage.add(5)
    change_leader(stage, to=2)
    stage.partition.high_watermark = 0
    change_leader(stage, to=1)
    codes = []

    async def ask():
        with pytest.raises(KafkaError) as refused:
            await stage.machine()
        codes.append(refused.value.code)

    nursery.start_soon(ask)
    await trio.testing.wait_all_tasks_blocked()
    change_leader(stage, to=2)
    await trio.testing.wait_all_tasks_blocked()
    assert codes == [Code.NOT_COORDINATOR]
    stage.partition.commit()
    await trio.testing.wait_all_tasks_blocked()
    assert stage.runtime.loaded_shards() == []


async def test_a_partition_that_is_followed_is_not_loaded(stage):
    await stage.add(5)
    change_leader(stage, to=2)
    assert await stage.runtime.machines(Impatient()) == []
    stage.runtime.on_metadata_delta(Delta(partitions_changed={TopicPartition(TOPIC, 0): (None, None)}))
    assert len(stage.made) == 1


async def test_a_write_that_is_not_committed_in_time_is_answered_and_may_be_committed_later(stage, nursery):
    stage.partition.is_held = True
    codes = []

    async def add():
        codes.append(await add_code(stage, 3))

    nursery.start_soon(add)
    await stage.pass_ms(4_000)
    assert codes == []
    await stage.pass_ms(2_000)
    assert codes == [Code.COORDINATOR_NOT_AVAILABLE]
    assert await stage.read() == 0
    stage.partition.commit()
    await trio.testing.wait_all_tasks_blocked()
    assert await stage.read() == 3


async def test_a_write_without_replicas_waits_for_its_commit_as_long_as_it_takes(stage, nursery):
    stage.partition.replicas = (1,)
    stage.partition.is_held = True
    answers = []

    async def add():
        answers.append(await stage.add(3))

    nursery.start_soon(add)
    await stage.pass_ms(60_000)
    assert answers == []
    stage.partition.commit()
    await trio.testing.wait_all_tasks_blocked()
    assert answers == [3]


async def test_one_task_waits_for_the_commits_of_a_machine(stage, nursery):
    stage.partition.is_held = True
    waits = []
    committed = stage.partition.committed

    async def counted(offset, *, since):
        waits.append(offset)
        await committed(offset, since=since)

    stage.partition.committed = counted
    for by in (1, 2, 3):
        nursery.start_soon(stage.add, by)
    await trio.testing.wait_all_tasks_blocked()
    assert waits == [1]
    stage.partition.commit()
    await trio.testing.wait_all_tasks_blocked()
    # The high watermark has passed the others too.
    assert waits == [1]
    assert await stage.read() == 6


async def test_the_coordinator_of_a_key_is_the_leader_of_its_partition(stage):
    assert await stage.runtime.coordinator_of("key") == 1
    stage.leader = 2
    assert await stage.runtime.coordinator_of("key") == 2
    stage.leader = -1
    with pytest.raises(KafkaError) as refused:
        await stage.runtime.coordinator_of("key")
    assert refused.value.code is Code.COORDINATOR_NOT_AVAILABLE


async def test_a_topic_that_is_created_and_not_known_yet_has_no_coordinator_yet(stage):
    async def create(name):
        """Another broker was first, and its records are on their way."""

    stage.runtime._create = create
    stage.image.topics.clear()
    with pytest.raises(KafkaError) as refused:
        await stage.runtime.coordinator_of("key")
    assert refused.value.code is Code.COORDINATOR_NOT_AVAILABLE
    stage.image.topics[TOPIC] = SimpleNamespace(partitions=[None])
    assert await stage.runtime.coordinator_of("key") == 1
