"""Whether a resource may have a set of configs: Kafka's checks, with Kafka's messages.

Responsible for: the rules beyond a single value, for topics, brokers, groups and client metrics. Must not depend on:
records, the request.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping
from typing import Final

from kwire.errors import Code, KafkaError
from kwire.limits import TOPIC_NAME_LENGTH_MAX
from kwire.metadata.configs.definitions import client_metrics_keys, split_listener_prefix
from kwire.metadata.configs.effective import GROUP_LIMITS, EffectiveConfigs
from kwire.metadata.configs.support import Kind, support_of
from kwire.metadata.configs.values import ConfigProblem, Value
from kwire.metadata.settings.start_rules import check_start

_TOPIC_NAME = re.compile(r"[a-zA-Z0-9._-]+")


def check_topic_name(name: str) -> None:
    """Check the name of a topic as Kafka does. Raises KafkaError (INVALID_TOPIC_EXCEPTION)."""
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
    """Check all configs that a topic would have. Raises KafkaError (INVALID_CONFIG)."""
    missing = sorted(name for name, text in own.items() if text is None)
    if missing:
        raise _bad_config(f"Null value not supported for topic configs: {','.join(missing)}")
    for name in own:
        if name not in effective.tables.topic:
            raise _bad_config(f"Unknown topic config name: {name}")
    try:
        values = effective.topic_values({name: text for name, text in own.items() if text is not None})
        for name in own:
            effective.tables.topic[name].check(name, values[name])
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


def check_broker_configs(
    effective: EffectiveConfigs,
    configs: Mapping[str, str],
    *,
    changed: Container[str],
    for_all: bool,
    of_other: bool = False,
) -> None:
    """Check the dynamic configs of a broker, or with ``for_all`` those of all brokers. Raises INVALID_REQUEST.

    ``of_other``: they are those of another broker, whose log directories are not known here.

    ``configs`` are all dynamic configs after the change, ``changed`` the names in the change. Names that Kafka does not
    know are accepted, as in Kafka, for plugins. A config that kwire does not serve is refused, because it would have no
    effect.
    """
    table = effective.tables.broker
    known = {name: base for name in configs if (base := split_listener_prefix(name)[1]) in table}
    _refuse_names(
        (name for name, base in known.items() if base not in effective.tables.dynamic),
        "Cannot update these configs dynamically",
    )
    _refuse_names(
        (name for name in known if name in _LISTENER_SECRETS),
        "These security configs can be dynamically updated only per-listener using the listener prefix",
    )
    _refuse_names(
        (name for name, base in known.items() if name in changed and support_of(base).kind is Kind.NOT_SERVED),
        "kwire does not serve these configs",
    )
    try:
        values = {name: table[base].parse(configs[name]) for name, base in known.items()}
    except ConfigProblem as problem:
        raise KafkaError(Code.INVALID_REQUEST, str(problem)) from problem
    if for_all:
        _refuse_names(
            (name for name, base in known.items() if table[base].dynamic == "per-broker"),
            "Cannot update these configs at default cluster level, broker id must be specified",
        )
    _refuse_names(
        (name for name, base in known.items() if name in changed and (name in _READ_AT_START or base in _OF_LOGINS)),
        "kwire reads these configs at its start only",
    )
    if any(name in changed for name in known):
        unchecked = _OF_ITS_DIRECTORIES if of_other else ()
        _check_rules(
            effective, {name: text for name, text in configs.items() if name in known and name not in unchecked}
        )
    for name, value in values.items():
        if name in changed:
            _check_broker_value(effective, name, value)


def check_group_configs(effective: EffectiveConfigs, own: Mapping[str, str]) -> None:
    """Check all configs that a group would have, also by the broker's limits. Raises KafkaError (INVALID_CONFIG)."""
    for name in own:
        if name not in effective.tables.group:
            raise _bad_config(f"Unknown group config name: {name}")
    try:
        values = effective.group_values(own)
    except ConfigProblem as problem:
        raise _bad_config(str(problem)) from problem
    for name, lowest, highest in GROUP_LIMITS:
        value = values[name]
        assert isinstance(value, int)
        low = None if lowest is None else _number(effective, lowest)
        high = None if highest is None else _number(effective, highest)
        if (low is not None and value < low) or (high is not None and value > high):
            raise _bad_config(f"{name} must be {_range_words(low, high)}")
    tags = values["streams.rack.aware.assignment.tags"]
    if isinstance(tags, tuple) and len(set(tags)) < len(tags):
        raise _bad_config("streams.rack.aware.assignment.tags must not contain duplicate tag keys.")
    if str(values["errors.deadletterqueue.topic.name"]).startswith("__"):
        raise _bad_config("errors.deadletterqueue.topic.name: DLQ topic name must not start with '__'")
    for protocol in ("consumer", "share", "streams"):
        session, heartbeat = values[f"{protocol}.session.timeout.ms"], values[f"{protocol}.heartbeat.interval.ms"]
        assert isinstance(session, int)
        assert isinstance(heartbeat, int)
        if session <= heartbeat:
            raise _bad_config(f"{protocol}.session.timeout.ms must be greater than {protocol}.heartbeat.interval.ms")


def _range_words(low: int | None, high: int | None) -> str:
    if low is None:
        return f"less than or equal to {high}"
    if high is None:
        return f"greater than or equal to {low}"
    return f"in the range {low} to {high} inclusive."


