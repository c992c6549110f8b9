"""A controller that is served to other nodes: requests through dispatch, as brokers send them."""

import pytest
import trio
from peer import Peer

from kwire.api.controller import controller_table
from kwire.broker.endpoint import Endpoint
from kwire.broker.start import open_broker
from kwire.errors import Code, KafkaError
from kwire.metadata.configs.effective import BrokerSettings
from kwire.metadata.features import SERVED
from kwire.metadata.log.frames import decode_record
from kwire.security.operations import Operation, ResourceType
from kwire.security.principal import Principal
from kwire.testing.memory.files import MemoryFiles
from kwire.types import METADATA_TOPIC, METADATA_TOPIC_ID
from kwire.wire import codec, messages
from kwire.wire.batches.batch import read_batch_header
from kwire.wire.batches.records import read_records
from kwire.wire.message import Message

CONTROLLER_ID = 3000
CONTROLLER = Endpoint("CONTROLLER", "PLAINTEXT", "localhost", 9093)
OLD_REPLICA = {"replica_state": messages.FetchRequest.ReplicaState(), "replica_id": 1}
REPLICA_DIRECTORY = bytes([6]) * 16


class ControllerPeer(Peer):
    """A node that is connected to the controller's listener."""

    endpoint = CONTROLLER

    def __init__(self, broker):
        super().__init__(broker)
        self.apis = controller_table(broker.configs.broker, broker.controller.finalized_features.levels)

    async def register(self, broker_id, /, **changed):
        request = messages.BrokerRegistrationRequest
        fields = {
            "broker_id": broker_id,
            "cluster_id": self.broker.cluster_id,
            "incarnation_id": bytes([broker_id]) * 16,
            "listeners": [request.Listener(name="PLAINTEXT", host="localhost", port=9092, security_protocol=0)],
            "features": [
                request.Feature(name=name, min_supported_version=low, max_supported_version=high)
                for name, (low, high) in SERVED.items()
            ],
            "rack": None,
            "log_dirs": [bytes([broker_id, 1]) * 8],
        }
        return await self.call(4, request(**{**fields, **changed}))

    async def beat(self, broker_id, epoch, **changed):
        fields = {"current_metadata_offset": self.broker.cluster_controller.log.high_watermark, "want_fence": False}
        return await self.call(
            2, messages.BrokerHeartbeatRequest(broker_id=broker_id, broker_epoch=epoch, **{**fields, **changed})
        )

    async def join(self, broker_id, **changed):
        """Register and unfence a broker; gives its epoch."""
        epoch = (await self.register(broker_id, **changed)).broker_epoch
        assert not (await self.beat(broker_id, epoch)).is_fenced
        return epoch

    async def fetch(self, offset=0, *, epoch=1, last_epoch=0, max_wait_ms=0, version=18, **changed):
        request = messages.FetchRequest
        known = changed.pop("high_watermark", -1)
        partition = request.FetchPartition(
            partition=0,
            current_leader_epoch=epoch,
            fetch_offset=offset,
            last_fetched_epoch=last_epoch,
            log_start_offset=-1,
            partition_max_bytes=0,
            **({"replica_directory_id": REPLICA_DIRECTORY} if version >= 17 else {}),
            **({"high_watermark": known} if version >= 18 else {}),
        )
        fields = {
            "max_wait_ms": max_wait_ms,
            "min_bytes": 0,
            "max_bytes": 1048576,
            "replica_state": request.ReplicaState(replica_id=1),
            "topics": [request.FetchTopic(topic_id=METADATA_TOPIC_ID, partitions=[partition])],
        }
        return await self.call(version, request(**{**fields, **changed}))


def partition_of(response):
    return response.responses[0].partitions[0]


def records_of(content):
    """The records of batches, with their offsets; control records as None."""
    found, view = [], memoryview(bytes(content))
    while view:
        header = read_batch_header(view)
        batch = view[: header.size_bytes]
        found += [
            (record.offset, None if header.is_control else decode_record(record.value))
            for record in read_records(batch)
        ]
        view = view[header.size_bytes :]
    return found


