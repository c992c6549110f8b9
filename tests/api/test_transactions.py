"""Transactions through dispatch: what is written, what is seen, and when."""

import errno
import os
from dataclasses import replace
from pathlib import Path

import pytest
import trio
import trio.testing
from peer import Peer
from transactional import (
    NEW,
    OLD,
    READ_UNCOMMITTED,
    Producer,
    batch,
    committed,
    fetch,
    latest,
    produce,
    seen,
    state,
)

from kwire.broker.coordination.transactions.producer_ids import BLOCK_SIZE
from kwire.broker.start import open_broker
from kwire.coordinators.transaction.transaction import EPOCH_MAX
from kwire.errors import Code
from kwire.metadata.configs.effective import BrokerSettings
from kwire.metadata.decisions.topics import delete_topics
from kwire.metadata.decisions.update_features import FeatureUpdate, UpgradeType, update_features
from kwire.testing.memory.files import MemoryFiles
from kwire.wire import messages as m

pytestmark = pytest.mark.usefixtures("mock_clock")

SPEAKS = pytest.mark.parametrize("speaks", [NEW, OLD], ids=["new", "old"])


async def started(client, name="tx", **more):
    producer = Producer(client, name, **more)
    assert await producer.init() is Code.NONE
    return producer


def set_level(broker, level):
    update = FeatureUpdate("transaction.version", level, UpgradeType.SAFE_DOWNGRADE)
    broker.controller.commit(update_features(broker.image, [update], node_id=1, kraft_version=1))


@SPEAKS
async def test_aborted_records_are_hidden_from_read_committed(client, speaks):
    await client.create_topic("t")
    producer = await started(client, speaks=speaks)
    for n, commit in enumerate((True, False, True)):
        await producer.write("t", b"%d" % n)
        assert await producer.end(commit=commit) is Code.NONE
    assert await seen(client, "t") == [b"0", b"2"]
    assert await seen(client, "t", isolation=READ_UNCOMMITTED) == [b"0", b"1", b"2"]


@SPEAKS
async def test_a_small_fetch_lists_aborted_transactions_too(client, speaks):
    await client.create_topic("t", 1)
    producer = await started(client, speaks=speaks)
    kept = []
    for n in range(12):
        values = [b"%d-%d" % (n, i) for i in range(n + 1)]
        for value in values:
            await producer.write("t", value)
        commit = n % 3 != 1
        assert await producer.end(commit=commit) is Code.NONE
        kept += values if commit else []
    for max_bytes in (1, 150, 500, 5000):
        assert await seen(client, "t", max_bytes=max_bytes) == kept


async def test_an_open_transaction_holds_back_all_later_records(client):
    await client.create_topic("t")
    plain = batch(b"before", producer_id=-1, epoch=-1, sequence=-1, transactional=False)
    await produce(client, "t", plain)
    first, second = await started(client, "a"), await started(client, "b")
    await first.write("t", b"a")
    await second.write("t", b"b")
    await produce(client, "t", batch(b"after", producer_id=-1, epoch=-1, sequence=-1, transactional=False))
    await second.commit()
    assert await seen(client, "t") == [b"before"]
    assert (await latest(client, "t"), await latest(client, "t", isolation=READ_UNCOMMITTED)) == (1, 5)
    answer = await fetch(client, "t")
    assert (answer.last_stable_offset, answer.high_watermark) == (1, 5)
    await first.abort()
    assert await seen(client, "t") == [b"before", b"b", b"after"]
    assert await latest(client, "t") == 6


async def test_a_consumer_of_committed_records_wakes_when_the_transaction_ends(client, broker, nursery):
    await client.create_topic("t")
    producer = await started(client)
    await producer.write("t", b"x")
    found = []

    async def wait():
        request = m.FetchRequest
        wanted = request.FetchPartition(partition=0, partition_max_bytes=1 << 20)
        other = type(client)(broker)
        answer = await other.call(
            12,
            request(
                max_wait_ms=60_000,
                min_bytes=1,
                session_epoch=-1,
                isolation_level=1,
                topics=[request.FetchTopic(topic="t", partitions=[wanted])],
            ),
        )
        found.append(len(answer.responses[0].partitions[0].records))

    nursery.start_soon(wait)
    await trio.testing.wait_all_tasks_blocked()
    await producer.write("t", b"y")
    await trio.testing.wait_all_tasks_blocked()
    assert not found
    await producer.commit()
    await trio.testing.wait_all_tasks_blocked()
    assert found and found[0] > 0  # noqa: PT018 - one fact


