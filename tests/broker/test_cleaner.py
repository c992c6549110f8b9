"""The cleaner of a whole broker: which log is next, how fast, and what is left of a round that was disturbed."""

from __future__ import annotations

import errno
import os
import time
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest
import trio
import trio.lowlevel
from peer import cleaner_of
from transactional import Producer, seen, state

from kwire.broker.background import cleaner as cleaner_module
from kwire.broker.endpoint import Endpoint
from kwire.broker.start import open_broker
from kwire.metadata.configs.effective import BrokerSettings
from kwire.metadata.decisions.topics import Created, NewTopic, create_topics, delete_topics
from kwire.storage.checkpoints import CLEANER_CHECKPOINT, read_offsets
from kwire.storage.segments.segment import file_name
from kwire.testing.memory.files import MemoryFiles
from kwire.types import TopicPartition
from kwire.wire.batches.batch import HEADER_BYTES, read_batch_header
from kwire.wire.batches.compression import Codec
from kwire.wire.batches.records import Record, build_batch, read_records
from kwire.wire.messages import OffsetCommitRequest, OffsetFetchRequest

BACKOFF_MS = 1000
# For tests with a cleaner of their own: while a thread works the clock jumps, and the broker's would be quicker.
BY_HAND = {"log.cleaner.enable": "false"}
COMPACT = {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.3"}


@asynccontextmanager
async def running(files: MemoryFiles, **settings: str):
    texts = {"log.dirs": "data", "log.cleaner.backoff.ms": str(BACKOFF_MS), **settings}
    endpoint = Endpoint("PLAINTEXT", "PLAINTEXT", "localhost", 9092)
    async with open_broker(BrokerSettings(texts), files, endpoints=[endpoint]) as broker:
        yield broker


@pytest.fixture
def files() -> MemoryFiles:
    return MemoryFiles()


def has_cleaned(cleaner) -> bool:
    return cleaner is not None and cleaner.rounds_done > 0


def has_uncleanable(cleaner) -> bool:
    return has_cleaned(cleaner) and bool(cleaner.uncleanable)


def create(broker, name: str, **configs: str):
    """Create a topic of one partition; give that partition."""
    decision = create_topics(
        broker.image, broker.configs, [NewTopic(name, 1, configs=configs or COMPACT)], uuid=broker.clock.uuid
    )
    assert isinstance(decision.results[0], Created), decision
    broker.controller.commit(decision.records)
    return broker.partitions.get(name, 0)


def put(partition, *pairs: tuple[str, str], codec: Codec = Codec.NONE) -> None:
    now_ms = partition.clock.now_ms()
    records = [Record(index, now_ms, key.encode(), value.encode()) for index, (key, value) in enumerate(pairs)]
    batch = memoryview(build_batch(records, codec=codec))
    partition.append(batch, read_batch_header(batch), acks=1)


def fill(partition, count: int = 20, size: int = 10) -> None:
    """Write a sealed segment in which each of two keys has ``count`` values, and something behind it."""
    for number in range(count):
        put(partition, ("a", f"{number}" + "x" * size), ("b", f"{number}"))
    partition.log.roll(partition.clock.now_ms())
    put(partition, ("c", "last"))


def keys(partition) -> list[str]:
    return [record.key.decode() for batch in partition.log.read_batches(0) for record in read_records(batch)]


async def until(condition) -> None:
    with trio.fail_after(600):
        while not condition():
            # The clock jumps while a thread of the cleaner works, which needs real time.
            time.sleep(0.002)  # noqa: ASYNC251
            await trio.sleep(0.1)


async def test_a_dirty_log_is_cleaned_in_the_background(files, autojump_clock):
    async with running(files) as broker:
        partition = create(broker, "kv")
        fill(partition)
        await until(lambda: has_cleaned(broker.housekeeping.cleaner))
        assert keys(partition) == ["a", "b", "c"]
        assert broker.housekeeping.cleaner.bytes_written < broker.housekeeping.cleaner.bytes_read
        checkpoint = read_offsets(files.read_bytes(f"data/{CLEANER_CHECKPOINT}"))
        assert checkpoint == {TopicPartition("kv", 0): 40}


async def test_after_a_restart_cleaning_continues_where_it_ended(files, autojump_clock):
    async with running(files) as broker:
        partition = create(broker, "kv")
        fill(partition)
        await until(lambda: has_cleaned(broker.housekeeping.cleaner))
        fill(partition, 1)
    async with running(files, **BY_HAND) as broker:
        partition = broker.partitions.get("kv", 0)
        cleaner = cleaner_of(broker)
        found = await cleaner.dirtiest()
        assert found is not None
        assert (found[0], found[1].first_dirty_offset) == (partition, 40)


async def test_logs_that_are_clean_enough_or_not_compacted_are_left_alone(files, autojump_clock):
    async with running(files) as broker:
        lazy = create(broker, "lazy", **{**COMPACT, "min.cleanable.dirty.ratio": "1.0"})
        plain = create(broker, "plain", **{"cleanup.policy": "delete"})
        for partition in (lazy, plain):
            fill(partition)
        await until(lambda: broker.housekeeping.cleaner is not None)
        await trio.sleep(10 * BACKOFF_MS / 1000)
        assert broker.housekeeping.cleaner.rounds_done == 0
        assert broker.housekeeping.cleaner.dirtiest_ratio == 1.0
        assert len(keys(lazy)) == len(keys(plain)) == 41


async def test_an_old_record_is_compacted_however_clean_the_log_is(files, autojump_clock):
    async with running(files) as broker:
        configs = {**COMPACT, "min.cleanable.dirty.ratio": "1.0", "max.compaction.lag.ms": "60000"}
        partition = create(broker, "kv", **configs)
        fill(partition)
        await until(lambda: broker.housekeeping.cleaner is not None)
        assert await broker.housekeeping.cleaner.dirtiest() is None
        broker.clock.advance(61_000)
        await until(lambda: broker.housekeeping.cleaner.rounds_done)
        assert keys(partition) == ["a", "b", "c"]


async def test_the_dirtiest_log_is_first(files, autojump_clock):
    async with running(files, **BY_HAND) as broker:
        mild, filthy = create(broker, "mild"), create(broker, "filthy")
        cleaner = cleaner_of(broker)
        fill(mild)
        await cleaner.clean(mild)
        fill(mild, 1)
        fill(filthy)
        found = await cleaner.dirtiest()
        assert found is not None
        assert found[0] is filthy


async def test_the_throttle_spreads_a_round_over_time(files, autojump_clock):
    async with running(files, **{"log.cleaner.io.max.bytes.per.second": "10000", **BY_HAND}) as broker:
        partition = create(broker, "kv")
        fill(partition, 100, 1000)
        cleaner = cleaner_of(broker)
        before = trio.current_time()
        compaction = await cleaner.clean(partition)
        seconds = trio.current_time() - before
        moved_bytes = compaction.bytes_read + compaction.bytes_written
        assert moved_bytes > 100_000
        assert seconds >= moved_bytes / 10_000


async def test_the_progress_of_a_round_is_logged(files, autojump_clock, monkeypatch):
    lines = []
    written = SimpleNamespace(info=lambda event, **values: lines.append((event, values)))
    monkeypatch.setattr(cleaner_module, "log", written)
    async with running(files, **{"log.cleaner.io.max.bytes.per.second": "10000", **BY_HAND}) as broker:
        partition = create(broker, "kv")
        for _ in range(10):
            fill(partition, 300, 100)
        await cleaner_of(broker).clean(partition)
    assert [event for event, _ in lines][:1] == ["log cleaning started"]
    percents = [values["percent"] for event, values in lines if event == "log cleaning in progress"]
    assert len(percents) > 2
    assert percents == sorted(percents)
    assert 0 < percents[0] < percents[-1] <= 100
    event, values = lines[-1]
    assert event == "log cleaning finished"
    assert values["cleaned_offset"] == partition.log.active.base_offset
    assert values["records_kept"] < values["records_read"]


async def test_other_tasks_run_between_slices(files, autojump_clock):
    async with running(files, **BY_HAND) as broker:
        partition = create(broker, "kv")
        for number in range(0, 10_000, 100):
            put(partition, *((f"k{key % 1000}", "v") for key in range(number, number + 100)))
        fill(partition, 1)
        turns = 0

        async def count_turns():
            nonlocal turns
            while True:
                await trio.lowlevel.checkpoint()
                turns += 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(count_turns)
            await cleaner_of(broker).clean(partition)
            nursery.cancel_scope.cancel()
        assert turns > 20


async def test_as_many_rounds_as_there_are_threads(files, autojump_clock):
    settings = {"log.cleaner.threads": "2", "log.cleaner.io.max.bytes.per.second": "1000"}
    async with running(files, **settings) as broker:
        for name in ("one", "two", "three"):
            fill(create(broker, name), 20, 300)
        await until(lambda: broker.housekeeping.cleaner is not None and broker.housekeeping.cleaner.rounds)
        most = 0
        while broker.housekeeping.cleaner.rounds_done < 3:
            most = max(most, len(broker.housekeeping.cleaner.rounds))
            await trio.sleep(0.05)
        assert most == 2


async def test_a_log_that_cannot_be_read_is_left_alone_and_others_are_cleaned(files, autojump_clock):
    async with running(files) as broker:
        broken, sound = create(broker, "broken"), create(broker, "sound")
        put(broken, ("a", "1"), codec=Codec.ZSTD)
        fill(broken)
        fill(sound)
        content = files.content(f"data/broken-0/{file_name(0)}.log")
        content[HEADER_BYTES : HEADER_BYTES + 4] = b"junk"
        await until(
            lambda: (
                broker.housekeeping.cleaner is not None
                and broker.housekeeping.cleaner.rounds_done
                and broker.housekeeping.cleaner.uncleanable
            )
        )
        assert list(broker.housekeeping.cleaner.uncleanable) == [broken]
        assert keys(sound) == ["a", "b", "c"]
        put(broken, ("still", "writable"))


async def test_a_disk_that_fails_for_a_while_delays_cleaning(files, autojump_clock):
    async with running(files) as broker:
        partition = create(broker, "kv")
        fill(partition)

        def fault(operation: str, path: str) -> OSError | None:
            return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) if path.endswith(".cleaned") else None

        files.fault = fault
        await until(lambda: broker.housekeeping.cleaner is not None and broker.housekeeping.cleaner.rounds)
        await trio.sleep(5 * BACKOFF_MS / 1000)
        assert broker.housekeeping.cleaner.rounds_done == 0
        assert not broker.housekeeping.cleaner.uncleanable
        files.fault = None
        await until(lambda: broker.housekeeping.cleaner.rounds_done)
        assert keys(partition) == ["a", "b", "c"]


