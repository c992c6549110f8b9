import pytest
from metadata_cases import DIRECTORY, broker_record, image_with

from kwire.metadata.entities import PreservedRecord, Resource, ResourceType, ScramMechanism
from kwire.metadata.image import MetadataImage
from kwire.metadata.log.frames import decode_record, encode_record
from kwire.metadata.log.snapshot import snapshot_records
from kwire.types import TopicPartition
from kwire.wire.messages import (
    AccessControlEntryRecord,
    BrokerRegistrationChangeRecord,
    ClearElrRecord,
    ClientQuotaRecord,
    ConfigRecord,
    DelegationTokenRecord,
    FeatureLevelRecord,
    FenceBrokerRecord,
    NoOpRecord,
    PartitionChangeRecord,
    PartitionRecord,
    ProducerIdsRecord,
    RegisterControllerRecord,
    RemoveAccessControlEntryRecord,
    RemoveDelegationTokenRecord,
    RemoveTopicRecord,
    RemoveUserScramCredentialRecord,
    TopicRecord,
    UnfenceBrokerRecord,
    UnregisterBrokerRecord,
    UserScramCredentialRecord,
    ZkMigrationStateRecord,
)

T1, T2 = b"\x01" * 16, b"\x02" * 16


def partition_record(topic_id, index, **fields):
    return PartitionRecord(
        topic_id=topic_id,
        partition_id=index,
        **{
            "replicas": [1],
            "isr": [1],
            "leader": 1,
            "leader_epoch": 0,
            "partition_epoch": 0,
            "directories": [DIRECTORY],
            **fields,
        },
    )


def quota(key, value, *, remove=False):
    entity = [
        ClientQuotaRecord.EntityData(entity_type="user", entity_name="alice"),
        ClientQuotaRecord.EntityData(entity_type="client-id", entity_name=None),
    ]
    return ClientQuotaRecord(entity=entity, key=key, value=value, remove=remove)


HISTORY = [
    FeatureLevelRecord(name="metadata.version", feature_level=30),
    FeatureLevelRecord(name="group.version", feature_level=1),
    FeatureLevelRecord(name="share.version", feature_level=1),
    FeatureLevelRecord(name="share.version", feature_level=0),
    broker_record(1, fenced=True),
    broker_record(2, rack="b", cordoned=[DIRECTORY]),
    broker_record(3),
    UnregisterBrokerRecord(broker_id=3, broker_epoch=13),
    UnfenceBrokerRecord(id=1, epoch=11),
    FenceBrokerRecord(id=2, epoch=12),
    BrokerRegistrationChangeRecord(broker_id=2, broker_epoch=12, fenced=-1, in_controlled_shutdown=1),
    RegisterControllerRecord(controller_id=1, incarnation_id=b"\x08" * 16),
    TopicRecord(name="a", topic_id=T1),
    ConfigRecord(resource_type=2, resource_name="a", name="retention.ms", value="5"),
    partition_record(T1, 0),
    partition_record(T1, 1, eligible_leader_replicas=[1], last_known_elr=[2]),
    TopicRecord(name="b", topic_id=T2),
    ConfigRecord(resource_type=2, resource_name="b", name="retention.ms", value="6"),
    partition_record(T2, 0),
    PartitionChangeRecord(topic_id=T1, partition_id=0, isr=[], leader=-1, eligible_leader_replicas=[1]),
    PartitionChangeRecord(topic_id=T1, partition_id=0, isr=[1], leader=1, eligible_leader_replicas=[]),
    partition_record(T1, 2),
    RemoveTopicRecord(topic_id=T2),
    ConfigRecord(resource_type=4, resource_name="", name="log.retention.ms", value="7"),
    ConfigRecord(resource_type=4, resource_name="1", name="log.cleaner.threads", value="2"),
    ConfigRecord(resource_type=4, resource_name="1", name="log.cleaner.threads", value=None),
    UserScramCredentialRecord(name="alice", mechanism=1, salt=b"s", stored_key=b"k", server_key=b"v", iterations=4096),
    UserScramCredentialRecord(name="bob", mechanism=2, salt=b"s", stored_key=b"k", server_key=b"v", iterations=4096),
    RemoveUserScramCredentialRecord(name="bob", mechanism=2),
    quota("producer_byte_rate", 10.0),
    quota("consumer_byte_rate", 20.0),
    quota("consumer_byte_rate", 0.0, remove=True),
    ProducerIdsRecord(broker_id=1, broker_epoch=11, next_producer_id=1000),
    ProducerIdsRecord(broker_id=1, broker_epoch=11, next_producer_id=2000),
    AccessControlEntryRecord(id=b"\x05" * 16, resource_type=2, resource_name="a", principal="User:x"),
    AccessControlEntryRecord(id=b"\x06" * 16, resource_type=2, resource_name="b", principal="User:x"),
    RemoveAccessControlEntryRecord(id=b"\x06" * 16),
    DelegationTokenRecord(token_id="t1", owner="User:x", requester="User:x"),
    DelegationTokenRecord(token_id="t2", owner="User:x", requester="User:x"),
    RemoveDelegationTokenRecord(token_id="t2"),
    NoOpRecord(),
    ZkMigrationStateRecord(zk_migration_state=0),
    PreservedRecord(200, 1, b"from the future"),
]


def said(image):
    return [encode_record(record, 30) for record in snapshot_records(image)]


def test_records_one_by_one_and_all_at_once_give_the_same_image():
    at_once, one_by_one = MetadataImage(), MetadataImage()
    at_once.apply(HISTORY)
    for record in HISTORY:
        one_by_one.apply([record])
    assert said(at_once) == said(one_by_one)
    assert at_once.version == one_by_one.version == len(HISTORY)


