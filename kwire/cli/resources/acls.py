"""``kwire acls``: list, add and remove ACLs, written as sentences.

Responsible for: the command line, and how rules are printed. Must not depend on: requests (``kwire.cli.admin`` sends
them), the grammar of a rule (``kwire.security.acl_text``).
"""

from __future__ import annotations

from collections.abc import Sequence

import click

from kwire.acls import Acl, AclFilter
from kwire.cli.admin import acls as admin
from kwire.cli.connections.broker_option import BrokerCommands, asking, broker_options, fail, json_option, print_json
from kwire.security.acl_text import acl_text, read_acls

_GRAMMAR = """\b
A RULE is a sentence, in quotes:
  alice may read topic orders           the user alice; "anyone" is every user
  alice may read,describe topic pay*    every topic whose name begins with pay
  app may all group *                   every group
  eve may not write topic orders        counts more than every rule that allows it
  ops may alter cluster from 10.0.0.7   from this address only

\b
Operations: read, write, create, delete, alter, describe, describe-configs, alter-configs,
cluster-action, idempotent-write, all. Resources: topic, group, transactional-id, user,
delegation-token (each with a name), cluster.

\b
Example:
  kwire acls add "alice may read topic orders" "alice may read group billing"
"""


@click.group(
    cls=BrokerCommands,
    epilog="""\b
Examples:
  kwire acls add "alice may write topic orders" "alice may describe topic orders"
  kwire acls list
  kwire acls remove "alice may write topic orders"
""",
)
def acls() -> None:
    """List, add and remove ACLs."""


@acls.command(
    "list",
    epilog="""\b
Examples:
  kwire acls list
  kwire acls list --principal alice
""",
)
@click.option("--principal", metavar="NAME", help="Only rules for this principal: alice, or User:alice.")
@json_option
@broker_options
def list_command(bootstrap: str | None, config: str | None, as_json: bool, principal: str | None) -> None:
    """List the rules."""
    wanted = AclFilter() if principal is None else AclFilter(principal=_principal(principal))
    with asking(bootstrap, config) as cluster:
        found = sorted(admin.describe_acls(cluster, wanted), key=acl_text)
    if as_json:
        print_json([_as_json(acl) for acl in found])
        return
    if not found:
        click.echo('No rules. Add one: kwire acls add "alice may read topic orders"', err=True)
    for acl in found:
        click.echo(acl_text(acl))


@acls.command(
    short_help="Add each RULE.",
    epilog=_GRAMMAR,
)
@click.argument("rules", metavar="RULE...", nargs=-1, required=True)
@broker_options
def add(rules: tuple[str, ...], bootstrap: str | None, config: str | None) -> None:
    """Add each RULE; one that exists stays as it is."""
    wanted = _read(rules)
    with asking(bootstrap, config) as cluster:
        admin.create_acls(cluster, wanted)
    for acl in wanted:
        click.echo(f"added: {acl_text(acl)}")


@acls.command(
    short_help="Remove each RULE.",
    epilog="""\b
Examples:
  kwire acls remove "alice may write topic orders"
  kwire acls remove --principal alice
""",
)
@click.argument("rules", metavar="[RULE]...", nargs=-1)
@click.option("--principal", metavar="NAME", help="Every rule for this principal.")
@broker_options
def remove(rules: tuple[str, ...], bootstrap: str | None, config: str | None, principal: str | None) -> None:
    """Remove each RULE, as `kwire acls list` prints it."""
    if not rules and principal is None:
        raise click.UsageError("Name rules to remove, or --principal.")
    filters = [AclFilter.exactly(acl) for acl in _read(rules)]
    if principal is not None:
        filters.append(AclFilter(principal=_principal(principal)))
    with asking(bootstrap, config) as cluster:
        removed = admin.delete_acls(cluster, filters)
    for acl in sorted(removed, key=acl_text):
        click.echo(f"removed: {acl_text(acl)}")
    missing = [wanted.only for wanted in filters if wanted.only is not None and wanted.only not in removed]
    if missing:
        fail("there is no such rule: " + "; ".join(acl_text(acl) for acl in missing if acl is not None))


def _read(rules: Sequence[str]) -> list[Acl]:
    try:
        return [acl for rule in rules for acl in read_acls(rule)]
    except ValueError as error:
        fail(str(error))


def _principal(name: str) -> str:
    return name if ":" in name else f"User:{name}"


def _as_json(acl: Acl) -> dict[str, str]:
    return {
        "rule": acl_text(acl),
        "principal": acl.principal,
        "host": acl.host,
        "operation": acl.operation.name,
        "permission": acl.permission.name,
        "resourceType": acl.resource_type.name,
        "resourceName": acl.resource_name,
        "patternType": acl.pattern_type.name,
    }
