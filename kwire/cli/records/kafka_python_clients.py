"""kafka-python as the consumer of the commands, with Java's names for its settings and kwire's codecs.

Responsible for: importing the package on first use, because the import takes 0.2 s; replacing its snappy, lz4 and zstd
codecs, which need further packages, with those of ``kwire.wire.batches.compression``; a fix for joins that outlast a
poll; and its names for Java settings. Must not depend on: any command.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from kwire.cli.connections.client_config import SECURITY_KEYS, ConfigError, sasl_of, tls_of
from kwire.limits import OPENED_BYTES_MAX
from kwire.wire.batches.compression import Codec, compress, decompress

# Java settings that this consumer does not have and does not need.
_NOT_NEEDED: Final = frozenset({"key.deserializer", "value.deserializer", "group.protocol", "bootstrap.servers"})


def consumer(
    settings: Mapping[str, str], *, bootstrap: str, topics: tuple[str, ...] = (), assignors: tuple[str, ...] = ()
) -> Any:
    """Make a KafkaConsumer. Raises ConfigError, and kafka.errors.KafkaError when no broker answers.

    ``assignors`` are protocol names ("range", "sticky", ...); kafka-python's defaults when there are none.
    """
    kafka = _load()
    if settings.get("group.protocol", "classic").lower() != "classic":
        raise ConfigError(f"group.protocol={settings['group.protocol']} is not supported by this consumer; use classic")
    names = {key: key.replace(".", "_") for key in settings if key not in SECURITY_KEYS | _NOT_NEEDED}
    defaults = kafka.KafkaConsumer.DEFAULT_CONFIG
    config = {name: _converted(key, settings[key], defaults[name]) for key, name in names.items() if name in defaults}
    if assignors:
        config["partition_assignment_strategy"] = [_assignor(name) for name in assignors]
    config |= {"bootstrap_servers": bootstrap.split(","), "metrics_enabled": False, **_security(settings)}
    made = _closed_on_failure(kafka.KafkaConsumer, *topics, **config)
    _wait_for_joins(made)
    return made


def producer(settings: Mapping[str, str], *, bootstrap: str) -> Any:
    """Make a KafkaProducer. Raises ConfigError, and kafka.errors.KafkaError when no broker answers."""
    kafka = _load()
    defaults = kafka.KafkaProducer.DEFAULT_CONFIG
    names = {key: key.replace(".", "_") for key in settings if key not in SECURITY_KEYS | _NOT_NEEDED | {"acks"}}
    config = {name: _converted(key, settings[key], defaults[name]) for key, name in names.items() if name in defaults}
    acks = {"all": -1, "-1": -1, "0": 0, "1": 1}.get(settings.get("acks", "all"))
    if acks is None:
        raise ConfigError(
            f"Invalid value {settings['acks']} for configuration acks: String must be one of: all, -1, 0, 1"
        )
    config["acks"] = acks
    if config.get("compression_type") == "none":
        config["compression_type"] = None
    if "enable.idempotence" not in settings and "transactional.id" not in settings:
        # As the Java producer: idempotence is the default where the other settings allow it (KIP-679).
        config["enable_idempotence"] = acks == -1 and config.get("retries") != 0
    config = {"metrics_enabled": False, **config, "bootstrap_servers": bootstrap.split(","), **_security(settings)}
    return _closed_on_failure(kafka.KafkaProducer, **config)


def errors() -> type[Exception]:
    """Return the base of this package's exceptions."""
    import kafka.errors

    base: type[Exception] = kafka.errors.KafkaError
    return base


def listener(assigned: Callable[[Any], None], revoked: Callable[[Any], None]) -> Any:
    """Make a rebalance listener of two functions of topic partitions."""
    kafka = _load()

    class Listener(kafka.ConsumerRebalanceListener):  # type: ignore[misc,name-defined]
        def on_partitions_assigned(self, places: Any) -> None:
            assigned(places)

        def on_partitions_revoked(self, places: Any) -> None:
            revoked(places)

    return Listener()


def committable(offsets: Mapping[Any, int]) -> dict[Any, Any]:
    """Turn offsets per partition into what ``commit`` takes."""
    kafka = _load()
    return {place: kafka.OffsetAndMetadata(offset, "", -1) for place, offset in offsets.items()}


def unused(settings: Mapping[str, str]) -> list[str]:
    """The settings that have no effect on this consumer."""
    defaults = _load().KafkaConsumer.DEFAULT_CONFIG
    known = SECURITY_KEYS | _NOT_NEEDED
    return sorted(key for key in settings if key not in known and key.replace(".", "_") not in defaults)


@contextmanager
def logged_to_stderr() -> Iterator[None]:
    """Print the package's connection warnings and its errors to stderr, one line each.

    Each message is printed once, because a broker that is down causes many.
    """
    printed: set[str] = set()

    def first_time(record: logging.LogRecord) -> bool:
        if record.msg in printed:
            return False
        printed.add(record.msg)
        return True

    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(first_time)
    handler.setFormatter(logging.Formatter("[%(asctime)s] %(levelname)s %(message)s (%(name)s)"))
    logger = logging.getLogger("kafka")
    propagated = logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.ERROR)
    logger.propagate = False
    logging.getLogger("kafka.net").setLevel(logging.WARNING)
    logging.getLogger("kafka.net.sasl").setLevel(logging.ERROR)
    logging.getLogger("kafka.net.selector").setLevel(logging.ERROR)  # without warnings about a slow poll
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.CRITICAL)
        logger.propagate = propagated