@pytest.fixture
def files():
    return MemoryFiles()


@pytest.fixture
def start_controller(files):
    """A context manager that runs a controller; the log directory stays between two of them."""

    def start(**more):
        texts = {
            "process.roles": "controller",
            "node.id": str(CONTROLLER_ID),
            "controller.listener.names": "CONTROLLER",
            "listeners": "CONTROLLER://localhost:9093",
            "log.dirs": "/data",
            **more,
        }
        return open_broker(BrokerSettings(texts), files, endpoints=[], controller_endpoints=[CONTROLLER])

    return start


@pytest.fixture
async def controller(start_controller):
    async with start_controller() as running:
        yield running


@pytest.fixture
def node(controller):
    return ControllerPeer(controller)


# --- the log ---


async def test_an_answer_names_the_leader_and_its_epoch_first(node):
    response = await node.fetch(epoch=0)
    answer = partition_of(response)
    assert (answer.error_code, answer.high_watermark, answer.records) == (Code.FENCED_LEADER_EPOCH, -1, b"")
    assert (answer.current_leader.leader_id, answer.current_leader.leader_epoch) == (CONTROLLER_ID, 1)
    assert [(one.node_id, one.host, one.port) for one in response.node_endpoints] == [
        (CONTROLLER_ID, "localhost", 9093)
    ]


async def test_the_log_is_read_from_its_beginning(node):
    answer = partition_of(await node.fetch())
    found = records_of(answer.records)
    assert [offset for offset, _ in found] == list(range(answer.high_watermark))
    names = [record.NAME for _, record in found if record is not None]
    assert names[0] == "BeginTransactionRecord"
    assert names[-2:] == ["EndTransactionRecord", "RegisterControllerRecord"]
    assert (answer.last_stable_offset, answer.log_start_offset, answer.aborted_transactions) == (-1, 0, [])


@pytest.mark.parametrize("version", range(13, 19))
async def test_every_version_of_the_fetch_gives_records(node, version):
    response = await node.fetch(version=version, **({} if version >= 15 else OLD_REPLICA))
    assert records_of(partition_of(response).records)
    assert bool(response.node_endpoints) == (version >= 16)


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"epoch": 2}, Code.UNKNOWN_LEADER_EPOCH),
        ({"last_epoch": -1}, Code.INVALID_REQUEST),
        ({"last_epoch": 2}, Code.INVALID_REQUEST),
        ({"offset": -1}, Code.INVALID_REQUEST),
        ({"max_wait_ms": -1}, Code.INVALID_REQUEST),
        ({"replica_state": messages.FetchRequest.ReplicaState(replica_id=CONTROLLER_ID)}, Code.INVALID_REQUEST),
    ],
)
async def test_an_invalid_fetch_is_refused(node, changed, code):
    assert partition_of(await node.fetch(**changed)).error_code == code


async def test_a_fetch_of_another_cluster_or_topic_is_refused_as_a_whole(node):
    assert (await node.fetch(cluster_id="another")).error_code == Code.INCONSISTENT_CLUSTER_ID
    assert (await node.fetch(cluster_id=node.broker.cluster_id)).error_code == 0
    assert (await node.fetch(topics=[])).error_code == Code.INVALID_REQUEST


async def test_an_offset_behind_the_end_diverges(node):
    end = partition_of(await node.fetch()).high_watermark
    answer = partition_of(await node.fetch(end + 5, last_epoch=1))
    assert (answer.error_code, answer.records) == (0, b"")
    assert (answer.diverging_epoch.epoch, answer.diverging_epoch.end_offset) == (1, end)


async def test_the_smallest_answer_is_one_batch(node):
    found = records_of(partition_of(await node.fetch(max_bytes=1)).records)
    assert found[0][0] == 0
    assert len(found) < 5


