"""Large changes of the metadata on a broker that follows a controller: others run in between, and see all or nothing.

Counted are the calls of Python functions between two points at which others run. They may not grow with the change.
"""

from __future__ import annotations

import pytest
import trio
from loop_steps import CALLS_PER_PARTITION_MAX, Steps

from kwire.broker.node.metadata_follower import MetadataFollower
from kwire.errors import ProtocolViolation, StorageFailure
from kwire.limits import METADATA_STEP_PARTITIONS
from kwire.metadata.image import MetadataImage
from kwire.metadata.log.log_format import Quorum, RecordReader, SnapshotReader, data_batch, write_snapshot
from kwire.metadata.log.observer import CommittedRecords, ControllerAddress, LoadedSnapshot
from kwire.metadata.log.snapshot import snapshot_records
from kwire.metadata.log.steps import apply_in_steps
from kwire.wire.batches.batch import read_batch_header
from kwire.wire.messages import (
    BeginTransactionRecord,
    EndTransactionRecord,
    FeatureLevelRecord,
    PartitionChangeRecord,
    PartitionRecord,
    TopicRecord,
)

SHORT, LONG = 200, 800  # partitions
TOPIC_PARTITIONS = 100


def partition(number, *, leader=1, epoch=0):
    index = number % TOPIC_PARTITIONS
    return PartitionRecord(
        partition_id=index,
        topic_id=topic_id(number),
        replicas=[1, 2],
        isr=[1, 2],
        leader=leader,
        leader_epoch=epoch,
        partition_epoch=epoch,
        directories=[bytes(16)] * 2,
    )


def topic_id(number):
    return (number // TOPIC_PARTITIONS + 1).to_bytes(16, "big")


def created(count, **values):
    records = [FeatureLevelRecord(name="metadata.version", feature_level=30)]
    for number in range(count):
        if number % TOPIC_PARTITIONS == 0:
            records.append(TopicRecord(name=f"topic-{number // TOPIC_PARTITIONS}", topic_id=topic_id(number)))
        records.append(partition(number, **values))
    return records


def changed(count):
    """A leader is lost: one record for each partition."""
    return [
        PartitionChangeRecord(partition_id=number % TOPIC_PARTITIONS, topic_id=topic_id(number), leader=2, isr=[2])
        for number in range(count)
    ]


def image_of(records):
    image = MetadataImage()
    image.apply(records)
    return image


def snapshot(records, offset=1000):
    content = b"".join(
        write_snapshot(
            snapshot_records(image_of(records)),
            Quorum(1, None),
            metadata_version=30,
            epoch=1,
            now_ms=0,
            last_timestamp_ms=0,
        )
    )
    reader = SnapshotReader("snapshot", content)
    return LoadedSnapshot(reader.steps(), offset, 1, reader)


def committed(*records, offset=2000):
    batch = memoryview(data_batch(records, 30, offset=0, epoch=1, now_ms=0))
    return CommittedRecords(RecordReader(Quorum(1, None)).steps(batch, read_batch_header(batch)), offset, 1)


class Observer:
    """Returns its changes as the answer to the first request, and notes those that are applied."""

    def __init__(self, *changes):
        self._changes = changes
        self.done = []
        self.applied_offset = -1
        self.leader = None

    def next(self):
        return _Ask()

    def answered(self, _response):
        changes, self._changes = self._changes, ()
        return changes

    def applied(self, change):
        self.done.append(change)
        self.applied_offset = change.offset

    def failed(self):
        self.done.append("failed")


class _Ask:
    target = ControllerAddress(1, "controller", 9093)
    message = None
    pause_ms = 0


class Follower(MetadataFollower):
    """Its connection answers once, and then no more."""

    def __init__(self, image, *changes):
        super().__init__(observer=Observer(*changes), image=image, dialer=None, node_id=1, timeout_ms=1000)
        self._answers = 1

    def _connect(self, _target):
        return self

    async def request(self, _message):
        await trio.lowlevel.checkpoint()
        if not self._answers:
            await trio.sleep_forever()
        self._answers -= 1

    async def follow(self):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.run)
            await self.changed()
            nursery.cancel_scope.cancel()


CHANGES = {
    "the first snapshot": lambda count: (MetadataImage(), snapshot(created(count))),
    "a later snapshot of the same": lambda count: (image_of(created(count)), snapshot(created(count))),
    "a later snapshot of others": lambda count: (
        image_of([*created(count), TopicRecord(name="gone", topic_id=bytes(15) + b"g")]),
        snapshot(created(count, leader=2, epoch=1)),
    ),
    "a batch of changes": lambda count: (image_of(created(count)), committed(*changed(count))),
    "a transaction": lambda count: (
        MetadataImage(),
        committed(BeginTransactionRecord(), *created(count), EndTransactionRecord()),
    ),
}


async def most_calls(name, count):
    image, change = CHANGES[name](count)
    follower = Follower(image, change)
    delivered = []
    follower.subscribe(lambda delta: delivered.append(len(delta.partitions_created) + len(delta.partitions_changed)))
    with Steps() as steps:
        await follower.follow()
    assert follower.observer.done == [change]
    assert sum(len(topic.partitions) for topic in image.topics.values()) == count
    assert max(delivered, default=0) <= METADATA_STEP_PARTITIONS
    assert sum(delivered) == (0 if name == "a later snapshot of the same" else count)
    return steps.most


@pytest.mark.parametrize("name", CHANGES)
async def test_the_work_between_two_steps_does_not_grow_with_the_change(name):
    await most_calls(name, SHORT)  # the first use of a message compiles it
    short, long = await most_calls(name, SHORT), await most_calls(name, LONG)
    assert long - short <= CALLS_PER_PARTITION_MAX * (LONG - SHORT), f"{short} calls, then {long}"


@pytest.mark.parametrize("name", ["the first snapshot", "a later snapshot of others", "a batch of changes"])
async def test_others_see_the_image_before_the_change_or_after_it(name):
    image, change = CHANGES[name](SHORT)
    seen = set()

    def look():
        partitions = [one for topic in image.topics.values() for one in topic.partitions]
        seen.add((len(partitions), frozenset((one.leader, one.leader_epoch) for one in partitions)))

    with Steps(look):
        await Follower(image, change).follow()
    assert len(seen) == 2


async def test_a_damaged_snapshot_changes_nothing(capsys):
    whole = snapshot(created(SHORT))
    content = bytearray(whole.reader._content)
    content[-200] ^= 1
    reader = SnapshotReader("snapshot", content)

    def steps():  # as the observer reads it
        try:
            yield from reader.steps()
        except StorageFailure as failure:
            raise ProtocolViolation(str(failure)) from failure

    follower = Follower(MetadataImage(), LoadedSnapshot(steps(), 1000, 1, reader))
    await follower.follow()
    assert follower.observer.done == ["failed"]
    assert follower.applied_offset == -1
    assert follower.image.version == 0
    assert "answer of a controller ignored" in capsys.readouterr().err


def test_a_small_change_is_one_step_on_the_image_itself():
    image = MetadataImage()
    with pytest.raises(StopIteration) as done:
        next(apply_in_steps(image, iter([created(10)])))
    assert len(done.value.value.partitions_created) == 10
    assert len(image.topics["topic-0"].partitions) == 10
