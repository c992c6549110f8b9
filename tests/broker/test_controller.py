"""Commands through the controller: the embedded one, and one that takes its time as a quorum elsewhere would."""

import pytest
import trio
import trio.testing
from peer import Peer

from kwire.broker.controller.auto_topics import auto_create_topics
from kwire.broker.controller.interface import only
from kwire.broker.coordination.transactions.producer_ids import BLOCK_SIZE, ProducerIds
from kwire.errors import Code, KafkaError, StorageFailure
from kwire.limits import PARTITIONS_PER_REQUEST_MAX
from kwire.metadata.commands.configs import IncrementalAlterConfigs
from kwire.metadata.commands.nodes import AllocateProducerIds, UnregisterBroker, UpdateFeatures
from kwire.metadata.commands.partitions import AssignReplicasToDirs
from kwire.metadata.commands.topics import CreatePartitions, CreateTopics, DeleteTopics
from kwire.metadata.decisions.topics import Created, NewPartitions, NewTopic
from kwire.metadata.decisions.update_features import FeatureUpdate, UpgradeType
from kwire.metadata.entities import Resource, ResourceType
from kwire.metadata.log.snapshot import broker_record
from kwire.types import OFFSETS_TOPIC, TopicPartition
from kwire.wire import messages as m


class SuspendingController:
    """Lets other tasks run before and after each command, as a controller on another node does."""

    def __init__(self, controller):
        self.controller = controller
        self.commands = []
        self.refusal = None

    @property
    def finalized_features(self):
        return self.controller.finalized_features

    async def submit(self, command, **more):
        self.commands.append(command)
        await trio.testing.wait_all_tasks_blocked()
        if self.refusal is not None:
            return [self.refusal]
        results = await self.controller.submit(command, **more)
        await trio.testing.wait_all_tasks_blocked()
        return results

    async def describe_quorum(self):
        return await self.controller.describe_quorum()


@pytest.fixture
def slow(broker):
    broker.controller = SuspendingController(broker.controller)
    return broker.controller


async def together(*calls):
    """Run calls at the same time and give their results in order."""
    results = [None] * len(calls)

    async def run(place, call):
        results[place] = await call()

    async with trio.open_nursery() as nursery:
        for place, call in enumerate(calls):
            nursery.start_soon(run, place, call)
    return results


# --- the embedded controller ---


async def test_an_accepted_command_is_in_the_image_when_submit_returns(broker):
    (created,) = await broker.controller.submit(CreateTopics([NewTopic("t", 3)]))
    assert isinstance(created, Created)
    assert broker.image.topics["t"].id == created.topic_id
    assert broker.partitions.get("t", 2).index == 2


async def test_the_embedded_controller_answers_without_suspending(broker):
    submitted = broker.controller.submit(CreateTopics([NewTopic("t")]))
    with pytest.raises(StopIteration) as done:
        submitted.send(None)
    assert isinstance(done.value.value[0], Created)


async def test_refused_and_accepted_items_of_one_command_have_results_in_its_order(broker):
    names = ["a", "bad name", "b", "__cluster_metadata"]
    results = await broker.controller.submit(CreateTopics([NewTopic(name) for name in names]))
    codes = [result.code if isinstance(result, KafkaError) else Code.NONE for result in results]
    assert codes == [Code.NONE, Code.INVALID_TOPIC_EXCEPTION, Code.NONE, Code.INVALID_REQUEST]
    assert {"a", "b"} <= set(broker.image.topics)


@pytest.mark.parametrize(
    "command",
    [
        CreateTopics([NewTopic("new")], validate_only=True),
        CreatePartitions([NewPartitions("t", 5)], validate_only=True),
        IncrementalAlterConfigs([(Resource(ResourceType.TOPIC, "t"), [])], validate_only=True),
        UpdateFeatures([FeatureUpdate("transaction.version", 1, UpgradeType.SAFE_DOWNGRADE)], validate_only=True),
    ],
    ids=lambda command: type(command).__name__,
)
async def test_validate_only_is_answered_and_changes_nothing(client, broker, command):
    await client.create_topic("t")
    before = (broker.image.version, broker.controller.log.end_offset)
    charged = []
    (result,) = await broker.controller.submit(command, charge=charged.append)
    assert not isinstance(result, KafkaError)
    assert (broker.image.version, broker.controller.log.end_offset) == before
    assert charged == []