async def test_a_waiting_fetch_gets_the_next_record(node, autojump_clock):
    end = partition_of(await node.fetch()).high_watermark
    answers = []

    async def wait():
        response = await node.fetch(end, last_epoch=1, max_wait_ms=500, high_watermark=end)
        answers.append(partition_of(response))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        await node.register(1)
    (answer,) = answers
    assert [record.NAME for _, record in records_of(answer.records)] == ["RegisterBrokerRecord"]
    assert answer.high_watermark == end + 1


async def test_a_fetch_without_new_records_ends_after_its_wait(node, autojump_clock):
    end = partition_of(await node.fetch()).high_watermark
    began = trio.current_time()
    answer = partition_of(await node.fetch(end, last_epoch=1, max_wait_ms=500, high_watermark=end))
    assert (answer.records, answer.high_watermark) == (b"", end)
    assert trio.current_time() - began == pytest.approx(0.5, abs=0.05)


async def test_a_reader_that_lags_behind_the_high_watermark_is_answered_at_once(node, autojump_clock):
    end = partition_of(await node.fetch()).high_watermark
    began = trio.current_time()
    await node.fetch(end, last_epoch=1, max_wait_ms=500, high_watermark=end - 1)
    assert trio.current_time() == began


# --- snapshots ---


def snapshot_request(snapshot_id, position=0, *, epoch=1, max_bytes=2**31 - 1, topic=METADATA_TOPIC, **changed):
    request = messages.FetchSnapshotRequest
    return request(
        replica_id=1,
        max_bytes=max_bytes,
        topics=[
            request.TopicSnapshot(
                name=topic,
                partitions=[
                    request.PartitionSnapshot(
                        partition=0,
                        current_leader_epoch=epoch,
                        snapshot_id=request.SnapshotId(end_offset=snapshot_id.end_offset, epoch=snapshot_id.epoch),
                        position=position,
                        replica_directory_id=REPLICA_DIRECTORY,
                    )
                ],
            )
        ],
        **changed,
    )


async def snapshot_of(node):
    node.broker.controller.log.snapshot()
    return partition_of(await node.fetch()).snapshot_id


async def test_a_reader_without_records_is_sent_to_the_snapshot(node):
    await node.join(1)
    snapshot_id = await snapshot_of(node)
    assert (snapshot_id.end_offset, snapshot_id.epoch) == (node.broker.controller.log.end_offset, 1)
    whole, size = b"", 1
    while len(whole) < size:
        answer = (await node.call(1, snapshot_request(snapshot_id, len(whole), max_bytes=100))).topics[0].partitions[0]
        assert answer.error_code == 0
        whole, size = whole + bytes(answer.unaligned_records), answer.size
    names = [record.NAME for _, record in records_of(whole) if record is not None]
    assert names[0] == "FeatureLevelRecord"
    assert "RegisterBrokerRecord" in names
    after = partition_of(await node.fetch(snapshot_id.end_offset, last_epoch=snapshot_id.epoch))
    assert (after.error_code, after.snapshot_id.end_offset) == (0, -1)


async def test_a_snapshot_that_is_not_there_is_refused(node):
    known = await snapshot_of(node)
    gone = messages.FetchSnapshotRequest.SnapshotId(end_offset=1, epoch=1)
    for request, code in (
        (snapshot_request(gone), Code.SNAPSHOT_NOT_FOUND),
        (snapshot_request(known, 10**9), Code.POSITION_OUT_OF_RANGE),
        (snapshot_request(known, -1), Code.POSITION_OUT_OF_RANGE),
        (snapshot_request(known, epoch=0), Code.FENCED_LEADER_EPOCH),
        (snapshot_request(known, epoch=9), Code.UNKNOWN_LEADER_EPOCH),
        (snapshot_request(known, topic="t"), Code.UNKNOWN_TOPIC_OR_PARTITION),
    ):
        answer = (await node.call(1, request)).topics[0].partitions[0]
        assert (answer.error_code, answer.unaligned_records) == (code, b"")
    response = await node.call(1, snapshot_request(known, cluster_id="another"))
    assert response.error_code == Code.INCONSISTENT_CLUSTER_ID


# --- brokers ---