@contextmanager
def connection_losses_noted(servers: str) -> Iterator[None]:
    """Print one sentence to stderr when the connection is lost, instead of the package's own log lines."""
    handler = _LossNote(servers)
    logger = logging.getLogger("kafka")
    network = logging.getLogger("kafka.net")
    before = (logger.level, logger.propagate, network.level)
    logger.addHandler(handler)
    logger.setLevel(logging.CRITICAL)
    logger.propagate = False
    network.setLevel(logging.WARNING)
    for quiet in ("kafka.net.sasl", "kafka.net.selector"):
        logging.getLogger(quiet).setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.level, logger.propagate, network.level = before


class _LossNote(logging.Handler):
    def __init__(self, servers: str) -> None:
        super().__init__(logging.WARNING)
        self._servers = servers
        self._noted = False

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.startswith("kafka.net") and not self._noted:
            self._noted = True
            sys.stderr.write(f"kwire: lost the connection to {self._servers}; reconnecting\n")


def _load() -> Any:
    import kafka
    import kafka.codec
    import kafka.record.default_records

    batches = kafka.record.default_records
    for codec in (Codec.SNAPPY, Codec.LZ4, Codec.ZSTD):
        name = codec.name.lower()
        setattr(kafka.codec, f"has_{name}", lambda: True)
        setattr(batches, f"{name}_encode", lambda payload, codec=codec: compress(codec, bytes(payload)))
        setattr(
            batches,
            f"{name}_decode",
            lambda payload, codec=codec: decompress(codec, payload, limit_bytes=OPENED_BYTES_MAX),
        )
    producers: Any = kafka.KafkaProducer
    producers._COMPRESSORS |= {  # noqa: SLF001 - it holds the checks that were replaced above
        codec.name.lower(): (lambda: True, codec.value) for codec in (Codec.SNAPPY, Codec.LZ4, Codec.ZSTD)
    }
    return kafka


def _closed_on_failure(make: Callable[..., Any], *topics: str, **config: object) -> Any:
    """Make a client. When that fails, close the thread and the connections that kafka-python leaves open."""
    from kafka.net.compat import KafkaNetClient

    opened: list[Any] = []

    def open_one(**values: object) -> Any:
        opened.append(KafkaNetClient(**values))
        return opened[-1]

    try:
        return make(*topics, kafka_client=open_one, **config)
    except BaseException:
        for client in opened:
            client.close()
        raise


def _wait_for_joins(consumer: Any) -> None:
    """Let a poll wait for a JoinGroup that an earlier poll sent and that is not answered yet.

    kafka-python 3.0 treats a rejoin for new partitions as done when it is sent. When the poll ends before the answer
    arrives, the consumer never takes over its assignment, and reads nothing from then on.
    """
    coordinator: Any = getattr(consumer, "_coordinator", None)
    if not hasattr(coordinator, "_join_task"):
        return
    original = coordinator.need_rejoin
    coordinator.need_rejoin = lambda: coordinator._join_task is not None or original()  # noqa: SLF001 (as above)


def _assignor(name: str) -> Any:
    """Return an assignor class by its protocol name. Raises ConfigError."""
    from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
    from kafka.coordinator.assignors.range import RangePartitionAssignor
    from kafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
    from kafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor

    found = {
        "range": RangePartitionAssignor,
        "roundrobin": RoundRobinPartitionAssignor,
        "sticky": StickyPartitionAssignor,
        "cooperative-sticky": CooperativeStickyAssignor,
    }
    if name not in found:
        raise ConfigError(f"partition.assignment.strategy={name} is not known here; known are {', '.join(found)}")
    return found[name]


def _security(settings: Mapping[str, str]) -> dict[str, Any]:
    protocol = settings.get("security.protocol", "PLAINTEXT").upper()
    config: dict[str, Any] = {"security_protocol": protocol}
    if protocol.endswith("SSL"):
        config["ssl_context"] = tls_of(settings)
    if protocol.startswith("SASL_"):
        login = sasl_of(settings)
        if login.by_token:
            raise ConfigError("sasl.jaas.config: tokenauth is not supported by the client package of this command")
        config |= {
            "sasl_mechanism": login.mechanism,
            "sasl_plain_username": login.user,
            "sasl_plain_password": login.password,
        }
    return config


def _converted(key: str, text: str, default: object) -> object:
    """Convert a setting's text to the type that kafka-python expects. Raises ConfigError."""
    try:
        if isinstance(default, bool):
            return _BOOLEANS[text.strip().lower()]
        if isinstance(default, int | float):
            return int(text)
    except (KeyError, ValueError):
        raise ConfigError(f"Invalid value {text} for configuration {key}") from None
    return text or None


_BOOLEANS: Final = {"true": True, "false": False}
