"""A metadata snapshot is written in steps: other tasks run in between, and the metadata may change meanwhile."""

import threading

import pytest
import trio
from test_metadata_log import Home

from kwire.metadata.decisions.topics import NewTopic, delete_topics
from kwire.metadata.entities import ResourceType
from kwire.metadata.image import MetadataImage
from kwire.metadata.log.log_format import read_snapshot
from kwire.testing.memory.files import MemoryFiles
from kwire.wire.messages import ConfigRecord

PARTITIONS = 2000
# A batch of a snapshot has at most 128 records.
STEPS = PARTITIONS // 128


@pytest.fixture
def home():
    made = Home("/data", {"metadata.log.max.record.bytes.between.snapshots": "100000"}, MemoryFiles())
    made.open()
    made.create(NewTopic("large", PARTITIONS))
    made.create(NewTopic("deleted-meanwhile"))
    assert made.log.snapshot_due.is_set()
    return made


def written(home):
    (made,) = home.snapshots()
    content = home.files.read_bytes(f"{home.log.path}/{made.file_name}")
    image = MetadataImage()
    image.apply(read_snapshot("snapshot", content).records)
    return made, image


async def test_other_tasks_run_between_its_steps(home):
    turns = 0

    async def count_turns():
        nonlocal turns
        while home.log.latest_snapshot is None:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(home.log.write_due_snapshot)
        nursery.start_soon(count_turns)
    assert turns >= STEPS
    assert len(written(home)[1].topics["large"].partitions) == PARTITIONS


async def test_it_has_the_image_of_its_first_step(home):
    end_offset = home.log.end_offset

    async def change_everything():
        for _ in range(STEPS // 2):
            await trio.lowlevel.checkpoint()
        assert home.log.latest_snapshot is None
        home.create(NewTopic("created-meanwhile"))
        home.log.apply(delete_topics(home.log.image, [home.log.image.topics["deleted-meanwhile"].id]).records)
        home.log.apply([ConfigRecord(resource_type=ResourceType.TOPIC, resource_name="large", name="a", value="b")])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(home.log.write_due_snapshot)
        nursery.start_soon(change_everything)
    made, image = written(home)
    assert made.offset == end_offset < home.log.end_offset
    assert set(image.topics) == {"large", "deleted-meanwhile"}
    assert not image.config(ResourceType.TOPIC, "large")
    # The records that came meanwhile are in the log that follows the snapshot.
    topics, configs = set(home.log.image.topics), dict(home.log.image.configs)
    home.kill()
    again = home.open()
    assert set(again.image.topics) == topics == {"large", "created-meanwhile"}
    assert dict(again.image.configs) == configs


async def test_files_are_written_and_synced_in_a_thread(home):
    threads = {}

    def note(operation, path):
        if operation == "sync" or (operation == "write" and path.endswith(".checkpoint")):
            threads.setdefault(operation, set()).add(threading.current_thread())

    home.files.fault = note
    await home.log.write_due_snapshot()
    assert set(threads) == {"write", "sync"}
    assert threading.main_thread() not in threads["write"] | threads["sync"]


async def test_a_stop_waits_for_it(home):
    async with trio.open_nursery() as nursery:
        nursery.start_soon(home.log.write_due_snapshot)
        for _ in range(STEPS // 2):
            await trio.lowlevel.checkpoint()
        assert home.log.latest_snapshot is None
        nursery.cancel_scope.cancel()
    assert written(home)[0].offset == home.log.end_offset


async def test_an_error_in_the_middle_leaves_the_snapshot_due(home, monkeypatch):
    monkeypatch.setattr(home.log, "_store", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        await home.log.write_due_snapshot()
    monkeypatch.undo()
    home.create(NewTopic("next"))
    await home.log.write_due_snapshot()
    assert set(written(home)[1].topics) == set(home.log.image.topics)