@SPEAKS
async def test_offsets_count_when_the_transaction_commits(client, speaks):
    await client.create_topic("t")
    producer = await started(client, speaks=speaks)
    assert await producer.offsets("g", "t", 5) is Code.NONE
    assert await committed(client, "g", "t") is Code.UNSTABLE_OFFSET_COMMIT
    assert await committed(client, "g", "t", stable=False) == -1
    await producer.commit()
    assert await committed(client, "g", "t") == 5
    await producer.offsets("g", "t", 9)
    await producer.abort()
    assert await committed(client, "g", "t") == 5


async def test_offsets_of_an_open_transaction_survive_a_restart(start_broker, connect):
    async with start_broker() as broker:
        client = connect(broker)
        await client.create_topic("t")
        producer = await started(client)
        await producer.offsets("g", "t", 5)
        await producer.write("t", b"x")
    async with start_broker() as broker:
        producer.client = client = connect(broker)
        assert await committed(client, "g", "t") is Code.UNSTABLE_OFFSET_COMMIT
        assert await seen(client, "t") == []
        await producer.write("t", b"y")
        assert await producer.commit() is Code.NONE
        assert await committed(client, "g", "t") == 5
        assert await seen(client, "t") == [b"x", b"y"]


async def test_a_transaction_that_is_open_for_too_long_is_aborted(client, broker):
    await client.create_topic("t")
    producer = await started(client, timeout_ms=5000)
    await producer.write("t", b"x")
    await producer.offsets("g", "t", 5)
    broker.clock.advance(4000)
    await trio.testing.wait_all_tasks_blocked()
    assert await state(client, "tx") == "Ongoing"
    broker.clock.advance(1001)
    await trio.testing.wait_all_tasks_blocked()
    assert await state(client, "tx") == "CompleteAbort"
    assert await seen(client, "t") == []
    assert await committed(client, "g", "t") == -1
    # The late client receives an error, and continues.
    assert (await producer.send("t", b"y")).error_code == Code.INVALID_PRODUCER_EPOCH
    assert await producer.commit() is Code.INVALID_TXN_STATE
    assert await producer.abort() is Code.NONE
    await producer.write("t", b"z")
    assert await producer.commit() is Code.NONE
    assert await seen(client, "t") == [b"z"]


async def test_a_successor_fences_earlier_epochs(client):
    await client.create_topic("t")
    first = await started(client)
    await first.write("t", b"first")
    second = Producer(client, "tx")
    assert await second.init() is Code.CONCURRENT_TRANSACTIONS
    assert await second.init() is Code.NONE
    assert await first.commit() is Code.PRODUCER_FENCED
    assert await first.end(commit=True, version=1) is Code.INVALID_PRODUCER_EPOCH
    assert await first.add("t", 0) is Code.PRODUCER_FENCED
    assert await first.add("t", 0, version=1) is Code.INVALID_PRODUCER_EPOCH
    assert (await first.send("t", b"zombie")).error_code == Code.INVALID_PRODUCER_EPOCH
    assert await first.offsets("g", "t", 1) is Code.INVALID_PRODUCER_EPOCH
    assert await first.init(producer_id=first.producer_id, producer_epoch=first.epoch) is Code.PRODUCER_FENCED
    await second.write("t", b"second")
    await second.commit()
    assert await seen(client, "t") == [b"second"]


@pytest.mark.parametrize(
    ("version", "code"),
    [(10, Code.INVALID_TXN_STATE), (11, Code.TRANSACTION_ABORTABLE), (12, Code.NONE)],
)
async def test_the_code_for_a_partition_that_was_not_added_depends_on_the_version(client, version, code):
    await client.create_topic("t", 2)
    producer = await started(client)
    assert (await producer.send("t", b"x", version=version)).error_code == code
    if code:
        await producer.add("t", 0)
        assert not (await producer.send("t", b"x", version=version)).error_code
        assert (await producer.send("t", b"x", version=version, partition=1)).error_code == code
    await producer.commit()
    assert await seen(client, "t") == [b"x"]


