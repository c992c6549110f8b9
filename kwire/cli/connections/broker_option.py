"""Options of all commands that connect to a broker: its address and the authentication.

Responsible for: the options ``--bootstrap-server`` and ``--config``, the cluster made of them, and the sentence that is
printed when a broker refuses or does not answer. Must not depend on: single commands.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, NoReturn, TypeVar

import click

from kwire.cli.connections.client import Cluster
from kwire.cli.connections.client_config import SECURITY_KEYS, ConfigError, read_properties, security_of
from kwire.cli.connections.connection import CannotConnect, ClientError, ConnectionLost, Security, parse_addresses
from kwire.cli.java.names import error_text
from kwire.errors import KafkaError

F = TypeVar("F", bound=Callable[..., Any])

BOOTSTRAP_VARIABLE: Final = "KWIRE_BOOTSTRAP"
DEFAULT_BOOTSTRAP: Final = "localhost:9092"
TIMEOUT_S: Final = 15.0

_BOOTSTRAP_KEY: Final = "bootstrap.servers"


def broker_options(command: F) -> F:
    """Add the options for the broker's address and client settings; a command gets ``bootstrap`` and ``config``."""
    command = config_option(command)
    return click.option(
        "-b",
        "--bootstrap-server",
        "--brokers",
        "bootstrap",
        metavar="HOST:PORT",
        envvar=BOOTSTRAP_VARIABLE,
        help=f"The broker to ask. [environment: {BOOTSTRAP_VARIABLE}; default: {DEFAULT_BOOTSTRAP}]",
    )(command)


class BrokerCommands(click.Group):
    """A group of commands with ``broker_options``: one that is given before the command is refused with its place."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            for name, command in sorted(self.commands.items(), key=lambda item: item[0] != "list"):
                if any(error.option_name in each.opts for each in command.params):
                    place = f"{ctx.command_path} {name} {error.option_name} ..."
                    raise click.NoSuchOption(
                        error.option_name,
                        f"The option {error.option_name} comes after the command, such as {place}",
                        ctx=ctx,
                    ) from None
            raise


def config_option(command: F) -> F:
    return click.option(
        "--config",
        "--command-config",
        "config",
        type=click.Path(),
        metavar="FILE",
        help="A file of client settings under Java's names: security.protocol, sasl.*, ssl.*.",
    )(command)


def json_option(command: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")(command)


def print_json(value: object) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def client_settings(config: str | None) -> dict[str, str]:
    """Read a file of client settings; ends the command with a sentence if that fails."""
    if config is None:
        return {}
    try:
        return read_properties(config)
    except OSError as error:
        fail(f"cannot read {config}: {error.strerror}")
    except ConfigError as error:
        fail(str(error))


def security_in(settings: dict[str, str]) -> Security:
    """The TLS and SASL settings; ends the command with a sentence if they are wrong."""
    try:
        return security_of(settings)
    except ConfigError as error:
        fail(str(error))


def servers_of(bootstrap: str | None, settings: dict[str, str]) -> str:
    """The addresses of the option, or else of the file."""
    return bootstrap or settings.get(_BOOTSTRAP_KEY) or DEFAULT_BOOTSTRAP


def at(servers: str) -> str:
    """The option that a hint needs to reach the same broker; empty for the default address."""
    return "" if servers == DEFAULT_BOOTSTRAP else f" -b {servers}"


def note_unused(settings: dict[str, str], config: str | None) -> None:
    """Print a note about the settings of a file that have no effect here."""
    unused = sorted(settings.keys() - SECURITY_KEYS - {_BOOTSTRAP_KEY, "client.id"})
    if unused:
        note(f"{config}: no effect here: {', '.join(unused)}")


@contextmanager
def asking(bootstrap: str | None, config: str | None) -> Iterator[Cluster]:
    """Open the cluster for a block; a refusal or a missing answer in it ends the command with a sentence."""
    settings = client_settings(config)
    note_unused(settings, config)
    servers = servers_of(bootstrap, settings)
    with explained(servers), cluster_at(servers, settings) as cluster:
        cluster.any()
        yield cluster


def cluster_at(servers: str, settings: dict[str, str]) -> Cluster:
    """Make the cluster, not connected yet; ends the command with a sentence if an address or a setting is wrong."""
    try:
        addresses = parse_addresses(servers)
    except ValueError as error:
        fail(str(error))
    if not addresses:
        fail(f"{servers!r} names no broker")
    return Cluster(
        addresses, security=security_in(settings), client_id=settings.get("client.id", "kwire"), timeout_s=TIMEOUT_S
    )


@contextmanager
def explained(servers: str) -> Iterator[None]:
    """End the command with a sentence where a broker refuses or does not answer."""
    try:
        yield
    except KafkaError as error:
        fail(refusal(error))
    except (CannotConnect, ConnectionLost) as error:
        fail(f"{error}.\nNo broker yet? Start one: kwire serve. Else look closer: kwire doctor {_first(servers)}")
    except ClientError as error:
        fail(f"{error}.\nLook closer: kwire doctor {_first(servers)}")


def _first(servers: str) -> str:
    return servers.partition(",")[0]


def refusal(error: KafkaError) -> str:
    """The text of a refusal: the broker's message, if any, and the name of the code."""
    text = error_text(error).rstrip(".")
    return text if text.startswith(error.code.name) else f"{text} ({error.code.name})"


def note(text: str) -> None:
    """Print a note to standard error."""
    sys.stdout.flush()
    sys.stderr.write(f"kwire: {text}\n")


def fail(sentence: str) -> NoReturn:
    """Print the reason of a failure to standard error, and end with exit code 1."""
    note(sentence)
    raise SystemExit(1)