def check_client_metrics_configs(own: Mapping[str, str]) -> None:
    """Check the configs of a subscription to client metrics (KIP-714). Raises KafkaError."""
    for name in own:
        if name not in client_metrics_keys():
            raise KafkaError(Code.INVALID_REQUEST, f"Unknown client metrics configuration: {name}")
    try:
        values = {name: client_metrics_keys()[name].parse(text) for name, text in own.items()}
    except ConfigProblem as problem:
        raise _bad_config(str(problem)) from problem
    interval = values.get("interval.ms")
    if isinstance(interval, int) and not _INTERVAL_MIN_MS <= interval <= _INTERVAL_MAX_MS:
        raise KafkaError(
            Code.INVALID_REQUEST,
            f"Invalid value {interval} for interval.ms, interval must be between {_INTERVAL_MIN_MS} and "
            f"{_INTERVAL_MAX_MS} (1 hour)",
        )
    patterns = values.get("match")
    for pattern in patterns if isinstance(patterns, tuple) else ():
        if not _is_client_pattern(pattern):
            raise _bad_config(f"Illegal client matching pattern: {pattern}")


# --- brokers ---

# Kafka can change these while it runs; kwire reads them at the start.
_READ_AT_START: Final = frozenset({"config.providers", "listeners", "listener.security.protocol.map"})
# Kafka refuses to change them for a listener that exists.
_OF_LOGINS: Final = frozenset({"sasl.enabled.mechanisms", "sasl.jaas.config", "sasl.mechanism.inter.broker.protocol"})
_OF_ITS_DIRECTORIES: Final = frozenset({"cordoned.log.dirs"})
_LISTENER_SECRETS: Final = frozenset(
    {
        "ssl.key.password",
        "ssl.keystore.certificate.chain",
        "ssl.keystore.key",
        "ssl.keystore.location",
        "ssl.keystore.password",
        "ssl.keystore.type",
        "ssl.truststore.certificates",
        "ssl.truststore.location",
        "ssl.truststore.password",
        "ssl.truststore.type",
    }
)

_THREADS: Final = frozenset(
    {
        "background.threads",
        "num.io.threads",
        "num.network.threads",
        "num.recovery.threads.per.data.dir",
        "num.replica.fetchers",
    }
)


def _check_broker_value(effective: EffectiveConfigs, name: str, value: Value) -> None:
    """Check what Kafka checks beyond the range of one value."""
    if name in _THREADS:
        assert isinstance(value, int)
        current = _number(effective, name)
        rule = "should not be greater than double the" if value > current * 2 else "should be at least half the"
        if value > current * 2 or value < current // 2:
            raise _not_dynamic(
                f"Dynamic thread count update validation failed for {name}={value}, value {rule} current value "
                f"{current}"
            )
    if name == "log.cleaner.threads":
        assert isinstance(value, int)
        current = _number(effective, name)
        limit = "increased to more than double" if value > current * 2 else "reduced to less than half"
        if value > current * 2 or value < current // 2:
            raise _not_dynamic(f"Log cleaner threads cannot be {limit} the current value {current}")
    if name in _LOCAL_RETENTION:
        assert isinstance(value, int)
        _check_local_retention(effective, name, value)


# Configs of tiered topics, each with the topic and broker config that limits it.
_LOCAL_RETENTION: Final = {
    "log.local.retention.ms": ("retention.ms", "log.retention.ms"),
    "log.local.retention.bytes": ("retention.bytes", "log.retention.bytes"),
}


def _check_local_retention(effective: EffectiveConfigs, name: str, value: int) -> None:
    topic_name, broker_name = _LOCAL_RETENTION[name]
    whole = effective.topic_values({})[topic_name]
    assert isinstance(whole, int)
    if whole == -1 or value == _SAME_AS_WHOLE:
        return
    refused = f"Invalid value {value} for configuration {name}: Value must not be"
    if value == -1:
        raise _not_dynamic(f"{refused} -1 as {broker_name} value is set as {whole}.")
    if value > whole:
        raise _not_dynamic(f"{refused} more than {broker_name} property value: {whole}")


_SAME_AS_WHOLE: Final = -2


def _not_dynamic(reason: str) -> KafkaError:
    message = (
        f"Invalid value org.apache.kafka.common.config.ConfigException: {reason} for configuration Invalid dynamic "
        "configuration"
    )
    return KafkaError(Code.INVALID_REQUEST, message)


def _check_rules(effective: EffectiveConfigs, configs: Mapping[str, str]) -> None:
    """Apply the rules that a start applies. Raises KafkaError with Kafka's requirement as the message."""
    try:
        check_start(effective.with_broker_configs(configs))
    except ConfigProblem as problem:
        raise KafkaError(Code.INVALID_REQUEST, f"requirement failed: {problem}") from problem


def _refuse_names(names: Iterable[str], why: str) -> None:
    refused = sorted(names)
    if refused:
        raise KafkaError(Code.INVALID_REQUEST, f"{why}: [{', '.join(refused)}]")


def _number(effective: EffectiveConfigs, name: str) -> int:
    value = effective.broker_value(name)
    assert isinstance(value, int)
    return value


# --- client metrics ---

_INTERVAL_MIN_MS: Final = 100
_INTERVAL_MAX_MS: Final = 3_600_000
_CLIENT_LABELS: Final = frozenset(
    {
        "client_id",
        "client_instance_id",
        "client_software_name",
        "client_software_version",
        "client_source_address",
        "client_source_port",
    }
)


def _is_client_pattern(pattern: str) -> bool:
    parts = pattern.split("=")
    if len(parts) != 2 or parts[0].strip() not in _CLIENT_LABELS:
        return False
    try:
        re.compile(parts[1].strip())
    except re.error:
        return False
    return True


def _bad_config(message: str) -> KafkaError:
    return KafkaError(Code.INVALID_CONFIG, message)
