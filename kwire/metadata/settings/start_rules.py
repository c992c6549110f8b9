"""Rules between the settings of a broker: a start that breaks one is refused, as is a change while it runs.

Responsible for: the checks of Apache Kafka's KafkaConfig beyond single values (the rules for listeners are in
``listeners.py``). ``tests/metadata/start_vectors.json.gz`` has the results of the official classes, made by
``tools/start_vectors.py``. Must not depend on: where a setting came from, files, sockets.

A new rule is a function that is added to ``_RULES``. It raises ConfigProblem: the config, its value, a message (Kafka's
where Kafka has the rule), and the valid values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

from kwire.metadata.configs.definitions import broker_keys
from kwire.metadata.configs.effective import EffectiveConfigs
from kwire.metadata.configs.values import ConfigProblem, ConfigType, address_counts, value_text
from kwire.metadata.settings.authorizer import STANDARD_AUTHORIZER, read_authorizer
from kwire.metadata.settings.listeners import read_listeners
from kwire.metadata.settings.quorum_rules import SERVED_ROLES, check_controllers, is_broker_alone
from kwire.metadata.settings.sasl import JWT_VALIDATORS
from kwire.personas import NONE

Rule: TypeAlias = Callable[[EffectiveConfigs], None]

_MEGABYTE: Final = 1024 * 1024


def check_start(configs: EffectiveConfigs) -> None:
    """Check all rules over the values in force. Raises ConfigProblem."""
    for rule in _RULES:
        rule(configs)
    read_listeners(configs)


def problem(configs: EffectiveConfigs, name: str, message: str, expected: str) -> ConfigProblem:
    """Make the refusal of the value that ``name`` has."""
    return ConfigProblem(name, value_text(configs.broker_value(name)), message, expected)


# --- logs ---


def _check_log_times(configs: EffectiveConfigs) -> None:
    topic = configs.topic_values({})
    for topic_key, name, lowest in (("segment.ms", "log.roll.ms", 1), ("segment.jitter.ms", "log.roll.jitter.ms", 0)):
        if _number(topic[topic_key]) < lowest:
            given = _given(configs, name, name.replace(".ms", ".hours"))
            message = f"{name} must be greater than or equal to {lowest}"
            raise problem(configs, given, message, f"{lowest} or more")
    if _number(topic["retention.ms"]) == 0:
        given = _given(configs, "log.retention.ms", "log.retention.minutes", "log.retention.hours")
        message = "log.retention.ms must be unlimited (-1) or, greater than or equal to 1"
        raise problem(configs, given, message, "-1 to keep records for ever, or 1 or more")


def _check_cleaner(configs: EffectiveConfigs) -> None:
    threads = configs.broker["log.cleaner.threads"]
    if threads == 0:
        raise problem(configs, "log.cleaner.threads", "A log cleaner without a thread cannot start.", "1 or more")
    if configs.broker["log.cleaner.dedupe.buffer.size"] // threads <= _MEGABYTE:
        message = "log.cleaner.dedupe.buffer.size must be at least 1MB per cleaner thread."
        name, least = "log.cleaner.dedupe.buffer.size", threads * (_MEGABYTE + 1)
        raise problem(configs, name, message, f"{least} or more for log.cleaner.threads={threads}")


def _check_release(configs: EffectiveConfigs) -> None:
    is_part = is_broker_alone(configs) or read_listeners(configs).controllers
    if configs.broker["kwire.as.release"] != NONE and is_part:
        message = "a broker that is part of a cluster cannot appear as another release"
        expected = f"{NONE}, or process.roles=broker,controller without a controller listener"
        raise problem(configs, "kwire.as.release", message, expected)


def _check_compression_codecs(configs: EffectiveConfigs) -> None:
    for name in ("offsets.topic.compression.codec", "share.coordinator.state.topic.compression.codec"):
        number = configs.broker_value(name)
        if number not in range(5):
            expected = "0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd"
            raise problem(configs, name, f"Unknown compression type id: {number}", expected)


def _check_cordoned_directories(configs: EffectiveConfigs) -> None:
    cordoned = configs.broker["cordoned.log.dirs"]
    name = "cordoned.log.dirs"
    if "*" in cordoned:
        if len(cordoned) > 1:
            message = "When cordoned.log.dirs is set to *, it must not contain other values"
            raise problem(configs, name, message, "* alone, or directories of log.dirs")
        return
    directories = configs.broker["log.dirs"] or configs.broker["log.dir"]
    missing = [path for path in cordoned if path not in directories]
    if missing:
        message = (
            f"All entries in {name} must be present in log.dirs or log.dir. Missing entries : {', '.join(missing)}"
        )
        raise problem(configs, name, message, f"directories of {','.join(directories)}")


# --- replication ---


def _check_replica_times(configs: EffectiveConfigs) -> None:
    wait_ms = configs.broker["replica.fetch.wait.max.ms"]
    if wait_ms > configs.broker["replica.socket.timeout.ms"]:
        message = (
            "replica.socket.timeout.ms should always be at least replica.fetch.wait.max.ms to prevent unnecessary "
            "socket timeouts"
        )
        raise problem(configs, "replica.socket.timeout.ms", message, f"{wait_ms} or more")
    if wait_ms > configs.broker["replica.lag.time.max.ms"]:
        message = (
            "replica.fetch.wait.max.ms should always be less than or equal to replica.lag.time.max.ms to prevent"
            " frequent changes in ISR"
        )
        raise problem(configs, "replica.lag.time.max.ms", message, f"{wait_ms} or more")


# --- the quorum ---


def _check_roles(configs: EffectiveConfigs) -> None:
    if set(configs.broker["process.roles"]) not in SERVED_ROLES:
        expected = "broker,controller, broker or controller"
        raise problem(configs, "process.roles", "A node is a broker, a controller, or both.", expected)


def _check_node_id(configs: EffectiveConfigs) -> None:
    node_id, broker_id = configs.broker["node.id"], configs.broker["broker.id"]
    if configs.is_set("broker.id") and broker_id != node_id:
        message = "You must set `node.id` to the same value as `broker.id`."
        raise problem(configs, "broker.id", message, f"{node_id}, or leave it out")
    if is_broker_alone(configs) and not configs.is_set("node.id"):
        message = 'Missing required configuration "node.id" which has no default value.'
        raise problem(configs, "node.id", message, "a number that no other node of the cluster has")


def _check_voters(configs: EffectiveConfigs) -> None:
    voters = [int(voter.partition("@")[0]) for voter in configs.broker["controller.quorum.voters"]]
    node_id = configs.broker["node.id"]
    if is_broker_alone(configs):
        check_controllers(configs)
    elif voters and node_id not in voters:
        message = (
            f"If process.roles contains the 'controller' role, the node id {node_id} must be included in the set of "
            f"voters controller.quorum.voters={{{', '.join(map(str, voters))}}}"
        )
        raise problem(configs, "controller.quorum.voters", message, f"{node_id}@HOST:PORT among the voters")


# --- connections ---


def _check_connections(configs: EffectiveConfigs) -> None:
    queued, frame = configs.broker["queued.max.request.bytes"], configs.broker["socket.request.max.bytes"]
    if 0 < queued < frame:
        message = "queued.max.request.bytes must be larger or equal to socket.request.max.bytes"
        raise problem(configs, "queued.max.request.bytes", message, f"-1, or {frame} or more")
    overrides = "max.connections.per.ip.overrides"
    counts = address_counts(overrides, configs.broker["max.connections.per.ip.overrides"])
    if configs.broker["max.connections.per.ip"] == 0 and not counts:
        message = f"max.connections.per.ip can be set to zero only if {overrides} property is set."
        raise problem(configs, "max.connections.per.ip", message, f"1 or more, or addresses in {overrides}")
    idle_ms = configs.broker["connections.max.idle.ms"]
    delay_ms = configs.broker["connection.failed.authentication.delay.ms"]
    if 0 <= idle_ms <= delay_ms:
        message = (
            f"connection.failed.authentication.delay.ms={delay_ms} should always be less than connections.max.idle.ms="
            f"{idle_ms} to prevent failed authentication responses from timing out"
        )
        raise problem(configs, "connection.failed.authentication.delay.ms", message, f"less than {idle_ms}")


# --- groups ---


def _check_group_protocols(configs: EffectiveConfigs) -> None:
    name = "group.coordinator.rebalance.protocols"
    if "classic" not in configs.broker["group.coordinator.rebalance.protocols"]:
        raise problem(configs, name, "Disabling the 'classic' protocol is not supported.", "a list with classic in it")


def _check_group_limits(configs: EffectiveConfigs) -> None:
    for value, lowest, highest in _group_limits():
        if lowest is not None:
            _check_order(configs, lowest, value)
        if lowest is not None and highest is not None:
            _check_order(configs, lowest, highest)
        if highest is not None:
            _check_order(configs, value, highest)
    for protocol in _PROTOCOLS:
        heartbeat, session = f"group.{protocol}.heartbeat.interval.ms", f"group.{protocol}.session.timeout.ms"
        if _number(configs.broker_value(heartbeat)) >= _number(configs.broker_value(session)):
            message = f"{heartbeat} must be less than {session}"
            raise problem(configs, heartbeat, message, f"less than {configs.broker_value(session)}")


_PROTOCOLS: Final = ("consumer", "share", "streams")


def _group_limits() -> Iterator[tuple[str, str | None, str | None]]:
    """Each config of groups that has bounds, with the configs that hold its least and its greatest value."""
    for protocol in _PROTOCOLS:
        for what in ("heartbeat.interval.ms", "session.timeout.ms", "assignment.interval.ms"):
            yield f"group.{protocol}.{what}", f"group.{protocol}.min.{what}", f"group.{protocol}.max.{what}"
    for what in ("record.lock.duration.ms", "delivery.count.limit", "partition.max.record.locks"):
        yield f"group.share.{what}", f"group.share.min.{what}", f"group.share.max.{what}"
    yield "group.share.max.size", None, "group.share.max.share.sessions"
    yield "group.streams.num.standby.replicas", None, "group.streams.max.standby.replicas"
    yield "group.streams.num.warmup.replicas", None, "group.streams.max.warmup.replicas"
    yield "group.streams.task.offset.interval.ms", "group.streams.min.task.offset.interval.ms", None


def _check_order(configs: EffectiveConfigs, less: str, more: str) -> None:
    low, high = _compared(configs, less), _compared(configs, more)
    if low <= high:
        return
    if configs.is_set(less) and not configs.is_set(more):
        message = f"{less} must be less than or equal to {more}"
        raise problem(configs, less, message, f"{high} or less")
    raise problem(configs, more, f"{more} must be greater than or equal to {less}", f"{low} or more")


def _compared(configs: EffectiveConfigs, name: str) -> int:
    """The value of a limit; Kafka's default where kwire's own would refuse settings that Apache Kafka starts with."""
    key = broker_keys()[name]
    if key.kafka_default_text is not None and not configs.is_set(name):
        return _number(key.parse(key.kafka_default_text))
    return _number(configs.broker_value(name))


# --- classes ---


def _check_classes(configs: EffectiveConfigs) -> None:
    """Refuse Java classes other than Kafka's own, because kwire cannot run them."""
    for name, key in broker_keys().items():
        own = (
            _OWN_CLASSES.get(name, (key.default_text or "",))
            if key.type is ConfigType.CLASS
            else _OWN_CLASSES.get(name)
        )
        if own is None or not configs.is_set(name):
            continue
        value = configs.broker_value(name)
        classes = value if isinstance(value, tuple) else (str(value).strip(),)
        unknown = [one for one in classes if one not in own]
        if unknown:
            message = f"Class {unknown[0]} could not be found: kwire runs no Java code."
            raise problem(configs, name, message, " or ".join(filter(None, own)) or "to leave it out")


