"""A rule that no request can trigger is refused when it is armed."""

import pytest

from kwire.api import api_table
from kwire.api.controller import controller_table
from kwire.faults.reach import check_reach
from kwire.faults.rules import RuleError, read_rule
from kwire.metadata.configs.effective import BrokerSettings, EffectiveConfigs
from kwire.metadata.image import MetadataImage
from kwire.testing import KafkaBroker
from kwire.wire import codec

FEATURES = {"group.version": 1, "share.version": 2, "streams.version": 1, "transaction.version": 2}


def values(**settings):
    return EffectiveConfigs(MetadataImage(), BrokerSettings({"log.dirs": "/data", **settings}), 1).broker


BROKER = api_table(values(), FEATURES)
NEWEST = {"PLAINTEXT": BROKER, "INTERNAL": BROKER, "CONTROLLER": controller_table(values(), FEATURES)}
AS_3_9 = {"PLAINTEXT": api_table(values(**{"kwire.as.release": "3.9"}), FEATURES)}


def refusal(rule, served):
    with pytest.raises(RuleError) as refused:
        check_reach(read_rule(rule), served)
    return str(refused.value)


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        ({"listener": "EXTERNAL", "drop": True}, "no listener 'EXTERNAL', only PLAINTEXT, INTERNAL, CONTROLLER"),
        ({"listener": "PLAINTXT", "drop": True}, "CONTROLLER: did you mean PLAINTEXT?"),
        ({"listener": "", "drop": True}, "there is no listener '', only"),
        ({"api": "Produce", "versions": 99, "drop": True}, "Produce is served at versions 3 to 13, not at version 99"),
        ({"api": "Produce", "versions": [0, 2], "drop": True}, "versions 3 to 13, not at versions 0 to 2"),
        ({"api": "OffsetDelete", "versions": 1, "drop": True}, "OffsetDelete is served at version 0, not at version 1"),
        ({"api": ["Fetch", "Produce"], "versions": 18, "drop": True}, "Produce is served at versions 3 to 13"),
        ({"versions": [90, 99], "drop": True}, "no API is served at versions 90 to 99"),
        ({"api": "Vote", "drop": True}, "Vote is not served"),
        ({"api": "Produce", "listener": "CONTROLLER", "drop": True}, "is not served at the listener CONTROLLER"),
        ({"api": "AlterPartition", "listener": "INTERNAL", "drop": True}, "is not served at the listener INTERNAL"),
        (
            {"api": "Fetch", "listener": "CONTROLLER", "versions": 12, "drop": True},
            "Fetch is served at versions 13 to 18 at the listener CONTROLLER, not at version 12",
        ),
        ({"api": "Metadata", "versions": 6, "set": {"leader_epoch": 7}}, "no answer has a field 'leader_epoch'"),
        ({"api": "Produce", "corrupt_records": True}, "Produce has none"),
        ({"corrupt_records": True}, "corrupt_records needs an api, such as Fetch"),
    ],
)
def test_what_is_not_served_is_refused(rule, sentence):
    assert sentence in refusal(rule, NEWEST)


@pytest.mark.parametrize(
    "rule",
    [
        {"api": "Produce", "versions": [13, 99], "drop": True},
        {"versions": 18, "drop": True},
        {"listener": "INTERNAL", "drop": True},
        {"api": "AlterPartition", "drop": True},
        {"api": "BrokerHeartbeat", "listener": "CONTROLLER", "drop": True},
        {"api": "Fetch", "versions": 12, "drop": True},
        {"api": "Fetch", "topic": "not-there-yet", "partition": 900, "drop": True},
        {"api": ["Fetch", "ShareFetch"], "corrupt_records": True},
        {"api": "Metadata", "versions": [6, 7], "set": {"leader_epoch": 7}},
        {"client_id": "later", "principal": "User:later", "drop": True},
    ],
)
def test_what_can_be_triggered_is_accepted(rule):
    check_reach(read_rule(rule), NEWEST)


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        ({"api": "ShareGroupHeartbeat", "drop": True}, "ShareGroupHeartbeat is not served"),
        ({"api": "ShareFetch", "drop": True}, "ShareFetch is not served"),
        ({"api": "Produce", "versions": 12, "drop": True}, "Produce is served at versions 3 to 11, not at version 12"),
        ({"versions": 18, "drop": True}, "no API is served at version 18"),
        ({"api": "WriteTxnMarkers", "versions": 2, "drop": True}, "not at version 2"),
    ],
)
def test_what_the_release_lacks_is_refused(rule, sentence):
    assert sentence in refusal(rule, AS_3_9)
    check_reach(read_rule(rule), NEWEST)


def test_every_api_that_is_served_can_be_dropped_at_each_of_its_versions():
    for name, table in AS_3_9.items():
        for api in table.values():
            lowest, highest = api.served
            for version in range(lowest, highest + 1):
                rule = {"api": api.key, "versions": version, "listener": name, "drop": True}
                check_reach(read_rule(rule), AS_3_9)
            if lowest > highest and api.key in codec.api_keys():
                assert "is not served" in refusal({"api": api.key, "drop": True}, {name: table})


def test_a_broker_refuses_what_its_listeners_and_its_release_do_not_have():
    with KafkaBroker(persona="3.9") as kafka:
        for rule, sentence in (
            ({"listener": "SSL"}, "there is no listener 'SSL', only PLAINTEXT$"),
            ({"api": "Fetch", "versions": 18}, "Fetch is served at versions 4 to 17, not at version 18"),
            ({"api": "ShareGroupHeartbeat"}, "ShareGroupHeartbeat is not served"),
        ):
            with pytest.raises(RuleError, match=sentence):
                kafka.faults.add(**rule, drop=True)
        kafka.reset()
        with pytest.raises(RuleError, match="at version 18"):
            kafka.faults.add(api="Fetch", versions=18, drop=True)
        kafka.faults.add(api="Fetch", versions=17, listener="PLAINTEXT", drop=True)
        assert kafka.faults.lines()