async def test_a_topic_may_be_deleted_while_it_is_cleaned(files, autojump_clock):
    async with running(files, **{"log.cleaner.io.max.bytes.per.second": "1000"}) as broker:
        partition = create(broker, "kv")
        fill(partition, 50, 300)
        await until(lambda: broker.housekeeping.cleaner is not None and broker.housekeeping.cleaner.rounds)
        topic_id = broker.image.topics["kv"].id
        broker.controller.commit(delete_topics(broker.image, [topic_id]).records)
        await until(lambda: not broker.housekeeping.cleaner.rounds)
        assert broker.housekeeping.cleaner.rounds_done == 0
        again = create(broker, "kv")
        fill(again)
        await until(lambda: broker.housekeeping.cleaner.rounds_done)
        assert keys(again) == ["a", "b", "c"]


async def test_a_recreated_topic_does_not_inherit_the_cleaned_offset(files, autojump_clock):
    async with running(files, **BY_HAND) as broker:
        partition = create(broker, "kv")
        fill(partition)
        cleaner = cleaner_of(broker)
        await cleaner.clean(partition)
        broker.controller.commit(delete_topics(broker.image, [broker.image.topics["kv"].id]).records)
        again = create(broker, "kv")
        fill(again, 50)
        found = await cleaner.dirtiest()
        assert found is not None
        assert found[1].first_dirty_offset == 0


