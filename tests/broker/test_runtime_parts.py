"""The runtime of coordinators without a broker: a machine that counts, over a partition that commits on demand."""

import itertools
from types import SimpleNamespace

import pytest
import trio
from runtime_parts import TOPIC, Counter, Stage

from kwire.broker.coordination.metadata_view import change_of
from kwire.coordinators.machine import Effects, MetadataChange, Record
from kwire.errors import Code, KafkaError, StorageFailure
from kwire.metadata.entities import Resource, ResourceType
from kwire.metadata.image import Delta
from kwire.wire.batches.batch import read_batch_header

pytestmark = pytest.mark.usefixtures("mock_clock")


@pytest.fixture
async def stage(nursery):
    made = Stage()
    nursery.start_soon(made.clock.run)
    made.runtime.begin(nursery)
    await made.runtime.load_stored()
    return made


async def test_a_refused_command_changes_nothing(stage):
    with pytest.raises(KafkaError):
        await stage.add(-1)

    assert (await stage.machine()).counts.get("soft") is None


async def test_a_refused_append_changes_nothing_and_its_command_gets_the_error(stage):
    await stage.add(1)
    stage.partition.refusal = StorageFailure("/log", "full")
    with pytest.raises(KafkaError) as refusal:
        await stage.add(1)

    assert refusal.value.code is Code.NOT_COORDINATOR
    assert stage.failures == [stage.partition.refusal]
    assert (await stage.machine()).counts.get("soft") == 1


async def test_a_timer_whose_append_is_refused_fires_again_after_a_second(stage, monkeypatch):
    stage.clock.set_rate(0)
    await stage.add(1)
    append = stage.partition.append_own

    def refuse_once(batch):
        monkeypatch.setattr(stage.partition, "append_own", append)
        raise KafkaError(Code.NOT_LEADER_OR_FOLLOWER)

    monkeypatch.setattr(stage.partition, "append_own", refuse_once)
    await stage.pass_ms(60_000)
    await stage.pass_ms(990)
    assert await stage.read() == 1
    await stage.pass_ms(20)

    assert await stage.read() == 101


async def test_uncommitted_state_is_neither_read_nor_answered(stage, nursery):
    await stage.add(1)
    stage.partition.is_held = True
    answered = []

    async def add():
        answered.append(await stage.add(5))

    nursery.start_soon(add)
    nursery.start_soon(add)
    await trio.testing.wait_all_tasks_blocked()
    assert (await stage.read(), answered) == (1, [])
    stage.partition.commit()
    await trio.testing.wait_all_tasks_blocked()

    assert (await stage.read(), answered) == (11, [5, 5])


async def test_a_command_that_shows_uncommitted_state_is_answered_once_it_is_committed(stage, nursery):
    await stage.add(1)
    stage.partition.is_held = True
    answered = []

    async def submit(command):
        answered.append(await stage.submit(command))

    nursery.start_soon(stage.add, 5)
    await trio.testing.wait_all_tasks_blocked()
    nursery.start_soon(submit, Counter.look)
    await trio.testing.wait_all_tasks_blocked()
    assert answered == []
    stage.partition.commit()
    await trio.testing.wait_all_tasks_blocked()

    assert answered == [6]


async def test_answers_keep_their_order_when_a_later_append_is_committed_at_once(stage):
    await stage.add(1)
    shard = stage.runtime._shards[0]
    stage.partition.is_held = True
    first = shard.submit(lambda machine, ticket, now_ms: machine.follow(ticket=ticket, now_ms=now_ms))
    stage.partition.is_held = False
    second = shard.submit(lambda machine, ticket, now_ms: machine.look(ticket=ticket, now_ms=now_ms))

    assert not first.answered
    assert not second.answered
    third = shard.submit(lambda machine, ticket, now_ms: machine.add(5, ticket=ticket, now_ms=now_ms))
    assert [each.result for each in (first, second, third)] == [("followed", None), 1, 5]


async def test_any_number_of_commands_may_be_committed_at_once(stage, nursery):
    stage.partition.is_held = True
    answered = []

    async def submit():
        answered.append(await stage.submit(Counter.follow))

    for _ in range(500):
        nursery.start_soon(submit)
    await trio.testing.wait_all_tasks_blocked()
    stage.partition.commit()
    await trio.testing.wait_all_tasks_blocked()

    assert answered == [("followed", None)] * 500
    assert len(stage.made) == 1


async def test_a_refused_append_gives_its_follow_up_the_error_and_the_answer(stage):
    await stage.add(1)
    stage.partition.refusal = KafkaError(Code.NOT_LEADER_OR_FOLLOWER)

    assert await stage.submit(Counter.follow) == ("followed", Code.NOT_COORDINATOR)


async def test_a_refused_append_does_not_take_back_that_the_clock_was_set(stage, monkeypatch):
    await stage.add(1)
    stage.partition.refusal = KafkaError(Code.NOT_LEADER_OR_FOLLOWER)
    monkeypatch.setattr(stage.clock, "now_ms", lambda now_ms=stage.clock.now_ms: now_ms() + 5000)
    with pytest.raises(KafkaError):
        await stage.add(1)

    assert (await stage.machine()).counts.get("stepped") == pytest.approx(5000, abs=50)


async def test_state_that_could_not_be_committed_is_reverted(stage, nursery):
    await stage.add(1)
    stage.partition.is_held = True
    refused = []

    async def add():
        with pytest.raises(KafkaError) as refusal:
            await stage.add(5)
        refused.append(refusal.value.code)

    nursery.start_soon(add)
    await trio.testing.wait_all_tasks_blocked()
    stage.partition.lose(StorageFailure("/log", "lost"))
    await trio.testing.wait_all_tasks_blocked()

    assert refused == [Code.NOT_COORDINATOR]
    assert await stage.read() == 1
    assert [each.was_unloaded for each in stage.made] == [True, False]


