"""``kwire users``: the users that log in with SCRAM.

Responsible for: the command line, and how users are printed. Must not depend on: requests (``kwire.cli.admin`` sends
them), how a broker stores a credential.
"""

from __future__ import annotations

import sys

import click

from kwire.cli.admin import configs as admin
from kwire.cli.connections.broker_option import BrokerCommands, asking, broker_options, fail, json_option, print_json
from kwire.cli.tables import print_table
from kwire.errors import Code, KafkaError

_MECHANISMS = tuple(admin.SCRAM_MECHANISMS)


@click.group(
    cls=BrokerCommands,
    epilog="""\b
Examples:
  kwire users add alice
  kwire users list
""",
)
def users() -> None:
    """List, add and remove users, who log in with SCRAM-SHA-256 or SCRAM-SHA-512.

    Users of PLAIN are in the broker's settings: kwire serve --user, or a JAAS configuration.
    """


@users.command(
    short_help="Add a user, or give it another password.",
    epilog="""\b
Examples:
  kwire users add alice
  printf %s "$PASSWORD" | kwire users add alice --password-stdin
""",
)
@click.argument("name")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@click.option(
    "--mechanism",
    "mechanisms",
    multiple=True,
    type=click.Choice(_MECHANISMS),
    help="A mechanism that the user may use; may be repeated. [default: both]",
)
@click.option(
    "--iterations",
    type=click.IntRange(4096, 16384),
    default=admin.SCRAM_ITERATIONS_DEFAULT,
    show_default=True,
    help="Iterations of the password hash.",
)
@broker_options
def add(
    *,
    name: str,
    password_stdin: bool,
    mechanisms: tuple[str, ...],
    iterations: int,
    bootstrap: str | None,
    config: str | None,
) -> None:
    """Add a user, or give it another password. It prompts for the password, which is sent hashed."""
    password = sys.stdin.read().removesuffix("\n") if password_stdin else _asked(name)
    if not password:
        fail("the password is empty")
    with asking(bootstrap, config) as cluster:
        # A request may list a user once, so each mechanism needs its own request.
        for mechanism in mechanisms or _MECHANISMS:
            admin.alter_scram(cluster, name, put={mechanism: (iterations, password)}, delete=[])
    click.echo(f"{name} can log in with {' and '.join(mechanisms or _MECHANISMS)}")


@users.command(
    "list",
    epilog="""\b
Example:
  kwire users list --json | jq -r '.[].name'
""",
)
@json_option
@broker_options
def list_command(bootstrap: str | None, config: str | None, as_json: bool) -> None:
    """List the users with their mechanisms."""
    with asking(bootstrap, config) as cluster:
        found = {
            user: described
            for user, described in sorted(admin.describe_scram(cluster, None).items())
            if not isinstance(described, KafkaError)
        }
    if as_json:
        print_json(
            [
                {"name": user, "mechanisms": [{"name": name, "iterations": count} for name, count in described]}
                for user, described in found.items()
            ]
        )
        return
    if not found:
        click.echo("No users yet. Add one: kwire users add alice", err=True)
        return
    print_table(
        ("USER", "MECHANISMS"), [(user, ", ".join(name for name, _ in described)) for user, described in found.items()]
    )


@users.command(
    epilog="""\b
Example:
  kwire users remove alice
"""
)
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@broker_options
def remove(names: tuple[str, ...], bootstrap: str | None, config: str | None) -> None:
    """Remove users: they cannot log in again. Their open connections continue."""
    with asking(bootstrap, config) as cluster:
        described = admin.describe_scram(cluster, names)
        missing = [name for name in names if isinstance(described[name], KafkaError)]
        if missing:
            raise KafkaError(Code.RESOURCE_NOT_FOUND, f"There is no user {', '.join(missing)}")
        for name in names:
            for mechanism, _ in _credentials(described[name]):
                admin.alter_scram(cluster, name, put={}, delete=[mechanism])
            click.echo(f"removed {name}")


def _credentials(described: list[tuple[str, int]] | KafkaError) -> list[tuple[str, int]]:
    assert not isinstance(described, KafkaError)
    return described


def _asked(name: str) -> str:
    """Ask for the password twice, as it is not shown."""
    password: str = click.prompt(f"Password of {name}", hide_input=True, confirmation_prompt=True)
    return password