async def test_a_broker_registers_and_is_unfenced(node):
    registered = await node.register(1)
    assert (registered.error_code, node.broker.image.brokers[1].epoch) == (0, registered.broker_epoch)
    early = await node.beat(1, registered.broker_epoch, current_metadata_offset=0)
    assert (early.is_caught_up, early.is_fenced) == (False, True)
    fenced = await node.beat(1, registered.broker_epoch, want_fence=True)
    assert (fenced.is_caught_up, fenced.is_fenced) == (True, True)
    served = await node.beat(1, registered.broker_epoch)
    assert (served.is_caught_up, served.is_fenced, served.should_shut_down) == (True, False, False)


@pytest.mark.parametrize("version", range(5))
async def test_every_version_of_the_registration_is_answered(node, version):
    request = messages.BrokerRegistrationRequest(
        broker_id=1, cluster_id=node.broker.cluster_id, incarnation_id=bytes(16), rack=None
    )
    assert (await node.call(version, request)).error_code == Code.INVALID_REGISTRATION


async def test_a_refused_registration_changes_nothing(node):
    assert (await node.register(CONTROLLER_ID % 256, broker_id=CONTROLLER_ID)).error_code == Code.INVALID_REGISTRATION
    assert (await node.register(1, cluster_id="another")).error_code == Code.INCONSISTENT_CLUSTER_ID
    assert not node.broker.image.brokers


async def test_requests_of_another_epoch_are_stale(node):
    epoch = await node.join(1)
    beat = await node.beat(1, epoch - 1)
    assert (beat.error_code, beat.is_fenced) == (Code.STALE_BROKER_EPOCH, True)
    assert (await node.beat(9, epoch)).error_code == Code.STALE_BROKER_EPOCH
    ids = await node.call(0, messages.AllocateProducerIdsRequest(broker_id=1, broker_epoch=epoch + 1))
    assert ids.error_code == Code.STALE_BROKER_EPOCH


async def test_blocks_of_producer_ids_do_not_overlap(node):
    one, two = await node.join(1), await node.join(2)
    first = await node.call(0, messages.AllocateProducerIdsRequest(broker_id=1, broker_epoch=one))
    second = await node.call(0, messages.AllocateProducerIdsRequest(broker_id=2, broker_epoch=two))
    assert (first.producer_id_start, first.producer_id_len) == (0, 1000)
    assert (second.producer_id_start, second.producer_id_len) == (1000, 1000)


async def test_a_broker_without_heartbeats_is_fenced_and_its_partitions_get_other_leaders(node, autojump_clock):
    await node.join(1)
    two = await node.join(2)
    await create(node, [1, 2])
    for _ in range(6):
        await trio.sleep(2)
        await node.beat(2, two)
    image = node.broker.image
    assert (image.brokers[1].fenced, image.brokers[2].fenced) == (True, False)
    assert (image.partition("t", 0).leader, image.partition("t", 0).isr) == (2, (2,))


async def test_a_controller_that_starts_gives_unfenced_brokers_a_session(start_controller, autojump_clock):
    async with start_controller() as first:
        node = ControllerPeer(first)
        epoch = await node.join(1)
        await create(node, [1])
    async with start_controller() as second:
        node = ControllerPeer(second)
        assert not second.image.brokers[1].fenced
        await trio.sleep(8)
        assert not (await node.beat(1, epoch)).is_fenced
        await trio.sleep(10)
        assert second.image.brokers[1].fenced


async def test_an_unregistered_broker_is_removed_and_its_heartbeats_are_stale(node):
    epoch = await node.join(1)
    await create(node, [1])
    assert (await node.call(0, messages.UnregisterBrokerRequest(broker_id=1))).error_code == 0
    assert node.broker.image.partition("t", 0).leader == -1
    assert (await node.beat(1, epoch)).error_code == Code.STALE_BROKER_EPOCH


