import re
from pathlib import Path

import pytest

import kwire
from kwire.metadata.config_support import Kind, all_config_support, support_of
from kwire.metadata.configs import broker_keys, topic_keys

# What the broker's internal topics are created with is read by prefix.
INTERNAL_TOPICS = ("offsets.topic", "transaction.state.log")
INTERNAL_TOPIC_SETTINGS = ("min.isr", "num.partitions", "replication.factor", "segment.bytes")
READ_BY_METADATA = {"default.replication.factor", "num.partitions", "process.roles"}

PACKAGE = Path(kwire.__file__).parent


def test_every_broker_key_has_one_standing():
    assert set(all_config_support()) == set(broker_keys())


def test_what_is_not_honoured_says_why():
    assert all(one.why for one in all_config_support().values() if one.kind is not Kind.HONOURED)


def test_what_is_honoured_is_read_somewhere():
    elsewhere = [path for path in PACKAGE.rglob("*.py") if path.parent.name != "metadata"]
    sources = [path.read_text("utf-8") for path in [*elsewhere, PACKAGE / "metadata" / "listeners.py"]]
    read = {name for source in sources for name in re.findall(r'"([a-z][a-z0-9.]+)"', source)}
    read |= {f"{prefix}.{what}" for prefix in INTERNAL_TOPICS for what in INTERNAL_TOPIC_SETTINGS}
    behind_topics = {synonym.name for key in topic_keys().values() if key.name in read for synonym in key.synonyms}
    honoured = {name for name, one in all_config_support().items() if one.kind is Kind.HONOURED}
    assert honoured - read - behind_topics - READ_BY_METADATA == set()


def test_what_is_read_by_the_broker_is_honoured():
    rooms = ("broker", "server", "api")
    sources = [path.read_text("utf-8") for room in rooms for path in (PACKAGE / room).rglob("*.py")]
    read = {name for source in sources for name in re.findall(r'\b(?:broker|settings)\["([a-z][a-z0-9.]+)"\]', source)}
    assert read
    assert [name for name in read if support_of(name).kind is not Kind.HONOURED] == []


def test_an_unknown_key_has_none():
    with pytest.raises(KeyError):
        support_of("nope")


def test_a_listeners_own_key_stands_as_its_base_key():
    assert support_of("listener.name.external.ssl.client.auth").kind is support_of("ssl.client.auth").kind