async def test_a_stop_in_the_middle_of_a_round_leaves_nothing_behind(files, autojump_clock):
    async with running(files, **{"log.cleaner.io.max.bytes.per.second": "1000"}) as broker:
        fill(create(broker, "kv"), 50, 300)
        await until(lambda: any(path.endswith(".cleaned") for path in files.paths()))
    assert not any(path.endswith((".cleaned", ".swap")) for path in files.paths())
    async with running(files) as broker:
        await until(lambda: has_cleaned(broker.housekeeping.cleaner))
        assert keys(broker.partitions.get("kv", 0)) == ["a", "b", "c"]


async def test_the_old_files_go_after_the_delay(files, autojump_clock):
    async with running(files, **BY_HAND) as broker:
        partition = create(broker, "kv", **COMPACT, **{"file.delete.delay.ms": "30000"})
        fill(partition)
        await cleaner_of(broker).clean(partition)
        assert any(path.endswith(".log.deleted") for path in files.paths())
        await trio.sleep(31)
        assert not any(path.endswith(".deleted") for path in files.paths())


async def test_an_unused_log_is_cleaned_if_it_has_several_segments_and_else_stays_closed(files, autojump_clock):
    async with running(files) as broker:
        fill(create(broker, "several"))
        put(create(broker, "single"), ("a", "1"))
    async with running(files) as broker:
        await until(lambda: has_cleaned(broker.housekeeping.cleaner))
        assert broker.partitions.get("several", 0).opened is not None
        assert broker.partitions.get("single", 0).opened is None


