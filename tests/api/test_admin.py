"""Admin APIs where it is not the answer that counts, but what has become of it."""

from pathlib import Path

import pytest
import trio
from peer import Peer

from kwire.errors import Code, StorageFailure
from kwire.metadata.entities import ResourceType
from kwire.wire import messages as m
from kwire.wire.batches.records import Record, build_batch

pytestmark = pytest.mark.usefixtures("mock_clock")


@pytest.fixture
def settings(tmp_path):
    return {"log.dirs": f"{tmp_path}/a,{tmp_path}/b"}


def produce_request(topic, value, *, partition=0, producer_id=-1):
    sequence = {"producer_id": producer_id, "producer_epoch": 0, "base_sequence": 0} if producer_id >= 0 else {}
    request = m.ProduceRequest
    return request(
        acks=-1,
        timeout_ms=1000,
        topic_data=[
            request.TopicProduceData(
                name=topic,
                partition_data=[
                    request.PartitionProduceData(
                        index=partition, records=build_batch([Record(0, 1_700_000_000_000, None, value)], **sequence)
                    )
                ],
            )
        ],
    )


async def produce(client, topic, value, **where):
    response = await client.call(9, produce_request(topic, value, **where))
    assert response.responses[0].partition_responses[0].error_code == 0


def places(broker):
    return {str(partition): Path(partition.log_dir).name for partition in broker.partitions}


async def move(client, topic, index, path):
    alter = m.AlterReplicaLogDirsRequest
    response = await client.call(
        2,
        alter(
            dirs=[
                alter.AlterReplicaLogDir(
                    path=str(path), topics=[alter.AlterReplicaLogDirTopic(name=topic, partitions=[index])]
                )
            ]
        ),
    )
    return response.results[0].partitions[0].error_code


async def settled(broker):
    while broker.moves.pending:  # noqa: ASYNC110 - no other code waits for this, so there is no event
        await trio.sleep(0.001)


async def directories(client):
    response = await client.call(5, m.DescribeLogDirsRequest(topics=None))
    return {
        Path(one.log_dir).name: {
            f"{topic.name}-{partition.partition_index}": (partition.partition_size > 0, partition.is_future_key)
            for topic in one.topics
            for partition in topic.partitions
        }
        for one in response.results
    }


async def read_all(client, topic, index=0):
    partition = client.broker.partitions.get(topic, index)
    return [bytes(batch[61:]) for batch in partition.log.read_batches(0)]


async def test_a_partition_moves_with_its_records_and_state(client, tmp_path):
    await client.create_topic("t")
    broker = client.broker
    home = places(broker)["t-0"]
    other = "b" if home == "a" else "a"
    await produce(client, "t", b"1")
    await produce(client, "t", b"2")
    before = await read_all(client, "t")
    assert await move(client, "t", 0, tmp_path / other) == 0
    assert (await directories(client))[other] == {"t-0": (False, True)}
    await settled(broker)
    assert places(broker) == {"t-0": other}
    assert await read_all(client, "t") == before
    assert await directories(client) == {home: {}, other: {"t-0": (True, False)}}
    assert broker.image.partition("t", 0).directories == (broker.dirs.by_path(f"{tmp_path}/{other}").id,)
    assert [name for name in (tmp_path / other).iterdir() if name.name.startswith("t-0")] == [tmp_path / other / "t-0"]
    await produce(client, "t", b"3")
    assert len(await read_all(client, "t")) == 3


async def test_a_moved_partition_is_in_its_new_directory_after_a_restart(start_broker, tmp_path):
    async with start_broker() as broker:
        client = Peer(broker)
        await client.create_topic("t")
        other = "b" if places(broker)["t-0"] == "a" else "a"
        await produce(client, "t", b"1")
        await move(client, "t", 0, tmp_path / other)
        await settled(broker)
    async with start_broker() as broker:
        assert places(broker) == {"t-0": other}
        assert len(await read_all(Peer(broker), "t")) == 1


async def test_a_partition_that_was_never_opened_moves_by_name(client, tmp_path):
    await client.create_topic("t")
    other = "b" if places(client.broker)["t-0"] == "a" else "a"
    await move(client, "t", 0, tmp_path / other)
    await settled(client.broker)
    assert places(client.broker) == {"t-0": other}


async def test_a_move_to_the_own_directory_cancels_the_pending_move(client, tmp_path):
    await client.create_topic("t")
    home = places(client.broker)["t-0"]
    other = "b" if home == "a" else "a"
    await produce(client, "t", b"1")
    for name in (other, home):
        assert await move(client, "t", 0, tmp_path / name) == 0
    await settled(client.broker)
    assert places(client.broker) == {"t-0": home}


def replace_on_disk(monkeypatch, broker, **operations):
    """Let some operations of the data directories be others."""

    class Replaced:
        def __getattr__(self, name):
            return operations.get(name) or getattr(broker.dirs.files, name)

    for one in broker.dirs.dirs:
        monkeypatch.setattr(one, "files", Replaced())