async def test_the_preferred_leader_returns_after_some_time(node, autojump_clock):
    one, two = await node.join(1), await node.join(2)
    await create(node, [1, 2])
    await node.beat(1, one, want_fence=True)
    assert node.broker.image.partition("t", 0).leader == 2
    await node.beat(1, one)
    assert (await alter(node, 2, two, [1, 2])).error_code == 0
    for _ in range(160):
        await trio.sleep(2)
        await node.beat(1, one)
        await node.beat(2, two)
    assert node.broker.image.partition("t", 0).leader == 1


async def create(node, *rows):
    topic = messages.CreateTopicsRequest.CreatableTopic(
        name="t",
        num_partitions=-1,
        replication_factor=-1,
        assignments=[
            messages.CreateTopicsRequest.CreatableReplicaAssignment(partition_index=index, broker_ids=list(row))
            for index, row in enumerate(rows)
        ],
        configs=[],
    )
    response = await node.call(7, messages.CreateTopicsRequest(topics=[topic], timeout_ms=1000))
    assert response.topics[0].error_code == 0, response.topics[0].error_message
    return response.topics[0].topic_id


async def alter(node, leader, epoch, isr, **changed):
    request = messages.AlterPartitionRequest
    topic = node.broker.image.topics["t"]
    partition = topic.partitions[0]
    fields = {
        "partition_index": 0,
        "leader_epoch": partition.leader_epoch,
        "new_isr_with_epochs": [
            request.BrokerState(broker_id=one, broker_epoch=node.broker.image.brokers[one].epoch) for one in isr
        ],
        "partition_epoch": partition.partition_epoch,
    }
    response = await node.call(
        3,
        request(
            broker_id=leader,
            broker_epoch=epoch,
            topics=[request.TopicData(topic_id=topic.id, partitions=[request.PartitionData(**{**fields, **changed})])],
        ),
    )
    assert response.error_code == 0
    return response.topics[0].partitions[0]


async def test_an_in_sync_set_is_altered_by_its_leader(node):
    one = await node.join(1)
    await node.join(2)
    await create(node, [1, 2])
    answer = await alter(node, 1, one, [1])
    assert (answer.error_code, answer.leader_id, answer.leader_epoch) == (0, 1, 0)
    assert (answer.isr, answer.partition_epoch) == ([1], 1)
    stale = await alter(node, 1, one, [1, 2], partition_epoch=0)
    assert stale.error_code == Code.INVALID_UPDATE_VERSION


async def test_directories_of_replicas_are_recorded(node):
    two_dirs = [bytes([1, 1]) * 8, bytes([1, 2]) * 8]
    epoch = await node.join(1, log_dirs=two_dirs)
    topic_id = await create(node, [1])
    request = messages.AssignReplicasToDirsRequest

    def asked(index):
        return request.TopicData(topic_id=topic_id, partitions=[request.PartitionData(partition_index=index)])

    response = await node.call(
        0,
        request(
            broker_id=1,
            broker_epoch=epoch,
            directories=[request.DirectoryData(id=two_dirs[1], topics=[asked(0), asked(7)])],
        ),
    )
    codes = [one.error_code for topic in response.directories[0].topics for one in topic.partitions]
    assert codes == [0, Code.UNKNOWN_TOPIC_OR_PARTITION]
    assert node.broker.image.partition("t", 0).directories == (two_dirs[1],)


# --- the quorum, the cluster, forwarded requests ---


async def test_readers_of_the_log_are_its_observers(node):
    end = partition_of(await node.fetch()).high_watermark
    await node.fetch(end, last_epoch=1)
    request = messages.DescribeQuorumRequest
    response = await node.call(
        2,
        request(
            topics=[request.TopicData(topic_name=METADATA_TOPIC, partitions=[request.PartitionData(partition_index=0)])]
        ),
    )
    (partition,) = response.topics[0].partitions
    assert [one.replica_id for one in partition.current_voters] == [CONTROLLER_ID]
    (observer,) = partition.observers
    assert (observer.replica_id, observer.replica_directory_id, observer.log_end_offset) == (1, REPLICA_DIRECTORY, end)
    (listener,) = response.nodes[0].listeners
    assert (listener.name, listener.host, listener.port) == ("CONTROLLER", "localhost", 9093)