async def test_without_a_cleaner_nothing_is_cleaned(files, autojump_clock):
    async with running(files, **{"log.cleaner.enable": "false"}) as broker:
        partition = create(broker, "kv")
        fill(partition)
        await trio.sleep(100)
        assert broker.housekeeping.cleaner is None
        assert len(keys(partition)) == 41


async def test_committed_offsets_survive_compaction_and_unknown_records_pass(start_broker, client):
    settings = {"offsets.topic.num.partitions": "1", "log.cleaner.backoff.ms": "1"}
    strange = Record(0, 1_700_000_000_000, b"\x7f\xffof a kind from the future", b"\x00\x00whatever")

    def commit(offset: int) -> OffsetCommitRequest:
        partition = OffsetCommitRequest.OffsetCommitRequestPartition(partition_index=0, committed_offset=offset)
        topic = OffsetCommitRequest.OffsetCommitRequestTopic(name="kv", partitions=[partition])
        return OffsetCommitRequest(group_id="g", generation_id_or_member_epoch=-1, topics=[topic])

    async with start_broker(**{**settings, "log.dirs": client.broker.dirs.dirs[0].path + "-2"}) as broker:
        peer = type(client)(broker)
        await peer.create_topic("kv")
        for offset in range(50):
            response = await peer.call(8, commit(offset))
            assert response.topics[0].partitions[0].error_code == 0
        offsets = broker.partitions.get("__consumer_offsets", 0)
        offsets.append_own(build_batch([strange]))
        offsets.log.roll(broker.clock.now_ms())
        await peer.call(8, commit(50))
        compaction = await cleaner_of(broker).clean(offsets)
        assert compaction.records_kept == 2
    async with start_broker(**{**settings, "log.dirs": client.broker.dirs.dirs[0].path + "-2"}) as broker:
        peer = type(client)(broker)
        topic = OffsetFetchRequest.OffsetFetchRequestTopic(name="kv", partition_indexes=[0])
        response = await peer.call(5, OffsetFetchRequest(group_id="g", topics=[topic]))
        assert response.topics[0].partitions[0].committed_offset == 50
        log = broker.partitions.get("__consumer_offsets", 0).log
        kept = [record for batch in log.read_batches(0) for record in read_records(batch)]
        assert [(record.key, record.value) for record in kept if record.offset == 50] == [(strange.key, strange.value)]


async def test_transactions_survive_compaction(start_broker, client):
    settings = {"transaction.state.log.num.partitions": "1", "log.dirs": client.broker.dirs.dirs[0].path + "-2"}
    async with start_broker(**settings) as broker:
        peer = type(client)(broker)
        await peer.create_topic("kv")
        for name in ("first", "second"):
            producer = Producer(peer, name)
            await producer.init()
            for _ in range(20):
                await producer.write("kv", b"x")
                await producer.commit()
        await producer.write("kv", b"open")
        states = broker.partitions.get("__transaction_state", 0)
        states.log.roll(broker.clock.now_ms())
        await Producer(peer, "third").init()
        compaction = await cleaner_of(broker).clean(states)
        assert compaction.records_kept == 2
        assert compaction.records_read > 100
    async with start_broker(**settings) as broker:
        peer = producer.client = type(client)(broker)
        assert [await state(peer, name) for name in ("first", "second", "third")] == [
            "CompleteCommit",
            "Ongoing",
            "Empty",
        ]
        await producer.commit()
        assert (await seen(peer, "kv"))[-1] == b"open"