async def test_partition_mutations_are_charged_per_item_and_a_refused_charge_refuses_the_item(broker):
    charged = []

    def charge(count):
        charged.append(count)
        if sum(charged) > 5:
            raise KafkaError(Code.THROTTLING_QUOTA_EXCEEDED, "used up")

    results = await broker.controller.submit(CreateTopics([NewTopic("a", 3), NewTopic("b", 4)]), charge=charge)
    assert charged == [3, 4]
    assert results[1].code is Code.THROTTLING_QUOTA_EXCEEDED
    assert set(broker.image.topics) == {"a"}
    charged.clear()
    (grown,) = await broker.controller.submit(CreatePartitions([NewPartitions("a", 5)]), charge=charge)
    assert not isinstance(grown, KafkaError)
    deleted = await broker.controller.submit(DeleteTopics([broker.image.topics["a"].id]), charge=charge)
    assert charged == [2, 5]
    assert deleted[0].code is Code.THROTTLING_QUOTA_EXCEEDED
    assert "a" in broker.image.topics


async def test_a_metadata_log_that_refuses_an_append_refuses_every_accepted_item(broker, monkeypatch):
    def refuse(_records):
        raise StorageFailure("data/__cluster_metadata-0", "No space left on device")

    monkeypatch.setattr(broker.controller.log, "apply", refuse)
    results = await broker.controller.submit(CreateTopics([NewTopic("a"), NewTopic("bad name")]))
    assert [result.code for result in results] == [Code.KAFKA_STORAGE_ERROR, Code.INVALID_TOPIC_EXCEPTION]
    assert dict(broker.image.topics) == {}
    monkeypatch.undo()


async def test_blocks_of_producer_ids_follow_each_other(broker):
    blocks = [only(await broker.controller.submit(AllocateProducerIds(1, 10))) for _ in range(2)]
    assert blocks == [range(10), range(10, 20)]


async def test_unregistering_an_unknown_broker_is_one_refusal(broker):
    (result,) = await broker.controller.submit(UnregisterBroker(7))
    assert result.code is Code.BROKER_ID_NOT_REGISTERED


async def test_an_assignment_of_a_directory_is_recorded(client, broker):
    await client.create_topic("t")
    directory = b"\x07" * 16
    await broker.controller.submit(AssignReplicasToDirs(1, {TopicPartition("t", 0): directory}))
    assert broker.image.partition("t", 0).directories == (directory,)


async def test_the_quorum_is_one_voter_that_leads(broker):
    quorum = await broker.controller.describe_quorum()
    assert (quorum.leader_id, quorum.leader_epoch, [voter.node_id for voter in quorum.voters]) == (1, 1, [1])
    assert quorum.high_watermark == quorum.voters[0].log_end_offset == broker.controller.finalized_features.epoch + 1


# --- a controller that suspends ---


async def test_two_clients_that_auto_create_one_topic_both_get_it(broker, slow):
    async def ask():
        wanted = m.MetadataRequest(topics=[m.MetadataRequest.MetadataRequestTopic(name="t")])
        return (await Peer(broker).call(12, wanted)).topics[0]

    first, second = await together(ask, ask)
    assert len(slow.commands) == 2
    assert (first.error_code, second.error_code) == (Code.NONE, Code.NONE)
    assert first.topic_id == second.topic_id == broker.image.topics["t"].id


async def test_two_clients_that_need_an_internal_topic_at_once_both_get_it(broker, slow):
    async def ask():
        find = m.FindCoordinatorRequest(key_type=0, coordinator_keys=["g"])
        return (await Peer(broker).call(4, find)).coordinators[0].error_code

    assert await together(ask, ask, ask) == [Code.NONE] * 3
    assert len(broker.image.topics[OFFSETS_TOPIC].partitions) == 50


async def test_clients_that_wait_for_a_block_of_producer_ids_share_one_command(broker, slow):
    ids = ProducerIds(slow, 1)
    given = await together(*[ids.next] * 20)
    assert sorted(given) == list(range(20))
    assert slow.commands == [AllocateProducerIds(1, BLOCK_SIZE)]


