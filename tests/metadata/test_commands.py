"""Commands beyond topics. What Apache answers on one node is checked by tests/api/test_admin_as_apache.py."""

import pytest
from metadata_cases import DIRECTORY, broker_record, effective_of, image_with, uuids

from kwire.errors import Code, KafkaError
from kwire.metadata.cluster.directories import assign_own_directories
from kwire.metadata.cluster.elections import PREFERRED, UNCLEAN, elect_leaders
from kwire.metadata.cluster.nodes import (
    Registration,
    register_broker,
    reserve_producer_ids,
    stop_broker,
    unregister_broker,
)
from kwire.metadata.cluster.reassignment import Reassignment, alter_reassignments
from kwire.metadata.decisions.alter_configs import ConfigChange, Operation, alter_configs, alter_configs_incrementally
from kwire.metadata.decisions.credentials import (
    QuotaChange,
    ScramDeletion,
    ScramUpsertion,
    alter_client_quotas,
    alter_scram_credentials,
)
from kwire.metadata.decisions.decision import DONE
from kwire.metadata.decisions.topics import NewTopic, create_topics
from kwire.metadata.decisions.update_features import FeatureUpdate, UpgradeType, update_features
from kwire.metadata.entities import Endpoint, Resource, ResourceType, ScramCredential
from kwire.metadata.features import finalized
from kwire.types import TopicPartition
from kwire.wire.messages import ConfigRecord, FeatureLevelRecord, FenceBrokerRecord, PartitionChangeRecord

TOPIC_T = Resource(ResourceType.TOPIC, "t")
T0 = TopicPartition("t", 0)


def image_with_topic(*broker_ids, rows=((0, (1,)),), configs=None):
    image = image_with(*broker_ids)
    topic = NewTopic("t", assignments=rows, configs=configs or {})
    image.apply(create_topics(image, effective_of(image), [topic], uuid=uuids()).records)
    return image


def change(image, **fields):
    image.apply([PartitionChangeRecord(topic_id=image.topics["t"].id, partition_id=0, **fields)])


# --- configs ---


def test_only_changed_configs_are_written():
    image = image_with_topic(1, configs={"retention.ms": "5", "segment.ms": "6"})
    records = alter_configs(image, effective_of(image), TOPIC_T, [("retention.ms", "5"), ("max.message.bytes", "7")])
    assert [(record.name, record.value) for record in records] == [("max.message.bytes", "7"), ("segment.ms", None)]


def test_a_refused_change_writes_nothing():
    image = image_with_topic(1)
    changes = [ConfigChange("retention.ms", Operation.SET, "5"), ConfigChange("nope", Operation.SET, "1")]
    with pytest.raises(KafkaError) as refused:
        alter_configs_incrementally(image, effective_of(image), TOPIC_T, changes)
    assert refused.value.code is Code.INVALID_CONFIG
    assert image.config(ResourceType.TOPIC, "t") == {}


def test_an_unknown_operation_is_refused():
    image = image_with_topic(1)
    with pytest.raises(KafkaError) as refused:
        alter_configs_incrementally(image, effective_of(image), TOPIC_T, [ConfigChange("retention.ms", 7, "5")])
    assert refused.value.code is Code.INVALID_REQUEST


@pytest.mark.parametrize("name", ["t", "7"])
def test_an_id_of_no_broker_is_refused_before_its_changes_are_looked_at(name):
    image = image_with(1)
    change = ConfigChange("log.retention.ms", Operation.SUBTRACT, "5")
    with pytest.raises(KafkaError) as refused:
        alter_configs_incrementally(image, effective_of(image), Resource(ResourceType.BROKER, name), [change])
    assert refused.value.code is Code.INVALID_REQUEST


def test_an_unknown_resource_type_is_refused_before_its_changes_are_looked_at():
    image = image_with(1)
    with pytest.raises(KafkaError) as refused:
        alter_configs_incrementally(
            image,
            effective_of(image),
            Resource(ResourceType.UNKNOWN, "t"),
            [ConfigChange("min.insync.replicas", Operation.APPEND, "5")],
        )
    assert refused.value.code is Code.INVALID_REQUEST


