"""Each config has one line of documentation."""

from kwire.metadata.configs.definitions import broker_keys, client_metrics_keys, group_keys, topic_keys
from kwire.metadata.configs.docs import documentation, documentation_of


def test_each_config_has_one_line():
    names = {*broker_keys(), *topic_keys(), *group_keys(), *client_metrics_keys()}
    assert sorted(name for name in names if not documentation_of(name)) == []
    assert sorted(documentation().keys() - names) == []


def test_a_line_is_a_short_sentence():
    odd = [
        name
        for name, text in documentation().items()
        if not 15 <= len(text) <= 140 or not text.endswith(".") or text != text.strip()
    ]
    assert odd == []


def test_the_documentation_of_a_broker_config_has_what_kwire_does_with_it():
    assert documentation_of("num.partitions", of_broker=True) == documentation_of("num.partitions")
    assert "has no effect in kwire: one process" in documentation_of("num.io.threads", of_broker=True)
    assert "kwire does not serve it: " in documentation_of("remote.log.storage.system.enable", of_broker=True)


def test_a_config_with_a_listener_prefix_has_the_line_of_its_base():
    assert documentation_of("listener.name.out.max.connections") == documentation_of("max.connections")
    assert documentation_of("no.such.config") is None
