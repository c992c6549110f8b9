"""Which settings a start refuses, against ``start_vectors.json.gz``, written from the official classes by
``tools/start_vectors.py``.
"""

from __future__ import annotations

import gzip
import json
import re
import sys
from collections import Counter
from pathlib import Path

import pytest

from kwire.metadata.configs.definitions import ConfigProblem, broker_keys
from kwire.metadata.configs.effective import BrokerSettings, EffectiveConfigs
from kwire.metadata.image import MetadataImage
from kwire.metadata.settings.start_rules import check_start

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
import start_vectors

sys.path.pop(0)

SHARDS = 4
# Intended differences with their reasons, as in docs/compatibility.md.
DIFFERENCES = {
    r"Missing required configuration": "kwire has a default for each of the three configs that Kafka requires",
    r"either controller\.quorum\.bootstrap\.servers must": "without voters the node is its own quorum",
    r"RackAwareReplicaSelector": "Apache Kafka loads the class of replica.selector.class later in its start, and fails",
    r"'localhost:5' is not ADDRESS:COUNT": "max.connections.per.ip.overrides takes addresses, and looks up no names",
}


def vectors():
    with gzip.open(start_vectors.TARGET, "rt", encoding="utf-8") as lines:
        for line in lines:
            given, reason = json.loads(line)
            yield given, reason


def refusal(given) -> str | None:
    """Return the message with which kwire refuses these settings, or None."""
    texts = {name: text for name, text in (start_vectors.BASE | given).items() if text != "~"}
    try:
        for name, text in texts.items():
            broker_keys()[name].parse(text)
        check_start(EffectiveConfigs(MetadataImage(), BrokerSettings(texts), node_id=-1))
    except ConfigProblem as problem:
        return f"{problem} ({problem.name}: {problem.expected})"
    return None


@pytest.mark.parametrize("shard", range(SHARDS))
def test_a_start_is_refused_where_the_official_release_refuses_it(shard):
    wrong = []
    counts = Counter()
    for index, (given, reason) in enumerate(vectors()):
        if index % SHARDS != shard:
            continue
        ours = refusal(given)
        counts[reason is None] += 1
        why = f"{reason} {ours}"
        if (ours is None) != (reason is None) and not any(re.search(pattern, why) for pattern in DIFFERENCES):
            wrong.append((given, reason, ours))
    assert min(counts.values()) > 400
    assert wrong == []


def test_listeners_that_share_a_port_are_refused_with_the_official_message():
    answers = {
        given["listeners"]: reason
        for given, reason in vectors()
        if given.items() >= start_vectors.SHARED_PORTS_BASE.items()
    }
    assert set(answers) == set(start_vectors.SHARED_PORTS)
    for listeners, reason in answers.items():
        ours = refusal({**start_vectors.SHARED_PORTS_BASE, "listeners": listeners})
        assert (ours is None) == (reason is None)
        if ours is not None:
            assert ours.startswith(reason.removeprefix("IllegalArgumentException: "))


def test_every_difference_still_exists():
    found = {
        pattern
        for given, reason in vectors()
        for ours in [refusal(given) if len(given) <= 2 else reason]
        if (ours is None) != (reason is None)
        for pattern in DIFFERENCES
        if re.search(pattern, f"{reason} {ours}")
    }
    assert found == set(DIFFERENCES)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"log.retention.hours": "0"}, "log.retention.ms must be unlimited (-1) or, greater than or equal to 1"),
        ({"log.roll.ms": "0"}, "log.roll.ms must be greater than or equal to 1"),
        ({"max.connections.per.ip": "0"}, "can be set to zero only if max.connections.per.ip.overrides"),
        ({"controller.listener.names": "NOTHING"}, "No security protocol defined for listener CONTROLLER"),
        ({"inter.broker.listener.name": "NOTHING"}, "The valid options based on currently configured listeners are"),
        ({"controller.quorum.voters": "2@localhost:9093"}, "the node id 1 must be included in the set of voters"),
        ({"principal.builder.class": "org.example.Mine"}, "Class org.example.Mine could not be found"),
        ({"group.consumer.session.timeout.ms": "46000", "group.consumer.heartbeat.interval.ms": "46000"}, "must be"),
    ],
)
def test_a_refusal_has_a_message_that_names_the_config(given, message):
    assert message in (refusal(given) or "")


def test_a_custom_listener_must_be_the_inter_broker_listener():
    custom = {
        "listeners": "IN://:9092,CONTROLLER://:9093",
        "listener.security.protocol.map": "IN:PLAINTEXT,CONTROLLER:PLAINTEXT",
    }
    assert "The valid options based on currently configured listeners are IN" in (refusal(custom) or "")
    assert refusal({**custom, "inter.broker.listener.name": "IN"}) is None
