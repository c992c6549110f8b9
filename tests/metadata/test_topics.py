import pytest
from metadata_cases import effective_of, image_with, uuids

from kwire.errors import Code, KafkaError
from kwire.metadata.configs.effective import BrokerSettings, EffectiveConfigs, Source
from kwire.metadata.decisions.topics import NewPartitions, NewTopic, create_partitions, create_topics, delete_topics
from kwire.wire.messages import ConfigRecord, FenceBrokerRecord, PartitionRecord, RemoveTopicRecord, TopicRecord

ODD_CHARACTERS = "contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
TOO_MANY_REPLICAS = (
    "Unable to replicate the partition 3 time(s): The target replication factor of 3 cannot be reached because "
    "only 1 broker(s) are registered or some brokers have all their log directories cordoned."
)
NO_TIERED_STORAGE = (
    "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage."
)


@pytest.fixture
def image():
    return image_with(1)


@pytest.fixture
def effective(image):
    return effective_of(image)


@pytest.fixture
def uuid():
    return uuids()


def create(image, effective, uuid, *topics):
    decision = create_topics(image, effective, topics, uuid=uuid)
    image.apply(decision.records)
    return decision


def refusals(decision):
    return [(one.code, one.message) if isinstance(one, KafkaError) else None for one in decision.results]


def test_a_topic_is_a_topic_record_then_its_configs_then_its_partitions(image, effective, uuid):
    decision = create(image, effective, uuid, NewTopic("t", 2, 1, configs={"retention.ms": "5"}))
    assert [type(record) for record in decision.records] == [
        TopicRecord,
        ConfigRecord,
        PartitionRecord,
        PartitionRecord,
    ]
    partition = decision.records[2]
    assert (partition.leader, partition.leader_epoch, partition.partition_epoch) == (1, 0, 0)
    assert (partition.replicas, partition.isr, len(partition.directories)) == ([1], [1], 1)


def test_the_result_has_id_counts_and_every_config_with_its_source(image, effective, uuid):
    (created,) = create(image, effective, uuid, NewTopic("t", configs={"retention.ms": "5"})).results
    assert (created.partitions, created.replication_factor) == (1, 1)
    assert created.topic_id == image.topics["t"].id
    configs = {one.name: one for one in created.configs}
    assert (configs["retention.ms"].value, configs["retention.ms"].source) == ("5", Source.TOPIC)
    assert configs["segment.bytes"].source == Source.DEFAULT
    assert len(configs) == 37


def test_defaults_come_from_the_broker(image, uuid):
    effective = EffectiveConfigs(image, BrokerSettings({"num.partitions": "4"}), 1)
    create(image, effective, uuid, NewTopic("t"))
    assert len(image.topics["t"].partitions) == 4