def test_a_snapshot_applied_to_an_empty_image_gives_the_same_image():
    image, again = MetadataImage(), MetadataImage()
    image.apply(HISTORY)
    again.apply([decode_record(value) for value in said(image)])
    assert said(again) == said(image)
    assert dict(again.topics) == dict(image.topics)
    assert dict(again.brokers) == dict(image.brokers)


def test_the_end_of_the_history():
    image = MetadataImage()
    image.apply(HISTORY)
    assert dict(image.features) == {"metadata.version": 30, "group.version": 1}
    assert {broker.id: (broker.fenced, broker.in_controlled_shutdown) for broker in image.brokers.values()} == {
        1: (False, False),
        2: (False, True),
    }
    partition = image.partition("a", 0)
    assert (partition.leader, partition.leader_epoch, partition.partition_epoch) == (1, 2, 2)
    assert partition.isr == (1,)
    assert partition.eligible_leader_replicas == ()
    assert image.partition("a", 3) is None
    assert image.partition("b", 0) is None
    assert dict(image.configs) == {
        Resource(ResourceType.TOPIC, "a"): {"retention.ms": "5"},
        Resource(ResourceType.BROKER, ""): {"log.retention.ms": "7"},
    }
    assert set(image.scram) == {("alice", ScramMechanism.SCRAM_SHA_256)}
    assert dict(image.quotas) == {(("client-id", None), ("user", "alice")): {"producer_byte_rate": 10.0}}
    assert image.next_producer_id == 2000
    assert set(image.acls) == {b"\x05" * 16}
    assert set(image.tokens) == {"t1"}
    assert list(image.preserved) == [PreservedRecord(200, 1, b"from the future")]


def test_a_delta_has_what_changed():
    image = image_with(1)
    created = image.apply([TopicRecord(name="a", topic_id=T1), partition_record(T1, 0), partition_record(T1, 1)])
    assert [(topic.name, len(topic.partitions)) for topic in created.topics_created] == [("a", 2)]
    assert set(created.partitions_created) == {TopicPartition("a", 0), TopicPartition("a", 1)}
    changed = image.apply(
        [
            PartitionChangeRecord(topic_id=T1, partition_id=1, leader=-1, isr=[]),
            PartitionChangeRecord(topic_id=T1, partition_id=1, leader=1, isr=[1]),
        ]
    )
    (change,) = changed.partitions_changed.items()
    assert change[0] == TopicPartition("a", 1)
    assert (change[1][0].leader_epoch, change[1][1].leader_epoch) == (0, 2)
    deleted = image.apply([RemoveTopicRecord(topic_id=T1)])
    assert [topic.name for topic in deleted.topics_deleted] == ["a"]


def test_a_change_without_a_leader_keeps_the_leader_epoch():
    image = image_with(1)
    image.apply([TopicRecord(name="a", topic_id=T1), partition_record(T1, 0)])
    image.apply([PartitionChangeRecord(topic_id=T1, partition_id=0, directories=[bytes(16)])])
    partition = image.partition("a", 0)
    assert (partition.leader, partition.leader_epoch, partition.partition_epoch) == (1, 0, 1)


@pytest.mark.parametrize("name", ["a", ""])
def test_eligible_leaders_are_cleared_for_one_topic_or_all(name):
    image = image_with(1)
    image.apply([TopicRecord(name="a", topic_id=T1), partition_record(T1, 0, eligible_leader_replicas=[1])])
    delta = image.apply([ClearElrRecord(topic_name=name)])
    assert image.partition("a", 0).eligible_leader_replicas == ()
    assert set(delta.partitions_changed) == {TopicPartition("a", 0)}


def test_a_partition_out_of_order_is_a_damaged_log():
    image = image_with(1)
    with pytest.raises(KeyError):
        image.apply([TopicRecord(name="a", topic_id=T1), partition_record(T1, 1)])


def test_the_image_cannot_be_changed_from_outside():
    image = image_with(1)
    for face in (image.topics, image.topics_by_id, image.brokers, image.configs, image.features, image.quotas):
        with pytest.raises(TypeError):
            face["x"] = 1


def test_a_record_version_that_is_unknown_is_kept_as_bytes():
    value = b"\x01" + bytes([2]) + bytes([9]) + b"whatever"  # frame 1, TopicRecord, version 9
    record = decode_record(value)
    assert record == PreservedRecord(2, 9, b"whatever")
    assert encode_record(record, 30) == value


@pytest.mark.parametrize(("level", "version"), [(7, 0), (16, 0), (17, 1), (22, 1), (23, 2), (30, 2)])
def test_partitions_are_written_at_the_version_of_the_metadata_level(level, version):
    plain = partition_record(T1, 0, directories=[DIRECTORY] if level >= 17 else [])
    assert encode_record(plain, level)[2] == version


@pytest.mark.parametrize(("level", "version"), [(7, 1), (8, 2), (17, 3), (29, 3), (30, 4)])
def test_brokers_are_written_at_the_version_of_the_metadata_level(level, version):
    record = broker_record(1, log_dirs=[DIRECTORY] if level >= 17 else [])
    assert encode_record(record, level)[2] == version


def test_applying_a_preserved_record_does_not_copy_those_before_it():
    image = MetadataImage()
    kept = image.preserved
    for number in range(3):
        image.apply([PreservedRecord(200, 1, bytes([number]))])
    assert image.preserved is kept
    assert [record.body for record in kept] == [b"\x00", b"\x01", b"\x02"]