def test_a_broker_config_that_is_not_served_is_refused_when_it_is_set_not_when_it_is_there():
    image = image_with(1)
    broker = Resource(ResourceType.BROKER, "1")
    image.apply([ConfigRecord(resource_type=4, resource_name="1", name="remote.log.reader.threads", value="5")])
    configs = effective_of(image)
    with pytest.raises(KafkaError, match="does not serve"):
        alter_configs_incrementally(
            image, configs, broker, [ConfigChange("remote.log.reader.threads", Operation.SET, "6")]
        )
    records = alter_configs_incrementally(
        image, configs, broker, [ConfigChange("message.max.bytes", Operation.SET, "6")]
    )
    assert [record.name for record in records] == ["message.max.bytes"]


# --- brokers ---


def registration(broker_id=1, epoch=77):
    endpoint = Endpoint("PLAINTEXT", "localhost", 9092, 0)
    return Registration(broker_id, epoch, b"\x09" * 16, [endpoint], None, [DIRECTORY])


def test_a_broker_registers_and_takes_part_at_once():
    image = image_with()
    image.apply(register_broker(image, effective_of(image), registration()))
    broker = image.brokers[1]
    assert (broker.epoch, broker.fenced, broker.in_controlled_shutdown) == (77, False, False)
    assert broker.endpoints == (Endpoint("PLAINTEXT", "localhost", 9092, 0),)
    image.apply(stop_broker(broker))
    assert image.brokers[1].in_controlled_shutdown


def test_a_returning_broker_leads_its_leaderless_partitions_again():
    image = image_with_topic(1)
    image.apply([FeatureLevelRecord(name="eligible.leader.replicas.version", feature_level=1)])
    # As Apache Kafka leaves a partition when its only replica stops in order (KIP-966).
    change(image, leader=-1, isr=[], eligible_leader_replicas=[1], last_known_elr=[1])
    image.apply(register_broker(image, effective_of(image), registration()))
    partition = image.partition("t", 0)
    assert (partition.leader, partition.isr, partition.leader_epoch) == (1, (1,), 2)
    assert (partition.eligible_leader_replicas, partition.last_known_elr) == ((), ())


def test_a_returning_broker_does_not_lead_partitions_that_it_is_not_in_sync_with():
    image = image_with_topic(1, 2, rows=((0, (2, 1)),))
    change(image, leader=-1, isr=[2])
    image.apply(register_broker(image, effective_of(image), registration()))
    assert image.partition("t", 0).leader == -1


def test_leader_epochs_are_bumped_only_on_request():
    image = image_with_topic(1)
    image.apply(register_broker(image, effective_of(image), registration()))
    assert image.partition("t", 0).leader_epoch == 0
    image.apply(register_broker(image, effective_of(image), registration(), page_cache_lost=True))
    assert image.partition("t", 0).leader_epoch == 1


def test_an_unregistered_broker_is_removed_from_the_image():
    image = image_with(1, 2)
    image.apply(unregister_broker(image, effective_of(image), 2))
    assert set(image.brokers) == {1}
    with pytest.raises(KafkaError) as refused:
        unregister_broker(image, effective_of(image), 2)
    assert refused.value.code is Code.BROKER_ID_NOT_REGISTERED


def test_blocks_of_producer_ids_follow_each_other():
    image = image_with(1)
    first, records = reserve_producer_ids(image, 1)
    image.apply(records)
    second, records = reserve_producer_ids(image, 1, count=10)
    image.apply(records)
    assert (first, second, image.next_producer_id) == (0, 1000, 1010)


def test_producer_ids_run_out():
    image = image_with(1)
    image.apply(reserve_producer_ids(image, 1, count=2**63 - 1001)[1])
    with pytest.raises(KafkaError):
        reserve_producer_ids(image, 1, count=1001)