async def test_a_batch_behind_a_refused_one_is_refused_too(client):
    await client.create_topic("t")
    producer = await started(client, speaks=OLD)
    assert (await producer.send("t", b"first")).error_code == Code.TRANSACTION_ABORTABLE
    await producer.add("t", 0)
    # Nothing of this producer is in the log, so nothing but the memory of the refusal tells that one is missing.
    assert (await producer.send("t", b"second", sequence=1)).error_code == Code.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert not (await producer.send("t", b"first", sequence=0)).error_code
    assert not (await producer.send("t", b"second", sequence=1)).error_code


async def test_verification_can_be_switched_off_for_old_clients(start_broker, connect):
    async with start_broker(**{"transaction.partition.verification.enable": "false"}) as broker:
        client = connect(broker)
        await client.create_topic("t")
        producer = await started(client)
        assert not (await producer.send("t", b"x", version=11)).error_code
        assert await state(client, "tx") == "Empty"
        assert not (await producer.send("t", b"y", version=12)).error_code
        # The transaction is open in the log, so the coordinator was not asked.
        assert await state(client, "tx") == "Empty"


async def test_a_transactional_batch_without_a_transactional_id_is_refused(client):
    await client.create_topic("t")
    producer = await started(client)
    records = batch(b"x", producer_id=producer.producer_id, epoch=producer.epoch, sequence=0)
    answer = await produce(client, "t", records)
    assert answer.error_code == Code.TRANSACTIONAL_ID_AUTHORIZATION_FAILED


async def test_a_transactional_batch_counts_though_another_batch_for_its_partition_follows(client):
    await client.create_topic("t")
    request = m.ProduceRequest
    parts = [
        request.PartitionProduceData(
            index=0, records=batch(b"x", producer_id=7, epoch=0, sequence=0, transactional=transactional)
        )
        for transactional in (True, False)
    ]
    topic = request.TopicProduceData(name="t", partition_data=parts)
    answer = await client.call(9, request(acks=-1, timeout_ms=1000, topic_data=[topic]))
    codes = [partition.error_code for partition in answer.responses[0].partition_responses]
    assert codes == [Code.TRANSACTIONAL_ID_AUTHORIZATION_FAILED]


async def test_a_request_has_one_producer(client):
    await client.create_topic("t", 2)
    producer = await started(client)
    request = m.ProduceRequest
    parts = [
        request.PartitionProduceData(
            index=index, records=batch(b"x", producer_id=producer.producer_id + index, epoch=producer.epoch, sequence=0)
        )
        for index in (0, 1)
    ]
    wanted = request.TopicProduceData(name="t", partition_data=parts)
    answer = await client.call(12, request(transactional_id="tx", acks=-1, timeout_ms=1000, topic_data=[wanted]))
    codes = {each.error_code for each in answer.responses[0].partition_responses}
    assert codes == {Code.INVALID_PRODUCER_ID_MAPPING}


def refuse_appends(monkeypatch, broker, topic, partition):
    """The disk has no room for this one log, until the monkeypatch is undone."""
    directory = Path(broker.partitions.get(topic, partition).log.path)

    def writev(fd, parts):
        if any(os.path.samestat(os.fstat(fd), path.stat()) for path in directory.iterdir()):
            raise OSError(errno.ENOSPC, "No space left on device")
        return os.writev(fd, parts)

    monkeypatch.setattr(broker.dirs.files, "writev", writev)


async def test_a_disk_failure_only_delays_the_end_of_a_transaction(client, broker, monkeypatch):
    await client.create_topic("t", 2)
    producer = await started(client)
    await producer.write("t", b"x")
    await producer.write("t", b"y", partition=1)
    refuse_appends(monkeypatch, broker, "t", 1)
    # The decision is in the log, so it is the answer.
    assert await producer.commit() is Code.NONE
    assert await state(client, "tx") == "PrepareCommit"
    assert await seen(client, "t") == [b"x"]
    assert await seen(client, "t", partition=1) == []
    broker.clock.advance(1000)
    await trio.testing.wait_all_tasks_blocked()
    assert await state(client, "tx") == "PrepareCommit"
    # A producer who goes on meanwhile is made to wait.
    assert await producer.add("t", 0) is Code.CONCURRENT_TRANSACTIONS
    monkeypatch.undo()
    broker.clock.advance(1000)
    await trio.testing.wait_all_tasks_blocked()
    assert await state(client, "tx") == "CompleteCommit"
    assert await seen(client, "t", partition=1) == [b"y"]


