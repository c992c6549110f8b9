# ruff: noqa: S108, S311, E501 - the paths are not opened, the random numbers are test data, and the tables are wide
"""Write ``tests/metadata/start_vectors.json.gz``: the broker settings that the official release starts with or refuses.

    python tools/start_vectors.py [--libs DIRECTORY] [--seed 1] [--pairs 4000] [--start]

Each vector is a few settings over ``BASE`` and the result of the official KafkaConfig: null, or the reason of its
refusal. There is one vector for each config with each of its boundary values, and many with several configs between
which rules hold. With ``--start`` a server is started with the least and greatest values that KafkaConfig accepts
(this takes an hour), because some parts of a server check their settings in their constructors; the refusals found
this way are in ``REFUSED_BY_PARTS``. Needs Java 17 and the official jars (``make jars``).
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias

from official_java import ROOT, run_java

from kwire.metadata.configs.definitions import ConfigKey, broker_keys
from kwire.metadata.configs.values import ConfigProblem, ConfigType

Settings: TypeAlias = dict[str, str]

TARGET = ROOT / "tests" / "metadata" / "start_vectors.json.gz"
BASE = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "listeners": "PLAINTEXT://localhost:19092,CONTROLLER://localhost:19093",
    "controller.quorum.voters": "1@localhost:19093",
    "log.dirs": "/tmp/start-vectors",
}
NUMBERS = (-2, -1, 0, 1, 2, 3, 5, 10, 99, 100, 101, 500, 1000, 1001, 5000, 10_000, 30_000, 45_000, 60_000, 600_000)
LARGE = (2**20, 2**20 + 1, 2**21, 3 * 2**20, 2**27, 2**31 - 1, 2**63 - 1)
CLASS_NAME = "org.example.Missing"
# The values of configs that are not numbers. "~" leaves a config out.
TEXTS = {
    "listeners": [
        "PLAINTEXT://localhost:19092,CONTROLLER://localhost:19093",
        "PLAINTEXT://:9092",
        "CONTROLLER://:9093",
        "PLAINTEXT://:9092,CONTROLLER://:9092",
        "PLAINTEXT://:9092,PLAINTEXT://:9094,CONTROLLER://:9093",
        "PLAINTEXT://127.0.0.1:9092,OTHER://[::1]:9092,CONTROLLER://:9093",
        "PLAINTEXT://127.0.0.1:9092,OTHER://127.0.0.2:9092,CONTROLLER://:9093",
        "INSIDE://:9092,OUTSIDE://:9094,CONTROLLER://:9093",
        "plaintext://:9092,controller://:9093",
        "PLAINTEXT://:9092,SSL://:9094,CONTROLLER://:9093",
        "PLAINTEXT://:0,CONTROLLER://:0",
        "PLAINTEXT://:99999,CONTROLLER://:9093",
        "PLAINTEXT://:-1,CONTROLLER://:9093",
        "PLAINTEXT:9092,CONTROLLER://:9093",
        "://:9092",
        "PLAINTEXT://bad_host:9092,CONTROLLER://:9093",
        "PLAINTEXT://bad host:9092,CONTROLLER://:9093",
        "",
    ],
    "advertised.listeners": [
        "~",
        "PLAINTEXT://localhost:19092",
        "PLAINTEXT://0.0.0.0:9092",
        "PLAINTEXT://[::]:9092",
        "PLAINTEXT://:9092",
        "PLAINTEXT://broker:0",
        "OTHER://broker:9092",
        "INSIDE://broker:9092",
        "INSIDE://broker:9092,OUTSIDE://broker:9092",
        "PLAINTEXT://broker:9092,CONTROLLER://broker:9093",
        "PLAINTEXT://a:9092,PLAINTEXT://b:9092",
        "CONTROLLER://broker:9093",
        "CONTROLLER://0.0.0.0:9093",
        "",
    ],
    "listener.security.protocol.map": [
        "~",
        "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "PLAINTEXT:PLAINTEXT",
        "INSIDE:PLAINTEXT,OUTSIDE:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "INSIDE:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "PLAINTEXT:SSL,CONTROLLER:PLAINTEXT",
        "PLAINTEXT:NOTHING",
        "PLAINTEXT",
        "PLAINTEXT:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        "plaintext:plaintext,controller:plaintext",
        "",
    ],
    "inter.broker.listener.name": ["~", "PLAINTEXT", "INSIDE", "CONTROLLER", "NOTHING", "plaintext", ""],
    "security.inter.broker.protocol": ["~", "PLAINTEXT", "SSL", "SASL_PLAINTEXT"],
    "controller.listener.names": ["CONTROLLER", "PLAINTEXT", "NOTHING", "CONTROLLER,OTHER", "controller", "", "~"],
    "early.start.listeners": ["~", "CONTROLLER", "PLAINTEXT", "NOTHING", ""],
    "controller.quorum.voters": [
        "1@localhost:19093",
        "2@localhost:19093",
        "1@localhost:19093,2@localhost:19094",
        "1@0.0.0.0:0",
        "",
        "1@localhost",
        "one@localhost:9093",
        "1@localhost:9093,1@localhost:9094",
        "~",
    ],
    "controller.quorum.bootstrap.servers": ["~", "localhost:19093", "localhost", ""],
    "node.id": ["1", "0", "2", "2147483647", "-1", "~"],
    "broker.id": ["~", "1", "2", "-1", "0"],
    "process.roles": ["broker,controller", "broker", "controller", "controller,broker", "broker,broker", "", "~"],
    "log.dirs": ["/tmp/start-vectors", "/tmp/a,/tmp/b", "~", "/tmp/a,/tmp/a"],
    "log.dir": ["/tmp/start-vectors", "~", "/tmp/a,/tmp/b", ""],
    "metadata.log.dir": ["~", "/tmp/a", "/elsewhere"],
    "cordoned.log.dirs": ["~", "*", "/tmp/a", "/elsewhere", "/tmp/start-vectors", "*,/tmp/a", ""],
    "max.connections.per.ip.overrides": ["~", "127.0.0.1:5", "localhost:5", "bad host:5", "127.0.0.1", "", "127.0.0.1:x"],
    "sasl.enabled.mechanisms": ["GSSAPI", "PLAIN", "SCRAM-SHA-256,PLAIN", ""],
    "sasl.mechanism.inter.broker.protocol": ["GSSAPI", "PLAIN", "SCRAM-SHA-256", ""],
    "sasl.mechanism.controller.protocol": ["GSSAPI", "PLAIN"],
    "group.coordinator.rebalance.protocols": ["~", "classic", "classic,consumer", "consumer", "share", "classic,consumer,share,streams", "nothing", ""],
    "group.consumer.assignors": ["uniform", "range", "uniform,range", "nothing", "", "range,range"],
    "group.share.assignors": ["simple", "nothing", "", "simple,simple"],
    "group.consumer.migration.policy": ["disabled", "bidirectional", "UPGRADE", "nothing"],
    "compression.type": ["producer", "gzip", "uncompressed"],
    "log.cleanup.policy": ["delete", "compact", "compact,delete", "delete,compact", ""],
    "log.message.timestamp.type": ["CreateTime", "LogAppendTime"],
    "sasl.kerberos.principal.to.local.rules": ["DEFAULT", "nothing"],
    "ssl.principal.mapping.rules": ["DEFAULT", "RULE:x", "nothing"],
    "ssl.client.auth": ["none", "required"],
    "ssl.enabled.protocols": ["TLSv1.2", "TLSv1.3,TLSv1.2", "nothing"],
    "remote.log.storage.system.enable": ["true", "false"],
    "remote.log.storage.manager.class.name": ["~", "", CLASS_NAME],
    "remote.log.metadata.manager.listener.name": ["~", "PLAINTEXT", "NOTHING"],
    "config.providers": ["~", "env", "nothing"],
    "metrics.recording.level": ["INFO", "DEBUG", "nothing"],
    "security.providers": ["~", CLASS_NAME],
    "delegation.token.secret.key": ["~", "secret"],
}  # fmt: skip
# Listeners that share a port (KIP-797).
SHARED_PORTS = [
    "PLAINTEXT://127.0.0.1:9092,OTHER://127.0.0.2:9092,CONTROLLER://:9093",
    "PLAINTEXT://127.0.0.1:9092,OTHER://[127.0.0.2]:9092,CONTROLLER://:9093",
    "PLAINTEXT://127.0.0.1:9092,OTHER://[::1]:9092,CONTROLLER://:9093",
    "PLAINTEXT://[::1]:9092,OTHER://127.0.0.1:9092,CONTROLLER://:9093",
    "PLAINTEXT://[::1]:9092,OTHER://[::2]:9092,CONTROLLER://:9093",
    "PLAINTEXT://0.0.0.0:9092,OTHER://[::]:9092,CONTROLLER://:9093",
    "PLAINTEXT://127.0.0.1:9092,OTHER://localhost:9092,CONTROLLER://:9093",
    "PLAINTEXT://[::1]:9092,OTHER://localhost:9092,CONTROLLER://:9093",
    "PLAINTEXT://localhost:9092,OTHER://otherhost:9092,CONTROLLER://:9093",
    "PLAINTEXT://localhost:9092,OTHER://127.0.0.1:9092,CONTROLLER://otherhost:9092",
    "PLAINTEXT://:9092,OTHER://127.0.0.1:9092,CONTROLLER://:9093",
    "PLAINTEXT://:9092,OTHER://[::1]:9092,CONTROLLER://:9093",
    "PLAINTEXT://127.1:9092,OTHER://[::1]:9092,CONTROLLER://:9093",
    "PLAINTEXT://010.0.0.1:9092,OTHER://[::1]:9092,CONTROLLER://:9093",
    "PLAINTEXT://127.0.0.1:9092,OTHER://[::1]:9092,CONTROLLER://127.0.0.2:9092",
    "PLAINTEXT://127.0.0.1:9092,OTHER://[::1]:9092,CONTROLLER://localhost:9092",
    "PLAINTEXT://127.0.0.1:9092,CONTROLLER://[::1]:9092",
    "PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.2:9092",
    "PLAINTEXT://127.0.0.1:0,OTHER://127.0.0.2:0,CONTROLLER://:9093",
]
SHARED_PORTS_BASE = {
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,OTHER:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "advertised.listeners": "PLAINTEXT://broker:9092",
}
# Configs between which rules may hold: vectors give several of one family at once.
FAMILIES = {
    "listeners": [
        "listeners",
        "advertised.listeners",
        "listener.security.protocol.map",
        "inter.broker.listener.name",
        "security.inter.broker.protocol",
        "controller.listener.names",
        "early.start.listeners",
        "process.roles",
    ],
    "quorum": [
        "controller.quorum.voters",
        "controller.quorum.bootstrap.servers",
        "node.id",
        "broker.id",
        "process.roles",
        "controller.listener.names",
        "listeners",
        "controller.quorum.auto.join.enable",
    ],
    "directories": ["log.dirs", "log.dir", "metadata.log.dir", "cordoned.log.dirs"],
    "time": ["log.retention.", "log.roll.", "log.flush.", "log.local.retention.", "log.cleaner.min.compaction", "log.cleaner.max.compaction", "log.segment.bytes"],
    "cleaner": ["log.cleaner.dedupe.buffer.size", "log.cleaner.threads", "log.cleaner.io.buffer.size"],
    "replica": ["replica.fetch.wait.max.ms", "replica.socket.timeout.ms", "replica.lag.time.max.ms"],
    "connections": [
        "max.connections.per.ip",
        "max.connections.per.ip.overrides",
        "queued.max.request.bytes",
        "socket.request.max.bytes",
        "connections.max.idle.ms",
        "connection.failed.authentication.delay.ms",
    ],
    "sasl": [
        "security.inter.broker.protocol",
        "sasl.enabled.mechanisms",
        "sasl.mechanism.inter.broker.protocol",
        "sasl.mechanism.controller.protocol",
    ],
    "classic groups": ["group.min.session.timeout.ms", "group.max.session.timeout.ms", "group.coordinator.rebalance.protocols"],
    "consumer groups": ["group.consumer."],
    "share groups": ["group.share.", "share.coordinator."],
    "streams groups": ["group.streams."],
    "quorum times": ["controller.quorum.", "broker.heartbeat.interval.ms", "broker.session.timeout.ms"],
    "metadata": ["metadata.log.", "metadata.max.", "internal.metadata."],
    "transactions": ["transaction.", "transactional.", "producer.id.", "add.partitions."],
    "offsets": ["offsets.", "offset."],
    "remote": ["remote."],
    "sasl times": ["sasl.login.", "sasl.oauthbearer."],
    "telemetry": ["metric.", "metrics.", "kafka.metrics.", "telemetry."],
    "delegation": ["delegation.token."],
    "copies": ["default.replication.factor", "min.insync.replicas", "offsets.topic.replication.factor", "transaction.state.log.min.isr", "transaction.state.log.replication.factor"],
}  # fmt: skip
# CheckSettings starts a server with listeners, voters and directories of its own.
NOT_STARTED = {*FAMILIES["listeners"], *FAMILIES["quorum"], *FAMILIES["directories"]}
NUMBER_TYPES = (ConfigType.INT, ConfigType.SHORT, ConfigType.LONG, ConfigType.DOUBLE)
STARTS_PER_JVM = 40
JVMS = 3
# Settings that KafkaConfig accepts and a server refuses, found with --start; the ports are refused by the socket.
REFUSED_BY_PARTS: dict[tuple[str, str], str] = {
    ("listeners", "PLAINTEXT://:99999,CONTROLLER://:9093"): "IllegalArgumentException: port out of range:99999",
    ("listeners", "PLAINTEXT://:-1,CONTROLLER://:9093"): "IllegalArgumentException: port out of range:-1",
    ("authorizer.class.name", "text"): "ClassNotFoundException: text",
    ("authorizer.class.name", CLASS_NAME): "ClassNotFoundException: " + CLASS_NAME,
    ("metric.reporters", "text"): "ClassNotFoundException: text",
    ("metric.reporters", CLASS_NAME): "ClassNotFoundException: " + CLASS_NAME,
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the start vectors from the official release.")
    parser.add_argument("--libs", help="a directory that holds the official jars; by default those of make jars")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pairs", type=int, default=4000, help="how many vectors have several configs")
    parser.add_argument("--start", action="store_true", help="print what only a server that starts refuses")
    given = parser.parse_args()
    if given.start:
        print_refused_by_parts(given.libs)
    else:
        write_start_vectors(given.libs, seed=given.seed, pairs=given.pairs)


def write_start_vectors(libs: str | None = None, *, seed: int = 1, pairs: int = 4000) -> None:
    """Write the vectors; ``pairs`` is the number of those with several configs."""
    settings = [*single_settings(), *several_settings(random.Random(seed), pairs)]
    reasons = refusals(settings, libs)
    vectors = [(one, reason or by_parts(one)) for one, reason in zip(settings, reasons, strict=True)]
    text = "".join(json.dumps(vector) + "\n" for vector in vectors)
    TARGET.write_bytes(gzip.compress(text.encode(), mtime=0))
    print(f"{len(vectors)} vectors, {sum(reason is not None for _, reason in vectors)} refused: {TARGET}")


def by_parts(settings: Settings) -> str | None:
    """Return why a part of the server refuses settings that KafkaConfig accepts, or None."""
    return next((why for given, why in REFUSED_BY_PARTS.items() if given in settings.items()), None)


def single_settings() -> Iterator[Settings]:
    """Each config with each of its boundary values, and the listeners that share a port."""
    for name, key in broker_keys().items():
        if not key.is_kwires:
            yield from ({name: text} for text in texts_of(key))
    yield from ({**SHARED_PORTS_BASE, "listeners": text} for text in SHARED_PORTS)


def several_settings(generator: random.Random, count: int) -> Iterator[Settings]:
    """Two to five configs of one family, half of the numbers near one another."""
    families = [members(prefixes) for prefixes in FAMILIES.values()]
    for _ in range(count):
        family = generator.choice(families)
        names = generator.sample(family, min(len(family), generator.randint(2, 5)))
        near = generator.sample(NUMBERS, 2)
        yield {name: one_text(generator, broker_keys()[name], near) for name in names}


def members(prefixes: list[str]) -> list[str]:
    """The configs that a family names, whole or by prefix."""
    keys = [key for key in broker_keys().values() if not key.is_kwires]
    return [key.name for key in keys if key.name in prefixes or key.name.startswith(tuple(prefixes))]


def one_text(generator: random.Random, key: ConfigKey, near: list[int]) -> str:
    texts = texts_of(key)
    wanted = [text for text in map(str, near) if text in texts]
    return generator.choice(wanted) if wanted and generator.random() < 0.5 else generator.choice(texts)


def texts_of(key: ConfigKey) -> list[str]:
    """Texts that the config's own check accepts, for numbers those beside the bounds, and some that are odd."""
    if key.name in TEXTS:
        return TEXTS[key.name]
    match key.type:
        case ConfigType.BOOLEAN:
            return ["true", "false"]
        case number if number in NUMBER_TYPES:
            own = [] if key.default_text is None else [key.default_text]
            near = [str(int(text) + step) for text in own if text.lstrip("-").isdecimal() for step in (-1, 1)]
            return [text for text in dict.fromkeys([*own, *near, *map(str, NUMBERS + LARGE)]) if accepted(key, text)]
        case _:
            return [*([key.default_text] if key.default_text else []), "text", CLASS_NAME]


