"""Config tables and values against ``config_vectors.json.gz``, written from the official jars by
``tools/write_configs.py``.
"""

import gzip
import json
from pathlib import Path

import pytest

from kwire.metadata.configs.definitions import (
    OWN_DEFAULTS,
    RETIRED,
    broker_keys,
    broker_synonyms,
    group_keys,
    nearest,
    parse_broker_config,
    split_listener_prefix,
    topic_keys,
)
from kwire.metadata.configs.values import ConfigProblem, ConfigType, double_text, value_text

TABLES = {"broker": broker_keys, "topic": topic_keys, "group": group_keys}
VECTORS = Path(__file__).with_name("config_vectors.json.gz")


def official_answers():
    with gzip.open(VECTORS, "rt", encoding="utf-8") as lines:
        for line in lines:
            scope, name, answers = json.loads(line)
            yield scope, name, answers


def outcome(key, text):
    try:
        return value_text(key.parse(text)), None
    except ConfigProblem as problem:
        return None, str(problem)


def test_each_value_is_parsed_or_refused_as_the_official_classes_do():
    wrong = []
    checked = 0
    for scope, name, answers in official_answers():
        key = TABLES[scope]()[name]
        if key.type in {ConfigType.CLASS, ConfigType.PASSWORD}:
            continue
        for text, normal, message in answers:
            checked += 1
            official = (normal, message)
            ours = outcome(key, text)
            if ours != official:
                wrong.append((name, text, ours, official))
    assert checked > 25_000
    assert wrong == []


def test_the_table_holds_each_config_of_the_official_release():
    of_kafka = {scope: [key for key in TABLES[scope]().values() if not key.is_kwires] for scope in TABLES}
    assert {scope: len(keys) for scope, keys in of_kafka.items()} == {"broker": 382, "topic": 38, "group": 27}
    of_vectors = {(scope, name) for scope, name, _ in official_answers()}
    assert {(scope, key.name) for scope, keys in of_kafka.items() for key in keys} == of_vectors


def test_every_default_passes_its_own_check():
    for table in TABLES.values():
        for key in table().values():
            if key.default_text is not None:
                assert value_text(key.parse(key.default_text)) == key.default_text


def test_a_refused_value_has_its_name_and_the_valid_values():
    with pytest.raises(ConfigProblem) as refused:
        parse_broker_config("compression.lz4.level", "18")
    assert (refused.value.name, refused.value.value) == ("compression.lz4.level", "18")
    assert refused.value.expected == "from 1 to 17"


def test_a_config_with_a_listener_prefix_is_parsed_as_its_base():
    assert split_listener_prefix("listener.name.external.ssl.client.auth") == (
        "listener.name.external.",
        "ssl.client.auth",
    )
    assert parse_broker_config("listener.name.external.ssl.client.auth", "required") == "required"


def test_an_unknown_config_raises_key_error():
    with pytest.raises(KeyError):
        parse_broker_config("num.partition", "3")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("num.partition", "num.partitions"),
        ("log_retention_hours", "log.retention.hours"),
        ("log.retention.hour", "log.retention.hours"),
        ("advertised.listner", "advertised.listeners"),
    ],
)
def test_the_nearest_name_of_a_misspelled_config_is_found(typed, meant):
    assert nearest(typed) == meant


def test_a_word_unlike_every_config_has_no_nearest_name():
    assert nearest("zzz") is None


def test_own_defaults_differ_from_kafkas_and_exist():
    for name, text in OWN_DEFAULTS.items():
        assert broker_keys()[name].default_text == text


def test_retired_configs_are_not_configs_of_this_release():
    assert {name for name in RETIRED if name in broker_keys()} == set()


def test_the_smaller_unit_of_a_setting_has_precedence():
    assert broker_synonyms("log.retention.hours") == (
        "log.retention.ms",
        "log.retention.minutes",
        "log.retention.hours",
    )
    assert broker_synonyms("num.partitions") == ("num.partitions",)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.0"),
        (0.5, "0.5"),
        (1e7, "1.0E7"),
        (9999999.5, "9999999.5"),
        (0.0001, "1.0E-4"),
        (1.7976931348623157e308, "1.7976931348623157E308"),
        (-2.5, "-2.5"),
        (float("inf"), "Infinity"),
        (float("nan"), "NaN"),
    ],
)
def test_doubles_are_written_as_java_writes_them(value, text):
    assert double_text(value) == text
