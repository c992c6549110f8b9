"""Common options of the scripts: the broker's address, the client settings and the timeout.

Responsible for: `--bootstrap-server` with its old spellings, `--command-config`, and the cluster made of them. Must not
depend on: any script.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Container, Iterable, Sequence
from contextlib import suppress
from typing import Final

from kwire.cli.connections.client import Cluster
from kwire.cli.connections.client_config import SECURITY_KEYS, ConfigError, read_properties, security_of
from kwire.cli.connections.connection import (
    Address,
    CannotConnect,
    ClientError,
    ConnectionLost,
    NoSuchHost,
    TimedOut,
    parse_addresses,
    resolve,
)
from kwire.cli.java.exits import Failure
from kwire.cli.java.options import Parsed
from kwire.cli.script_twins.topic_filter import matches

__all__ = ["bootstrap_of", "config_of", "matches", "open_cluster", "read_config", "timed_out", "warn"]

# Where `--zookeeper HOST:2181` finds the broker when HOST:9092 is wrong.
BOOTSTRAP_VARIABLE: Final = "KWIRE_BOOTSTRAP"

DEFAULT_API_TIMEOUT_MS: Final = 60_000
CONNECT_TIMEOUT_S: Final = 10.0
CONNECT_TIMEOUT_MIN_S: Final = 0.1

# Keys of the Java clients that have an effect here; a warning names the others.
ADMIN_KEYS: Final = SECURITY_KEYS | {"bootstrap.servers", "client.id", "default.api.timeout.ms", "request.timeout.ms"}


def warn(message: str) -> None:
    with suppress(BrokenPipeError):  # the message is for another reader
        sys.stdout.flush()
    sys.stderr.write(f"{message}\n")


def warn_unused(script: str, config: Iterable[str], used: Container[str]) -> None:
    """Print a warning with the settings that have no effect here."""
    if unused := [key for key in sorted(config) if key not in used]:
        warn(f"WARN {script}: no effect here: {', '.join(unused)}")


def bootstrap_of(parsed: Parsed) -> str | None:
    """Find the address in `--bootstrap-server`, `--broker-list` or `--zookeeper`; None when none is given."""
    zookeeper = parsed.values("zookeeper")[0] if parsed.takes("zookeeper") and parsed.has("zookeeper") else None
    for name in ("bootstrap-server", "broker-list"):
        if parsed.takes(name) and parsed.has(name):
            if zookeeper is not None:
                warn(f"WARNING: --zookeeper {zookeeper} has no effect beside --{name}.")
            return ",".join(parsed.values(name))
    if zookeeper is None:
        return None
    host = re.sub(r"(:\d+)?(,.*|/.*)?$", "", zookeeper)
    address = os.environ.get(BOOTSTRAP_VARIABLE) or f"{host}:9092"
    warn(
        f"WARNING: Kafka has had no ZooKeeper since 4.0, and no --zookeeper here since 3.0; asking the broker {address}"
        f" instead of {zookeeper}. Say --bootstrap-server {address}."
    )
    return address


def read_config(path: str) -> dict[str, str]:
    """Read a file of client settings. Raises Failure."""
    try:
        return read_properties(path)
    except OSError as error:
        raise Failure(str(path) if isinstance(error, FileNotFoundError) else f"{path}: {error.strerror}") from error
    except ConfigError as error:
        raise Failure(str(error)) from error


def config_of(parsed: Parsed, name: str = "command-config") -> dict[str, str]:
    """The settings in the file that an option names; empty without the option. Raises Failure."""
    path = parsed.value(name)
    return {} if path is None else read_config(path)


def open_cluster(parsed: Parsed, script: str, servers: str | None = None) -> Cluster:
    """Make the cluster of a command line. Raises Failure when its address or settings are invalid.

    Nothing is connected yet. While no broker answers, the first reason is printed and the operation is retried
    for ``default.api.timeout.ms``, as a script that runs beside a broker's start expects.
    """
    config = config_of(parsed)
    warn_unused(script, config, ADMIN_KEYS)
    text = servers or bootstrap_of(parsed) or config.get("bootstrap.servers")
    if text is None:
        raise Failure("--bootstrap-server must be specified")
    return cluster_at(text, config, script)


def cluster_at(servers: str, config: dict[str, str], script: str) -> Cluster:
    """Make a cluster out of addresses and Java's settings. Raises Failure."""
    reported: set[Address] = set()

    def report_once(address: Address, error: ClientError) -> None:
        # Other errors end the script, which prints them then.
        if address not in reported and isinstance(error, CannotConnect | ConnectionLost):
            reported.add(address)
            warn(f"WARN {script}: {error}")

    try:
        addresses = parse_addresses(servers, default_port=None)
        timeout_ms = int(config.get("default.api.timeout.ms", DEFAULT_API_TIMEOUT_MS))
        cluster = Cluster(
            addresses,
            security=security_of(config),
            client_id=config.get("client.id", script),
            timeout_s=timeout_ms / 1000,
            connect_timeout_s=min(CONNECT_TIMEOUT_S, max(timeout_ms / 1000, CONNECT_TIMEOUT_MIN_S)),
            on_failure=report_once,
        )
    except ConfigError as error:
        raise Failure(str(error)) from error
    except ValueError as error:
        raise Failure(f"Failed to create new KafkaAdminClient\nInvalid url in bootstrap.servers: {error}") from error
    unknown = _unresolvable(addresses)
    if addresses and len(unknown) == len(addresses):
        raise Failure(
            "Failed to create new KafkaAdminClient\nNo resolvable bootstrap urls given in bootstrap.servers\n"
            + "\n".join(unknown)
        )
    return cluster


def timed_out(error: TimedOut, call: str) -> str:
    """Return the Java client's message when no broker could be reached."""
    if isinstance(error.__cause__, ClientError):
        return f"Timed out waiting for a node assignment. Call: {call}"
    return str(error)


def _unresolvable(addresses: Sequence[Address]) -> list[str]:
    reasons = []
    for address in addresses:
        try:
            resolve(address)
        except NoSuchHost as error:
            reasons.append(str(error))
    return reasons


def numbers(values: Iterable[int]) -> str:
    return ",".join(map(str, values))
