"""Whether a set of configs may be given to a resource: Kafka's checks, in Kafka's words.

Owns: the rules beyond a single value, for topics, brokers, groups and client metrics. May not know: records, where the
request came from.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from kwire.errors import Code, KafkaError
from kwire.limits import TOPIC_NAME_LENGTH_MAX
from kwire.metadata.config_values import ConfigProblem, Value
from kwire.metadata.configs import topic_keys
from kwire.metadata.effective import EffectiveConfigs

_TOPIC_NAME = re.compile(r"[a-zA-Z0-9._-]+")


def check_topic_name(name: str) -> None:
    """Refuse a name that Kafka refuses: INVALID_TOPIC_EXCEPTION."""
    if not name:
        reason = "the empty string is not allowed"
    elif name in {".", ".."}:
        reason = f"'{name}' is not allowed"
    elif len(name) > TOPIC_NAME_LENGTH_MAX:
        reason = f"the length of '{name}' is longer than the max allowed length {TOPIC_NAME_LENGTH_MAX}"
    elif not _TOPIC_NAME.fullmatch(name):
        reason = f"'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
    else:
        return
    raise KafkaError(Code.INVALID_TOPIC_EXCEPTION, f"Topic name is invalid: {reason}")


def check_topic_configs(effective: EffectiveConfigs, own: Mapping[str, str | None]) -> None:
    """Refuse what a topic may not be given, ``own`` being everything that it would have: INVALID_CONFIG."""
    missing = sorted(name for name, text in own.items() if text is None)
    if missing:
        raise _bad_config(f"Null value not supported for topic configs: {','.join(missing)}")
    for name in own:
        if name not in topic_keys():
            raise _bad_config(f"Unknown topic config name: {name}")
    try:
        values = effective.topic(None, own={name: text for name, text in own.items() if text is not None})
        for name in own:
            topic_keys()[name].check(name, values[name])
    except ConfigProblem as problem:
        raise _bad_config(str(problem)) from problem
    _check_topic_together(values)


def _check_topic_together(values: Mapping[str, Value]) -> None:
    shortest, longest = values["min.compaction.lag.ms"], values["max.compaction.lag.ms"]
    assert isinstance(shortest, int)
    assert isinstance(longest, int)
    if shortest > longest:
        raise _bad_config(
            f"conflict topic config setting min.compaction.lag.ms ({shortest}) > max.compaction.lag.ms ({longest})"
        )
    if values["remote.storage.enable"]:
        raise _bad_config(
            "Tiered Storage functionality is disabled in the broker. "
            "Topic cannot be configured with remote log storage."
        )


def _bad_config(message: str) -> KafkaError:
    return KafkaError(Code.INVALID_CONFIG, message)
