"""A broker on each level of metadata.version that a directory can be formatted with: 3.3-IV3 and later."""

import pytest

from kwire.broker.controller.metadata_format import Identity, format_if_new
from kwire.broker.start import open_broker
from kwire.cli.script_twins.cluster.features import release_levels
from kwire.kafka_release import METADATA_VERSIONS
from kwire.metadata.configs.effective import BrokerSettings
from kwire.storage.checkpoints import write_properties
from kwire.testing.memory.files import MemoryFiles
from kwire.types import uuid_text
from kwire.wire.messages import CreatePartitionsRequest, CreateTopicsRequest, MetadataRequest

DIRECTORY_ID = bytes(range(16))


def formatted(level):
    files = MemoryFiles()
    identity = Identity(1, DIRECTORY_ID, "CONTROLLER", "localhost", 9093)
    levels = {name: value for name, value in release_levels(level).items() if name != "kraft.version"}
    assert format_if_new(files, "/data", identity, 0, levels=levels)
    properties = {"version": "1", "cluster.id": "A" * 22, "node.id": "1", "directory.id": uuid_text(DIRECTORY_ID)}
    files.write_bytes("/data/meta.properties", write_properties(properties), durable=True)
    return files


@pytest.mark.parametrize(("level", "dirs"), [*((level, "/data") for level in METADATA_VERSIONS), (7, "/data,/more")])
async def test_topics_are_created_and_found_after_a_restart_at_each_level(level, dirs, connect):
    files = formatted(level)
    settings = {"log.dirs": dirs}
    async with open_broker(BrokerSettings(settings), files, endpoints=[connect.endpoint]) as broker:
        client = connect(broker)
        topic = CreateTopicsRequest.CreatableTopic(name="orders", num_partitions=2, replication_factor=1)
        created = await client.call(5, CreateTopicsRequest(topics=[topic], timeout_ms=1000))
        assert created.topics[0].error_code == 0
        more = CreatePartitionsRequest.CreatePartitionsTopic(name="orders", count=3, assignments=None)
        changed = await client.call(3, CreatePartitionsRequest(topics=[more], timeout_ms=1000))
        assert changed.results[0].error_code == 0
        assert broker.image.metadata_version == level
    async with open_broker(BrokerSettings(settings), files, endpoints=[connect.endpoint]) as broker:
        found = await connect(broker).call(12, MetadataRequest(topics=None))
        assert [(each.name, len(each.partitions)) for each in found.topics] == [("orders", 3)]
        assert all(each.leader_id == 1 for each in found.topics[0].partitions)