def test_directories_are_assigned_where_the_image_has_others():
    image = image_with_topic(1)
    other = b"\x0d" * 16
    assert assign_own_directories(image, effective_of(image), 1, {T0: DIRECTORY}) == []
    image.apply(assign_own_directories(image, effective_of(image), 1, {T0: other, TopicPartition("gone", 0): other}))
    assert image.partition("t", 0).directories == (other,)
    assert image.partition("t", 0).leader_epoch == 0


# --- elections and reassignments, on a cluster that was larger once ---


def test_the_preferred_leader_is_elected_when_it_is_in_sync():
    image = image_with_topic(1, 2, rows=((0, (1, 2)),))
    change(image, leader=2)
    decision = elect_leaders(image, effective_of(image), PREFERRED, [T0])
    image.apply(decision.records)
    assert decision.results == [DONE]
    assert image.partition("t", 0).leader == 1


def test_a_preferred_leader_that_lags_or_is_away_is_not_available():
    image = image_with_topic(1, 2, rows=((0, (1, 2)),))
    change(image, leader=2, isr=[2])
    assert (
        elect_leaders(image, effective_of(image), PREFERRED, [T0]).results[0].code
        is Code.PREFERRED_LEADER_NOT_AVAILABLE
    )
    change(image, isr=[1, 2])
    image.apply([FenceBrokerRecord(id=1, epoch=11)])
    assert (
        elect_leaders(image, effective_of(image), PREFERRED, [T0]).results[0].code
        is Code.PREFERRED_LEADER_NOT_AVAILABLE
    )


def test_an_unclean_election_takes_any_replica_and_marks_the_recovery():
    image = image_with_topic(1, 2, rows=((0, (1, 2)),))
    change(image, leader=-1, isr=[2])
    image.apply([FenceBrokerRecord(id=2, epoch=12)])
    image.apply(elect_leaders(image, effective_of(image), UNCLEAN, [T0]).records)
    partition = image.partition("t", 0)
    assert (partition.leader, partition.isr, partition.leader_recovery_state) == (1, (1,), 1)


def test_no_replica_at_all_is_no_election():
    image = image_with_topic(1)
    change(image, leader=-1)
    image.apply([FenceBrokerRecord(id=1, epoch=11)])
    assert (
        elect_leaders(image, effective_of(image), UNCLEAN, [T0]).results[0].code is Code.ELIGIBLE_LEADERS_NOT_AVAILABLE
    )


def test_a_partition_can_be_reassigned_away_from_an_unregistered_broker():
    image = image_with_topic(1, 2, rows=((0, (2, 1)),))
    image.apply(alter_reassignments(image, effective_of(image), [Reassignment(T0, (1,))]).records)
    partition = image.partition("t", 0)
    assert (partition.replicas, partition.isr, partition.leader) == ((1,), (1,), 1)
    assert len(partition.directories) == 1


def test_a_replication_factor_that_must_not_change_does_not():
    image = image_with_topic(1, 2, rows=((0, (2, 1)),))
    decision = alter_reassignments(
        image, effective_of(image), [Reassignment(T0, (1,))], allow_replication_factor_change=False
    )
    assert decision.results[0].code is Code.INVALID_REPLICATION_FACTOR


def test_a_reassignment_to_a_broker_out_of_sync_waits_for_it():
    image = image_with_topic(1, 2)
    image.apply(alter_reassignments(image, effective_of(image), [Reassignment(T0, (2, 1))]).records)
    partition = image.partition("t", 0)
    assert (partition.replicas, partition.adding_replicas, partition.isr, partition.leader) == ((2, 1), (2,), (1,), 1)


def test_a_reassignment_that_a_larger_cluster_left_behind_can_be_stopped():
    image = image_with_topic(1, 2)
    change(image, replicas=[1, 2], adding_replicas=[2], directories=[DIRECTORY, DIRECTORY])
    image.apply(alter_reassignments(image, effective_of(image), [Reassignment(T0, None)]).records)
    partition = image.partition("t", 0)
    assert (partition.replicas, partition.adding_replicas, partition.directories) == ((1,), (), (DIRECTORY,))