@pytest.mark.parametrize(
    ("topic", "code", "message"),
    [
        (NewTopic(""), Code.INVALID_TOPIC_EXCEPTION, "Topic name is invalid: the empty string is not allowed"),
        (NewTopic(".."), Code.INVALID_TOPIC_EXCEPTION, "Topic name is invalid: '..' is not allowed"),
        (
            NewTopic("a b"),
            Code.INVALID_TOPIC_EXCEPTION,
            f"Topic name is invalid: 'a b' {ODD_CHARACTERS}",
        ),
        (
            NewTopic("x" * 250),
            Code.INVALID_TOPIC_EXCEPTION,
            f"Topic name is invalid: the length of '{'x' * 250}' is longer than the max allowed length 249",
        ),
        (
            NewTopic("__cluster_metadata"),
            Code.INVALID_REQUEST,
            "Creation of internal topic __cluster_metadata is prohibited.",
        ),
        (NewTopic("old.name"), Code.TOPIC_ALREADY_EXISTS, "Topic 'old.name' already exists."),
        (
            NewTopic("old_name"),
            Code.INVALID_TOPIC_EXCEPTION,
            "Topic 'old_name' collides with existing topic: old.name",
        ),
        (
            NewTopic("t", partitions=0),
            Code.INVALID_PARTITIONS,
            "Number of partitions was set to an invalid non-positive value.",
        ),
        (
            NewTopic("t", replication_factor=0),
            Code.INVALID_REPLICATION_FACTOR,
            "Replication factor must be larger than 0, or -1 to use the default value.",
        ),
        (
            NewTopic("t", replication_factor=3),
            Code.INVALID_REPLICATION_FACTOR,
            TOO_MANY_REPLICAS,
        ),
        (
            NewTopic("t", partitions=10_001),
            Code.POLICY_VIOLATION,
            "Excessively large number of partitions per request.",
        ),
        (
            NewTopic("t", partitions=1, assignments=((0, (1,)),)),
            Code.INVALID_REQUEST,
            "A manual partition assignment was specified, but numPartitions was not set to -1.",
        ),
        (
            NewTopic("t", replication_factor=1, assignments=((0, (1,)),)),
            Code.INVALID_REQUEST,
            "A manual partition assignment was specified, but replication factor was not set to -1.",
        ),
        (
            NewTopic("t", assignments=((1, (1,)),)),
            Code.INVALID_REPLICA_ASSIGNMENT,
            "partitions should be a consecutive 0-based integer sequence",
        ),
        (
            NewTopic("t", assignments=((0, (1,)), (0, (1,)))),
            Code.INVALID_REPLICA_ASSIGNMENT,
            "Found multiple manual partition assignments for partition 0",
        ),
        (
            NewTopic("t", assignments=((0, (1, 1)),)),
            Code.INVALID_REPLICA_ASSIGNMENT,
            "The manual partition assignment includes the broker 1 more than once.",
        ),
        (
            NewTopic("t", assignments=((0, (1, 2)),)),
            Code.INVALID_REPLICA_ASSIGNMENT,
            "The manual partition assignment includes broker 2, but no such broker is registered.",
        ),
        (
            NewTopic("t", assignments=((0, ()),)),
            Code.INVALID_REPLICA_ASSIGNMENT,
            "The manual partition assignment includes an empty replica list.",
        ),
        (NewTopic("t", configs={"nope": "1"}), Code.INVALID_CONFIG, "Unknown topic config name: nope"),
        (
            NewTopic("t", configs={"retention.ms": None}),
            Code.INVALID_CONFIG,
            "Null value not supported for topic configs: retention.ms",
        ),
        (
            NewTopic("t", configs={"segment.bytes": "1"}),
            Code.INVALID_CONFIG,
            "Invalid value 1 for configuration segment.bytes: Value must be at least 1048576",
        ),
        (
            NewTopic("t", configs={"min.compaction.lag.ms": "10", "max.compaction.lag.ms": "5"}),
            Code.INVALID_CONFIG,
            "conflict topic config setting min.compaction.lag.ms (10) > max.compaction.lag.ms (5)",
        ),
        (
            NewTopic("t", configs={"remote.storage.enable": "true"}),
            Code.INVALID_CONFIG,
            NO_TIERED_STORAGE,
        ),
    ],
)
def test_a_topic_is_refused_with_kafkas_code_and_words(image, effective, uuid, *, topic, code, message):
    create(image, effective, uuid, NewTopic("old.name"))
    decision = create_topics(image, effective, [topic], uuid=uuid)
    assert refusals(decision) == [(code, message)]
    assert decision.records == []


def test_one_refused_topic_does_not_stop_the_others(image, effective, uuid):
    decision = create(image, effective, uuid, NewTopic("a"), NewTopic("b", partitions=0), NewTopic("c"))
    assert [isinstance(one, KafkaError) for one in decision.results] == [False, True, False]
    assert set(image.topics) == {"a", "c"}


def test_names_of_one_request_do_not_collide_with_each_other(image, effective, uuid):
    decision = create(image, effective, uuid, NewTopic("a.b"), NewTopic("a_b"))
    assert refusals(decision) == [None, None]


