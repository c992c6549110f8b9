"""The command ``kwire`` and the table of its sub-commands.

Responsible for: the table of commands, each with its module and a line of help. Must not depend on: single commands.
The module holds a click command of that name and is imported when it is called: ``kwire serve`` does not import the
others, and ``kwire --help`` imports none.
"""

from __future__ import annotations

import gc
import importlib
import importlib.util
import os
import sys
from typing import Any, Final

from kwire import __version__
from kwire.cli.deferred_imports import defer_imports

defer_imports()
# Imports make permanent objects: with the default threshold the garbage collector would visit them thirty times. The
# start of a broker makes fewer than these.
gc.set_threshold(100_000, 20, 50)

import click  # noqa: E402 (click is the first to import what is deferred)

COMMANDS: Final = {
    "serve": ("serving.serve", "Run a broker."),
    "cluster": ("local_cluster.cluster", "Run several brokers and their controller on this machine."),
    "run": ("serving.run", "Run a command with a broker of its own, such as a test suite."),
    "proxy": ("serving.proxy", "Run a proxy between clients and any Kafka cluster."),
    "replay": ("control.replay", "Send recorded requests to a broker, and compare its answers."),
    "config": ("serving.config", "Show every setting of a broker, and where its value came from."),
    "topics": ("resources.topics", "List, create, describe and delete topics."),
    "produce": ("records.produce", "Write records to a topic, from arguments or standard input."),
    "consume": ("records.consume", "Read records of a topic."),
    "groups": ("resources.groups", "List and describe groups of all types, and move their offsets."),
    "clients": ("control.clients", "List connected clients, and the metrics that they push."),
    "users": ("resources.users", "List, add and remove users that log in with SCRAM."),
    "acls": ("resources.acls", "List, add and remove ACLs, written as sentences."),
    "log": ("dump.log", "Show what is in the files of a log, without a broker."),
    "codec": ("dump.codec", "Show the schema of a message, or decode a captured frame."),
    "certs": ("serving.certs", "Make certificates for development."),
    "ctl": ("control.ctl", "Control a running broker: faults, clock, requests, state."),
    "doctor": ("diagnosis.doctor", "Find out why a client cannot connect."),
    "selfcheck": ("diagnosis.selfcheck", "Call every API that a broker advertises."),
    "scripts": ("scripts", "Run the twin of one of Kafka's own scripts."),
}


class Commands(click.Group):
    """Commands by name, imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click's signature)
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module, _ = COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(f"kwire.cli.{module}"), cmd_name)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command. If the reader of its output closes the pipe early, as ``head`` does, that is not a failure."""
        try:
            try:
                return super().invoke(ctx)
            finally:
                if sys.stdout is not None:  # a script whose reader has left has none any more
                    sys.stdout.flush()
        except BrokenPipeError:
            # Python flushes stdout once more at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(0)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            import difflib

            close = difflib.get_close_matches(args[0], COMMANDS, n=1)
            ctx.fail(f"No such command '{args[0]}'." + (f" Did you mean '{close[0]}'?" if close else ""))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


def _version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if not wanted or ctx.resilient_parsing:
        return
    from kwire.kafka_release import RELEASE

    source = importlib.util.find_spec("kwire.storage.log")
    compiled = source is None or not str(source.origin).endswith(".py")
    click.echo(f"kwire {__version__}{', compiled' if compiled else ''} (speaks Apache Kafka {RELEASE})")
    ctx.exit()


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""\b
Examples:
  kwire serve                           a broker on localhost:9092, its data in ./kwire-data
  echo hello | kwire produce messages
  kwire consume messages --from-beginning

\b
Completion of commands and options, for this shell (bash; likewise zsh_source, fish_source):
  eval "$(_KWIRE_COMPLETE=bash_source kwire)"
""",
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version and exit."
)
def main() -> None:
    """A broker for people who build and test with Kafka: its protocol and its files, in one small process."""