# --- features ---


def test_all_of_a_feature_update_or_nothing():
    image = image_with(1)
    updates = [
        FeatureUpdate("eligible.leader.replicas.version", 1, UpgradeType.UPGRADE),
        FeatureUpdate("transaction.version", 99, UpgradeType.UPGRADE),
    ]
    with pytest.raises(KafkaError) as refused:
        update_features(image, updates, node_id=1, kraft_version=1)
    assert refused.value.code is Code.INVALID_UPDATE_VERSION
    records = update_features(image, updates[:1], node_id=1, kraft_version=1)
    assert records == [FeatureLevelRecord(name="eligible.leader.replicas.version", feature_level=1)]


@pytest.mark.parametrize(("levels", "refused"), [((99, 1), False), ((1, 99), True)])
def test_of_two_updates_of_one_feature_the_last_counts(levels, refused):
    image = image_with(1)
    name = "eligible.leader.replicas.version"
    updates = [FeatureUpdate(name, level, UpgradeType.UPGRADE) for level in levels]
    if refused:
        with pytest.raises(KafkaError) as refusal:
            update_features(image, updates, node_id=1, kraft_version=1)
        assert refusal.value.code is Code.INVALID_UPDATE_VERSION
    else:
        records = update_features(image, updates, node_id=1, kraft_version=1)
        assert records == [FeatureLevelRecord(name=name, feature_level=1)]


def test_an_older_metadata_version_can_go_up_and_not_down_past_a_change_of_form():
    image = image_with(1)
    image.apply([FeatureLevelRecord(name="metadata.version", feature_level=25)])
    update = FeatureUpdate("metadata.version", 30, UpgradeType.UPGRADE)
    assert update_features(image, [update], node_id=1, kraft_version=1)
    down = FeatureUpdate("metadata.version", 24, UpgradeType.SAFE_DOWNGRADE)
    assert update_features(image, [down], node_id=1, kraft_version=1)
    too_far = FeatureUpdate("metadata.version", 22, UpgradeType.SAFE_DOWNGRADE)
    with pytest.raises(KafkaError, match="might delete metadata information"):
        update_features(image, [too_far], node_id=1, kraft_version=1)


def test_feature_levels_in_responses_are_capped_by_what_is_served():
    image = image_with(1)
    image.apply([FeatureLevelRecord(name="nobody.knows.version", feature_level=3)])
    assert finalized(image, kraft_version=0) == {"metadata.version": 30}
    assert finalized(image, kraft_version=9)["kraft.version"] == 1


# --- credentials and quotas ---


def scram(user, mechanism=1, iterations=4096):
    return ScramUpsertion(user, mechanism, ScramCredential(b"salt", b"stored", b"server", iterations))


def test_a_credential_is_stored_replaced_and_deleted():
    image = image_with(1)
    image.apply(alter_scram_credentials(image, [], [scram("a")]).records)
    image.apply(alter_scram_credentials(image, [], [scram("a", iterations=5000)]).records)
    assert [credential.iterations for credential in image.scram.values()] == [5000]
    image.apply(alter_scram_credentials(image, [ScramDeletion("a", 1)], []).records)
    assert dict(image.scram) == {}