def test_names_that_one_request_creates_in_several_commands_do_not_collide(image, effective, uuid):
    create(image, effective, uuid, NewTopic("a.b"))
    create(image, effective, uuid, NewTopic("c.d"))
    topics = [NewTopic("a_b"), NewTopic("c_d")]
    decision = create_topics(image, effective, topics, uuid=uuid, created_together={"a.b", "a_b", "c_d"})
    assert [refusal and refusal[0] for refusal in refusals(decision)] == [None, Code.INVALID_TOPIC_EXCEPTION]


def test_a_deleted_topic_collides_with_no_name(image, effective, uuid):
    create(image, effective, uuid, NewTopic("a.b"))
    create(image, effective, uuid, NewTopic("c.d"))
    image.apply(delete_topics(image, [image.topics["a.b"].id]).records)
    decision = create(image, effective, uuid, NewTopic("a_b"), NewTopic("c_d"))
    assert [refusal and refusal[0] for refusal in refusals(decision)] == [None, Code.INVALID_TOPIC_EXCEPTION]


def test_deleting_a_topic_takes_its_configs_with_it(image, effective, uuid):
    create(image, effective, uuid, NewTopic("t", configs={"retention.ms": "5"}))
    decision = delete_topics(image, [image.topics["t"].id, b"\x09" * 16])
    assert decision.records == [RemoveTopicRecord(topic_id=decision.results[0].id)]
    assert decision.results[1].code is Code.UNKNOWN_TOPIC_ID
    image.apply(decision.records)
    assert dict(image.topics) == {}
    assert dict(image.topics_by_id) == {}
    assert dict(image.configs) == {}


def test_new_partitions_follow_the_existing_ones(image, effective, uuid):
    create(image, effective, uuid, NewTopic("t"))
    image.apply(create_partitions(image, [NewPartitions("t", 3)]).records)
    assert [partition.index for partition in image.topics["t"].partitions] == [0, 1, 2]


@pytest.mark.parametrize(
    ("grown", "code", "message"),
    [
        (NewPartitions("nope", 3), Code.UNKNOWN_TOPIC_OR_PARTITION, None),
        (NewPartitions("t", 2), Code.INVALID_PARTITIONS, "Topic already has 2 partition(s)."),
        (
            NewPartitions("t", 1),
            Code.INVALID_PARTITIONS,
            "The topic t currently has 2 partition(s); 1 would not be an increase.",
        ),
        (
            NewPartitions("t", 4, ((1,),)),
            Code.INVALID_REPLICA_ASSIGNMENT,
            "Attempted to add 2 additional partition(s), but only 1 assignment(s) were specified.",
        ),
        (
            NewPartitions("t", 3, ((2,),)),
            Code.INVALID_REPLICA_ASSIGNMENT,
            "The manual partition assignment includes broker 2, but no such broker is registered.",
        ),
    ],
)
def test_growth_is_refused_with_kafkas_code_and_words(image, effective, uuid, *, grown, code, message):
    create(image, effective, uuid, NewTopic("t", 2))
    assert refusals(create_partitions(image, [grown])) == [(code, message)]


def test_replicas_spread_over_brokers_and_the_fenced_do_not_lead(uuid):
    image = image_with(1, 2, 3)
    image.apply([FenceBrokerRecord(id=2, epoch=12)])
    effective = EffectiveConfigs(image, BrokerSettings(), 1)
    create(image, effective, uuid, NewTopic("t", 6, 3))
    partitions = image.topics["t"].partitions
    assert {partition.leader for partition in partitions} == {1, 3}
    assert all(sorted(partition.replicas) == [1, 2, 3] for partition in partitions)
    assert all(2 not in partition.isr for partition in partitions)


def test_a_topic_of_ten_thousand_partitions_is_one_apply(image, effective, uuid):
    decision = create_topics(image, effective, [NewTopic("t", 10_000)], uuid=uuid)
    delta = image.apply(decision.records)
    assert len(delta.partitions_created) == 10_000
    assert len(delta.topics_created[0].partitions) == 10_000