async def test_a_move_that_the_disk_refuses_leaves_the_partition_where_it_is(client, tmp_path, monkeypatch, capsys):
    await client.create_topic("t")
    broker = client.broker
    home = places(broker)["t-0"]
    other = "b" if home == "a" else "a"
    await produce(client, "t", b"1")

    def full(path):
        raise StorageFailure(path, "No space left on device")

    replace_on_disk(monkeypatch, broker, make_directory=full)
    assert await move(client, "t", 0, tmp_path / other) == 0
    await settled(broker)
    assert places(broker) == {"t-0": home}
    await produce(client, "t", b"2")
    assert len(await read_all(client, "t")) == 2
    assert "cannot move the partition to another log directory" in capsys.readouterr().err


async def test_a_move_that_cannot_leave_the_old_directory_leaves_nothing_in_the_new_one(client, tmp_path, monkeypatch):
    await client.create_topic("t")
    broker = client.broker
    home = places(broker)["t-0"]
    other = "b" if home == "a" else "a"
    await produce(client, "t", b"1")
    rename = broker.dirs.files.rename

    def stuck(path, new_path):
        if path == f"{tmp_path}/{home}/t-0":
            raise StorageFailure(path, "Input/output error")
        rename(path, new_path)

    replace_on_disk(monkeypatch, broker, rename=stuck)
    await move(client, "t", 0, tmp_path / other)
    await settled(broker)
    assert places(broker) == {"t-0": home}
    assert [path.name for path in (tmp_path / other).iterdir() if path.name.startswith("t-0")] == []
    await produce(client, "t", b"2")
    assert len(await read_all(client, "t")) == 2


async def test_a_move_is_done_though_the_metadata_cannot_be_written(client, tmp_path, monkeypatch):
    await client.create_topic("t")
    broker = client.broker
    home = places(broker)["t-0"]
    other = "b" if home == "a" else "a"
    await produce(client, "t", b"1")

    def refuse(_records):
        raise StorageFailure("data/__cluster_metadata-0", "No space left on device")

    monkeypatch.setattr(broker.controller, "commit", refuse)
    await move(client, "t", 0, tmp_path / other)
    await settled(broker)
    assert places(broker) == {"t-0": other}
    assert not (tmp_path / home / "t-0").exists()
    assert len(await read_all(client, "t")) == 1


async def test_invalid_moves_are_refused(client, tmp_path):
    await client.create_topic("t")
    assert await move(client, "t", 0, tmp_path / "nowhere") == 57
    assert await move(client, "t", 9, tmp_path / "a") == 3
    assert await move(client, "zz", 0, tmp_path / "a") == 3


async def test_a_changed_topic_config_holds_at_once(client):
    await client.create_topic("t")
    alter = m.IncrementalAlterConfigsRequest
    await client.call(
        1,
        alter(
            resources=[
                alter.AlterConfigsResource(
                    resource_type=ResourceType.TOPIC,
                    resource_name="t",
                    configs=[alter.AlterableConfig(name="max.message.bytes", config_operation=0, value="80")],
                )
            ]
        ),
    )
    response = await client.call(9, produce_request("t", b"x" * 100))
    assert response.responses[0].partition_responses[0].error_code == 10


async def test_each_topic_of_a_request_for_too_many_partitions_is_refused(client):
    create = m.CreateTopicsRequest
    topics = [create.CreatableTopic(name=name, num_partitions=5001, replication_factor=1) for name in ("a", "b")]
    answer = await client.call(7, create(topics=topics))
    text = "Excessively large number of partitions per request."
    assert [(one.name, one.error_code, one.error_message) for one in answer.topics] == [
        ("a", Code.POLICY_VIOLATION, text),
        ("b", Code.POLICY_VIOLATION, text),
    ]
    assert client.broker.image.topics == {}


async def test_created_grown_and_deleted_topics_are_visible_at_once(client):
    create = m.CreateTopicsRequest
    topic = create.CreatableTopic(name="t", num_partitions=1, replication_factor=1)
    await client.call(7, create(topics=[topic]))
    await produce(client, "t", b"1")
    grow = m.CreatePartitionsRequest
    await client.call(3, grow(topics=[grow.CreatePartitionsTopic(name="t", count=2, assignments=None)]))
    await produce(client, "t", b"2", partition=1)
    delete = m.DeleteTopicsRequest
    await client.call(6, delete(topics=[delete.DeleteTopicState(name="t")]))
    assert list(client.broker.partitions) == []
    await client.call(7, create(topics=[topic]))
    assert await read_all(client, "t") == []