async def test_a_refused_block_refuses_each_client_that_waits_for_it(broker, slow):
    ids = ProducerIds(slow, 1)
    slow.refusal = KafkaError(Code.KAFKA_STORAGE_ERROR, "No space left on device")
    refused = []

    async def ask():
        try:
            await ids.next()
        except KafkaError as refusal:
            refused.append(refusal.code)

    await together(ask, ask)
    assert refused == [Code.COORDINATOR_NOT_AVAILABLE] * 2
    slow.refusal = None
    assert await ids.next() == 0


async def test_an_empty_block_is_not_waited_for_by_take(broker, slow):
    ids = ProducerIds(slow, 1)
    with pytest.raises(KafkaError) as refused:
        ids.take()
    assert refused.value.code is Code.COORDINATOR_LOAD_IN_PROGRESS


async def test_names_that_collide_are_refused_by_the_controller_one_by_one(client, broker):
    await client.create_topic("a.b")
    refusals = await auto_create_topics(broker.controller, broker.configs, ["a_b", "new", "a.b"])
    assert refusals[0].code is Code.INVALID_TOPIC_EXCEPTION
    assert refusals[1:] == [None, None]


async def test_more_topics_than_one_request_may_create_are_refused_together(broker):
    names = [f"t{number}" for number in range(PARTITIONS_PER_REQUEST_MAX + 1)]
    refusals = await auto_create_topics(broker.controller, broker.configs, names)
    assert [refusal.code for refusal in refusals] == [Code.POLICY_VIOLATION] * len(names)
    assert not broker.image.topics


def names_far_apart():
    """More topics than one command creates, of which the first and the last have similar names."""
    return ["a.b", *(f"t{number}" for number in range(40)), "a_b"]


async def test_similar_names_in_one_create_topics_request_are_both_created(client, broker):
    topics = [
        m.CreateTopicsRequest.CreatableTopic(name=name, num_partitions=1, replication_factor=1)
        for name in names_far_apart()
    ]
    answer = await client.call(7, m.CreateTopicsRequest(topics=topics, timeout_ms=1000))
    assert {topic.error_code for topic in answer.topics} == {0}


async def test_a_name_similar_to_one_that_exists_is_refused_wherever_it_stands_in_the_request(client, broker):
    await client.create_topic("a.b")
    topics = [
        m.CreateTopicsRequest.CreatableTopic(name=name, num_partitions=1, replication_factor=1)
        for name in names_far_apart()
    ]
    answer = await client.call(7, m.CreateTopicsRequest(topics=topics, timeout_ms=1000))
    codes = {topic.name: topic.error_code for topic in answer.topics}
    assert (codes["a.b"], codes["a_b"]) == (Code.TOPIC_ALREADY_EXISTS, Code.INVALID_TOPIC_EXCEPTION)


async def test_similar_names_that_metadata_creates_together_are_both_created(client, broker):
    wanted = [m.MetadataRequest.MetadataRequestTopic(name=name) for name in names_far_apart()]
    answer = await client.call(12, m.MetadataRequest(topics=wanted))
    assert {topic.error_code for topic in answer.topics} == {0}


async def test_metadata_answers_a_name_that_collides_as_unknown(client, broker):
    await client.create_topic("a.b")
    wanted = [m.MetadataRequest.MetadataRequestTopic(name=name) for name in ("a_b", "c", "bad name")]
    answer = await client.call(12, m.MetadataRequest(topics=wanted))
    codes = {topic.name: topic.error_code for topic in answer.topics}
    assert codes == {"a_b": 3, "c": 0, "bad name": 17}


async def test_an_upgrade_to_a_metadata_version_with_directories_registers_them(broker):
    own = broker.image.brokers[broker.node_id]
    before = broker_record(own._replace(log_dirs=()))
    broker.controller.commit([m.FeatureLevelRecord(name="metadata.version", feature_level=16)])
    broker.controller.commit([before])
    assert not broker.image.brokers[broker.node_id].log_dirs
    only(await broker.controller.submit(UpdateFeatures([FeatureUpdate("metadata.version", 17, UpgradeType.UPGRADE)])))
    assert broker.image.brokers[broker.node_id] == own
