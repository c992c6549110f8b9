"""Checks the arguments of a test's broker: topics and settings as Python values.

Responsible for: turning them into Kafka's text and numbers, and one sentence for each error. Must not depend on: a
broker.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from kwire.acls import Acl
from kwire.errors import KafkaError
from kwire.metadata.config_rules import check_topic_name
from kwire.metadata.configs.definitions import (
    AUTHORIZER_SETTINGS,
    ConfigProblem,
    broker_keys,
    nearest,
    parse_broker_config,
    split_listener_prefix,
)
from kwire.metadata.decisions.topics import NewTopic
from kwire.security.acl_text import read_acls

Topics: TypeAlias = Mapping[str, int] | Sequence[str]
Config: TypeAlias = Mapping[str, str | int | float | bool]


class BrokerConfigError(ValueError):
    """An invalid topic or setting; the message is one sentence."""


def new_topics(topics: Topics | None) -> list[NewTopic]:
    """Read names with numbers of partitions, or names alone, which get one partition. Raises BrokerConfigError."""
    if topics is None:
        return []
    if isinstance(topics, str):
        raise BrokerConfigError(f'topics={topics!r} is one string: write {{"{topics}": 1}} or ["{topics}"]')
    counts = dict(topics) if isinstance(topics, Mapping) else dict.fromkeys(topics, 1)
    return [new_topic(name, partitions) for name, partitions in counts.items()]


def new_topic(name: str, partitions: int, config: Config | None = None) -> NewTopic:
    """Check name and number. Raises BrokerConfigError."""
    if not isinstance(name, str):
        raise BrokerConfigError(f"topic name {name!r} is not a string")
    if not isinstance(partitions, int) or isinstance(partitions, bool) or partitions < 1:
        raise BrokerConfigError(f"topic {name!r}: the number of partitions is {partitions!r}; it must be an int from 1")
    try:
        check_topic_name(name)
    except KafkaError as error:
        raise BrokerConfigError(error.message or error.code.name) from None
    return NewTopic(name, partitions, configs={key: setting_text(value) for key, value in (config or {}).items()})


def checked_users(users: Mapping[str, str] | None) -> dict[str, str]:
    """Check names and passwords. Raises BrokerConfigError."""
    for name, password in (users or {}).items():
        if not (isinstance(name, str) and name and isinstance(password, str) and password):
            raise BrokerConfigError(f"users: {name!r} needs a name and a password, as strings that are not empty")
    return dict(users or {})


def appears_as(persona: str | None) -> Config:
    """Give the settings of a broker that appears as a release, such as "3.9"."""
    return {} if persona is None else {"kwire.as.release": persona}


def broker_texts(config: Config | None) -> dict[str, str]:
    """Turn broker settings into Kafka's text. Raises BrokerConfigError for an unknown key or a wrong value."""
    texts = {}
    for key, value in (config or {}).items():
        texts[key] = setting_text(value)
        if key in AUTHORIZER_SETTINGS:
            continue
        if split_listener_prefix(key)[1] not in broker_keys():
            likely = nearest(key)
            hint = f"; did you mean {likely}?" if likely else ""
            raise BrokerConfigError(f"{key} is not a broker setting of Kafka{hint}")
        try:
            parse_broker_config(key, texts[key])
        except ConfigProblem as problem:
            raise BrokerConfigError(problem_text(problem)) from None
    return texts


def new_acls(rules: Sequence[str] | None) -> list[Acl]:
    """Read rules such as ``alice may read topic orders``. Raises BrokerConfigError."""
    if isinstance(rules, str):
        raise BrokerConfigError(f'acls={rules!r} is one string: write ["{rules}"]')
    try:
        return [acl for rule in rules or () for acl in read_acls(rule)]
    except ValueError as error:
        raise BrokerConfigError(str(error)) from None


def problem_text(problem: ConfigProblem) -> str:
    """One sentence with key, value, error, and valid values."""
    why = str(problem).removeprefix(f"Invalid value {problem.value} for configuration {problem.name}: ").rstrip(".")
    given = problem.name if problem.value is None else f"{problem.name}={problem.value}"
    return f"{given}: {why}; accepted: {problem.expected}"


def setting_text(value: str | float | bool) -> str:
    """Write a Python value as Kafka reads it: ``True`` is ``true``."""
    return str(value).lower() if isinstance(value, bool) else str(value)