@pytest.mark.parametrize(
    ("deletions", "upsertions", "codes"),
    [
        ([ScramDeletion("a", 1), ScramDeletion("a", 9)], [], [Code.RESOURCE_NOT_FOUND] * 2),
        ([ScramDeletion("a", 1)], [scram("a", 9)], [Code.RESOURCE_NOT_FOUND] * 2),
        ([], [scram("a", 2, 5), scram("a")], [Code.UNACCEPTABLE_CREDENTIAL] * 2),
        ([], [scram("a"), scram("a", 2, 5)], [Code.DUPLICATE_RESOURCE] * 2),
        ([], [scram("a"), scram("a"), scram("b")], [Code.DUPLICATE_RESOURCE] * 2 + [None]),
        ([ScramDeletion("there", 1)], [scram("there", 2)], [Code.DUPLICATE_RESOURCE] * 2),
        ([], [ScramUpsertion("a", 7, ScramCredential(b"", b"", b"", 5))], [Code.UNSUPPORTED_SASL_MECHANISM]),
        ([], [ScramUpsertion("a", 1, ScramCredential(b"", b"", b"", 5000))], [Code.UNACCEPTABLE_CREDENTIAL]),
    ],
)
def test_the_first_refusal_of_a_user_counts_for_all_items_of_the_user(deletions, upsertions, codes):
    image = image_with(1)
    image.apply(alter_scram_credentials(image, [], [scram("there")]).records)
    results = alter_scram_credentials(image, deletions, upsertions).results
    assert [result.code if isinstance(result, KafkaError) else None for result in results] == codes


def test_quotas_are_set_changed_and_removed():
    image = image_with(1)
    entity = [("user", "a"), ("client-id", None)]
    changes = [QuotaChange("producer_byte_rate", 10.0), QuotaChange("request_percentage", 1.5)]
    image.apply(alter_client_quotas(image, entity, changes))
    assert image.quotas[("client-id", None), ("user", "a")] == {"producer_byte_rate": 10.0, "request_percentage": 1.5}
    image.apply(alter_client_quotas(image, entity, [QuotaChange(change.key, None) for change in changes]))
    assert dict(image.quotas) == {}
    assert alter_client_quotas(image, entity, [QuotaChange("producer_byte_rate", None)]) == []


@pytest.mark.parametrize(
    ("entity", "key", "value", "message"),
    [
        ([], "producer_byte_rate", 1, "Invalid empty client quota entity"),
        ([("zzz", "a")], "producer_byte_rate", 1, "Unhandled client quota entity type: zzz"),
        ([("user", "")], "producer_byte_rate", 1, "Empty user not supported"),
        ([("user", "a")], "nope", 1, "Invalid configuration key nope"),
        ([("user", "a")], "connection_creation_rate", 1, "Invalid configuration key connection_creation_rate"),
        ([("ip", "127.0.0.1")], "producer_byte_rate", 1, "Invalid configuration key producer_byte_rate"),
        ([("user", "a")], "producer_byte_rate", 0, "Quota producer_byte_rate must be greater than 0"),
        ([("user", "a")], "producer_byte_rate", 1.5, "producer_byte_rate cannot be a fractional value."),
        ([("user", "a")], "producer_byte_rate", 1e19, "Proposed value for producer_byte_rate is too large for a LONG."),
        ([("user", "a")], "producer_byte_rate", float("inf"), "Quota producer_byte_rate must be a finite number"),
        ([("user", "a")], "producer_byte_rate", float("nan"), "Quota producer_byte_rate must be greater than 0"),
    ],
)
def test_a_quota_is_refused_in_kafkas_words(entity, key, value, message):
    with pytest.raises(KafkaError) as refused:
        alter_client_quotas(image_with(1), entity, [QuotaChange(key, value)])
    assert (refused.value.code, refused.value.message) == (Code.INVALID_REQUEST, message)


def test_an_address_has_no_user():
    with pytest.raises(KafkaError, match="Invalid quota entity combination"):
        alter_client_quotas(image_with(1), [("user", "a"), ("ip", "1.2.3.4")], [])


def test_a_broker_whose_directories_are_all_cordoned_gets_no_replicas():
    image = image_with(1)
    image.apply([broker_record(2, cordoned=[DIRECTORY])])
    effective = effective_of(image)
    decision = create_topics(image, effective, [NewTopic("t", 4, 1), NewTopic("u", 1, 2)], uuid=uuids())
    image.apply(decision.records)
    assert {partition.replicas for partition in image.topics["t"].partitions} == {(1,)}
    assert decision.results[1].code is Code.INVALID_REPLICATION_FACTOR