def accepted(key: ConfigKey, text: str) -> bool:
    try:
        key.parse(text)
    except ConfigProblem:
        return False
    return True


def refusals(settings: list[Settings], libs: str | None, *flags: str) -> list[str | None]:
    """Return the official reason of refusal, or None, for each of ``settings``."""
    lines = []
    for one in settings:
        whole = {name: text for name, text in (BASE | one).items() if text != "~"}
        lines.append(json.dumps(whole))
    return [json.loads(line) for line in run_java("CheckSettings", libs, "\n".join(lines) + "\n", *flags)]


def print_refused_by_parts(libs: str | None) -> None:
    """Start a server with the least and the greatest value of each number, and each text of the other configs."""
    ends = []
    for name, key in broker_keys().items():
        texts = [] if key.is_kwires or name in NOT_STARTED else texts_of(key)
        if texts and name not in TEXTS and key.type in NUMBER_TYPES:
            texts = [min(texts, key=float), max(texts, key=float)]
        ends += [{name: text} for text in texts if text not in ("~", key.default_text)]
    accepted_alone = [settings for settings, reason in zip(ends, refusals(ends, libs), strict=True) if reason is None]
    print(f"{len(accepted_alone)} starts", flush=True)
    parts = [accepted_alone[first : first + STARTS_PER_JVM] for first in range(0, len(accepted_alone), STARTS_PER_JVM)]
    with ThreadPoolExecutor(JVMS) as pool:
        for some, reasons in zip(parts, pool.map(lambda part: refusals(part, libs, "start"), parts), strict=True):
            refused = [(one, reason) for one, reason in zip(some, reasons, strict=True) if reason is not None]
            print(f"{len(some)} started, {len(refused)} refused", *refused, sep="\n", flush=True)


if __name__ == "__main__":
    main()
