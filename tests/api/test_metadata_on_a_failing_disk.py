"""A metadata log that cannot be written: nothing changes and everything else goes on, until a sync fails."""

import contextlib
import errno
import itertools
import os

import pytest
import trio
from peer import Peer
from test_produce_and_fetch import produce

from kwire.broker.start import open_broker
from kwire.errors import Code, KafkaError, StorageFailure
from kwire.metadata.configs.effective import BrokerSettings
from kwire.testing.memory.files import MemoryFiles
from kwire.wire import messages as m


class Home:
    """A data directory whose metadata log refuses ``refused``."""

    def __init__(self):
        self.files = MemoryFiles()
        self.files.fault = self.fault
        self.refused = ()

    def fault(self, operation, path):
        if operation in self.refused and "__cluster_metadata" in path:
            return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return None

    def start(self, **settings):
        texts = {"log.dirs": "/data", "metadata.log.max.record.bytes.between.snapshots": "4000", **settings}
        return open_broker(BrokerSettings(texts), self.files, endpoints=[Peer.endpoint])


@pytest.fixture
def home():
    return Home()


CHANGES = {
    "create by metadata": (
        12,
        m.MetadataRequest(topics=[m.MetadataRequest.MetadataRequestTopic(name="new")], allow_auto_topic_creation=True),
        lambda answer: answer.topics[0],
    ),
    "create": (
        7,
        m.CreateTopicsRequest(
            timeout_ms=1000,
            topics=[m.CreateTopicsRequest.CreatableTopic(name="new", num_partitions=1, replication_factor=1)],
        ),
        lambda answer: answer.topics[0],
    ),
    "grow": (
        3,
        m.CreatePartitionsRequest(
            timeout_ms=1000,
            topics=[m.CreatePartitionsRequest.CreatePartitionsTopic(name="there", count=2, assignments=None)],
        ),
        lambda answer: answer.results[0],
    ),
    "delete": (
        6,
        m.DeleteTopicsRequest(timeout_ms=1000, topics=[m.DeleteTopicsRequest.DeleteTopicState(name="there")]),
        lambda answer: answer.responses[0],
    ),
    "configs": (
        1,
        m.IncrementalAlterConfigsRequest(
            resources=[
                m.IncrementalAlterConfigsRequest.AlterConfigsResource(
                    resource_type=2,
                    resource_name="there",
                    configs=[
                        m.IncrementalAlterConfigsRequest.AlterableConfig(
                            name="retention.ms", config_operation=0, value="1000"
                        )
                    ],
                )
            ]
        ),
        lambda answer: answer.responses[0],
    ),
    "quotas": (
        1,
        m.AlterClientQuotasRequest(
            entries=[
                m.AlterClientQuotasRequest.EntryData(
                    entity=[m.AlterClientQuotasRequest.EntityData(entity_type="user", entity_name="u")],
                    ops=[m.AlterClientQuotasRequest.OpData(key="producer_byte_rate", value=1000.0)],
                )
            ]
        ),
        lambda answer: answer.entries[0],
    ),
    "scram": (
        0,
        m.AlterUserScramCredentialsRequest(
            upsertions=[
                m.AlterUserScramCredentialsRequest.ScramCredentialUpsertion(
                    name="u", mechanism=1, iterations=4096, salt=b"s", salted_password=b"p" * 32
                )
            ]
        ),
        lambda answer: answer.results[0],
    ),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_a_change_is_refused_item_by_item_and_made_when_there_is_space(home, change):
    version, request, item = CHANGES[change]
    async with home.start() as broker:
        client = Peer(broker)
        topic_id = await client.create_topic("there")
        before = broker.image.version
        home.refused = ("append",)
        refused = item(await client.call(version, request))
        assert refused.error_code == Code.KAFKA_STORAGE_ERROR
        assert change == "create by metadata" or "No space left on device" in refused.error_message
        assert broker.image.version == before
        assert (await produce(client, topic_id, b"goes on")).base_offset == 0
        home.refused = ()
        assert item(await client.call(version, request)).error_code == Code.NONE


async def test_refused_changes_are_absent_after_a_kill(home):
    async with home.start() as broker:
        client = Peer(broker)
        await client.create_topic("before")
        home.refused = ("append",)
        assert CHANGES["create"][2](await client.call(*CHANGES["create"][:2])).error_code
        home.refused = ()
        await client.create_topic("after")
        killed = home.files.fork()
    home.files = killed
    async with home.start() as again:
        assert set(again.image.topics) == {"before", "after"}


async def test_a_sync_that_fails_stops_the_broker(home):
    stopped = pytest.RaisesExc(StorageFailure, match="the metadata log could not be brought to the disk")
    with trio.fail_after(150), pytest.RaisesGroup(stopped, flatten_subgroups=True):
        async with home.start() as broker:
            client = Peer(broker)
            home.refused = ("sync",)
            for number in itertools.count():
                with contextlib.suppress(KafkaError):  # the change after the failed sync
                    await client.create_topic(f"t{number}")
                await trio.lowlevel.checkpoint()
