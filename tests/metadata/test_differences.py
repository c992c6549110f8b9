"""A snapshot that takes the place of an image changes what differs, and nothing else."""

import pytest

from kwire.metadata.entities import ResourceType
from kwire.metadata.image import MetadataImage
from kwire.metadata.log.differences import differences
from kwire.metadata.log.snapshot import snapshot_records
from kwire.types import TopicPartition
from kwire.wire.messages import (
    AccessControlEntryRecord,
    ClientQuotaRecord,
    ConfigRecord,
    DelegationTokenRecord,
    FeatureLevelRecord,
    PartitionRecord,
    ProducerIdsRecord,
    RegisterBrokerRecord,
    RegisterControllerRecord,
    TopicRecord,
    UserScramCredentialRecord,
)


def uuid(name):
    return name.encode().ljust(16, b".")


def topic(name, *leaders, topic_id=None):
    identity = uuid(topic_id or name)
    return [
        TopicRecord(name=name, topic_id=identity),
        *(
            PartitionRecord(topic_id=identity, partition_id=index, replicas=[1, 2], isr=[1, 2], leader=leader)
            for index, leader in enumerate(leaders)
        ),
    ]


def config(kind, name, key, value):
    return ConfigRecord(resource_type=kind, resource_name=name, name=key, value=value)


def acl(name):
    return AccessControlEntryRecord(
        id=uuid(name), resource_type=2, resource_name=name, pattern_type=3, principal="User:a", host="*", operation=3,
        permission_type=3,
    )  # fmt: skip


def quota(client, value):
    entity = [ClientQuotaRecord.EntityData(entity_type="client-id", entity_name=client)]
    return ClientQuotaRecord(entity=entity, key="producer_byte_rate", value=value)


def scram(user, salt):
    return UserScramCredentialRecord(
        name=user, mechanism=1, salt=salt, stored_key=b"s", server_key=b"k", iterations=4096
    )


def token(name, owner="User:a"):
    return DelegationTokenRecord(token_id=name, owner=owner, requester=owner)


def broker(broker_id, epoch, *, fenced=False):
    return RegisterBrokerRecord(broker_id=broker_id, broker_epoch=epoch, incarnation_id=uuid(str(epoch)), fenced=fenced)


BEFORE = [
    FeatureLevelRecord(name="metadata.version", feature_level=30),
    FeatureLevelRecord(name="group.version", feature_level=1),
    broker(1, 5),
    broker(2, 6),
    RegisterControllerRecord(controller_id=3000),
    *topic("kept", 1, 2),
    *topic("gone", 1),
    *topic("again", 1, topic_id="first"),
    config(ResourceType.TOPIC, "kept", "retention.ms", "1"),
    config(ResourceType.TOPIC, "again", "retention.ms", "2"),
    config(ResourceType.BROKER, "", "num.partitions", "3"),
    acl("a"),
    quota("x", 1.0),
    quota("y", 2.0),
    scram("alice", b"1"),
    scram("bob", b"2"),
    token("t1"),
    ProducerIdsRecord(broker_id=1, broker_epoch=5, next_producer_id=1000),
]
AFTER = [
    FeatureLevelRecord(name="metadata.version", feature_level=33),
    broker(1, 5),
    broker(3, 9, fenced=True),
    RegisterControllerRecord(controller_id=3001),
    *topic("kept", 1, 1, 2),
    *topic("again", 2, topic_id="second"),
    *topic("new", 2),
    config(ResourceType.TOPIC, "kept", "cleanup.policy", "compact"),
    config(ResourceType.BROKER, "", "num.partitions", "4"),
    acl("b"),
    quota("x", 3.0),
    scram("alice", b"9"),
    token("t2"),
    ProducerIdsRecord(broker_id=3, broker_epoch=9, next_producer_id=2000),
]


def image_of(records):
    image = MetadataImage()
    image.apply(records)
    return image


def leading_to(records, image):
    """The records that lead from an image to that of ``records``."""
    return [record for step in differences(image, image_of(records)) for record in step]


def content(image):
    return sorted(map(repr, snapshot_records(image)))


# A topic never has fewer partitions than before, and producer ids are never given back.
@pytest.mark.parametrize(("before", "after"), [(BEFORE, AFTER), ([], AFTER), (BEFORE, BEFORE[-1:]), (BEFORE, BEFORE)])
def test_applied_differences_give_the_image_of_the_snapshot(before, after):
    image = image_of(before)
    image.apply(leading_to(after, image))
    assert content(image) == content(image_of(after))
    assert leading_to(after, image) == []


def test_partitions_that_stay_are_changed_and_not_created():
    image = image_of(BEFORE)
    delta = image.apply(leading_to(AFTER, image))
    assert set(delta.partitions_changed) == {TopicPartition("kept", 1)}
    assert set(delta.partitions_created) == {
        TopicPartition("kept", 2),
        TopicPartition("again", 0),
        TopicPartition("new", 0),
    }
    assert {one.name for one in delta.topics_deleted} == {"gone", "again"}
    assert {one.name for one in delta.topics_created} == {"again", "new"}
    assert delta.brokers_changed == {2, 3}