async def test_a_marker_that_cannot_be_synced_is_a_storage_failure_of_its_partition():
    files = MemoryFiles()
    settings = BrokerSettings({"log.dirs": "data"})
    async with open_broker(settings, files, endpoints=[Peer.endpoint]) as broker:
        client = Peer(broker)
        await client.create_topic("t", flush_messages=1)
        producer = await started(client)
        await producer.write("t", b"x")
        reported = []
        broker.storage_failures.subscribers.append(reported.append)
        files.fault = lambda operation, path: (
            OSError(errno.EIO, os.strerror(errno.EIO)) if operation == "sync" and path.startswith("data/t-0") else None
        )
        assert await producer.commit() is Code.NONE
        with trio.fail_after(150):
            while not reported:
                await trio.testing.wait_all_tasks_blocked(0.001)
        assert reported[0].path.startswith("data/t-0/")
        assert reported[0].__cause__.errno == errno.EIO
        assert await state(client, "tx") == "PrepareCommit"


async def test_a_produce_waits_briefly_for_the_previous_transaction(client, broker, monkeypatch, nursery):
    await client.create_topic("t", 2)
    producer = await started(client)
    await producer.write("t", b"x")
    refuse_appends(monkeypatch, broker, "t", 0)
    await producer.commit()
    codes = []

    async def send():
        codes.append((await producer.send("t", b"y", partition=1)).error_code)

    nursery.start_soon(send)
    await trio.testing.wait_all_tasks_blocked()
    assert codes == []
    await in_steps(broker, 200)
    assert codes == [Code.CONCURRENT_TRANSACTIONS]
    broker.clock.advance(240)
    nursery.start_soon(send)
    await trio.testing.wait_all_tasks_blocked()
    monkeypatch.undo()
    await in_steps(broker, 100)
    assert codes == [Code.CONCURRENT_TRANSACTIONS, Code.NONE]


