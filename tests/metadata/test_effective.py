from pathlib import Path
from types import UnionType
from typing import get_args, get_origin, get_type_hints

import pytest
from metadata_cases import effective_of, image_with

from kwire.metadata.configs.definitions import broker_keys
from kwire.metadata.configs.effective import Source
from kwire.metadata.configs.types import BrokerValues
from kwire.metadata.entities import ResourceType
from kwire.wire.messages import ConfigRecord


def put(image, resource_type, name, **configs):
    image.apply(
        [
            ConfigRecord(resource_type=resource_type, resource_name=name, name=key.replace("_", "."), value=value)
            for key, value in configs.items()
        ]
    )


@pytest.fixture
def image():
    return image_with(1)


def test_the_most_precise_unit_that_is_set_counts(image):
    hours = {"log.retention.hours": "1"}
    minutes = {**hours, "log.retention.minutes": "2"}
    millis = {**minutes, "log.retention.ms": "3"}
    assert effective_of(image, hours).topic_values({})["retention.ms"] == 3_600_000
    assert effective_of(image, minutes).topic_values({})["retention.ms"] == 120_000
    assert effective_of(image, millis).topic_values({})["retention.ms"] == 3


@pytest.mark.parametrize("key", ["log.retention.hours", "log.retention.minutes", "log.retention.ms"])
def test_any_negative_retention_means_for_ever(image, key):
    assert effective_of(image, {key: "-1"}).topic_values({})["retention.ms"] == -1


def test_precedence_from_the_default_to_the_topic(image):
    configs = effective_of(image, {"log.segment.bytes": "2000000"})
    seen = [configs.topic("t")["segment.bytes"]]
    put(image, ResourceType.BROKER, "", log_segment_bytes="3000000")
    seen.append(configs.topic("t")["segment.bytes"])
    put(image, ResourceType.BROKER, "1", log_segment_bytes="4000000")
    seen.append(configs.topic("t")["segment.bytes"])
    put(image, ResourceType.TOPIC, "t", segment_bytes="5000000")
    seen.append(configs.topic("t")["segment.bytes"])
    assert effective_of(image_with(1)).topic("t")["segment.bytes"] == 1_073_741_824
    assert seen == [2_000_000, 3_000_000, 4_000_000, 5_000_000]
    described = {one.name: one for one in configs.describe_topic("t")}["segment.bytes"]
    assert [(said.name, said.value, said.source) for said in described.synonyms] == [
        ("segment.bytes", "5000000", Source.TOPIC),
        ("log.segment.bytes", "4000000", Source.DYNAMIC_BROKER),
        ("log.segment.bytes", "3000000", Source.DYNAMIC_DEFAULT_BROKER),
        ("log.segment.bytes", "2000000", Source.STATIC_BROKER),
        ("log.segment.bytes", "1073741824", Source.DEFAULT),
    ]


def test_a_dynamic_value_covers_every_unit_of_the_static_one(image):
    configs = effective_of(image, {"log.retention.hours": "1"})
    put(image, ResourceType.BROKER, "", log_retention_ms="7")
    assert configs.topic_values({})["retention.ms"] == 7
    put(image, ResourceType.BROKER, "", log_retention_ms=None)
    assert configs.topic_values({})["retention.ms"] == 3_600_000


def test_flush_and_roll_fall_back_as_in_kafka(image):
    configs = effective_of(image, {"log.flush.scheduler.interval.ms": "9", "log.roll.hours": "2"})
    values = configs.topic(None)
    assert (values["flush.ms"], values["segment.ms"]) == (9, 7_200_000)


@pytest.mark.parametrize("text", ["true", "false"])
def test_a_topic_takes_a_boolean_of_the_broker_as_it_is(image, text):
    assert effective_of(image, {"log.preallocate": text}).topic("t")["preallocate"] is (text == "true")


def test_broker_values_are_typed_and_follow_dynamic_changes(image):
    configs = effective_of(image, {"log.dirs": "/a, /b"})
    assert configs.broker["log.dirs"] == ("/a", "/b")
    assert configs.broker["auto.create.topics.enable"] is True
    assert configs.broker["num.partitions"] == 1
    assert configs.broker["message.max.bytes"] == 1_048_588
    put(image, ResourceType.BROKER, "1", message_max_bytes="5")
    assert configs.broker["message.max.bytes"] == 5


def test_own_defaults_are_the_ones_in_force(image):
    configs = effective_of(image)
    assert configs.broker["offsets.topic.replication.factor"] == 1
    assert configs.broker["group.initial.rebalance.delay.ms"] == 0


def test_another_brokers_config_does_not_count(image):
    configs = effective_of(image)
    put(image, ResourceType.BROKER, "2", message_max_bytes="5")
    assert configs.broker["message.max.bytes"] == 1_048_588


def test_group_values_come_from_the_group_then_the_broker(image):
    configs = effective_of(image, {"group.consumer.session.timeout.ms": "50000"})
    assert configs.group("g")["consumer.session.timeout.ms"] == 50_000
    put(image, ResourceType.GROUP, "g", consumer_session_timeout_ms="55000")
    assert configs.group("g")["consumer.session.timeout.ms"] == 55_000
    assert configs.group("h")["consumer.session.timeout.ms"] == 50_000


def test_a_group_value_beyond_the_brokers_limits_counts_as_the_nearest_within(image):
    put(image, ResourceType.GROUP, "g", share_session_timeout_ms="70000", share_delivery_count_limit="2")
    configs = effective_of(
        image, {"group.share.max.session.timeout.ms": "50000", "group.share.min.delivery.count.limit": "3"}
    )
    assert configs.group("g")["share.session.timeout.ms"] == 50_000
    assert configs.group("g")["share.delivery.count.limit"] == 3


def test_values_of_secrets_and_unknown_configs_are_never_shown(image):
    configs = effective_of(image, {"ssl.key.password": "secret", "my.plugin.key": "x"})
    described = {one.name: one for one in configs.describe_broker()}
    for name in ("ssl.key.password", "my.plugin.key"):
        assert (described[name].value, described[name].sensitive) == (None, True)
        assert all(said.value is None for said in described[name].synonyms)


def test_a_listeners_own_key_is_described_before_its_base_key(image):
    own = "listener.name.external.ssl.client.auth"
    configs = effective_of(image, {own: "required", "ssl.client.auth": "requested"})
    described = {one.name: one for one in configs.describe_broker()}
    assert [said.value for said in described[own].synonyms] == ["required", "requested", "none"]
    assert described["ssl.client.auth"].value == "requested"


def test_the_types_of_config_values_are_those_of_the_tables(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "tools")
    import write_config_types

    written = write_config_types.TARGET.read_text("utf-8")
    assert written == write_config_types.types_text(), "run python tools/write_config_types.py"


def test_a_broker_value_has_the_type_that_is_declared_for_mypy():
    configs = effective_of(image_with(1))
    types = get_type_hints(BrokerValues)
    assert set(types) == set(broker_keys())
    wrong = [
        (name, of_type)
        for name, of_type in types.items()
        if not broker_keys()[name].required and not isinstance(configs.broker[name], classes_of(of_type))
    ]
    assert wrong == []


def classes_of(of_type):
    return tuple(get_origin(one) or one for one in (get_args(of_type) if isinstance(of_type, UnionType) else [of_type]))