async def test_readers_that_fetched_long_ago_are_no_observers(node):
    log, clock = node.broker.cluster_controller.log, node.broker.clock

    def observers():
        return [one.node_id for one in log.observers()]

    log.note_reader(1, REPLICA_DIRECTORY, 0)
    clock.advance(200_000)
    log.note_reader(2, REPLICA_DIRECTORY, 0)
    assert observers() == [1, 2]
    clock.advance(200_000)
    log.note_reader(2, REPLICA_DIRECTORY, 0)
    assert observers() == [2]
    clock.advance(400_000)
    log.note_reader(3, REPLICA_DIRECTORY, 0)
    assert [node_id for node_id, _ in log._readers] == [3]


async def test_the_listener_describes_controllers_only(node):
    found = await node.call(2, messages.DescribeClusterRequest(endpoint_type=2))
    assert [(one.broker_id, one.host, one.port) for one in found.brokers] == [(CONTROLLER_ID, "localhost", 9093)]
    assert (found.controller_id, found.endpoint_type) == (CONTROLLER_ID, 2)
    wrong = await node.call(2, messages.DescribeClusterRequest(endpoint_type=1))
    assert wrong.error_code == Code.MISMATCHED_ENDPOINT_TYPE
    unknown = await node.call(2, messages.DescribeClusterRequest(endpoint_type=7))
    assert unknown.error_code == Code.UNSUPPORTED_ENDPOINT_TYPE


class Denying:
    """An authorizer that allows all but some operations on the cluster."""

    epoch = 0

    def __init__(self, *denied):
        self.denied = denied

    def allows(self, principal, host, operation, kind, name):
        del principal, host, name
        return kind is not ResourceType.CLUSTER or operation not in self.denied


async def test_the_listener_describes_the_cluster_with_alter_or_cluster_action(node):
    node.broker.authorizer = Denying(Operation.ALTER, Operation.CLUSTER_ACTION)
    with pytest.raises(KafkaError) as refused:
        await node.call(2, messages.DescribeClusterRequest(endpoint_type=2))
    assert refused.value.code is Code.CLUSTER_AUTHORIZATION_FAILED


@pytest.mark.parametrize(
    ("version", "request_of_a_broker"),
    [
        (18, messages.FetchRequest()),
        (3, messages.AlterPartitionRequest()),
        (0, messages.EnvelopeRequest(request_data=b"", client_host_address=bytes(4))),
        (1, messages.FetchSnapshotRequest()),
        (4, messages.BrokerRegistrationRequest()),
        (2, messages.BrokerHeartbeatRequest()),
        (0, messages.AllocateProducerIdsRequest()),
        (0, messages.AssignReplicasToDirsRequest()),
    ],
    ids=lambda value: value.NAME if isinstance(value, Message) else "",
)
async def test_requests_of_brokers_need_cluster_action(node, version, request_of_a_broker):
    node.broker.authorizer = Denying(Operation.CLUSTER_ACTION)
    with pytest.raises(KafkaError) as refused:
        await node.call(version, request_of_a_broker)
    assert refused.value.code is Code.CLUSTER_AUTHORIZATION_FAILED


async def test_a_reader_without_a_node_id_is_no_observer(node):
    await node.fetch(replica_state=messages.FetchRequest.ReplicaState(replica_id=-1))
    assert node.broker.cluster_controller.log.observers() == []


PRINCIPAL = bytes(2) + codec.encode(messages.DefaultPrincipalData(type="User", name="alice"), 0)


def envelope(key, version, request, **changed):
    inner = codec.encode_request(key, version, 77, "client", request)[4:]
    fields = {"request_data": inner, "request_principal": PRINCIPAL, "client_host_address": bytes([192, 0, 2, 7])}
    return messages.EnvelopeRequest(**{**fields, **changed})


