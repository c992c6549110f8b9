import re
from pathlib import Path

import pytest

import kwire
from kwire.metadata.configs.definitions import broker_keys, group_keys, topic_keys
from kwire.metadata.configs.effective import GROUP_LIMITS
from kwire.metadata.configs.support import Kind, all_config_support, support_of

# The settings of internal topics are read by prefix.
INTERNAL_TOPICS = ("offsets.topic", "transaction.state.log")
INTERNAL_TOPIC_SETTINGS = ("min.isr", "num.partitions", "replication.factor", "segment.bytes")
READ_BY_METADATA = {"default.replication.factor", "num.partitions", "process.roles"}
# Bounds of what groups may set, and of the broker's own values.
READ_BY_METADATA |= {limit for _, *limits in GROUP_LIMITS for limit in limits if limit}
ONE_VALUE_AT_START = {"group.share.assignors"}  # start_rules allows the only assignor there is

PACKAGE = Path(kwire.__file__).parent
METADATA = PACKAGE / "metadata"
# Modules of metadata that read settings.
READERS = ("settings/listeners.py", "settings/sasl.py", "commands/delegation_tokens.py")


def test_every_broker_config_has_one_entry():
    assert set(all_config_support()) == set(broker_keys())


def test_a_config_that_is_not_honoured_has_a_reason():
    assert all(one.why for one in all_config_support().values() if one.kind is not Kind.HONOURED)


def test_a_config_that_is_honoured_is_read_in_the_code():
    elsewhere = [path for path in PACKAGE.rglob("*.py") if METADATA not in path.parents]
    sources = [path.read_text("utf-8") for path in [*elsewhere, *map(METADATA.joinpath, READERS)]]
    read = {name for source in sources for name in re.findall(r'"([a-z][a-z0-9.]+)"', source)}
    read |= {f"{prefix}.{what}" for prefix in INTERNAL_TOPICS for what in INTERNAL_TOPIC_SETTINGS}
    defaults_of_topics = {synonym.name for key in topic_keys().values() if key.name in read for synonym in key.synonyms}
    defaults_of_groups = {synonym.name for key in group_keys().values() if key.name in read for synonym in key.synonyms}
    honoured = {name for name, one in all_config_support().items() if one.kind is Kind.HONOURED}
    defaults = defaults_of_topics | defaults_of_groups
    assert honoured - read - defaults - READ_BY_METADATA - ONE_VALUE_AT_START == set()


def test_a_config_that_the_broker_reads_is_honoured():
    packages = ("broker", "server", "api")
    sources = [path.read_text("utf-8") for package in packages for path in (PACKAGE / package).rglob("*.py")]
    read = {name for source in sources for name in re.findall(r'\b(?:broker|settings)\["([a-z][a-z0-9.]+)"\]', source)}
    assert read
    assert [name for name in read if support_of(name).kind is not Kind.HONOURED] == []


def test_an_unknown_config_raises_key_error():
    with pytest.raises(KeyError):
        support_of("nope")


def test_a_config_with_a_listener_prefix_has_the_entry_of_its_base():
    assert support_of("listener.name.external.ssl.client.auth").kind is support_of("ssl.client.auth").kind
