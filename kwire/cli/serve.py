"""``kwire serve``: be a broker.

Owns: the command as click knows it, and what is said when a broker cannot start. May not know: how settings are read,
how a broker starts and stops.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from kwire.cli.settings import Settings, SettingsError, gather

F = TypeVar("F", bound=Callable[..., Any])


def settings_options(command: F) -> F:
    """Add the options by which settings are given; ``gathered`` reads them."""
    for option in reversed(
        (
            click.option(
                "--listen",
                multiple=True,
                metavar="NAME://HOST:PORT",
                help="Where to listen; may be repeated. Port 0 takes any free port. [default: PLAINTEXT://localhost:9092]",
            ),
            click.option("--data", type=click.Path(), metavar="DIR", help="Where the data is. [default: ./kwire-data]"),
            click.option("--config", "file", type=click.Path(), metavar="FILE", help="Read a server.properties file."),
            click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Set one of Kafka's settings."),
            click.option(
                "--env", is_flag=True, help="Read KAFKA_... variables as Kafka's official image does, and CLUSTER_ID."
            ),
            click.option("--strict", is_flag=True, help="Refuse a file or variable that has settings of no effect."),
        )
    ):
        command = option(command)
    return command


def gathered(options: dict[str, Any]) -> Settings:
    """The settings that the options of ``settings_options`` give, or a line for each thing that is wrong and code 1."""
    environment = os.environ if options.pop("env") else None
    try:
        return gather(environment=environment, **options)
    except SettingsError as error:
        raise fail(str(error)) from None


def fail(lines: str) -> SystemExit:
    """Say why there is no broker."""
    sys.stderr.write("".join(f"kwire: {line}\n" for line in lines.splitlines()))
    return SystemExit(1)


@click.command(
    epilog="""\b
Examples:
  kwire serve
  kwire serve --listen PLAINTEXT://0.0.0.0:9092 --data /var/lib/kwire --set num.partitions=3
  kwire serve --config server.properties --strict

\b
A container and its host at the same time:
  kwire serve --listen IN://0.0.0.0:29092 --listen OUT://0.0.0.0:9092 \\
      --set advertised.listeners=IN://kafka:29092,OUT://localhost:9092 \\
      --set listener.security.protocol.map=IN:PLAINTEXT,OUT:PLAINTEXT
"""
)
@settings_options
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="What is worth a line in the log.",
)
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Lines for people or for programs.",
)
def serve(log_level: str, log_format: str, **options: Any) -> None:
    """Be a broker, until Ctrl-C or SIGTERM.

    Says "ready" and the address on standard output, a line for each listener, once clients are served; logs go to
    standard error. A flag has the last word, then the environment, then the file. A second signal stops at once.
    """
    if sys.platform == "win32":
        raise fail("there is no broker for Windows; run kwire in WSL or in its container")
    from kwire.broker import logs

    # Starting makes much that stays and drops little: the broker turns collection on when it serves.
    gc.disable()
    settings = gathered(options)
    logs.configure(level=log_level, form="json" if log_format == "json" else "text")
    log = logs.Logger("kwire.cli")
    for note in settings.notes:
        (log.info if note.level == "info" else log.warning)(note.text)
    sentence = _run(settings)
    if sentence is not None:
        raise fail(sentence)


def _run(settings: Settings) -> str | None:
    """Run to the end. Returns a sentence if the broker could not start, None after a clean stop."""
    from kwire.broker.partitions.log_dirs import ForeignDirectory
    from kwire.errors import StorageFailure
    from kwire.metadata.configs import ConfigProblem
    from kwire.server.lifecycle import run
    from kwire.server.listener import CannotBind
    from kwire.storage.files import DirectoryInUse

    try:
        run(settings.broker_settings, cluster_id=settings.cluster_id)
    except KeyboardInterrupt:
        return "interrupted before it served"
    except Exception as error:
        match _innermost(error):
            case ConfigProblem() as problem:
                return settings.explain(problem)
            case CannotBind() | ForeignDirectory() as trouble:
                return str(trouble)
            case DirectoryInUse() as trouble:
                return f"{trouble}; --data takes another directory"
            case StorageFailure() as trouble:
                return f"cannot use {trouble}"
        raise
    return None


def _innermost(error: BaseException) -> BaseException:
    """The one exception in groups that hold nothing else, as nurseries wrap it."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