async def test_delete_topics_is_refused_with_topic_deletion_disabled(start_broker):
    async with start_broker(**{"delete.topic.enable": "false"}) as broker:
        client = Peer(broker)
        await client.create_topic("t")
        delete = m.DeleteTopicsRequest
        old = await client.call(1, delete(topic_names=["t"]))
        new = await client.call(6, delete(topics=[delete.DeleteTopicState(name="t")]))
        assert [old.responses[0].error_code, new.responses[0].error_code] == [42, 73]
        assert "t" in broker.image.topics


async def test_a_topic_that_a_full_disk_keeps_from_being_made_does_not_hide_the_others(client, monkeypatch):
    await client.create_topic("there")

    def refuse(_records):
        raise StorageFailure("data/__cluster_metadata-0", "No space left on device")

    monkeypatch.setattr(client.broker.controller, "commit", refuse)
    wanted = [m.MetadataRequest.MetadataRequestTopic(name=name) for name in ("there", "new")]
    response = await client.call(12, m.MetadataRequest(topics=wanted))

    codes = {topic.name: topic.error_code for topic in response.topics}
    assert codes == {"there": 0, "new": Code.KAFKA_STORAGE_ERROR}


async def test_the_running_broker_cannot_be_unregistered(client):
    response = await client.call(0, m.UnregisterBrokerRequest(broker_id=1))
    assert response.error_code == 42
    assert set(client.broker.image.brokers) == {1}


@pytest.mark.parametrize(
    ("controller_id", "code"), [(1, Code.INVALID_REQUEST), (7, Code.CONTROLLER_ID_NOT_REGISTERED), (3, Code.NONE)]
)
async def test_a_controller_that_is_not_the_active_one_can_be_unregistered(client, controller_id, code):
    client.broker.image.apply([m.RegisterControllerRecord(controller_id=3, incarnation_id=bytes(16))])
    response = await client.call(0, m.UnregisterControllerRequest(controller_id=controller_id))
    assert response.error_code == code
    assert 3 in client.broker.image.controllers or code is Code.NONE


async def test_the_level_of_the_log_can_be_read_and_set(client):
    from kwire.broker import logs

    alter = m.IncrementalAlterConfigsRequest
    before = logs.level()
    try:
        for level in ("DEBUG", "ERROR", before):
            await client.call(
                1,
                alter(
                    resources=[
                        alter.AlterConfigsResource(
                            resource_type=ResourceType.BROKER_LOGGER,
                            resource_name="1",
                            configs=[alter.AlterableConfig(name="root", config_operation=0, value=level)],
                        )
                    ]
                ),
            )
            describe = m.DescribeConfigsRequest
            response = await client.call(
                4,
                describe(
                    resources=[describe.DescribeConfigsResource(resource_type=8, resource_name="1")],
                ),
            )
            (root,) = response.results[0].configs
            assert (root.name, root.value, root.read_only, root.is_sensitive) == ("root", level, False, False)
    finally:
        logs.set_level(before)


async def test_a_log_level_that_is_only_validated_is_not_set(client):
    from kwire.broker import logs

    alter = m.IncrementalAlterConfigsRequest
    before = logs.level()
    resource = alter.AlterConfigsResource(
        resource_type=ResourceType.BROKER_LOGGER,
        resource_name="1",
        configs=[alter.AlterableConfig(name="root", config_operation=0, value="ERROR")],
    )
    try:
        answer = await client.call(1, alter(resources=[resource], validate_only=True))
        assert (answer.responses[0].error_code, logs.level()) == (Code.NONE, before)
    finally:
        logs.set_level(before)


async def test_a_scram_credential_is_kept_as_two_keys_that_prove_the_password(client):
    import hashlib
    import hmac

    from kwire.metadata.entities import ScramMechanism
    from kwire.security.sasl.scram_keys import salted_password

    alter = m.AlterUserScramCredentialsRequest
    salted = salted_password(2, "secret", b"salt", 4096)
    upsertion = alter.ScramCredentialUpsertion(
        name="alice", mechanism=2, iterations=4096, salt=b"salt", salted_password=salted
    )
    await client.call(0, alter(upsertions=[upsertion]))
    kept = client.broker.image.scram["alice", ScramMechanism.SCRAM_SHA_512]
    client_key = hmac.digest(salted, b"Client Key", hashlib.sha512)
    assert kept.stored_key == hashlib.sha512(client_key).digest()
    assert kept.server_key == hmac.digest(salted, b"Server Key", hashlib.sha512)


async def test_producers_that_write_nothing_expire(client):
    await client.create_topic("t")
    broker = client.broker
    await produce(client, "t", b"1", producer_id=5)
    describe = m.DescribeProducersRequest
    request = describe(topics=[describe.TopicRequest(name="t", partition_indexes=[0])])

    async def known():
        response = await client.call(0, request)
        return [one.producer_id for one in response.topics[0].partitions[0].active_producers]

    assert await known() == [5]
    broker.clock.advance(24 * 3600 * 1000 + 600_000)
    while await known():  # noqa: ASYNC110 - no event shows what housekeeping has removed
        await trio.sleep(0.001)