async def test_a_forwarded_request_is_answered_as_if_it_came_from_its_client(node):
    await node.join(1)
    seen = []

    class Watching:
        epoch = 0

        def allows(self, principal, host, operation, kind, name):
            del operation, kind, name
            seen.append((principal, host))
            return True

    node.broker.authorizer = Watching()
    topic = messages.CreateTopicsRequest.CreatableTopic(
        name="t", num_partitions=1, replication_factor=1, assignments=[], configs=[]
    )
    response = await node.call(0, envelope(19, 7, messages.CreateTopicsRequest(topics=[topic], timeout_ms=1000)))
    assert response.error_code == 0
    correlation_id, inner = codec.decode_response(19, 7, memoryview(response.response_data))
    assert (correlation_id, inner.topics[0].error_code) == (77, 0)
    assert "t" in node.broker.image.topics
    assert (Principal("User", "alice"), "192.0.2.7") in seen


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"request_principal": None}, Code.PRINCIPAL_DESERIALIZATION_FAILURE),
        ({"request_principal": b"\x00"}, Code.PRINCIPAL_DESERIALIZATION_FAILURE),
        ({"client_host_address": b"123"}, Code.INVALID_REQUEST),
        ({"request_data": b"\x00"}, Code.UNSUPPORTED_VERSION),
        ({"request_data": bytes.fromhex("001300630000000100")}, Code.UNSUPPORTED_VERSION),
    ],
)
async def test_an_envelope_that_cannot_be_read_has_a_code(node, changed, code):
    whole = envelope(20, 6, messages.DeleteTopicsRequest(topics=[], timeout_ms=1))
    for name, value in changed.items():
        setattr(whole, name, value)
    assert (await node.call(0, whole)).error_code == code


@pytest.mark.parametrize("key", [3, 63, 18])
async def test_a_request_that_is_not_to_be_forwarded_is_refused(node, key):
    request = codec.request_class(key)()
    if key == 3:
        request.topics = []
    assert (await node.call(0, envelope(key, 1, request))).error_code == Code.INVALID_REQUEST


# --- one node that is both ---


async def test_other_brokers_can_join_a_node_that_is_broker_and_controller(files):
    settings = {"log.dirs": "/data", "node.id": "1", "default.replication.factor": "2"}
    endpoint = Endpoint("PLAINTEXT", "PLAINTEXT", "localhost", 9092)
    opening = open_broker(BrokerSettings(settings), files, endpoints=[endpoint], controller_endpoints=[CONTROLLER])
    async with opening as broker:
        node = ControllerPeer(broker)
        assert (await node.register(1)).error_code == Code.INVALID_REGISTRATION
        await node.join(2)
        await create(node, [1, 2])
        assert broker.image.partition("t", 0).leader == 1
        assert broker.partitions.get("t", 0).replicas == (1, 2)


async def test_configs_of_another_broker_are_changed_at_the_controllers_listener_only(files):
    endpoint = Endpoint("PLAINTEXT", "PLAINTEXT", "localhost", 9092)
    settings = {
        "log.dirs": "/data",
        "node.id": "1",
        "controller.listener.names": "CONTROLLER",
        "listeners": "PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093",
    }
    opening = open_broker(BrokerSettings(settings), files, endpoints=[endpoint], controller_endpoints=[CONTROLLER])
    async with opening as broker:
        node = ControllerPeer(broker)
        await node.join(2)
        request = messages.IncrementalAlterConfigsRequest
        config = request.AlterableConfig(name="max.connections", config_operation=0, value="70")
        resource = request.AlterConfigsResource(resource_type=4, resource_name="2", configs=[config])
        outcomes = [
            (await asked.call(1, request(resources=[resource]))).responses[0].error_code
            for asked in (Peer(broker), node)
        ]
    assert outcomes == [Code.INVALID_REQUEST, Code.NONE]


async def test_a_node_whose_controller_is_not_served_has_no_part_for_a_cluster(broker):
    assert broker.cluster_controller is None
    assert broker.image.brokers[broker.node_id].fenced is False


# --- a controller that was paused, and what a metadata fetch costs


