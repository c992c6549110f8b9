"""The configs of a broker that appears as an older release are those that the official broker of the release has.

``persona_configs.json`` is what official brokers described and refused (tools/record_personas.py).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from kwire.errors import Code, KafkaError
from kwire.metadata.config_rules import check_topic_configs
from kwire.metadata.configs.definitions import OWN_DEFAULTS, broker_keys, group_keys, topic_keys
from kwire.metadata.configs.effective import BrokerSettings, EffectiveConfigs
from kwire.metadata.configs.tables import config_tables
from kwire.metadata.configs.values import ConfigProblem
from kwire.metadata.decisions.alter_configs import alter_configs
from kwire.metadata.entities import Resource, ResourceType
from kwire.metadata.image import MetadataImage
from kwire.personas import NONE, names

ROOT = Path(__file__).parent.parent.parent
sys.path.append(str(ROOT / "tools"))

from write_configs import TEXTS  # noqa: E402

RECORDED = json.loads((Path(__file__).parent / "persona_configs.json").read_text())
# Before 4.0 a running broker could advertise other addresses.
NOT_DYNAMIC = {"advertised.listeners"}
HOUR_MS = 3_600_000
FOREVER = 2**63 - 1
BATCHES = ("message.timestamp.before.max.ms", "message.timestamp.after.max.ms")


def configs(release, **texts):
    static = {name.replace("_", "."): text for name, text in texts.items()}
    return EffectiveConfigs(MetadataImage(), BrokerSettings({"kwire.as.release": release, **static}), 1)


def described(release, scope):
    effective = configs(release)
    match scope:
        case "broker":
            return {one.name: one for one in effective.describe_broker() if not one.name.startswith("kwire.")}
        case "topic":
            return {one.name: one for one in effective.describe_topic("t")}
    return {one.name: one for one in effective.describe_group("g")}


def test_without_a_persona_the_tables_are_those_of_this_release():
    tables = config_tables(NONE)
    assert (tables.broker, tables.topic, tables.group) == (broker_keys(), topic_keys(), group_keys())


@pytest.mark.parametrize("scope", ["broker", "topic", "group"])
@pytest.mark.parametrize("release", names())
def test_clients_see_the_configs_of_the_release(release, scope):
    theirs = RECORDED[release]["scopes"][scope]
    ours = described(release, scope)
    assert ours.keys() == theirs.keys()
    read_only = {name for name in theirs if theirs[name]["read_only"]}
    assert {name: ours[name].type.value for name in ours} == {name: theirs[name]["type"] for name in theirs}
    assert {name for name in ours if ours[name].read_only} - NOT_DYNAMIC == read_only - NOT_DYNAMIC


@pytest.mark.parametrize("release", names())
def test_a_broker_has_the_defaults_of_the_release(release):
    theirs = RECORDED[release]["scopes"]["broker"]
    keys = config_tables(release).broker
    different = {
        name: (keys[name].default_text, fields["default"])
        for name, fields in theirs.items()
        if name not in OWN_DEFAULTS and (keys[name].default_text or "") != (fields["default"] or "")
        if not keys[name].sensitive
    }
    assert different == {}


@pytest.mark.parametrize("release", names())
def test_a_topic_may_have_the_values_of_the_release(release):
    effective = configs(release)

    def refuses(name, text):
        try:
            check_topic_configs(effective, {name: text})
        except KafkaError as refusal:
            return "x" if refusal.code is Code.INVALID_CONFIG else refusal.code.name
        return "-"

    different = {}
    for name, answers in RECORDED[release]["refused"].items():
        ours = "".join(refuses(name, text) for text in TEXTS)
        if ours != answers:
            different[name] = [text for text, one, other in zip(TEXTS, ours, answers, strict=True) if one != other]
    assert different == {}


def test_before_4_0_records_may_be_of_the_far_future():
    """KIP-1030."""
    assert configs("3.9").topic("t")["message.timestamp.after.max.ms"] == FOREVER
    assert configs("4.0").topic("t")["message.timestamp.after.max.ms"] == HOUR_MS


def test_before_4_0_one_config_limits_timestamps_to_both_sides():
    """KIP-937: it counts where its successors have their default."""
    for release in ("2.8", "3.9"):
        values = configs(release).topic_values({"message.timestamp.difference.max.ms": "5"})
        assert [values[name] for name in BATCHES] == [5, 5]
    own = {"message.timestamp.difference.max.ms": "5", "message.timestamp.before.max.ms": "7"}
    assert [configs("3.9").topic_values(own)[name] for name in BATCHES] == [7, 5]


def test_a_config_that_the_release_lacks_is_unknown():
    with pytest.raises(KafkaError, match=r"Unknown topic config name: message\.timestamp\.after\.max\.ms"):
        check_topic_configs(configs("2.8"), {"message.timestamp.after.max.ms": "5"})
    with pytest.raises(KafkaError, match=r"Unknown topic config name: message\.format\.version"):
        check_topic_configs(configs("4.0"), {"message.format.version": "2.8"})


def test_a_kind_of_resource_that_came_later_is_unknown():
    group = Resource(ResourceType.GROUP, "g")
    with pytest.raises(KafkaError, match="Unknown resource type 32") as refused:
        alter_configs(MetadataImage(), configs("3.9"), group, [("consumer.session.timeout.ms", "50000")])
    assert refused.value.code is Code.INVALID_REQUEST
    assert alter_configs(MetadataImage(), configs("4.0"), group, [("consumer.session.timeout.ms", "50000")])


def test_before_4_0_segments_may_be_small():
    for release, accepted in (("2.8", True), ("3.9", True), ("4.0", False)):
        check = config_tables(release).broker["log.segment.bytes"].check
        try:
            check("log.segment.bytes", 1000)
        except ConfigProblem:
            assert not accepted
        else:
            assert accepted


def test_before_4_2_a_list_keeps_what_is_repeated():
    """KIP-1161."""
    own = {"cleanup.policy": "compact,compact"}
    assert configs("4.0").topic_values(own)["cleanup.policy"] == ("compact", "compact")
    assert configs("4.3").topic_values(own)["cleanup.policy"] == ("compact",)


def test_a_record_format_that_kwire_does_not_write_is_refused():
    check_topic_configs(configs("2.8"), {"message.format.version": "2.4"})
    with pytest.raises(KafkaError):
        check_topic_configs(configs("2.8"), {"message.format.version": "0.10.2"})