# Kafka's own names for configs that name classes and are not of type CLASS.
_OWN_CLASSES: Final[dict[str, tuple[str, ...]]] = {
    "authorizer.class.name": ("", STANDARD_AUTHORIZER),
    "group.consumer.assignors": ("uniform", "range"),
    "group.share.assignors": ("simple",),
    "group.streams.assignors": ("sticky",),
    "sasl.oauthbearer.jwt.validator.class": JWT_VALIDATORS,
    "replica.selector.class": (
        "org.apache.kafka.common.replica.RackAwareReplicaSelector",
        "org.apache.kafka.common.replica.LeaderSelector",
    ),
    "metric.reporters": ("org.apache.kafka.common.metrics.JmxReporter",),
}


def _check_authorizer(configs: EffectiveConfigs) -> None:
    read_authorizer(configs)


def _number(value: object) -> int:
    assert isinstance(value, int)
    return value


def _given(configs: EffectiveConfigs, *names: str) -> str:
    """Return the first of several names for one setting that has a value, by Kafka's order."""
    return next((name for name in names if configs.is_set(name)), names[-1])


_RULES: Final[tuple[Rule, ...]] = (
    _check_roles,
    _check_node_id,
    _check_voters,
    _check_log_times,
    _check_cleaner,
    _check_compression_codecs,
    _check_cordoned_directories,
    _check_replica_times,
    _check_connections,
    _check_group_protocols,
    _check_group_limits,
    _check_classes,
    _check_authorizer,
    _check_release,
)