async def test_a_controller_that_was_paused_reads_heartbeats_before_it_fences(node, autojump_clock, capsys):
    one, two = await node.join(1), await node.join(2)
    await trio.sleep(1)
    autojump_clock.jump(30)  # as SIGSTOP: nothing of this process runs meanwhile
    await trio.sleep(0.001)
    image = node.broker.image
    assert [one.fenced for one in image.brokers.values()] == [False, False]
    assert "controller was paused" in capsys.readouterr().err
    assert not (await node.beat(1, one)).is_fenced
    await trio.sleep(8.5)
    assert (image.brokers[1].fenced, image.brokers[2].fenced) == (False, True)
    assert not (await node.beat(2, two)).is_fenced


async def test_a_session_ends_when_a_test_moves_the_clock_of_the_controller(node, autojump_clock):
    await node.join(1)
    await trio.sleep(0.001)
    node.broker.clock.advance(10_000)
    await trio.sleep(0.001)
    assert node.broker.image.brokers[1].fenced


async def test_a_fetch_of_the_metadata_lists_no_directory(node, files, monkeypatch):
    snapshot_id = await snapshot_of(node)
    listed = []
    sizes = files.sizes
    monkeypatch.setattr(files, "sizes", lambda directory: listed.append(directory) or sizes(directory))
    assert partition_of(await node.fetch()).snapshot_id == snapshot_id
    await node.fetch(snapshot_id.end_offset, last_epoch=snapshot_id.epoch)
    assert listed == []


async def test_the_snapshot_of_an_earlier_run_is_known(start_controller):
    async with start_controller() as first:
        made = await snapshot_of(ControllerPeer(first))
    async with start_controller() as second:
        found = partition_of(await ControllerPeer(second).fetch(epoch=2)).snapshot_id
    assert found == made


class OnlyClusterAction:
    """An authorizer that allows what a broker needs."""

    epoch = 0

    def allows(self, principal, host, operation, kind, name):
        del principal, host, kind, name
        return operation is Operation.CLUSTER_ACTION


async def test_a_broker_with_a_new_directory_gets_the_cluster_id(node):
    node.broker.authorizer = OnlyClusterAction()
    found = await node.call(2, messages.DescribeClusterRequest(endpoint_type=2))
    assert (found.error_code, found.cluster_id) == (0, node.broker.cluster_id)


async def test_a_node_with_both_roles_hands_its_leaderships_over_when_it_stops(files, autojump_clock):
    settings = {"log.dirs": "/data", "node.id": "1", "default.replication.factor": "2"}
    endpoint = Endpoint("PLAINTEXT", "PLAINTEXT", "localhost", 9092)
    opening = open_broker(BrokerSettings(settings), files, endpoints=[endpoint], controller_endpoints=[CONTROLLER])
    async with opening as broker:
        node = ControllerPeer(broker)
        epoch = await node.join(2)
        await create(node, [1, 2], [1, 2])
        shrunk = messages.PartitionChangeRecord(topic_id=broker.image.topics["t"].id, partition_id=1, isr=[1], leader=1)
        broker.controller.commit([shrunk])
        done = trio.Event()

        async def stop():
            await broker.cluster_controller.hand_over()
            done.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(stop)
            await trio.sleep(1)
            handed, alone = (broker.image.partition("t", index) for index in (0, 1))
            assert (handed.leader, handed.isr) == (2, (2,))
            assert alone.leader == -1  # until it is back
            assert broker.image.brokers[1].in_controlled_shutdown
            assert not done.is_set()
            await node.beat(2, epoch)
            await trio.sleep(1)
            assert done.is_set()


async def test_a_node_with_both_roles_and_no_other_broker_stops_at_once(files):
    settings = {"log.dirs": "/data", "node.id": "1"}
    endpoint = Endpoint("PLAINTEXT", "PLAINTEXT", "localhost", 9092)
    opening = open_broker(BrokerSettings(settings), files, endpoints=[endpoint], controller_endpoints=[CONTROLLER])
    async with opening as broker:
        await create(ControllerPeer(broker), [1])
        before = broker.image.version
        await broker.cluster_controller.hand_over()
        assert broker.image.version == before
        assert broker.image.partition("t", 0).leader == 1