async def test_records_replayed_before_their_commit_are_read_after_it(stage):
    await stage.add(1)
    stage.partition.is_held = True
    other = Stage()
    stage.partition.append_own(bytes(stage.partition.batches[0][:]))
    other.partition.batches, other.partition.log.end_offset = list(stage.partition.batches), 2
    other.partition.high_watermark = 1
    async with trio.open_nursery() as nursery:
        other.runtime.begin(nursery)
        await other.runtime.load_stored()
        machine = await other.machine()
        assert machine.timeline.has_uncommitted
        other.partition.commit()
        await trio.testing.wait_all_tasks_blocked()
        assert not machine.timeline.has_uncommitted
        nursery.cancel_scope.cancel()


async def test_a_bug_replaces_the_machine(stage):
    await stage.add(1)
    with pytest.raises(KafkaError) as refusal:
        await stage.add("bug")
    await stage.pass_ms(1000)

    assert refusal.value.code is Code.UNKNOWN_SERVER_ERROR
    assert [each.was_unloaded for each in stage.made] == [True, False]
    assert await stage.add(1) == 1
    assert await stage.read() == 2


async def test_a_machine_gets_metadata_that_concerns_it(stage):
    machine = await stage.machine()
    gone = SimpleNamespace(name="t", id=b"g" * 16)

    stage.runtime.on_metadata_delta(Delta(brokers_changed={1}))
    stage.runtime.on_metadata_delta(
        Delta(
            topics_deleted=[gone],
            features_changed={"f"},
            configs_changed={Resource(ResourceType.GROUP, "g"), Resource(ResourceType.TOPIC, "x")},
        )
    )

    expected = MetadataChange({"t": b"g" * 16}, {"f": 2}, frozenset({"g"}), topics_changed=True)
    assert machine.changes == [(expected, True)]
    assert change_of(Delta(), stage.metadata) is None


async def test_a_deleted_topic_unloads_its_machines(stage):
    machine = await stage.machine()
    stage.runtime.on_metadata_delta(Delta(topics_deleted=[SimpleNamespace(name=TOPIC, id=b"i" * 16)]))

    assert machine.was_unloaded
    assert await stage.machine() is not machine


async def test_a_refused_append_is_answered_while_earlier_ones_are_not_committed(stage, nursery):
    await stage.add(1)
    stage.partition.is_held = True
    nursery.start_soon(stage.add, 5)
    await trio.testing.wait_all_tasks_blocked()
    stage.partition.refusal = KafkaError(Code.NOT_LEADER_OR_FOLLOWER)

    assert await stage.submit(Counter.follow) == ("followed", Code.NOT_COORDINATOR)
    stage.partition.commit()


async def test_an_append_that_is_committed_at_once_commits_those_before(stage, nursery):
    await stage.add(1)
    stage.partition.is_held = True
    nursery.start_soon(stage.add, 5)
    await trio.testing.wait_all_tasks_blocked()
    stage.partition.is_held = False
    await stage.add(10)

    assert not (await stage.machine()).timeline.has_uncommitted
    assert await stage.read() == 16
    stage.partition.commit()


async def test_the_timers_of_an_unloaded_machine_do_not_fire(stage):
    await stage.add(1)
    before = len(stage.partition.batches)
    stage.runtime.on_metadata_delta(Delta(topics_deleted=[SimpleNamespace(name=TOPIC, id=b"i" * 16)]))
    await stage.pass_ms(120_000)

    assert len(stage.partition.batches) == before


# --- batches of records


def records_of(*sizes, atomic):
    """A command whose effects are records with values of these sizes."""

    def command(machine, *, ticket, now_ms):
        effects = Effects([Record(f"k{index}".encode(), b"1".zfill(size)) for index, size in enumerate(sizes)])
        effects.atomic = atomic
        effects.reply(ticket, "done")
        return effects

    return command


async def test_records_that_need_not_be_atomic_are_appended_in_batches_below_the_limit(stage):
    before = len(stage.partition.batches)
    assert await stage.submit(records_of(400, 400, 400, atomic=False)) == "done"
    batches = stage.partition.batches[before:]
    assert [read_batch_header(batch).record_count for batch in batches] == [2, 1]
    assert all(len(batch) <= 1000 for batch in batches)
    machine = await stage.machine()
    assert [machine.counts.get(f"k{index}") for index in range(3)] == [1, 1, 1]


async def test_of_records_that_need_not_be_atomic_those_before_a_refusal_stay(stage, monkeypatch):
    append_first = stage.partition.append_own
    count = itertools.count()

    def append_own(batch):
        if next(count):
            raise KafkaError(Code.NOT_ENOUGH_REPLICAS)
        return append_first(batch)

    monkeypatch.setattr(stage.partition, "append_own", append_own)
    await stage.submit(records_of(400, 400, 400, atomic=False))
    machine = await stage.machine()
    assert [machine.counts.get(f"k{index}") for index in range(3)] == [1, 1, None]


async def test_atomic_records_that_are_larger_than_a_batch_are_refused_as_a_whole(stage):
    with pytest.raises(KafkaError) as refusal:
        await stage.submit(records_of(600, 600, atomic=True))
    assert refusal.value.code is Code.UNKNOWN_SERVER_ERROR
    machine = await stage.machine()
    assert (machine.counts.get("k0"), machine.counts.get("k1")) == (None, None)