async def in_steps(broker, milliseconds):
    for _ in range(milliseconds // 20):
        broker.clock.advance(20)
        await trio.testing.wait_all_tasks_blocked()


async def test_markers_for_a_deleted_topic_are_not_waited_for(client, broker):
    await client.create_topic("t")
    await client.create_topic("gone")
    producer = await started(client)
    await producer.write("t", b"x")
    await producer.write("gone", b"y")
    broker.controller.commit(delete_topics(broker.image, [broker.image.topics["gone"].id]).records)
    assert await producer.commit() is Code.NONE
    assert await state(client, "tx") == "CompleteCommit"
    assert await seen(client, "t") == [b"x"]


async def test_a_transaction_over_many_partitions_lets_other_tasks_run(client):
    await client.create_topic("t", 450)
    producer = await started(client, speaks=OLD)
    assert await producer.add("t", *range(450)) is Code.NONE
    for partition in (0, 200, 449):
        assert not (await producer.send("t", b"x", partition=partition)).error_code
    assert await producer.commit() is Code.NONE
    assert await state(client, "tx") == "PrepareCommit"
    with trio.fail_after(150):
        while await state(client, "tx") != "CompleteCommit":
            await trio.testing.wait_all_tasks_blocked()
    for partition in (0, 200, 449):
        assert await seen(client, "t", partition=partition) == [b"x"]


async def test_with_every_batch_flushed_the_end_waits_for_the_disk(start_broker, connect):
    async with start_broker(**{"log.flush.interval.messages": "1"}) as broker:
        client = connect(broker)
        await client.create_topic("t")
        for speaks in (NEW, OLD):
            producer = await started(client, f"tx{speaks}", speaks=speaks)
            for commit in (True, False):
                await producer.write("t", b"%d %d" % (speaks, commit))
                await producer.offsets("g", "t", 7)
                assert await producer.end(commit=commit) is Code.NONE
                with trio.fail_after(150):
                    while not (await state(client, f"tx{speaks}")).startswith("Complete"):
                        await trio.testing.wait_all_tasks_blocked(0.001)
        assert await seen(client, "t") == [b"2 1", b"0 1"]
        logs = [partition.log for partition in broker.partitions if partition.opened is not None]
        with trio.fail_after(150):
            while any(log.recovery_point < log.end_offset for log in logs):
                await trio.testing.wait_all_tasks_blocked(0.001)


@pytest.mark.parametrize("level", [0, 1])
async def test_a_lower_transaction_version_serves_older_clients(client, broker, level):
    await client.create_topic("t")
    set_level(broker, level)
    producer = await started(client, speaks=OLD)
    for n, commit in enumerate((True, False)):
        await producer.write("t", b"%d" % n)
        assert await producer.end(commit=commit) is Code.NONE
        assert producer.epoch == 0
    assert await seen(client, "t") == [b"0"]
    newer = await started(client, "newer")
    answer = await newer.send("t", b"2")
    assert answer.error_code == (Code.UNSUPPORTED_VERSION if level == 0 else Code.NONE)


async def test_a_downgrade_reaches_loaded_machines(client, broker):
    await client.create_topic("t")
    producer = await started(client)
    await producer.write("t", b"0")
    set_level(broker, 0)
    assert await producer.commit() is Code.UNSUPPORTED_VERSION
    producer.speaks = OLD
    assert await producer.commit() is Code.NONE
    assert producer.epoch == 0
    set_level(broker, 2)
    producer.speaks = NEW
    await producer.write("t", b"1")
    await producer.commit()
    assert producer.epoch == 1
    assert await seen(client, "t") == [b"0", b"1"]


async def test_an_unused_transactional_id_is_forgotten(client, broker):
    await client.create_topic("t")
    producer = await started(client)
    await producer.write("t", b"x")
    await producer.commit()
    broker.clock.advance(7 * 24 * 3600 * 1000 + 1)
    await trio.testing.wait_all_tasks_blocked()
    assert await state(client, "tx") is Code.TRANSACTIONAL_ID_NOT_FOUND
    assert await producer.add("t", 0) is Code.INVALID_PRODUCER_ID_MAPPING


@SPEAKS
async def test_a_hanging_transaction_is_ended_by_a_marker(client, speaks):
    """What ``kafka-transactions abort`` does for one that the coordinator does not know of."""
    await client.create_topic("t")
    producer = await started(client, speaks=speaks)
    await producer.write("t", b"x")
    request = m.WriteTxnMarkersRequest
    marker = request.WritableTxnMarker(
        producer_id=producer.producer_id,
        producer_epoch=producer.epoch,
        transaction_result=False,
        coordinator_epoch=0,
        topics=[request.WritableTxnMarkerTopic(name="t", partition_indexes=[0])],
    )
    answer = await client.call(1, request(markers=[marker]))
    assert answer.markers[0].topics[0].partitions[0].error_code == 0
    assert await latest(client, "t") == 2
    assert await seen(client, "t") == []
    # The coordinator's own end still comes to one.
    assert await producer.abort() is Code.NONE
    assert await state(client, "tx") == "CompleteAbort"


async def test_the_last_epoch_of_a_producer_id_is_followed_by_an_id_of_another_block(client, broker):
    await client.create_topic("t")
    producer = await started(client)
    before = producer.producer_id
    transactions = broker.transactions.loaded_shards()[0].machine.transactions
    transactions["tx"] = replace(transactions["tx"], producer_epoch=EPOCH_MAX - 1)
    producer.epoch = EPOCH_MAX - 1
    while not broker.producer_ids.is_empty:
        broker.producer_ids.take()
    await producer.write("t", b"x")
    assert await producer.commit() is Code.NONE
    assert (producer.producer_id, producer.epoch) == (before + BLOCK_SIZE, 0)
    await producer.write("t", b"y")
    assert await producer.commit() is Code.NONE
    assert await seen(client, "t") == [b"x", b"y"]


async def test_find_coordinator_names_this_broker_for_transactions(client, broker):
    answer = await client.call(4, m.FindCoordinatorRequest(key_type=1, coordinator_keys=["tx", "ty"]))
    assert [(each.node_id, each.error_code) for each in answer.coordinators] == [(1, 0), (1, 0)]
    assert len(broker.image.topics["__transaction_state"].partitions) == 50
